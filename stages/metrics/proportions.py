"""Shares of a whole: their confidence interval, and whether one is higher than another by more than chance."""

import math

_Z_95 = 1.959964  # the normal distribution has 95 % of its mass within ± this many standard deviations


def interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, `count` of `total` (at least 1): Wilson's (1927, JASA 22, p. 209).

    Brown, Cai, DasGupta 2001 (Statist. Sci. 16(2), p. 101) recommend it for few images.
    """
    share, squared = count / total, _Z_95**2
    centre = (count + squared / 2) / (total + squared)
    half = _Z_95 / (total + squared) * math.sqrt(total * share * (1 - share) + squared / 4)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def chance_of_more(count: int, total: int, other_count: int, other_total: int) -> float:
    """The chance of a share of at least `count` of `total` if the other has the same: Fisher's exact test (1934).

    It is exact for every number of images. Both totals are at least 1.
    """
    marked = count + other_count
    whole = _log_choices(total + other_total, marked)
    return min(
        1.0,
        math.fsum(
            math.exp(_log_choices(total, k) + _log_choices(other_total, marked - k) - whole)
            for k in range(max(count, marked - other_total), min(total, marked) + 1)
        ),
    )


def _log_choices(total: int, chosen: int) -> float:
    """The logarithm of the number of ways to choose `chosen` of `total`."""
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
