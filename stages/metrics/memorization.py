"""Memorisation: do samples lie closer to single training images than real images that were held out do?

A sample is held to be a copy where it is much closer to one training image than to that image's surroundings: where the
distance to the nearest, over the mean distance to the next ones, is below what all but 1 % of held-out real images show
(the ratio is that of Carlini et al. 2023, arXiv:2301.13188, section 4.1, there over the next 50), and in any case below
a tenth: data sets have duplicates across their splits. The ratio, not the distance: samples are smoother than
photographs and lie nearer to everything.
"""

import numpy as np

NEIGHBOURS = 50
QUANTILE = 0.01
FEWEST = 200
"""With fewer images held out there is no answer: of 100, one in fifteen honest generators would be accused."""
_SURELY = 0.1
_SHARE, _TIMES = 0.05, 2
_MOST = 0.5
_ROUNDING = 1e-3  # smaller distances are none


def memorization(samples: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """Ascending distances to the nearest training images, (N, k) and (M, k), k of 2 or more => three figures.

    `memorization`: the share of samples that are closer to one training image, relative to the next ones, than all but
    1 % of held-out images are, or ten times closer than to the next ones; `memorization_real`: the share of held-out
    images that are so, 1 % where the splits have no duplicates in common; `nearest_distance`: the samples' median
    distance to the nearest training image, over the held-out images' median. Raises ValueError for k below 2.
    """
    if min(samples.shape[1], held_out.shape[1]) < 2:
        raise ValueError(f"expected two neighbours or more, got {samples.shape[1]} and {held_out.shape[1]}")
    real = _ratios(held_out)
    limit = max(np.quantile(real, QUANTILE), _SURELY)
    medians = [max(float(np.median(distances[:, 0])), _ROUNDING) for distances in (samples, held_out)]
    return {
        "memorization": float((_ratios(samples) < limit).mean()),
        "memorization_real": float((real < limit).mean()),
        "nearest_distance": medians[0] / medians[1],
    }


def threshold(real: float) -> float:
    """The share of samples above which training images are held to be copied, where `real` of the held-out ones are.

    5 %, or twice the held-out images' share where that is more: samples as good as new data have as many.
    """
    return max(_SHARE, _TIMES * real)


def copied(share: float, real: float) -> bool | None:
    """Whether training images are copied, where `share` of the samples and `real` of the held-out images look copied.

    None where the data repeats itself so much, `real` above 25 %, that copies cannot be told from what is new.
    """
    limit = threshold(real)
    return share > limit if limit <= _MOST else None


def _ratios(distances: np.ndarray) -> np.ndarray:
    """(N, k) => (N,): the nearest's distance over the others' mean; 1 where all are at 0."""
    others = distances[:, 1:].mean(1, dtype=np.float64)
    return np.divide(distances[:, 0], others, out=np.ones(len(distances)), where=others > 0)
