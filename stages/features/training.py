"""Train the judge, and see what it has learnt."""

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
    """A classifier of the training split: Adam along a cosine, cross-entropy. The same arguments, the same weights.

    Raises StageError where the data has fewer images than a batch.
    """
    if data.splits["train"].records < settings.batch_size:
        raise StageError(
            f"features.batch_size: {settings.batch_size} is more than the {data.splits['train'].records} images"
        )
    model = judge(
        data.shape[0],
        data.shape[2],
        len(data.classes),
        base_channels=settings.base_channels,
        seed=settings.seed,
    )
    variables = model.trainable_variables
    steps = settings.images // settings.batch_size
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps))
    optimizer.build(variables)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits, _ = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    files = manifest.verified_shards(folder, data, "train")
    batches = records.shuffled(files, data, settings.batch_size, settings.seed).take(steps)
    with Progress("train the judge", steps * settings.batch_size, "images") as progress:
        for done, (images, labels) in enumerate(batches, start=1):
            loss = step(images, labels)
            progress.advance(settings.batch_size, f"loss {float(loss):.3f}" if done % 50 == 0 else "")
    return model


def accuracy(folder: Path, data: Manifest, judge: Judge) -> float:
    """The part of the test images whose class the judge tells."""
    right = 0
    for images, labels in records.batches(folder, data, "test", _READ_BATCH):
        right += int((judge(images.numpy()).classes == labels.numpy()).sum())
    return right / data.splits["test"].records
