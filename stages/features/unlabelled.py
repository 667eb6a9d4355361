"""Train the judge of data without labels: features from two views of each picture, and clusters instead of classes."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from stages import manifest, records
from stages.features import barlow_twins, measuring
from stages.features.clusters import cluster
from stages.features.settings import Settings
from stages.features.training import check_batch_size, finite
from stages.features.views import view
from stages.manifest import Manifest
from stages.networks.judge import judge
from stages.networks.layers import BATCH_NORM_MOMENTUM, Initializers
from stages.progress import Progress

# The dimensions of the embeddings that the loss compares.
_EMBEDDING = 256
# Batches of unchanged pictures that set the statistics of the batch norms after the training, which sees only views.
_CALIBRATION = 50
# Training pictures whose features decide the balance and the clusters.
_PICTURES = 10_000
_SHRINKAGE = 0.8  # chosen among 0.03 to 1: docs/metrics.md has the measurements
_CONSTANT = 1e-6  # a feature of a lower standard deviation is constant


def train_judge(folder: Path, data: Manifest, settings: Settings) -> tuple[keras.Model, np.ndarray]:
    """Train a judge on the pictures of the training split alone. Returns it with the shares of its clusters (K,).

    It is the network of the judge with labels up to the features, which are then balanced: without that, a few
    directions would decide every distance. `settings.images` counts both views of a picture, so that the training takes
    about as long. The "classes" are clusters of the first 10,000 training pictures by their features before balancing,
    which would hide the groups. The same arguments give the same weights. Raises StageError if the data has fewer
    pictures than a batch.
    """
    check_batch_size(data, settings)
    network = judge(data.shape[:2], data.shape[2], 1, base_channels=settings.base_channels, seed=settings.seed)
    encoder = keras.Model(network.input, network.outputs[1])
    _train(encoder, folder, data, settings)
    _calibrate(encoder, folder, data, settings)
    features = _features(encoder, folder, data)
    scale = deviations(features)
    centres, shares = cluster(features / scale, settings.seed)
    return _judge(encoder, balance(features), nearest(centres, scale)), shares


def _train(encoder: keras.Model, folder: Path, data: Manifest, settings: Settings) -> None:
    """Train the encoder under a projector with one hidden layer, which is then dropped."""
    init = Initializers(settings.seed + 1)
    x = layers.Dense(_EMBEDDING, use_bias=False, kernel_initializer=init.he(), name="project_1")(encoder.output)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="project_norm")(x)
    x = layers.ReLU(name="project_relu")(x)
    x = layers.Dense(_EMBEDDING, kernel_initializer=init.he(), name="project_2")(x)
    steps = max(1, settings.images // (2 * settings.batch_size))
    step = _train_step(keras.Model(encoder.input, x), settings, steps)
    files = manifest.verified_shards(folder, data, "train")
    batches = records.shuffled(files, data, settings.batch_size, settings.seed).take(steps)
    with Progress("train the judge without labels", steps * settings.batch_size, "pictures") as progress:
        for number, (images, _) in enumerate(batches):
            loss = step(images, tf.constant(number))
            progress.advance(settings.batch_size, f"loss {float(loss):.1f}" if number % 50 == 0 else "")


def _train_step(model: keras.Model, settings: Settings, steps: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function that trains the model on a batch of images and its number, and returns the loss."""
    variables = model.trainable_variables
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps))
    optimizer.build(variables)

    @tf.function
    def step(images: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        views = [view(images, settings.seed, 2 * number + which) for which in range(2)]
        with tf.GradientTape() as tape:
            loss = barlow_twins.loss(*tf.split(model(tf.concat(views, 0), training=True), 2))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step


def _calibrate(encoder: keras.Model, folder: Path, data: Manifest, settings: Settings) -> None:
    """Move the running statistics of the batch norms to those of unchanged pictures."""
    forward = tf.function(lambda images: encoder(images, training=True), reduce_retracing=True)
    for images, _ in records.batches(folder, data, "train", settings.batch_size).repeat().take(_CALIBRATION):
        forward(images)


def _features(encoder: keras.Model, folder: Path, data: Manifest) -> np.ndarray:
    """Features of the first training pictures, a random choice because the prepare stage shuffles: float32 (N, d)."""
    infer = tf.function(lambda images: encoder(images, training=False), reduce_retracing=True)
    count = min(_PICTURES, data.splits["train"].records)
    parts = measuring.features(folder, data, "train", count, lambda images: infer(tf.constant(images)).numpy())
    return finite(np.concatenate(list(parts))[:count])


def deviations(features: np.ndarray) -> np.ndarray:
    """The standard deviations of features (N, d), float64 (d,); 1 for a constant feature."""
    values = features.std(0, dtype=np.float64)
    values[values < _CONSTANT] = 1.0
    return values


def balance(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, d) => a kernel (d, d) and a bias (d,) that standardise them and make their directions more equal.

    They whiten by the correlation matrix after it was shrunk towards the identity, the estimator of Ledoit, Wolf 2004
    (J. Multivar. Anal. 88(2)) with a fixed weight: a direction of variance v, 1 on average, gets the variance
    v / (0.2 v + 0.8). Full whitening would let directions of little variance decide as much as the others. The sign of
    each direction is chosen so that its largest component is positive, whatever the linear algebra library returns.
    """
    features, scale = features.astype(np.float64), deviations(features)
    covariance = np.cov(features / scale, rowvar=False, bias=True)
    values, vectors = np.linalg.eigh((1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.eye(len(scale)))
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], axis=0)
    kernel = vectors * np.sign(largest) / np.sqrt(values) / scale[:, None]
    return kernel, -features.mean(0) @ kernel


def nearest(centres: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A kernel (d, K) and a bias (K,) whose largest output is that of the centre (K, d) nearest to f / scale (d,).

    |x − c|² is smallest where 2 x·c − |c|² is largest.
    """
    return (2 * centres / scale).T, -(centres**2).sum(1)


def _judge(
    encoder: keras.Model, balanced: tuple[np.ndarray, np.ndarray], clusters: tuple[np.ndarray, np.ndarray]
) -> keras.Model:
    """The encoder's features through two linear layers, given by kernel and bias: images => logits and features."""
    linear = {
        name: layers.Dense(kernel.shape[1], name=name)
        for name, (kernel, _) in {"clusters": clusters, "balanced": balanced}.items()
    }
    logits, features = (layer(encoder.output) for layer in linear.values())
    linear["balanced"].set_weights(balanced)
    linear["clusters"].set_weights(clusters)
    return keras.Model(encoder.input, [logits, features], name="judge")
