"""Inversion: the z whose sample is nearest to an image, by gradient descent in z (Lipton, Tripathi 2017,
arXiv:1702.04782).

The distance is the squared distance of the pixels plus that of the judge's features, each as a share of what two random
samples differ by. The descent starts from the nearest of many random samples. With a conditional generator, each
descent keeps the class of its start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from stages.latent import Sampler, latent
from stages.neighbours import Nearest
from stages.networks.judge import Judge
from stages.pixels import batch_size_for
from stages.progress import Progress

# Measured on the default generator (docs/metrics.md): Adam's settings, and the weight of the features.
_LEARNING_RATE, _BETA_1, _BETA_2, _EPSILON = 0.3, 0.9, 0.99, 1e-12
_FEATURE_WEIGHT = 0.1
_CANDIDATES = 2000  # random samples; the descent starts from the nearest of them
_PROBES = 1000  # random z at which the generator's sensitivity to each direction of z is measured
_SPREAD_SAMPLES = 250  # random samples that tell by how much two of them differ
_BATCH = 250  # samples that descend together, at most
_STEPS_PER_CALL = 25  # of the compiled loop; between two calls the progress is shown
_LEVELS = 127.5  # of an image in [0,255] per unit of an image in [-1,1]


@dataclass(frozen=True)
class Search:
    """How long to search: `restarts` descents of `steps` steps for each image."""

    restarts: int
    steps: int


@dataclass(frozen=True)
class Inverted:
    """The nearest samples that were found for N images.

    `z` float32 (N, dimensions) and their `samples` float32 (N, H, W, C) in [-1,1]. `pixels` (N,): the root mean square
    difference in levels of [0,255]. `features` (N,): the Euclidean distance in the judge's features; None without a
    judge. `seeds` int64 (N,): the seeds from which the descents started. They decide the class, too.
    """

    z: np.ndarray
    samples: np.ndarray
    pixels: np.ndarray
    features: np.ndarray | None
    seeds: np.ndarray


def levels(squares: np.ndarray) -> np.ndarray:
    """Mean squared differences of images in [-1,1] => root mean square differences in levels of [0,255]."""
    return _LEVELS * np.sqrt(squares)


class Inverter:
    """Finds the z whose samples are nearest to images. The same seed gives the same z.

    It calls the generator only through the sampler, and the descent only through `Sampler.generate`.
    """

    def __init__(self, sampler: Sampler, judge: Judge | None, seed: int = 0) -> None:
        self._sampler, self._judge = sampler, judge
        self._seeds = range(seed * _CANDIDATES, (seed + 1) * _CANDIDATES)
        # The length of z ~ N(0, 1) is nearly normal with a variance of 1/2. A generator has seen no longer z than this.
        self._longest = math.sqrt(sampler.dimensions) + 3 * math.sqrt(1 / 2)
        self._batch = min(_BATCH, batch_size_for(sampler.shape))
        self._scales = self._unit_scales()
        self._descend = tf.function(self._steps, reduce_retracing=True)
        self._place_in_graph = tf.function(self._place, reduce_retracing=True)
        self._axes = tf.constant(self._principal_axes(seed))

    @property
    def random_pixels(self) -> float:
        """The root mean square difference of two random samples, in levels of [0,255]."""
        scale = float(self._scales[0])
        return _LEVELS / (scale * math.sqrt(math.prod(self._sampler.shape))) if scale else 0.0

    def __call__(self, name: str, images: np.ndarray, search: Search) -> Inverted:
        """The nearest samples to images, float32 (N, H, W, C) in [-1,1]. Shows the progress under this name."""
        starts = self._starts(images, search.restarts)
        size = max(1, self._batch // search.restarts)
        parts = [slice(first, first + size) for first in range(0, len(images), size)]
        with Progress(name, len(parts) * search.steps, "steps") as progress:
            found = [self._invert(images[part], starts[part], search.steps, progress) for part in parts]
        z, seeds = (np.concatenate(values) for values in zip(*found, strict=True))
        samples = self._sampler(z, self._sampler.weights(seeds))
        features = None
        if self._judge:
            features = np.linalg.norm(self._judge(samples).features - self._judge(images).features, axis=1)
        return Inverted(z, samples, levels(np.square(samples - images).mean((1, 2, 3))), features, seeds)

    def _unit_scales(self) -> np.ndarray:
        """The factors of pixels and features that make the mean squared distance of two random samples 1: (2,).

        0 for what is the same in all samples.
        """
        sums = [[np.zeros(1), np.zeros(1)], [np.zeros(1), np.zeros(1)]]
        for images in self._sampler.batches(self._seeds[:_SPREAD_SAMPLES]):
            features = self._judge(images).features if self._judge else np.zeros((len(images), 1))
            for total, values in zip(sums, (images.reshape(len(images), -1), features), strict=True):
                total[0] = total[0] + values.sum(0, dtype=np.float64)
                total[1] = total[1] + np.square(values, dtype=np.float64).sum(0)
        squares = [2 * float((total[1] / _SPREAD_SAMPLES - (total[0] / _SPREAD_SAMPLES) ** 2).sum()) for total in sums]
        return np.array([1 / math.sqrt(square) if square > 0 else 0 for square in squares], np.float32)

    def _place(self, images: tf.Tensor) -> tf.Tensor:
        """Images (N, H, W, C) => points (N, D) whose squared distances are those that the descent minimises."""
        pixels = tf.reshape(images, [tf.shape(images)[0], math.prod(self._sampler.shape)]) * self._scales[0]
        if self._judge is None:
            return pixels
        features = self._judge.features(images) * (self._scales[1] * math.sqrt(_FEATURE_WEIGHT))
        return tf.concat([pixels, features], axis=1)

    def _principal_axes(self, seed: int) -> np.ndarray:
        """The axes of z by their effect on a sample, float32 (dimensions, dimensions), an orthonormal column each.

        They are the eigenvectors of the mean JᵀJ, where J is the derivative of a sample's point (`_place`) by z: the
        covariance of the gradients of random projections. Adam scales each coordinate on its own, so it descends faster
        along these axes.
        """

        @tf.function(reduce_retracing=True)
        def gradients(z: tf.Tensor, weights: tf.Tensor | None, first: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(z)
                points = self._place(self._sampler.generate(z, weights))
                noise = tf.random.stateless_normal(tf.shape(points), tf.stack([seed, first]))
                projection = tf.reduce_sum(points * noise)
            return tape.gradient(projection, z)

        total = np.zeros((self._sampler.dimensions, self._sampler.dimensions))
        for first in range(0, _PROBES, self._batch):
            seeds = self._seeds[first : min(first + self._batch, _PROBES)]
            z = latent(seeds, self._sampler.dimensions)
            gradient = gradients(tf.constant(z), self._weights(seeds), tf.constant(first)).numpy().astype(np.float64)
            total += gradient.T @ gradient
        return np.linalg.eigh(total)[1].astype(np.float32)

    def _weights(self, seeds: Sequence[int] | np.ndarray) -> tf.Tensor | None:
        """The classes of these seeds, for the graph."""
        weights = self._sampler.weights(seeds)
        return None if weights is None else tf.constant(weights)

    def _starts(self, images: np.ndarray, restarts: int) -> np.ndarray:
        """The seeds of the random samples nearest to each of N images, the nearest first: int64 (N, restarts)."""
        nearest = Nearest(self._points(images)[None], restarts)
        for samples in self._sampler.batches(self._seeds):
            nearest.add(self._points(samples))
        return nearest.indices + self._seeds[0]

    def _points(self, images: np.ndarray) -> np.ndarray:
        """Images => their points as an array."""
        parts = np.array_split(images, -(-len(images) // self._batch))
        return np.concatenate([self._place_in_graph(tf.constant(part)).numpy() for part in parts])

    def _invert(
        self, images: np.ndarray, starts: np.ndarray, steps: int, progress: Progress
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best z and the seed of its start for each of N images, from starts (N, restarts).

        The starts are candidates too, so a sample of one of their seeds gives exactly the z of this seed.
        """
        count, restarts = starts.shape
        targets = tf.constant(np.repeat(self._points(images), restarts, axis=0))
        start, weights = latent(starts.ravel(), self._sampler.dimensions), self._weights(starts.ravel())
        y = tf.linalg.matmul(start, self._axes)
        state = (y, tf.zeros_like(y), tf.zeros_like(y))
        for first in range(0, steps, _STEPS_PER_CALL):
            last = min(first + _STEPS_PER_CALL, steps)
            state = self._descend(*state, targets, weights, *(tf.constant(value) for value in (first, last, steps)))
            progress.advance(last - first)
        end = tf.linalg.matmul(state[0], self._axes, transpose_b=True).numpy()
        z = np.concatenate([part.reshape(count, restarts, -1) for part in (start, end)], axis=1)
        twice = np.concatenate([starts, starts], axis=1).ravel()
        samples = self._sampler(z.reshape(-1, z.shape[-1]), self._sampler.weights(twice))
        points = self._points(samples).reshape(count, 2 * restarts, -1)
        squares = np.square(points - targets.numpy().reshape(count, restarts, -1)[:, :1]).sum(2)
        best = squares.argmin(1)
        rows = np.arange(count)
        return z[rows, best], starts[rows, best % restarts]

    def _steps(
        self,
        y: tf.Tensor,
        mean: tf.Tensor,
        square: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor | None,
        first: tf.Tensor,
        last: tf.Tensor,
        steps: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Adam's steps `first` to `last` of `steps` (Kingma, Ba 2015, algorithm 1), along the principal axes.

        The learning rate falls to zero along a cosine. A z that is longer than any that training uses is shortened.
        """
        for step in tf.range(first, last):
            with tf.GradientTape() as tape:
                tape.watch(y)
                z = tf.linalg.matmul(y, self._axes, transpose_b=True)
                loss = tf.reduce_sum(tf.square(self._place(self._sampler.generate(z, weights)) - targets))
            gradient = tape.gradient(loss, y)
            # At the limit only the part along the sphere counts, or Adam would not stop at the nearest z on it.
            outward = tf.reduce_sum(gradient * y, axis=1, keepdims=True)
            length = tf.norm(y, axis=1, keepdims=True)
            stopped = tf.logical_and(outward < 0, length > 0.999 * self._longest)
            gradient -= tf.where(stopped, outward * y / self._longest**2, 0.0)
            number = tf.cast(step, tf.float32)
            mean = _BETA_1 * mean + (1 - _BETA_1) * gradient
            square = _BETA_2 * square + (1 - _BETA_2) * tf.square(gradient)
            rate = _LEARNING_RATE * (1 + tf.cos(math.pi * number / tf.cast(steps, tf.float32))) / 2
            change = (mean / (1 - _BETA_1 ** (number + 1))) / (
                tf.sqrt(square / (1 - _BETA_2 ** (number + 1))) + _EPSILON
            )
            y = tf.clip_by_norm(y - rate * change, self._longest, axes=[1])
        return y, mean, square
