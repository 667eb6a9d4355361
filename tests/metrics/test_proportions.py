"""The interval of a share, and the test of two shares, against SciPy."""

import pytest
from scipy.stats import binomtest, fisher_exact

from stages.metrics.proportions import chance_of_more, interval


@pytest.mark.parametrize(("count", "total"), [(0, 1), (0, 1000), (1, 20), (7, 9), (50, 50), (4999, 5000)])
def test_the_interval_is_that_of_scipy(count: int, total: int) -> None:
    expected = binomtest(count, total).proportion_ci(method="wilson")
    assert interval(count, total) == pytest.approx((expected.low, expected.high), abs=1e-7)


@pytest.mark.parametrize(
    ("count", "total", "other", "other_total"),
    [(0, 5, 0, 9), (3, 20, 1, 100), (11, 200, 2, 200), (20, 20, 80, 80), (80, 1000, 10, 1000), (5, 10, 60, 60)],
)
def test_the_chance_is_that_of_scipy(count: int, total: int, other: int, other_total: int) -> None:
    table = [[count, total - count], [other, other_total - other]]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert chance_of_more(count, total, other, other_total) == pytest.approx(expected, rel=1e-6)
