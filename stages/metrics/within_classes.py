"""How well samples of a class fit the class: agreement with the judge, and distances within each class."""

from dataclasses import dataclass

import numpy as np

from stages.metrics import prdc
from stages.metrics.frechet import frechet_distance, gaussian

FEWEST = prdc.DENSITY_K + 1
"""A class is compared from this many features of each side on."""


@dataclass(frozen=True)
class OfClass:
    """A class: `compared` features of each side, and what compares them; None if there are fewer than 6."""

    compared: int
    fid: float | None
    precision: float | None
    recall: float | None


def confusion(asked: np.ndarray, judged: np.ndarray, total: int) -> np.ndarray:
    """Two classes of each image (N,) => the number of images for each pair of them: int64 (total, total).

    A row is a class that was asked for, a column the one that the judge sees.
    """
    return np.bincount(asked * total + judged, minlength=total * total).reshape(total, total)


def agreement(confused: np.ndarray) -> float:
    """The share of the images on the diagonal of a `confusion`."""
    return float(np.trace(confused) / max(confused.sum(), 1))


def compare(
    generated: np.ndarray, asked: np.ndarray, real: np.ndarray, labels: np.ndarray, total: int
) -> list[OfClass]:
    """Compare the features of each class: generated (N, d) of the classes `asked`, real (M, d) with `labels`.

    Both sides have equally many features, because the Fréchet distance has a bias that depends on their number. Here
    `real` are held-out images, so a perfect generator has a distance above zero, too.
    """
    classes = []
    for index in range(total):
        sides = generated[asked == index], real[labels == index]
        count = min(map(len, sides))
        a, b = (side[:count] for side in sides)
        if count < FEWEST:
            classes.append(OfClass(count, None, None, None))
            continue
        values = prdc.compute(a, b)
        classes.append(
            OfClass(count, frechet_distance(gaussian(a), gaussian(b)), values["precision"], values["recall"])
        )
    return classes


def means(classes: list[OfClass]) -> dict[str, float]:
    """The means over the compared classes, all with the same weight; empty if no class was compared."""
    compared = [one for one in classes if one.fid is not None]
    if not compared:
        return {}
    names = ("fid", "precision", "recall")
    return {f"class_{name}": float(np.mean([getattr(one, name) for one in compared])) for name in names}
