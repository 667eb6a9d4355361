"""Kernel distance, against the formula written out and against closed forms."""

import itertools

import numpy as np
import pytest

from stages.metrics.kid import kernel_distance


def normal(seed: int, count: int, shift: float = 0, dimensions: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions)).astype(np.float32)


def mmd_by_pairs(a: np.ndarray, b: np.ndarray) -> float:
    """Bińkowski et al. 2018, equation 4, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x.astype(float) @ y.astype(float) / len(x) + 1) ** 3)

    within = [np.mean([kernel(x, y) for x, y in itertools.permutations(some, 2)]) for some in (a, b)]
    return float(sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b]))


def test_it_is_the_mean_over_blocks_of_the_unbiased_estimate() -> None:
    a, b = normal(0, 12), normal(1, 12, 0.5)
    blocks = [mmd_by_pairs(a[:6], b[:6]), mmd_by_pairs(a[6:], b[6:])]
    found = kernel_distance(a, b)
    assert found["kid"] == pytest.approx(np.mean(blocks))
    assert found["kid_se"] == pytest.approx(abs(blocks[0] - blocks[1]) / 2), "two values: half of their difference"


def test_points_that_do_not_differ_have_a_value_in_closed_form() -> None:
    ones, zeros = np.ones((2000, 4), np.float32), np.zeros((3000, 4), np.float32)
    # k(1, 1) = 8, k(0, 0) = k(1, 0) = 1.
    assert kernel_distance(ones, zeros) == {"kid": pytest.approx(7), "kid_se": pytest.approx(0)}


def test_one_distribution_is_at_zero_within_its_standard_error_and_another_is_not() -> None:
    same = [kernel_distance(normal(seed, 5000), normal(seed + 100, 5000)) for seed in range(20)]
    scores = [found["kid"] / found["kid_se"] for found in same]
    assert abs(np.mean(scores)) < 1
    assert min(found["kid"] for found in same) < 0, "unbiased: below zero as often as above"
    assert np.median(np.abs(scores)) < 2, "the standard error is of the right size"
    other = kernel_distance(normal(0, 5000), normal(1, 5000, 0.2))
    assert other["kid"] > 10 * other["kid_se"]


def test_fewer_than_four_features_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 features or more in each set, got 3 and 9"):
        kernel_distance(normal(0, 3), normal(1, 9))
