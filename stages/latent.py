"""The latent space: z from seeds, interpolation and arithmetic, semantic directions, and images from z."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import keras
import numpy as np
import tensorflow as tf

from stages.classes import Choice, Classes
from stages.errors import StageError
from stages.networks import saving
from stages.networks.generator import EMBEDDING
from stages.pixels import batch_size_for
from stages.progress import Progress

# The seeds of the z whose means stand for the classes. Nothing else uses these seeds.
_CLASS_MEAN_SEEDS = range(2 << 40, (2 << 40) + 10_000)
# Radford et al. 2016 (arXiv:1511.06434, figure 7) add uniform noise of ± 0.25 to a sum.
_NOISE = 0.25


def latent(seeds: Iterable[int], dimensions: int) -> np.ndarray:
    """One z per seed: float32 (N, dimensions) from N(0, 1). A seed's z does not depend on the other seeds."""
    return np.stack(
        [np.random.Generator(np.random.PCG64(int(seed))).standard_normal(dimensions, np.float32) for seed in seeds]
    )


def slerp(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Spherical interpolation from `start` to `end`, both included: (dimensions,) twice => (steps, dimensions).

    The straight line between two normal z passes through norms that z never has (White 2016, arXiv:1609.04468). It is
    still the result for parallel vectors.
    """
    cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(np.clip(cosine, -1, 1))
    t = np.linspace(0, 1, steps)[:, None]
    if np.sin(angle) < 1e-6:
        return ((1 - t) * start + t * end).astype(np.float32)
    return ((np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)).astype(np.float32)


def class_means(z: np.ndarray, classes: np.ndarray, total: int) -> np.ndarray:
    """The mean z of each of `total` classes: z (N, dimensions) and classes (N,) => (total, dimensions).

    NaN for a class without z.
    """
    means = np.full((total, z.shape[1]), np.nan, np.float32)
    for index in np.unique(classes):
        means[index] = z[classes == index].mean(0)
    return means


def rescaled(z: np.ndarray, of: int = 3) -> np.ndarray:
    """Rescale z (N, dimensions) to the norm that the mean of `of` random z has: √(dimensions / of).

    A sum of means can have any norm, and near 0 a generator makes gray averages. Radford et al. 2016
    (arXiv:1511.06434, section 6.3.2) calculate with means of three samples.
    """
    return z * (np.sqrt(z.shape[1] / of) / np.linalg.norm(z, axis=1, keepdims=True))


def near(z: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Variations of z (dimensions,): float32 (count, dimensions), up to ± 0.25 away in each dimension."""
    return generator.uniform(-_NOISE, _NOISE, (count, len(z))).astype(np.float32) + z


def directions(model: keras.Model, count: int) -> np.ndarray:
    """The directions of z that change the output of the generator's first layer most: float32 (count, dimensions).

    They are orthogonal unit vectors, the strongest first, and at most as many as z has dimensions. They are the right
    singular vectors of the layer's matrix, scaled by the batch norm after it (Shen, Zhou 2021, arXiv:2007.06600). For
    z ~ N(0, 1) these are the principal components of the layer's output (Härkönen et al. 2020, arXiv:2004.02546). The
    sign is chosen so that the largest component is positive.
    """
    first = next(layer for layer in model.layers if layer.weights and layer.name != EMBEDDING)
    kernel = np.asarray(first.kernel, np.float64)
    matrix = kernel.T if kernel.ndim == 2 else kernel  # (…, units, dimensions)
    matrix = matrix[..., : model.inputs[0].shape[-1]]  # without those of a class
    norm = next((layer for layer in model.layers[1:] if layer.input is first.output), None)
    if isinstance(norm, keras.layers.BatchNormalization):
        factor = np.asarray(norm.gamma, np.float64) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
        matrix = matrix * factor[:, None]
    matrix = matrix.reshape(-1, matrix.shape[-1])
    _, vectors = np.linalg.eigh(matrix.T @ matrix)  # in columns, by ascending eigenvalue
    strongest = vectors.T[::-1][:count]
    largest = np.take_along_axis(strongest, np.abs(strongest).argmax(1)[:, None], axis=1)
    return (strongest * np.sign(largest)).astype(np.float32)


class Sampler:
    """A generator in inference mode: the image of a z does not depend on the rest of its batch.

    `classes` are those of a conditional generator; else None.
    """

    def __init__(self, model: keras.Model, classes: Classes | None = None) -> None:
        self.dimensions = int(model.inputs[0].shape[-1])
        self.shape: tuple[int, int, int] = tuple(model.output_shape[1:])
        self.classes = classes
        self._batch = batch_size_for(self.shape)
        self._infer = tf.function(
            lambda *inputs: model(list(inputs) if classes else inputs[0], training=False), reduce_retracing=True
        )

    @classmethod
    def load(cls, path: Path, shape: tuple[int, int, int] | None = None, names: tuple[str, ...] = ()) -> Self:
        """Load the generator in a .keras file, which must make images of the data set's `shape`, if there is one.

        The classes of a conditional generator must be those of the data set, `names`, if there is one.

        Raises StageError, naming the file, if it holds anything else.
        """
        model = saving.load(path)
        shapes = [value.shape for value in (*model.inputs, *model.outputs)]
        conditional = len(model.inputs) == 2
        if [len(shape) for shape in shapes] != [2, 2, 4][not conditional :]:
            actual = ", ".join(str(shape[1:]) for shape in shapes)
            raise StageError(f"{path}: not a generator: expected z (d,) => image (H, W, C), got {actual}")
        classes = saving.classes(path) if conditional else None
        if conditional and (classes is None or classes.rows.shape[1:] != shapes[1][1:]):
            raise StageError(
                f"{path}: a conditional generator of {shapes[1][-1]} classes without their names; use the file that "
                "the train stage wrote"
            )
        sampler = cls(model, classes)
        if shape not in (None, sampler.shape):
            raise StageError(f"{path}: makes {sampler.shape} images, but the data set has {shape}; run `dvc repro`")
        if shape and classes and classes.names != names:
            theirs, ours = ", ".join(classes.names), ", ".join(names) or "none"
            raise StageError(f"{path}: its classes are {theirs}, but the data set has {ours}; run `dvc repro`")
        return sampler

    def generate(self, z: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """z float32 (N, dimensions) => images float32 (N, H, W, C) in [-1,1], in a graph and differentiable.

        `weights`: as in a call.
        """
        return self._infer(z) if weights is None else self._infer(z, weights)

    def __call__(self, z: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """z float32 (N, dimensions) => images float32 (N, H, W, C) in [-1,1], computed in batches.

        `weights`: those of the classes, float32 (N, K) with a sum of 1, or the values of the attributes, for a
        conditional generator only. Raises ValueError without them.
        """
        if (weights is None) != (self.classes is None):
            raise ValueError("weights of classes belong to a conditional generator, and to no other")
        inputs = [z] if weights is None else [z, weights]
        parts = [[array[i : i + self._batch] for array in inputs] for i in range(0, len(z), self._batch)]
        return np.concatenate([self._infer(*map(tf.constant, part)).numpy() for part in parts])

    def weights(self, seeds: Iterable[int], choice: Choice = None) -> np.ndarray | None:
        """The `weights` of a choice of classes for these seeds; None for an unconditional generator.

        Without a choice, the shares in the training data decide (Classes.of_seeds).
        """
        return None if self.classes is None else self.classes.inputs(seeds, choice)

    def images(self, seeds: Sequence[int], choice: Choice = None) -> np.ndarray:
        """The images of these seeds, all in memory: float32 (N, H, W, C) in [-1,1]. `choice` is that of `weights`."""
        return self(latent(seeds, self.dimensions), self.weights(seeds, choice))

    def batches(self, seeds: Sequence[int], choice: Choice = None) -> Iterator[np.ndarray]:
        """The images of these seeds, batch by batch (pixels.batch_size_for): float32 (N, H, W, C) in [-1,1]."""
        for first in range(0, len(seeds), self._batch):
            yield self.images(seeds[first : first + self._batch], choice)

    def class_means(self, classes_of: Callable[[np.ndarray], np.ndarray], total: int) -> np.ndarray:
        """The mean z of each of `total` classes over 10,000 fixed seeds: float32 (total, dimensions).

        `classes_of` classifies images (N, H, W, C) => (N,). The mean is NaN for a class without samples.
        """
        classes = []
        with Progress("mean z of each class", len(_CLASS_MEAN_SEEDS), "samples") as progress:
            for images in self.batches(_CLASS_MEAN_SEEDS):
                classes.append(classes_of(images))
                progress.advance(len(images))
        return class_means(latent(_CLASS_MEAN_SEEDS, self.dimensions), np.concatenate(classes), total)
