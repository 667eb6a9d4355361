"""Precision, recall, density, coverage and realism, against the papers' definitions computed point by point."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from stages.metrics import prdc


def normal(seed: int, count: int, shift: float = 0, spread: float = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, spread, (count, 6)).astype(np.float32)


def point_by_point(generated: np.ndarray, real: np.ndarray) -> tuple[dict[str, float], list[float]]:
    """Metrics and realism by Kynkäänniemi et al. 2019, equations 1 to 3, and Naeem et al. 2020, equations 4 and 5."""
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


def assert_as_point_by_point(generated: np.ndarray, real: np.ndarray) -> None:
    metrics, realism = point_by_point(generated, real)
    assert prdc.compute(generated, real) == pytest.approx(metrics)
    assert prdc.realism(generated, real) == pytest.approx(realism)


@pytest.mark.parametrize(("shift", "spread"), [(0, 1), (0.7, 0.5), (0, 2)])
def test_metrics_and_realism_follow_the_papers_definitions(shift: float, spread: float) -> None:
    assert_as_point_by_point(normal(1, 80, shift, spread), normal(0, 90))


def test_more_features_than_a_block_give_the_same_values() -> None:
    assert_as_point_by_point(normal(3, 1300, 0.2), normal(2, 1100))


def test_a_set_compared_with_itself_has_precision_recall_and_coverage_one() -> None:
    real = normal(0, 200)
    metrics = prdc.compute(real, real)
    assert [metrics[name] for name in ("precision", "recall", "coverage")] == [1, 1, 1]


def test_a_collapsed_generator_has_precision_but_no_recall() -> None:
    real = normal(0, 500)
    metrics = prdc.compute(real[:1] + 1e-3 * normal(1, 500), real)
    assert metrics["precision"] == 1
    assert metrics["recall"] < 0.01
    assert metrics["coverage"] < 0.1


def test_noise_around_the_data_has_recall_but_no_precision() -> None:
    metrics = prdc.compute(normal(1, 500, 0, 3), normal(0, 500, 0, 0.1))
    assert metrics["precision"] < 0.05
    assert metrics["recall"] > 0.95


def test_an_outlier_has_the_lowest_realism() -> None:
    generated = normal(1, 100)
    generated[17] += 30
    realism = prdc.realism(generated, normal(0, 300))
    assert realism.argmin() == 17
    assert realism[17] < 0.2


def test_features_far_from_zero_lose_no_digits() -> None:
    generated, real = normal(1, 200).astype(np.float64), normal(0, 200).astype(np.float64)
    assert prdc.compute(generated + 1e6, real + 1e6) == prdc.compute(generated, real)
    expected = prdc.realism(generated, real)
    assert prdc.realism(generated + 1e6, real + 1e6) == pytest.approx(expected, rel=1e-6)


def test_fewer_than_six_features_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 6 features in each set are needed, got 9 and 5"):
        prdc.compute(normal(1, 9), normal(0, 5))


@pytest.mark.filterwarnings("error")
def test_the_realism_of_a_feature_equal_to_a_real_one_is_finite() -> None:
    real = normal(0, 50)
    generated = normal(1, 50)
    generated[3] = real[real.argsort(0)[25, 0]]
    assert np.isfinite(prdc.realism(generated, real)).all()


def test_the_realism_of_a_set_compared_with_itself_is_finite() -> None:
    real = normal(0, 200)
    assert np.isfinite(prdc.realism(real, real)).all()
