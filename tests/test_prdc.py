"""Precision, recall, density, coverage and realism, against the papers' definitions written out."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from stages.metrics.prdc import compare


def normal(seed: int, count: int, shift: float = 0, spread: float = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, spread, (count, 6)).astype(np.float32)


def written_out(real: np.ndarray, generated: np.ndarray) -> tuple[dict[str, float], list[float]]:
    """Kynkäänniemi et al. 2019, equations 1 to 3, and Naeem et al. 2020, equations 4 and 5, point by point."""
    within_real, within_generated, between = cdist(real, real), cdist(generated, generated), cdist(generated, real)
    radius = {k: [sorted(row)[k] for row in within_real] for k in (3, 5)}
    reach = [sorted(row)[3] for row in within_generated]
    n, m = len(real), len(generated)
    values = {
        "precision": np.mean([any(between[g, r] <= radius[3][r] for r in range(n)) for g in range(m)]),
        "recall": np.mean([any(between[g, r] <= reach[g] for g in range(m)) for r in range(n)]),
        "density": sum(between[g, r] <= radius[5][r] for g in range(m) for r in range(n)) / (5 * m),
        "coverage": np.mean([any(between[g, r] <= radius[5][r] for g in range(m)) for r in range(n)]),
    }
    small = [r for r in range(n) if radius[3][r] <= np.median(radius[3])]
    return values, [max(radius[3][r] / between[g, r] for r in small) for g in range(m)]


@pytest.mark.parametrize(("shift", "spread"), [(0, 1), (0.7, 0.5), (0, 2)])
def test_it_is_what_the_papers_define(shift: float, spread: float) -> None:
    real, generated = normal(0, 90), normal(1, 80, shift, spread)
    values, realism = written_out(real, generated)
    found = compare(real, generated)
    assert found.values == pytest.approx(values)
    assert found.realism == pytest.approx(realism)


def test_more_than_a_block_of_features_is_the_same() -> None:
    real, generated = normal(2, 1100), normal(3, 1300, 0.2)
    values, realism = written_out(real, generated)
    found = compare(real, generated)
    assert found.values == pytest.approx(values)
    assert found.realism == pytest.approx(realism)


def test_a_set_against_itself_is_at_one() -> None:
    real = normal(0, 200)
    found = compare(real, real)
    assert [found.values[name] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert np.isfinite(found.realism).all()


def test_a_collapsed_generator_has_precision_and_no_recall() -> None:
    real = normal(0, 500)
    collapsed = real[:1] + 1e-3 * normal(1, 500)
    values = compare(real, collapsed).values
    assert values["precision"] == 1
    assert values["recall"] < 0.01
    assert values["coverage"] < 0.1


def test_noise_around_the_data_has_recall_and_no_precision() -> None:
    values = compare(normal(0, 500, 0, 0.1), normal(1, 500, 0, 3)).values
    assert values["precision"] < 0.05
    assert values["recall"] > 0.95


def test_an_outlier_is_the_least_real() -> None:
    generated = normal(1, 100)
    generated[17] += 30
    realism = compare(normal(0, 300), generated).realism
    assert realism.argmin() == 17
    assert realism[17] < 0.2


def test_a_feature_that_is_far_from_zero_costs_no_digits() -> None:
    real, generated = normal(0, 200).astype(np.float64), normal(1, 200).astype(np.float64)
    near, far = compare(real, generated), compare(real + 1e6, generated + 1e6)
    assert far.values == near.values
    assert far.realism == pytest.approx(near.realism, rel=1e-6)


def test_fewer_than_six_features_are_refused() -> None:
    with pytest.raises(ValueError, match="expected more than 5 features in each set, got 5 and 9"):
        compare(normal(0, 5), normal(1, 9))


@pytest.mark.filterwarnings("error")
def test_a_feature_on_top_of_a_real_one_is_as_real_as_can_be() -> None:
    real = normal(0, 50)
    generated = normal(1, 50)
    generated[3] = real[real.argsort(0)[25, 0]]
    assert np.isfinite(compare(real, generated).realism).all()
