"""Memorisation: do more samples look like copies of training images than real images do?

Each sample has a score, which is near 0 for a copy of a training image and near 1 for a new image (stages/copies.py). A
sample counts as a copy if its score is below those of 99 % of new real images, or below a tenth, because a data set can
repeat its own images. The new real images are held-out ones or, if there are fewer than 200, training images that are
compared with the other training images.

The verdict is "copied" if the share of such samples is high, and higher than that of the real images by more than
chance (Fisher's exact test at a level of 1 %). Samples that are like new images are interchangeable with them (Vovk,
Gammerman, Shafer 2005, chapter 2), so an honest generator is accused in at most 1 % of cases, however few images there
are.
"""

import numpy as np

from stages.metrics.proportions import chance_of_more, interval

QUANTILE = 0.01
FEWEST = 200
"""With fewer held-out images, training images are the new real images: two or more must lie below the quantile."""
_CERTAIN = 0.1
_SHARE, _TIMES = 0.05, 2
_MAX_THRESHOLD = 0.5
_LEVEL = 0.01  # of Fisher's exact test
_ROUNDING = 1e-3  # smaller distances are rounding errors of zero


def memorization(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Scores of samples (N,) and of new real images (M,) => four metrics.

    `memorization`: the share of samples that are copies by the measure above; `memorization_low` and
    `memorization_high`: its 95 % confidence interval; `memorization_real`: the same share of the real images, about 1 %
    if the data does not repeat itself.
    """
    limit = max(float(np.quantile(real, QUANTILE)), _CERTAIN)
    copies = int((samples < limit).sum())
    low, high = interval(copies, len(samples))
    return {
        "memorization": copies / len(samples),
        "memorization_low": low,
        "memorization_high": high,
        "memorization_real": float((real < limit).mean()),
    }


def nearest_distance(samples: np.ndarray, real: np.ndarray) -> float:
    """The median distance of samples (N,) to their nearest training image, over that of new real images (M,)."""
    medians = [max(float(np.median(distances)), _ROUNDING) for distances in (samples, real)]
    return medians[0] / medians[1]


def threshold(real: float) -> float:
    """The share of samples above which the verdict is "copied", if the share among real images is `real`.

    It is 5 %, or twice `real` if that is more: perfect samples would have a share of `real` too.
    """
    return max(_SHARE, _TIMES * real)


def repeats_itself(real: float) -> bool:
    """Whether the data repeats itself too much to distinguish copies from new images: `real` is above 25 %."""
    return threshold(real) > _MAX_THRESHOLD


def copied(share: float, samples: int, real: float, real_images: int) -> bool | None:
    """Whether the generator copies training images.

    `share` and `real` are the shares of samples and of real images that look like copies, `samples` and `real_images`
    their numbers. None if the data repeats itself too much, or if the share is above the threshold, but the images are
    so few that this can be chance.
    """
    if repeats_itself(real):
        return None
    if share <= threshold(real):
        return False
    counts = round(share * samples), samples, round(real * real_images), real_images
    return True if chance_of_more(*counts) <= _LEVEL else None
