"""The latent space: z by seed, ways and sums of z, directions to move it along, and images from it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import keras
import numpy as np
import tensorflow as tf

from stages.errors import StageError
from stages.networks import saving
from stages.pixels import batch_size_for
from stages.progress import Progress

# The z whose mean stands for a class: many, of seeds that nothing else draws from.
_MEANS_OF = range(2 << 40, (2 << 40) + 10_000)
# Radford et al. 2016 (arXiv:1511.06434, figure 7) show a sum with uniform noise of ± 0.25 around it.
_NOISE = 0.25


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


def resized(z: np.ndarray, of: int = 3) -> np.ndarray:
    """z (N, dimensions) at the length that the mean of `of` z has: √(dimensions / of).

    A sum of means may be of any length, and near 0 a generator gives gray averages. Radford et al. 2016
    (arXiv:1511.06434, section 6.3.2) calculate with means of three samples.
    """
    return z * (np.sqrt(z.shape[1] / of) / np.linalg.norm(z, axis=1, keepdims=True))


def near(z: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """`count` z close to z (dimensions,): float32 (count, dimensions), up to ± 0.25 away in each."""
    return generator.uniform(-_NOISE, _NOISE, (count, len(z))).astype(np.float32) + z


def directions(model: keras.Model, count: int) -> np.ndarray:
    """The directions of z that the generator's first layer answers most to: float32 (count, dimensions).

    Unit vectors, at right angles to each other, the strongest first; fewer where z has fewer dimensions. They are the
    right singular vectors of the layer's matrix, the factor of the batch norm after it included (Shen, Zhou 2021,
    arXiv:2007.06600); for z ~ N(0, 1) they are the principal components of what the layer gives (Härkönen et al. 2020,
    arXiv:2004.02546). Of the two signs each has the one with which its largest component is positive.
    """
    at = next(i for i, layer in enumerate(model.layers) if layer.weights)
    kernel = np.asarray(model.layers[at].kernel, np.float64)
    matrix = kernel.T if kernel.ndim == 2 else kernel  # (…, units, dimensions)
    norm = model.layers[at + 1]
    if isinstance(norm, keras.layers.BatchNormalization):
        factor = np.asarray(norm.gamma, np.float64) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
        matrix = matrix * factor[:, None]
    matrix = matrix.reshape(-1, matrix.shape[-1])
    _, vectors = np.linalg.eigh(matrix.T @ matrix)  # of ascending eigenvalues, in columns
    found = vectors.T[::-1][:count]
    largest = np.take_along_axis(found, np.abs(found).argmax(1)[:, None], axis=1)
    return (found * np.sign(largest)).astype(np.float32)


class Sampler:
    """A generator at work, in inference mode: one z gives what it gives in any batch."""

    def __init__(self, model: keras.Model) -> None:
        self.dimensions = int(model.input_shape[-1])
        self.shape: tuple[int, int, int] = tuple(model.output_shape[1:])
        self._batch = batch_size_for(self.shape)
        self._infer = tf.function(lambda z: model(z, training=False), reduce_retracing=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The generator in a .keras file, at work. Raises StageError naming a file that holds none."""
        model = saving.load(path)
        shapes = [value.shape for value in (*model.inputs, *model.outputs)]
        if [len(shape) for shape in shapes] != [2, 4]:
            told = ", ".join(str(shape[1:]) for shape in shapes)
            raise StageError(f"{path}: no generator: expected one that makes z (d,) into images (H, W, C), got {told}")
        return cls(model)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """z float32 (N, dimensions) => images float32 (N, H, W, C) in [-1,1], worked out in batches."""
        parts = [z[i : i + self._batch] for i in range(0, len(z), self._batch)]
        return np.concatenate([self._infer(tf.constant(part)).numpy() for part in parts])

    def of(self, seeds: Sequence[int]) -> Iterator[np.ndarray]:
        """The images of these seeds, in batches (pixels.batch_size_for): float32 (N, H, W, C) in [-1,1]."""
        for first in range(0, len(seeds), self._batch):
            yield self(latent(seeds[first : first + self._batch], self.dimensions))

    def class_means(self, classes_of: Callable[[np.ndarray], np.ndarray], total: int) -> np.ndarray:
        """The mean z of each class, by 10,000 fixed seeds: float32 (total, dimensions), NaN for a class none fell into.

        `classes_of` says of images (N, H, W, C) which of `total` classes each is: (N,).
        """
        found = []
        with Progress("mean z of each class", len(_MEANS_OF), "samples") as progress:
            for images in self.of(_MEANS_OF):
                found.append(classes_of(images))
                progress.advance(len(images))
        return class_means(latent(_MEANS_OF, self.dimensions), np.concatenate(found), total)
