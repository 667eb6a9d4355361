"""Memorisation: do samples lie closer to single training images than held-out real images do?

A sample counts as a copy if it is much closer to one training image than to the next ones. The measure is the distance
to the nearest training image over the mean distance to the next 50 (the ratio of Carlini et al. 2023, arXiv:2301.13188,
section 4.1). A sample is a copy if its ratio is below those of 99 % of held-out real images, or below a tenth, because
the splits of a data set can share duplicates. The distance alone is not enough: samples are smoother than photographs
and lie closer to every image.
"""

import numpy as np

NEIGHBOURS = 50
QUANTILE = 0.01
FEWEST = 200
"""With fewer held-out images there is no verdict. With 100, it would accuse one in fifteen honest generators."""
_CERTAIN_RATIO = 0.1
_SHARE, _TIMES = 0.05, 2
_MAX_THRESHOLD = 0.5
_ROUNDING = 1e-3  # smaller distances are rounding errors of zero


def memorization(samples: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """Ascending distances to the nearest training images, (N, k) and (M, k), k at least 2 => three metrics.

    `memorization`: the share of samples that are copies by the measure above; `memorization_real`: the same share of
    held-out images, 1 % if the splits share no duplicates; `nearest_distance`: the samples' median distance to the
    nearest training image, over the held-out images' median. Raises ValueError for k below 2.
    """
    if min(samples.shape[1], held_out.shape[1]) < 2:
        raise ValueError(f"at least 2 neighbours are needed, got {samples.shape[1]} and {held_out.shape[1]}")
    real = _ratios(held_out)
    limit = max(np.quantile(real, QUANTILE), _CERTAIN_RATIO)
    medians = [max(float(np.median(distances[:, 0])), _ROUNDING) for distances in (samples, held_out)]
    return {
        "memorization": float((_ratios(samples) < limit).mean()),
        "memorization_real": float((real < limit).mean()),
        "nearest_distance": medians[0] / medians[1],
    }


def threshold(real: float) -> float:
    """The share of samples above which the verdict is "copied", if the share among held-out images is `real`.

    It is 5 %, or twice `real` if that is more: perfect samples would have a share of `real` too.
    """
    return max(_SHARE, _TIMES * real)


def copied(share: float, real: float) -> bool | None:
    """Whether the generator copies training images.

    `share` and `real` are the shares of samples and of held-out images that look like copies. None for `real` above
    25 %: the data repeats itself too much to distinguish copies from new images.
    """
    limit = threshold(real)
    return share > limit if limit <= _MAX_THRESHOLD else None


def _ratios(distances: np.ndarray) -> np.ndarray:
    """Distances (N, k) => (N,): the nearest over the mean of the others; 1 where all are 0."""
    others = distances[:, 1:].mean(1, dtype=np.float64)
    return np.divide(distances[:, 0], others, out=np.ones(len(distances)), where=others > 0)
