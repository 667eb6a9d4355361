"""Sliced Wasserstein distance between Laplacian pyramids of two sets of images: no network, no labels.

Karras et al. 2018 (arXiv:1710.10196), section 5 and appendix: patches of 7 × 7 pixels from every level of the pyramid
are points in a space of 49 dimensions per channel. Along a random direction, the Wasserstein distance between two sets
of points is the mean distance between their sorted projections. The coarsest level, whose shorter side has
16 to 31 pixels, compares the structure of the images, the finest level their texture.
"""

import cv2
import numpy as np

from stages import sizes

PATCH = 7
COARSEST = 16
DIRECTIONS = 512
# The paper takes 128 patches of each of 16,384 images. Patches of one image resemble each other, so a large set needs
# few of each image. For 5,000 images of Fashion-MNIST, 2^16 patches in all gave the same distances as 64 per image (to
# blurred images 51.6 and 51.5, to noisy ones 11.2 and 11.0; the random directions vary both by ± 3 % between seeds).
_PATCHES_PER_IMAGE = 128
_PATCHES = 1 << 16
_BLOCK = 64  # directions at a time


class Patches:
    """Descriptors of `count` images of one shape (H, W, C) that come batch by batch.

    Holds at most 13 MB per level and channel for up to 65,536 images. Raises ValueError for a count of zero, and for a
    size that stages/sizes.py does not allow.
    """

    def __init__(self, count: int, shape: tuple[int, int, int], seed: int) -> None:
        height, width, channels = shape
        sizes.doublings((height, width))
        if count < 1:
            raise ValueError("expected images, got none")
        per_image = max(1, min(_PATCHES_PER_IMAGE, _PATCHES // count))
        self._count, self._added = count, 0
        self._values: dict[int, np.ndarray] = {}
        self._corners: list[np.ndarray] = []
        while min(height, width) >= COARSEST:
            generator = np.random.default_rng([seed, len(self._corners)])
            ends = np.array([height, width]).reshape(2, 1, 1) - PATCH + 1
            self._corners.append(generator.integers(0, ends, (count, 2, per_image, 1)))
            self._values[min(height, width)] = np.empty((count, per_image, PATCH, PATCH, channels), np.float32)
            height, width = height // 2, width // 2

    def add(self, images: np.ndarray) -> None:
        """Add the patches of images float32 NHWC in [-1,1]. Images after the first `count` are ignored."""
        window = np.arange(PATCH)
        for image in images[: self._count - self._added]:
            planes = _laplacian(image, len(self._values))
            for plane, values, corners in zip(planes, self._values.values(), self._corners, strict=True):
                y, x = corners[self._added] + window
                values[self._added] = plane[y[:, :, None], x[:, None]]
            self._added += 1

    def descriptors(self) -> dict[int, np.ndarray]:
        """The descriptors of all images, by the level's shorter side, the finest first. Call it once, at the end.

        Raises ValueError for fewer than `count` images.
        """
        if self._added < self._count:
            raise ValueError(f"expected {self._count} images, got {self._added}")
        levels, self._values = self._values, {}
        return {
            side: _normalised(values.reshape(-1, PATCH * PATCH, values.shape[-1])) for side, values in levels.items()
        }


def descriptors(images: np.ndarray, seed: int) -> dict[int, np.ndarray]:
    """Images float32 NHWC in [-1,1] => a float32 array (patches, 49 C) for each level, by its shorter side.

    Each level has half the sides of the one before, as long as the shorter side has 16 pixels or more. `seed` and the
    number of images decide the places of the patches. Each channel of a level has mean 0 and variance 1 over the set,
    as in the paper (a constant channel is 0). Raises ValueError for no images and for sizes that stages/sizes.py does
    not allow. Use `Patches` for images that do not fit in memory together.
    """
    patches = Patches(len(images), images.shape[1:], seed)
    patches.add(images)
    return patches.descriptors()


def _laplacian(image: np.ndarray, levels: int) -> list[np.ndarray]:
    """An image (H, W, C) => its Laplacian pyramid (Burt, Adelson 1983), finest level first, the residual last."""
    pyramid = [image]
    for _ in range(levels - 1):
        coarse = cv2.pyrDown(pyramid[-1]).reshape(pyramid[-1].shape[0] // 2, -1, image.shape[2])
        pyramid[-1] = pyramid[-1] - cv2.pyrUp(coarse).reshape(pyramid[-1].shape)
        pyramid.append(coarse)
    return pyramid


def _normalised(patches: np.ndarray) -> np.ndarray:
    """Patches (N, 49, C) => the same array as (N, 49 C), with mean 0 and variance 1 over the set in each channel."""
    for channel in range(patches.shape[2]):
        values = patches[..., channel]
        values -= values.mean(dtype=np.float64)
        deviation = values.std(dtype=np.float64)
        if deviation > 1e-6:  # below this it is rounding, not texture
            values /= deviation
        else:
            values[:] = 0
    return patches.reshape(len(patches), -1)


def sliced_wasserstein(a: dict[int, np.ndarray], b: dict[int, np.ndarray], seed: int) -> dict[str, float]:
    """The distance between two sets' descriptors at each level (`swd_16` and so on), and `swd`, the mean of the levels.

    It is in units of 10^-3, as in the paper, over 512 directions that `seed` decides. Two sets of real images are at a
    floor above 0 that falls with their number, so compare sets of equal size. Needs 34 MB of working memory. Raises
    ValueError for sets of different sizes or shapes.
    """
    shapes = [{side: level.shape for side, level in levels.items()} for levels in (a, b)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"expected descriptors of equally many images of one shape, got {shapes[0]} and {shapes[1]}")
    distances = {}
    for level, (side, points) in enumerate(a.items()):
        directions = np.random.default_rng([seed, level]).standard_normal((DIRECTIONS, points.shape[1]), np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        total = 0.0
        for first in range(0, DIRECTIONS, _BLOCK):
            block = directions[first : first + _BLOCK]
            projected, other_projected = block @ points.T, block @ b[side].T
            projected.sort(axis=1)
            other_projected.sort(axis=1)
            projected -= other_projected
            total += float(np.abs(projected, out=projected).mean(axis=1, dtype=np.float64).sum())
        distances[f"swd_{side}"] = 1000 * total / DIRECTIONS
    return {"swd": sum(distances.values()) / len(distances), **distances}
