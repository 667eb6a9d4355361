"""Sliced Wasserstein distance between Laplacian pyramids of two sets of images: no network, no labels.

Karras et al. 2018 (arXiv:1710.10196), section 5 and appendix: patches of 7 × 7 pixels from every level of the pyramid
are points of a space of 49 dimensions per channel; in a random direction of it the Wasserstein distance between two
sets of points is the mean distance between their sorted projections. The level of 16 × 16 pixels compares what is large
in an image, the finest one its texture.
"""

import cv2
import numpy as np

PATCH = 7
COARSEST = 16
DIRECTIONS = 512
# The paper takes 128 patches of each of 16,384 images. Patches of one image say much the same, so a set of many images
# needs few of each. On 5,000 images of Fashion-MNIST 2^16 patches in all gave the distances that 64 of each gave (to
# blurred images 51.6 and 51.5, to noisy ones 11.2 and 11.0; over seeds ± 3 %, either way, for the random directions).
_PATCHES_PER_IMAGE = 128
_PATCHES = 1 << 16
_BLOCK = 64  # directions at a time


class Patches:
    """Descriptors of `count` images of one shape (size, size, C) that come batch by batch.

    Holds 13 MB a level and channel at most, for any number of images up to 65,536. Raises ValueError for no images and
    for a size that is no power of two from 16 up.
    """

    def __init__(self, count: int, shape: tuple[int, int, int], seed: int) -> None:
        height, size, channels = shape
        if height != size or size < COARSEST or size & (size - 1):
            raise ValueError(f"expected square images of a power of two from {COARSEST} up, got {height} × {size}")
        if count < 1:
            raise ValueError("expected images, got none")
        per_image = max(1, min(_PATCHES_PER_IMAGE, _PATCHES // count))
        self._count, self._added = count, 0
        self._values: list[np.ndarray] = []
        self._corners: list[np.ndarray] = []
        for level in range(size.bit_length() - COARSEST.bit_length() + 1):
            generator = np.random.default_rng([seed, level])
            self._corners.append(generator.integers(0, (size >> level) - PATCH + 1, (count, 2, per_image, 1)))
            self._values.append(np.empty((count, per_image, PATCH, PATCH, channels), np.float32))

    def add(self, images: np.ndarray) -> None:
        """Take the patches of images float32 NHWC in [-1,1]; what comes after `count` images is left."""
        window = np.arange(PATCH)
        for image in images[: self._count - self._added]:
            planes = _laplacian(image, len(self._values))
            for plane, values, corners in zip(planes, self._values, self._corners, strict=True):
                y, x = corners[self._added] + window
                values[self._added] = plane[y[:, :, None], x[:, None]]
            self._added += 1

    def descriptors(self) -> list[np.ndarray]:
        """What `descriptors` gives for the same images. Ends the collecting; raises ValueError for fewer than said."""
        if self._added < self._count:
            raise ValueError(f"expected {self._count} images, got {self._added}")
        levels, self._values = self._values, []
        return [_normalised(values.reshape(-1, PATCH * PATCH, values.shape[-1])) for values in levels]


def descriptors(images: np.ndarray, seed: int) -> list[np.ndarray]:
    """Images float32 NHWC in [-1,1] => a float32 array (patches, 49 C) for each level, the finest first.

    The levels go from the images' own size, a power of two from 16 up, down to 16 × 16. The patches lie at places that
    `seed` and the number of images decide; each channel of a level has mean 0 and variance 1 over the set, as in the
    paper (a channel that is the same everywhere is 0). Raises ValueError for no images or for another size. Images that
    do not fit in memory together go through `Patches`.
    """
    patches = Patches(len(images), images.shape[1:], seed)
    patches.add(images)
    return patches.descriptors()


def _laplacian(image: np.ndarray, levels: int) -> list[np.ndarray]:
    """An image (H, W, C) => its Laplacian pyramid (Burt, Adelson 1983), the finest level first, the rest last."""
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
        if deviation > 1e-6:  # less is rounding, not texture
            values /= deviation
        else:
            values[:] = 0
    return patches.reshape(len(patches), -1)


def sliced_wasserstein(a: list[np.ndarray], b: list[np.ndarray], seed: int) -> dict[str, float]:
    """The distance between two sets' descriptors in each level, `swd_16` and so on, and `swd`, the levels' mean.

    In units of 10^-3, as the paper prints it; over 512 directions that `seed` decides. Two sets of real images are not
    at 0 but at a floor that falls with their number, so compare sets of one size only. Holds 34 MB besides. Raises
    ValueError where the sets are not of one size and shape.
    """
    shapes = [level.shape for level in a], [level.shape for level in b]
    if shapes[0] != shapes[1]:
        raise ValueError(f"expected descriptors of as many images of one shape, got {shapes[0]} and {shapes[1]}")
    distances = {}
    for level, (points, others) in enumerate(zip(a, b, strict=True)):
        directions = np.random.default_rng([seed, level]).standard_normal((DIRECTIONS, points.shape[1]), np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        total = 0.0
        for first in range(0, DIRECTIONS, _BLOCK):
            some = directions[first : first + _BLOCK]
            projected, against = some @ points.T, some @ others.T
            projected.sort(axis=1)
            against.sort(axis=1)
            projected -= against
            total += float(np.abs(projected, out=projected).mean(axis=1, dtype=np.float64).sum())
        distances[f"swd_{COARSEST << (len(a) - 1 - level)}"] = 1000 * total / DIRECTIONS
    return {"swd": sum(distances.values()) / len(distances), **distances}
