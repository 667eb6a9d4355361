"""Collect the statistics that the metrics compare, in one pass over the samples and one over each split of the data."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages import neighbours, pixels, records
from stages.evaluate.collectors import SWD_SEED, FeatureStatistics, ImageStatistics
from stages.evaluate.networks import Networks
from stages.evaluate.settings import Settings
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.metrics.memorization import NEIGHBOURS
from stages.metrics.swd import Patches
from stages.progress import Progress


@dataclass(frozen=True)
class Samples:
    """Statistics of `count` samples. `classes` is None without a judge, `features` without a feature network."""

    count: int
    images: ImageStatistics
    classes: np.ndarray | None
    features: FeatureStatistics | None


@dataclass(frozen=True)
class HeldOutImages:
    """Statistics of the first test images, and their classes int64 (N,), -1 for images without one.

    The classes are their labels or, with a judge without labels, their clusters.
    """

    images: ImageStatistics
    classes: np.ndarray


@dataclass(frozen=True)
class TrainingImages:
    """Patches of the first training images, and distances (N, k) to the nearest of all training images, ascending.

    k is 51, or the number of training images if that is lower.
    """

    patches: dict[int, np.ndarray]
    sample_distances: np.ndarray
    test_distances: np.ndarray


def measure_samples(sampler: Sampler, networks: Networks, settings: Settings, count: int) -> Samples:
    """Measure the samples: the images of the first `count`, and the classes and features of all of them."""
    images = ImageStatistics(count, sampler.shape)
    classes: list[np.ndarray] = []
    features = FeatureStatistics(networks.reference) if networks.reference else None
    total = settings.samples if features else count
    with Progress("evaluate", total, "samples") as progress:
        for batch in sampler.batches(range(settings.first_seed, settings.first_seed + total)):
            images.add(batch)
            batch_classes, batch_features = networks.infer(batch)
            if batch_classes is not None:
                classes.append(batch_classes)
            if features and batch_features is not None:
                features.add(batch_features)
            progress.advance(len(batch))
    return Samples(total, images, np.concatenate(classes) if classes else None, features)


def measure_test_images(folder: Path, data: Manifest, networks: Networks, count: int) -> HeldOutImages:
    """Measure the first `count` test images. They are a random choice, because the prepare stage shuffles."""
    images, classes = ImageStatistics(count, data.shape), []
    clustering = networks.judge if networks.judge and not networks.judge.labelled else None
    size = pixels.batch_size_for(data.shape)
    for batch, labels in records.batches(folder, data, "test", size).take(-(-count // size)):
        images.add(batch.numpy())
        classes.append(clustering(batch.numpy()).classes if clustering else labels.numpy())
    return HeldOutImages(images, np.concatenate(classes)[:count])


def measure_training_images(
    folder: Path, data: Manifest, count: int, samples: np.ndarray, test: np.ndarray
) -> TrainingImages:
    """Collect patches of the first `count` training images, and search for the images nearest to thumbnails (N, d)."""
    total = data.splits["train"].records
    patches = Patches(count, data.shape, SWD_SEED)
    searches = [neighbours.Nearest(thumbnails, min(1 + NEIGHBOURS, total)) for thumbnails in (samples, test)]
    with Progress("nearest training images", total, "images") as progress:
        for batch, _ in records.batches(folder, data, "train", pixels.batch_size_for(data.shape)):
            patches.add(batch.numpy())
            points = neighbours.thumbnails(batch.numpy())
            for search in searches:
                search.add(points)
            progress.advance(len(points))
    return TrainingImages(patches.descriptors(), searches[0].distances, searches[1].distances)
