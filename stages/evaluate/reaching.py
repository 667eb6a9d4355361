"""How near the generator comes to real images: their nearest samples, found by inversion.

Webster et al. 2019 (arXiv:1901.03396) compare held-out with training images: a generator that has memorised its data
comes nearer to training images.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages import pixels, records
from stages.evaluate.networks import Networks
from stages.inversion import Inverted, Inverter, Search, levels
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.neighbours import Nearest
from stages.progress import Progress

SEARCH = Search(restarts=2, steps=300)
"""The same for every image, so that the metrics of two generators are comparable (docs/metrics.md)."""


@dataclass(frozen=True)
class Reached:
    """The nearest samples of N held-out images and of N training images.

    `real_pixels` (N,): the root mean square difference of the held-out images to their nearest training image, in
    levels of [0,255]. `real_features` (N,): the same in the judge's features; None without a judge.
    """

    held_out: Inverted
    train: Inverted
    real_pixels: np.ndarray
    real_features: np.ndarray | None


def reach(sampler: Sampler, networks: Networks, folder: Path, data: Manifest, count: int) -> Reached:
    """Invert the first `count` images of each split, or as many as it has, and search the nearest real images."""
    count = min(count, *(data.splits[split].records for split in ("test", "train")))
    test, train = (records.images_at(folder, data, split, range(count)) for split in ("test", "train"))
    inverter = Inverter(sampler, networks.judge)
    held_out = inverter("inversion of held-out images", test, SEARCH)
    of_train = inverter("inversion of training images", train, SEARCH)
    return Reached(held_out, of_train, *_nearest_real(networks, folder, data, test))


def _nearest_real(
    networks: Networks, folder: Path, data: Manifest, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """The distances of N images to their nearest training image, in pixels and in the judge's features: (N,) each."""
    judge = networks.judge
    in_pixels = Nearest(images.reshape(1, len(images), -1), 1)
    in_features = Nearest(judge(images).features[None], 1) if judge else None
    total, size = data.splits["train"].records, pixels.batch_size_for(data.shape)
    with Progress("nearest real images", total, "training images") as progress:
        for batch, _ in records.batches(folder, data, "train", size):
            in_pixels.add(batch.numpy().reshape(len(batch), -1))
            if judge and in_features:
                in_features.add(judge(batch.numpy()).features)
            progress.advance(len(batch))
    features = in_features.distances[:, 0] if in_features else None
    return levels(np.square(in_pixels.distances[:, 0]) / images[0].size), features
