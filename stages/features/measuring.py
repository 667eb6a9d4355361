"""Measure the real data in a network's features."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stages import records
from stages.manifest import Manifest
from stages.metrics.frechet import Moments
from stages.progress import Progress
from stages.reference import Reference

Network = Callable[[np.ndarray], np.ndarray]  # float32 NHWC [-1,1] => features float32 (N, d)
_READ_BATCH = 250


def features(folder: Path, data: Manifest, split: str, count: int, network: Network) -> Iterator[np.ndarray]:
    """Features (N, d) of a split in stored order, in whole batches until there are at least `count`."""
    with Progress(f"features of the {split} images", count, "images") as progress:
        for images, _ in records.batches(folder, data, split, _READ_BATCH).take(-(-count // _READ_BATCH)):
            yield network(images.numpy())
            progress.advance(len(images))


def measure_data(folder: Path, data: Manifest, network: Network, dimensions: int, max_held_out: int) -> Reference:
    """Measure all training images and the first `max_held_out` test images in the `dimensions` features of a network.

    Holds the test images' features and two matrices of dimensions × dimensions float64, for any number of training
    images.
    """
    train = Moments(dimensions)
    for part in features(folder, data, "train", data.splits["train"].records, network):
        train.add(part)
    count = min(max_held_out, data.splits["test"].records)
    held_out = np.concatenate(list(features(folder, data, "test", count, network)))[:count]
    return Reference(train.gaussian(), held_out)
