"""Gather what the metrics compare, in one pass over the samples and one over each split of the data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages import artifacts, neighbours, pixels, records, reference
from stages.errors import StageError
from stages.evaluate.settings import Settings
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.metrics.checkerboard import power
from stages.metrics.frechet import Gaussian, Moments
from stages.metrics.memorization import NEIGHBOURS
from stages.metrics.ms_ssim import ms_ssim
from stages.metrics.swd import Patches
from stages.networks import inception
from stages.networks import judge as judges
from stages.progress import Progress
from stages.reference import Reference
from stages.workspace import Workspace

SEED = 0
"""Decides where the patches lie and which directions the sliced Wasserstein distance takes."""
COMPARED = 10_000
"""Features that are compared one by one: at most so many of each side. The costs grow with the square."""
THUMBNAILS = 5000
"""Images of each side whose nearest training images are looked for."""


@dataclass(frozen=True)
class Networks:
    """What images are shown to: the network that they are measured in, its file, real data in it; and the judge.

    `see` turns images (N, H, W, C) into the judge's classes int64 (N,) and the network's features float32 (N, d); None
    for what is not there. Without a network `name` is "none", and `real` None.
    """

    name: str
    sha256: str
    real: Reference | None
    see: Callable[[np.ndarray], tuple[np.ndarray | None, np.ndarray | None]]


def networks(workspace: Workspace, data: Manifest) -> Networks:
    """The judge, where the data has labels, and what samples are measured in: Inception, else the judge, else none.

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

    def see(images: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        judgement = judge(images) if judge else None
        features = graph(images) if graph else judgement.features if judgement else None
        return judgement.classes if judgement else None, features

    if graph is not None:
        if (seen := reference.load(other / inception.REFERENCE)) is None:
            raise artifacts.damaged(other / inception.REFERENCE, "it is empty")
        return Networks("inception", artifacts.sha256(other / inception.FILE), seen, see)
    if judge is not None:
        return Networks("judge", artifacts.sha256(folder / judges.FILE), real, see)
    return Networks("none", "", None, see)


class Look:
    """What can be said of a set of images without a network: its first `count` images, that come batch by batch."""

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        self._count, self._seen = count, 0
        self._patches = Patches(count, shape, SEED)
        self._similarities: list[np.ndarray] = []
        self._thumbnails: list[np.ndarray] = []
        self.power: np.ndarray = np.zeros(shape[:2])
        """The sum of the images' power spectra, float64 (H, W)."""

    def add(self, images: np.ndarray) -> None:
        """Take a batch, float32 NHWC in [-1,1]; what comes after `count` images is left."""
        images = images[: self._count - self._seen]
        self._patches.add(images)
        self.power += power(images)
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


class Features:
    """Samples in a network's features, that come batch by batch: their statistics, and the first ones themselves."""

    def __init__(self, dimensions: int) -> None:
        self._halves = Moments(dimensions), Moments(dimensions)
        self._first: list[np.ndarray] = []
        self._kept = 0

    def add(self, features: np.ndarray) -> None:
        """Take a batch (N, d)."""
        for half, part in zip(self._halves, np.array_split(features, 2), strict=True):
            if len(part):
                half.add(part)
        if self._kept < COMPARED:
            self._first.append(features[: COMPARED - self._kept].copy())
            self._kept += len(self._first[-1])

    @property
    def count(self) -> int:
        """How many came."""
        return sum(half.count for half in self._halves)

    @property
    def first(self) -> np.ndarray:
        """The first features that came, 10,000 at most: (N, d)."""
        return np.concatenate(self._first)

    @property
    def halves(self) -> tuple[Gaussian, Gaussian]:
        """The statistics of each half of all that came."""
        return self._halves[0].gaussian(), self._halves[1].gaussian()

    @property
    def all(self) -> Gaussian:
        """The statistics of all that came."""
        whole = Moments(len(self._halves[0].gaussian().mean))
        for half in self._halves:
            whole.merge(half)
        return whole.gaussian()


@dataclass(frozen=True)
class Samples:
    """What the pass over `count` samples found; `classes` is None without a judge, `features` without a network."""

    count: int
    look: Look
    classes: np.ndarray | None
    features: Features | None


def measure_samples(sampler: Sampler, networks: Networks, settings: Settings, count: int) -> Samples:
    """Look at the samples: at the first `count` without a network, at all of them with one."""
    look = Look(count, sampler.shape)
    classes: list[np.ndarray] = []
    features: Features | None = None
    total = settings.samples if networks.real is not None else count
    with Progress("evaluate", total, "samples") as progress:
        for batch in sampler.of(range(settings.first_seed, settings.first_seed + total)):
            look.add(batch)
            told, measured = networks.see(batch)
            if told is not None:
                classes.append(told)
            if measured is not None:
                features = features or Features(measured.shape[1])
                features.add(measured)
            progress.advance(len(batch))
    return Samples(total, look, np.concatenate(classes) if classes else None, features)


def look_at_test(folder: Path, data: Manifest, count: int) -> tuple[Look, np.ndarray]:
    """The first `count` test images, which prepare has shuffled, and their labels int64 (-1 where there are none)."""
    look, labels = Look(count, data.shape), []
    size = pixels.batch_size_for(data.shape)
    for batch, known in records.batches(folder, data, "test", size).take(-(-count // size)):
        look.add(batch.numpy())
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
        for batch, _ in records.batches(folder, data, "train", pixels.batch_size_for(data.shape)):
            patches.add(batch.numpy())
            points = neighbours.thumbnails(batch.numpy())
            for search in searches:
                search.add(points)
            progress.advance(len(points))
    return patches.descriptors(), [search.distances for search in searches]
