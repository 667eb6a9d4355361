"""The reference: what real data looks like in the judge's features, kept so that no training run computes it again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages import artifacts
from stages.metrics.frechet import Gaussian


@dataclass(frozen=True)
class Reference:
    """Real data in the judge's space.

    `train`: mean and covariance of the training images' features. `histogram`: the share of each class among the
    training labels (K,). `held_out`: features of test images, float32 (N, 64), which no network was trained on.
    """

    train: Gaussian
    histogram: np.ndarray
    held_out: np.ndarray


def save(path: Path, reference: Reference | None) -> None:
    """Write a reference as .npz (NumPy gives its members no date: the same arrays, the same bytes); None: no judge."""
    arrays: dict[str, Any] = {}
    if reference is not None:
        arrays = {
            "mean": reference.train.mean,
            "covariance": reference.train.covariance,
            "histogram": reference.histogram,
            "held_out": reference.held_out,
        }
    np.savez(path, judged=np.array(reference is not None), **arrays)


def load(path: Path) -> Reference | None:
    """Read a reference; None where there was no judge. Raises StageError naming the file that is missing or damaged."""
    (judged,) = artifacts.read_arrays(path, "judged")
    if not judged:
        return None
    mean, covariance, histogram, held_out = artifacts.read_arrays(path, "mean", "covariance", "histogram", "held_out")
    return Reference(Gaussian(mean, covariance), histogram, held_out)
