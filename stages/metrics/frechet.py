"""Fréchet distance between two sets of features (Heusel et al. 2017, arXiv:1706.08500, equation 6)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Gaussian:
    """Mean (d,) and covariance (d, d) in float64 of a set of features."""

    mean: np.ndarray
    covariance: np.ndarray


def gaussian(features: np.ndarray) -> Gaussian:
    """Features (N, d) => their mean and unbiased covariance, in float64. N must be at least 2."""
    features = features.astype(np.float64)
    return Gaussian(features.mean(0), np.cov(features, rowvar=False).reshape(features.shape[1], -1))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|μa − μb|² + tr(Σa + Σb − 2(ΣaΣb)^½), never negative.

    The trace of the root comes from the eigenvalues of Σa^½ Σb Σa^½, which is symmetric: so it stays real, and a
    singular covariance (a dead feature) does no harm.
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ b.covariance @ root).clip(0)).sum()
    distance = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross
    return float(max(distance, 0.0))
