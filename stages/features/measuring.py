"""What real data looks like in a network's features."""

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


def _features(folder: Path, data: Manifest, split: str, count: int, network: Network) -> Iterator[np.ndarray]:
    """Features (N, d) of a split in stored order, batch by batch, up to the batch that brings them to `count`."""
    with Progress(f"features of the {split} images", count, "images") as progress:
        for images, _ in records.batches(folder, data, split, _READ_BATCH).take(-(-count // _READ_BATCH)):
            yield network(images.numpy())
            progress.advance(len(images))


def reference(folder: Path, data: Manifest, network: Network, dimensions: int, most: int) -> Reference:
    """All training images and the first `most` test images in the `dimensions` features of a network.

    Memory: the test images' features and two dimensions × dimensions float64, however many training images there are.
    """
    train = Moments(dimensions)
    for features in _features(folder, data, "train", data.splits["train"].records, network):
        train.add(features)
    count = min(most, data.splits["test"].records)
    held_out = np.concatenate(list(_features(folder, data, "test", count, network)))[:count]
    return Reference(train.gaussian(), held_out)
