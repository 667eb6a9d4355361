"""Train the judge, and check it on the test images."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from stages import manifest, records
from stages.errors import StageError
from stages.features.settings import Settings
from stages.manifest import Manifest
from stages.metrics import proportions
from stages.networks.judge import Judge, judge, train_step
from stages.progress import Progress

_READ_BATCH = 1000


def train_judge(folder: Path, data: Manifest, settings: Settings) -> keras.Model:
    """Train a classifier on the training split: cross-entropy, Adam, a learning rate that falls along a cosine.

    The same arguments give the same weights. Raises StageError if the data has fewer images than a batch.
    """
    check_batch_size(data, settings)
    model = judge(
        data.shape[:2], data.shape[2], len(data.classes), base_channels=settings.base_channels, seed=settings.seed
    )
    steps = settings.images // settings.batch_size
    step = train_step(model, settings.learning_rate, steps)
    files = manifest.verified_shards(folder, data, "train")
    batches = records.shuffled(files, data, settings.batch_size, settings.seed).take(steps)
    with Progress("train the judge", steps * settings.batch_size, "images") as progress:
        for done, (images, labels) in enumerate(batches, start=1):
            loss = step(images, labels)
            progress.advance(settings.batch_size, f"loss {float(loss):.3f}" if done % 50 == 0 else "")
    return model


def check_batch_size(data: Manifest, settings: Settings) -> None:
    """Raise StageError if the data has fewer training images than a batch."""
    images = data.splits["train"].records
    if images < settings.batch_size:
        raise StageError(f"features.batch_size: {settings.batch_size} is more than the {images} training images")


def finite(features: np.ndarray) -> np.ndarray:
    """The same features. Raises StageError if they are not finite."""
    if not np.isfinite(features).all():
        raise StageError("features: the judge's training diverged; lower features.learning_rate")
    return features


@dataclass(frozen=True)
class Check:
    """The judge on the test images, beside the share that always naming their largest class gets right.

    That share is the "no information rate", to which caret's confusionMatrix also compares accuracies (Kuhn 2008, J.
    Stat. Softw. 28(5)).
    """

    correct: int
    images: int
    largest_class: float

    @property
    def accuracy(self) -> float:
        """The share of the images that the judge classifies correctly."""
        return self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy."""
        return proportions.interval(self.correct, self.images)

    @property
    def passed(self) -> bool:
        """Whether the judge is better than always naming the largest class, beyond doubt."""
        return self.interval[0] > self.largest_class

    def __str__(self) -> str:
        """The figures in words."""
        low, high = self.interval
        return (
            f"{self.accuracy:.1%} on {self.images:,} test images (95% interval {low:.1%} to {high:.1%}; "
            f"the largest class: {self.largest_class:.1%})"
        )


def check(folder: Path, data: Manifest, judge: Judge) -> Check:
    """Classify the test images and count the correct answers."""
    correct, test = 0, data.splits["test"]
    for images, labels in records.batches(folder, data, "test", _READ_BATCH):
        correct += int((judge(images.numpy()).classes == labels.numpy()).sum())
    return Check(correct, test.records, float(test.shares.max()))
