"""The reference: what real data looks like in a network's features, kept so that no later stage computes it again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages import artifacts
from stages.metrics.frechet import Gaussian


@dataclass(frozen=True)
class Reference:
    """Real data in the features of a network: the judge's 64, or Inception's 2048.

    `train`: mean and covariance of the training images' features. `held_out`: features of the first test images,
    float32 (N, d), which no network was trained on.
    """

    train: Gaussian
    held_out: np.ndarray


def save(path: Path, reference: Reference | None) -> None:
    """Write a reference as .npz (NumPy gives its members no date: the same arrays, the same bytes). None: no judge."""
    arrays: dict[str, Any] = {}
    if reference is not None:
        arrays = {
            "mean": reference.train.mean,
            "covariance": reference.train.covariance,
            "held_out": reference.held_out,
        }
    np.savez(path, measured=np.array(reference is not None), **arrays)


def load(path: Path) -> Reference | None:
    """Read a reference; None where there was no network. Raises StageError naming the file missing or damaged."""
    (measured,) = artifacts.read_arrays(path, "measured")
    if not measured:
        return None
    mean, covariance, held_out = artifacts.read_arrays(path, "mean", "covariance", "held_out")
    return Reference(Gaussian(mean, covariance), held_out)
