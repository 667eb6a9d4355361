"""Gather what the metrics compare, in one pass over the samples and one over each split of the data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages import artifacts, neighbours, records, reference
from stages.artifacts import Workspace
from stages.errors import StageError
from stages.evaluate.settings import Settings
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.metrics.frechet import Gaussian, Moments
from stages.metrics.memorization import NEIGHBOURS
from stages.metrics.ms_ssim import ms_ssim
from stages.metrics.swd import Patches
from stages.networks import inception
from stages.networks import judge as judges
from stages.networks.judge import Judge
from stages.progress import Progress
from stages.reference import Reference

SEED = 0
"""Decides where the patches lie and which directions the sliced Wasserstein distance takes."""
COMPARED = 10_000
"""Features that are compared one by one: at most so many of each side. The costs grow with the square."""
THUMBNAILS = 5000
"""Images of each side whose nearest training images are looked for."""
_BATCH = 500


@dataclass(frozen=True)
class Network:
    """What images are measured in: the network's name and file, real data in it, and images (N, H, W, C) => (N, d)."""

    name: str
    sha256: str
    real: Reference
    features: Callable[[np.ndarray], np.ndarray]


def networks(workspace: Workspace, data: Manifest) -> tuple[Judge | None, Network | None]:
    """The judge, where the data has labels, and what samples are measured in: Inception, else the judge, else None.

    Raises StageError where the reference is another data set's.
    """
    reference_file = workspace.input("data/reference.npz")
    real = reference.load(reference_file)
    folder = workspace.input("models/features")
    judge = judges.load(folder, data)
    if (real is None) != (judge is None):
        raise StageError(f"{reference_file}: of a data set with{'out' if judge else ''} labels; run `dvc repro`")
    other = workspace.input("models/inception")
    graph = inception.load(other)
    if graph is not None:
        if (seen := reference.load(other / inception.REFERENCE)) is None:
            raise artifacts.damaged(other / inception.REFERENCE, "it is empty")
        return judge, Network("inception", artifacts.sha256(other / inception.FILE), seen, graph)
    if judge is None or real is None:
        return None, None
    return judge, Network("judge", artifacts.sha256(folder / judges.FILE), real, lambda images: judge(images).features)


class Look:
    """What can be said of a set of images without a network: its first `count` images, that come batch by batch."""

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        self._count, self._seen = count, 0
        self._patches = Patches(count, shape, SEED)
        self._similarities: list[np.ndarray] = []
        self._thumbnails: list[np.ndarray] = []

    def add(self, images: np.ndarray) -> None:
        """Take a batch, float32 NHWC in [-1,1]; what comes after `count` images is left."""
        images = images[: self._count - self._seen]
        self._patches.add(images)
        pairs = len(images) // 2
        self._similarities.append(ms_ssim(images[:pairs], images[pairs : 2 * pairs]))
        self._thumbnails.append(neighbours.thumbnails(images[: max(THUMBNAILS - self._seen, 0)]))
        self._seen += len(images)

    def descriptors(self) -> list[np.ndarray]:
        """Patches of each level of the pyramid, for the sliced Wasserstein distance; to be asked for once."""
        return self._patches.descriptors()

    @property
    def similarities(self) -> np.ndarray:
        """MS-SSIM of each of the disjoint pairs that were looked at, float64."""
        return np.concatenate(self._similarities)

    @property
    def thumbnails(self) -> np.ndarray:
        """Small copies of the first images, to look for their neighbours."""
        return np.concatenate(self._thumbnails)


@dataclass(frozen=True)
class Features:
    """Samples in a network's features: how many, the statistics of all and of both halves, and the first ones."""

    count: int
    all: Gaussian
    halves: tuple[Gaussian, Gaussian]
    first: np.ndarray


@dataclass(frozen=True)
class Samples:
    """What the pass over `count` samples found; `classes` is None without a judge, `features` without a network."""

    count: int
    look: Look
    classes: np.ndarray | None
    features: Features | None


def measure_samples(
    sampler: Sampler, judge: Judge | None, network: Network | None, settings: Settings, count: int
) -> Samples:
    """Look at the samples: at the first `count` without a network, at all of them with the networks."""
    look = Look(count, sampler.shape)
    classes: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    halves: tuple[Moments, Moments] | None = None
    total = settings.samples if network or judge else count
    with Progress("evaluate", total, "samples") as progress:
        for images in sampler.of(range(settings.first_seed, settings.first_seed + total)):
            look.add(images)
            if judge is not None:
                classes.append(judge(images).classes)
            if network is not None:
                features = network.features(images)
                kept.append(features[: max(COMPARED - sum(len(part) for part in kept), 0)])
                halves = halves or (Moments(features.shape[1]), Moments(features.shape[1]))
                for half, part in zip(halves, np.array_split(features, 2), strict=True):
                    if len(part):
                        half.add(part)
            progress.advance(len(images))
    return Samples(
        total, look, np.concatenate(classes) if classes else None, _features(halves, kept) if halves else None
    )


def _features(halves: tuple[Moments, Moments], kept: list[np.ndarray]) -> Features:
    parts = halves[0].gaussian(), halves[1].gaussian()
    halves[0].merge(halves[1])
    return Features(halves[0].count, halves[0].gaussian(), parts, np.concatenate(kept))


def look_at_test(folder: Path, data: Manifest, count: int) -> tuple[Look, np.ndarray]:
    """The first `count` test images, which prepare has shuffled, and their labels int64 (-1 where there are none)."""
    look, labels = Look(count, data.shape), []
    for images, known in records.batches(folder, data, "test", _BATCH).take(-(-count // _BATCH)):
        look.add(images.numpy())
        labels.append(known.numpy())
    return look, np.concatenate(labels)[:count]


def look_at_train(
    folder: Path, data: Manifest, count: int, queries: Iterable[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Patches of the first `count` training images, and for each of `queries` its nearest among all of them.

    Thumbnails (N, d) => ascending distances (N, k), k being 50, or as many as there are training images.
    """
    total = data.splits["train"].records
    patches = Patches(count, data.shape, SEED)
    searches = [neighbours.Nearest(query, min(1 + NEIGHBOURS, total)) for query in queries]
    with Progress("nearest training images", total, "images") as progress:
        for images, _ in records.batches(folder, data, "train", 2 * _BATCH):
            patches.add(images.numpy())
            points = neighbours.thumbnails(images.numpy())
            for search in searches:
                search.add(points)
            progress.advance(len(points))
    return patches.descriptors(), [search.distances for search in searches]
