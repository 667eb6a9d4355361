"""Fréchet distance between two sets of features (Heusel et al. 2017, arXiv:1706.08500, equation 6)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Gaussian:
    """Mean (d,) and covariance (d, d) of a set of features, in float64."""

    mean: np.ndarray
    covariance: np.ndarray


class Moments:
    """Mean and covariance of features (N, d) that come batch by batch. Holds d × d float64 for any N.

    It joins batches by their means and their scatter Σ(x − μ)(x − μ)ᵀ: Chan, Golub, LeVeque 1979, "Updating Formulae
    and a Pairwise Algorithm for Computing Sample Variances" (STAN-CS-79-773), equation 2.1, here for all pairs of
    features. A sum of squares would lose the covariance of features whose mean is far from zero.
    """

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self._mean = np.zeros(dimensions)
        self._scatter = np.zeros((dimensions, dimensions))

    def add(self, features: np.ndarray) -> None:
        """Add features (N, d), N at least 1."""
        features = features.astype(np.float64)
        mean = features.mean(0)
        features -= mean
        self._join(len(features), mean, features.T @ features)

    def merge(self, other: "Moments") -> None:
        """Add all features of another `Moments`."""
        self._join(other.count, other._mean, other._scatter)

    def _join(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        if total == 0:
            return
        difference = mean - self._mean
        self._mean += difference * (count / total)
        self._scatter += scatter
        self._scatter += np.outer(difference, difference * (self.count * count / total))
        self.count = total

    def gaussian(self) -> Gaussian:
        """Mean and unbiased covariance of all features added. Raises ValueError for fewer than 2."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 features, got {self.count}")
        return Gaussian(self._mean.copy(), self._scatter / (self.count - 1))


def gaussian(features: np.ndarray) -> Gaussian:
    """Features (N, d) => their mean and unbiased covariance, in float64. Raises ValueError for N below 2."""
    moments = Moments(features.shape[1])
    moments.add(features)
    return moments.gaussian()


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|μa − μb|² + tr(Σa + Σb − 2(ΣaΣb)^½), never negative.

    The trace of the root comes from the eigenvalues of Σa^½ Σb Σa^½. That matrix is symmetric, so the result stays real
    even for a singular covariance (a dead feature).
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ b.covariance @ root).clip(0)).sum()
    distance = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross
    return float(max(distance, 0.0))
