"""Train the judge and test its accuracy."""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from stages import manifest, records
from stages.errors import StageError
from stages.features.settings import Settings
from stages.manifest import Manifest
from stages.networks.judge import Judge, judge
from stages.progress import Progress

_READ_BATCH = 1000


def train_judge(folder: Path, data: Manifest, settings: Settings) -> keras.Model:
    """Train a classifier on the training split: cross-entropy, Adam, a learning rate that falls along a cosine.

    The same arguments give the same weights. Raises StageError if the data has fewer images than a batch.
    """
    if data.splits["train"].records < settings.batch_size:
        images = data.splits["train"].records
        raise StageError(f"features.batch_size: {settings.batch_size} is more than the {images} training images")
    size, _, channels = data.shape
    model = judge(size, channels, len(data.classes), base_channels=settings.base_channels, seed=settings.seed)
    steps = settings.images // settings.batch_size
    step = _train_step(model, settings.learning_rate, steps)
    files = manifest.verified_shards(folder, data, "train")
    batches = records.shuffled(files, data, settings.batch_size, settings.seed).take(steps)
    with Progress("train the judge", steps * settings.batch_size, "images") as progress:
        for done, (images, labels) in enumerate(batches, start=1):
            loss = step(images, labels)
            progress.advance(settings.batch_size, f"loss {float(loss):.3f}" if done % 50 == 0 else "")
    return model


def _train_step(model: keras.Model, learning_rate: float, steps: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function that trains the model on a batch of images and labels, and returns the loss."""
    variables = model.trainable_variables
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    optimizer.build(variables)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits, _ = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step


def accuracy(folder: Path, data: Manifest, judge: Judge) -> float:
    """The share of the test images that the judge classifies correctly."""
    correct = 0
    for images, labels in records.batches(folder, data, "test", _READ_BATCH):
        correct += int((judge(images.numpy()).classes == labels.numpy()).sum())
    return correct / data.splits["test"].records
