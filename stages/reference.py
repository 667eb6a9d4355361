"""The reference: statistics and features of the real data, computed once and read by every later stage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages import artifacts
from stages.metrics.frechet import Gaussian


@dataclass(frozen=True)
class Reference:
    """Real data in the feature space of a network: 64 features of the judge, or 2048 of Inception.

    `train`: mean and covariance of the training images' features. `held_out`: features of the first test images,
    float32 (N, d), on which no network was trained.
    """

    train: Gaussian
    held_out: np.ndarray


def save(path: Path, reference: Reference | None) -> None:
    """Write a reference as .npz; None writes an empty reference, for data without a judge.

    The same arrays give the same bytes: NumPy writes no dates.
    """
    arrays: dict[str, Any] = {}
    if reference is not None:
        arrays = {
            "mean": reference.train.mean,
            "covariance": reference.train.covariance,
            "held_out": reference.held_out,
        }
    np.savez(path, measured=np.array(reference is not None), **arrays)


def load(path: Path) -> Reference | None:
    """Read a reference; None if it is empty. Raises StageError, naming the file, if it is missing or damaged."""
    (measured,) = artifacts.read_arrays(path, "measured")
    if not measured:
        return None
    mean, covariance, held_out = artifacts.read_arrays(path, "mean", "covariance", "held_out")
    return Reference(Gaussian(mean, covariance), held_out)
