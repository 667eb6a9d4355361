"""Statistics of images and of features that come batch by batch."""

import numpy as np

from stages import copies
from stages.metrics.checkerboard import power
from stages.metrics.frechet import Gaussian, Moments
from stages.metrics.ms_ssim import ms_ssim
from stages.metrics.prdc import DENSITY_K
from stages.metrics.swd import Patches
from stages.reference import Reference

SWD_SEED = 0
"""Decides the places of the patches and the directions of the sliced Wasserstein distance."""
MAX_COMPARED = 10_000
"""At most this many features of each side (generated, real) are compared pairwise. The cost grows with the square."""
MIN_COMPARED = DENSITY_K + 1
"""A pairwise comparison needs at least this many features of each side."""
MAX_SEARCHED = 1000
"""The sources of copies are searched for at most this many images of each side."""


class ImageStatistics:
    """Statistics of the first `count` images of a shape (H, W, C). They need no network."""

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        self._count, self._added = count, 0
        self._patches = Patches(count, shape, SWD_SEED)
        self._similarities: list[np.ndarray] = []
        self._views: list[copies.Views] = []
        self.power: np.ndarray = np.zeros(shape[:2])
        """The sum of the images' power spectra, float64 (H, W)."""

    def add(self, images: np.ndarray) -> None:
        """Add a batch, float32 NHWC in [-1,1]. Images after the first `count` are ignored."""
        images = images[: self._count - self._added]
        self._patches.add(images)
        self.power += power(images)
        pairs = len(images) // 2
        self._similarities.append(ms_ssim(images[:pairs], images[pairs : 2 * pairs]))
        self._views.append(copies.views(images[: max(MAX_SEARCHED - self._added, 0)]))
        self._added += len(images)

    def descriptors(self) -> dict[int, np.ndarray]:
        """Patches of each level of the Laplacian pyramid, for the sliced Wasserstein distance. Call it once."""
        return self._patches.descriptors()

    @property
    def similarities(self) -> np.ndarray:
        """MS-SSIM of disjoint pairs of images, float64 (pairs,)."""
        return np.concatenate(self._similarities)

    @property
    def views(self) -> copies.Views:
        """Views of the first images, at most 1,000, for the search of the training images that they copy."""
        return copies.joined(self._views)


class FeatureStatistics:
    """Statistics of the samples' features, the first features themselves, and real features to compare them with."""

    def __init__(self, reference: Reference) -> None:
        dimensions = len(reference.train.mean)
        self.reference = reference
        self._halves = Moments(dimensions), Moments(dimensions)
        self._first: list[np.ndarray] = []
        self._kept = 0

    def add(self, features: np.ndarray) -> None:
        """Add a batch (N, d)."""
        for half, part in zip(self._halves, np.array_split(features, 2), strict=True):
            if len(part):
                half.add(part)
        if self._kept < MAX_COMPARED:
            self._first.append(features[: MAX_COMPARED - self._kept].copy())
            self._kept += len(self._first[-1])

    @property
    def count(self) -> int:
        """The number of features added."""
        return sum(half.count for half in self._halves)

    @property
    def first(self) -> np.ndarray:
        """The first features, at most 10,000: (N, d)."""
        return np.concatenate(self._first)

    @property
    def floor(self) -> np.ndarray:
        """The held-out real features for `fid_floor`, (N, d): at most as many as samples."""
        return self.reference.held_out[: self.count]

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The first generated and held-out real features, (N, d) each, for pairwise comparisons.

        N is at most 10,000, and 0 if one side has fewer than 6.
        """
        generated, real = self.first, self.reference.held_out
        count = min(len(generated), len(real))
        count = count if count >= MIN_COMPARED else 0
        return generated[:count], real[:count]

    @property
    def halves(self) -> tuple[Gaussian, Gaussian]:
        """Mean and covariance of each half of the features."""
        return self._halves[0].gaussian(), self._halves[1].gaussian()

    @property
    def whole(self) -> Gaussian:
        """Mean and covariance of all features."""
        whole = Moments(len(self.reference.train.mean))
        for half in self._halves:
            whole.merge(half)
        return whole.gaussian()
