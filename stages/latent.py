"""The latent space: z by seed, the way between two z, and images from them."""

from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from stages.images import batch_of


def latent(seeds: Iterable[int], dimensions: int) -> np.ndarray:
    """One z per seed: float32 (N, dimensions) from N(0, 1). A seed's z does not depend on its neighbours."""
    return np.stack(
        [np.random.Generator(np.random.PCG64(int(seed))).standard_normal(dimensions, np.float32) for seed in seeds]
    )


def slerp(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Spherical interpolation, ends included: (dimensions,) twice => (steps, dimensions).

    White 2016 (arXiv:1609.04468): the straight line between two normal z passes through lengths that z never has. Falls
    back to the straight line where the two point the same way.
    """
    cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(np.clip(cosine, -1, 1))
    t = np.linspace(0, 1, steps)[:, None]
    if np.sin(angle) < 1e-6:
        return ((1 - t) * start + t * end).astype(np.float32)
    return ((np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)).astype(np.float32)


def class_means(z: np.ndarray, classes: np.ndarray, total: int) -> np.ndarray:
    """The mean z of each of `total` classes: z (N, dimensions) and classes (N,) => (total, dimensions).

    NaN for a class that no z has.
    """
    means = np.full((total, z.shape[1]), np.nan, np.float32)
    for index in np.unique(classes):
        means[index] = z[classes == index].mean(0)
    return means


def resized(z: np.ndarray) -> np.ndarray:
    """z (N, dimensions) at the length that the mean of three z has: √(dimensions / 3).

    A sum of means may be of any length, and near 0 a generator gives gray averages. Radford et al. 2016
    (arXiv:1511.06434, section 6.3.2) calculate with means of three samples.
    """
    return z * (np.sqrt(z.shape[1] / 3) / np.linalg.norm(z, axis=1, keepdims=True))


class Sampler:
    """A generator at work, in inference mode: one z gives what it gives in any batch."""

    def __init__(self, model: keras.Model) -> None:
        self.dimensions = int(model.input_shape[-1])
        self.shape: tuple[int, int, int] = tuple(model.output_shape[1:])
        self._batch = batch_of(self.shape)
        self._infer = tf.function(lambda z: model(z, training=False), reduce_retracing=True)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """z float32 (N, dimensions) => images float32 (N, H, W, C) in [-1,1], worked out in batches."""
        parts = [z[i : i + self._batch] for i in range(0, len(z), self._batch)]
        return np.concatenate([self._infer(tf.constant(part)).numpy() for part in parts])

    def of(self, seeds: Sequence[int]) -> Iterator[np.ndarray]:
        """The images of these seeds, in batches (images.batch_of): float32 (N, H, W, C) in [-1,1]."""
        for first in range(0, len(seeds), self._batch):
            yield self(latent(seeds[first : first + self._batch], self.dimensions))
