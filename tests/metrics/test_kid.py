"""The kernel distance, against its formula computed pair by pair and against closed forms."""

import itertools

import numpy as np
import pytest

from stages.metrics import kid


def normal(seed: int, count: int, shift: float = 0, dimensions: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions)).astype(np.float32)


def mmd_by_pairs(a: np.ndarray, b: np.ndarray) -> float:
    """Bińkowski et al. 2018, equation 4, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x.astype(float) @ y.astype(float) / len(x) + 1) ** 3)

    within = [np.mean([kernel(x, y) for x, y in itertools.permutations(points, 2)]) for points in (a, b)]
    return float(sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b]))


def test_the_kernel_distance_is_the_mean_of_the_blocks_unbiased_estimates() -> None:
    a, b = normal(0, 12), normal(1, 12, 0.5)
    blocks = [mmd_by_pairs(a[:6], b[:6]), mmd_by_pairs(a[6:], b[6:])]
    metrics = kid.compute(a, b)
    assert metrics["kid"] == pytest.approx(np.mean(blocks))
    assert metrics["kid_se"] == pytest.approx(abs(blocks[0] - blocks[1]) / 2), "half the difference of two values"


def test_the_distance_of_two_constant_sets_is_the_closed_form() -> None:
    ones, zeros = np.ones((2000, 4), np.float32), np.zeros((3000, 4), np.float32)
    # k(1, 1) = 8, k(0, 0) = k(1, 0) = 1.
    assert kid.compute(ones, zeros) == {"kid": pytest.approx(7), "kid_se": pytest.approx(0)}


@pytest.fixture(scope="module")
def same_distribution() -> list[dict[str, float]]:
    """The distances of 20 pairs of sets from one distribution."""
    return [kid.compute(normal(seed, 5000), normal(seed + 100, 5000)) for seed in range(20)]


def test_two_sets_of_one_distribution_are_at_zero_on_average(same_distribution: list[dict[str, float]]) -> None:
    scores = [metrics["kid"] / metrics["kid_se"] for metrics in same_distribution]
    assert abs(np.mean(scores)) < 1
    assert min(metrics["kid"] for metrics in same_distribution) < 0, "unbiased: below zero as often as above"


def test_the_standard_error_has_the_size_of_the_deviations(same_distribution: list[dict[str, float]]) -> None:
    assert np.median([abs(metrics["kid"]) / metrics["kid_se"] for metrics in same_distribution]) < 2


def test_two_distributions_are_many_standard_errors_apart() -> None:
    metrics = kid.compute(normal(0, 5000), normal(1, 5000, 0.2))
    assert metrics["kid"] > 10 * metrics["kid_se"]


def test_fewer_than_four_features_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 4 features in each set are needed, got 3 and 9"):
        kid.compute(normal(0, 3), normal(1, 9))
