"""Collect the statistics that the metrics compare, in one pass over the samples and one over each split of the data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages import copies, pixels, records
from stages.copies import Found, Views
from stages.evaluate.collectors import MAX_SEARCHED, SWD_SEED, FeatureStatistics, ImageStatistics
from stages.evaluate.networks import Networks
from stages.evaluate.settings import Settings
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.metrics.memorization import FEWEST
from stages.metrics.swd import Patches
from stages.progress import Progress


@dataclass(frozen=True)
class Samples:
    """Statistics of `count` samples. `classes` is None without a judge, `features` without a feature network.

    `asked` (N,) are the classes that a conditional generator was asked for, if there is a judge of the labels; else
    None.
    """

    count: int
    images: ImageStatistics
    classes: np.ndarray | None
    features: FeatureStatistics | None
    asked: np.ndarray | None = None


@dataclass(frozen=True)
class HeldOutImages:
    """Statistics of the first test images, and their classes int64 (N,), -1 for images without one.

    The classes are their labels or, with a judge without labels, their clusters. `judged` are the judge's classes, for
    a conditional generator; else None.
    """

    images: ImageStatistics
    classes: np.ndarray
    judged: np.ndarray | None = None


@dataclass(frozen=True)
class TrainingImages:
    """Patches of the first training images, and what samples and new real images may copy.

    The new real images are the held-out ones or, if there are fewer than 200, training images compared with the others.
    """

    patches: dict[int, np.ndarray]
    of_samples: Found
    of_real: Found
    real_are_held_out: bool


def measure_samples(sampler: Sampler, networks: Networks, settings: Settings, count: int) -> Samples:
    """Measure the samples: the images of the first `count`, and the classes and features of all of them."""
    images = ImageStatistics(count, sampler.shape)
    classes: list[np.ndarray] = []
    features = FeatureStatistics(networks.reference) if networks.reference else None
    total = settings.samples if features else count
    seeds = range(settings.first_seed, settings.first_seed + total)
    asked = sampler.classes.of_seeds(seeds) if sampler.classes and networks.labelled else None
    with Progress("evaluate", total, "samples") as progress:
        for batch in sampler.batches(seeds):
            images.add(batch)
            batch_classes, batch_features = networks.infer(batch)
            if batch_classes is not None:
                classes.append(batch_classes)
            if features and batch_features is not None:
                features.add(batch_features)
            progress.advance(len(batch))
    return Samples(total, images, np.concatenate(classes) if classes else None, features, asked)


def measure_test_images(
    folder: Path, data: Manifest, networks: Networks, count: int, *, judged: bool = False
) -> HeldOutImages:
    """Measure the first `count` test images. They are a random choice, because the prepare stage shuffles.

    `judged`: whether a judge of the labels classifies them, too.
    """
    images, classes, answers = ImageStatistics(count, data.shape), [], []
    clustering = networks.judge if networks.judge and not networks.labelled else None
    size = pixels.batch_size_for(data.shape)
    for batch, labels in records.batches(folder, data, "test", size).take(-(-count // size)):
        images.add(batch.numpy())
        classes.append(clustering(batch.numpy()).classes if clustering else labels.numpy())
        if judged and networks.judge:
            answers.append(networks.judge(batch.numpy()).classes)
    return HeldOutImages(images, np.concatenate(classes)[:count], np.concatenate(answers)[:count] if answers else None)


def measure_training_images(folder: Path, data: Manifest, count: int, samples: Views, test: Views) -> TrainingImages:
    """Collect patches of the first `count` training images, and search for those that samples and real images copy."""
    total, size = data.splits["train"].records, pixels.batch_size_for(data.shape)

    def batches() -> Iterator[np.ndarray]:
        with Progress("search for copies", total, "training images") as progress:
            for batch, _ in records.batches(folder, data, "train", size):
                yield batch.numpy()
                progress.advance(len(batch))

    held_out = test.count >= FEWEST
    searched = 0 if held_out else min(MAX_SEARCHED, total)
    patches = Patches(count, data.shape, SWD_SEED)
    views: list[Views] = []
    for batch, _ in records.batches(folder, data, "train", size).take(-(-max(count, searched) // size)):
        patches.add(batch.numpy())
        views.append(copies.views(batch.numpy()[: max(searched - size * len(views), 0)]))
    real = test if held_out else copies.joined(views)
    own = np.full(samples.count + real.count, -1)
    if not held_out:
        own[samples.count :] = np.arange(searched)
    found = copies.find(copies.joined([samples, real]), batches, total, own)
    of_samples, of_real = found.of(slice(samples.count)), found.of(slice(samples.count, None))
    return TrainingImages(patches.descriptors(), of_samples, of_real, held_out)
