"""Score the generator during training: Fréchet distance in the judge's features, or sliced Wasserstein distance."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages import records
from stages.errors import StageError
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.metrics import swd
from stages.metrics.frechet import frechet_distance, gaussian
from stages.metrics.modes import class_histogram, modes
from stages.networks.judge import Judge
from stages.reference import Reference
from stages.train import guards
from stages.train.journal import Measurement, Real
from stages.train.settings import Settings

# The first seed of the samples. Every score uses the same seeds, and no other stage uses them.
_FIRST_SEED = 1 << 40
# Decides the places of the patches and the directions of the sliced Wasserstein distance.
_SWD_SEED = 0
# Images whose distances from each other make up the spread, and whose contrast is measured.
_VARIETY_IMAGES = 256
# A class is covered if its share among the samples is at least this fraction of its share in the data.
_MODE_THRESHOLD = 0.1
_BATCH = 500


def scorer(
    folder: Path, data: Manifest, judge: Judge | None, reference: Reference | None, settings: Settings
) -> tuple[Callable[[Sampler], Measurement], Real, str]:
    """Return a function that measures a generator, the same figures for the real data, and the score's name.

    Without a judge the score is the sliced Wasserstein distance. Raises StageError for a judge without a reference, and
    for fewer than two test images.
    """
    held_out = data.splits["test"].records
    if held_out < 2:
        raise StageError(f"{folder}: test images: {held_out}; scoring needs at least 2")
    ((images, _),) = records.batches(folder, data, "test", min(_VARIETY_IMAGES, held_out)).take(1)
    real = Real(guards.variety(images.numpy()), len(judge.names) if judge else 0)
    drawn = " of classes in the data's shares" if settings.conditional != "none" else ""
    if judge is None:
        count = min(settings.scoring.samples, held_out)
        name = f"Sliced Wasserstein distance ×10³, {count} samples{drawn} against test images"
        return _patch_scorer(folder, data, count), real, name
    if reference is None:
        raise StageError("data/reference.npz: made from a data set without a judge; run `dvc repro`")
    measure = _feature_scorer(judge, reference, judge.shares, settings.scoring.samples)
    name = f"Fréchet distance in the judge's features, {settings.scoring.samples} samples"
    return measure, real, name + drawn


def _feature_scorer(
    judge: Judge, reference: Reference, shares: np.ndarray, count: int
) -> Callable[[Sampler], Measurement]:
    """Score `count` samples by their Fréchet distance to the training images."""

    def measure(sampler: Sampler) -> Measurement:
        variety, predictions = None, []
        for images in sampler.batches(range(_FIRST_SEED, _FIRST_SEED + count)):
            variety = variety or guards.variety(images[:_VARIETY_IMAGES])
            predictions.append(judge(images))
        histogram = class_histogram(np.concatenate([prediction.classes for prediction in predictions]), len(shares))
        features = np.concatenate([prediction.features for prediction in predictions])
        covered = modes(histogram, shares, _MODE_THRESHOLD)["modes_covered"]
        assert variety is not None  # noqa: S101 - there is at least one batch
        return Measurement(frechet_distance(gaussian(features), reference.train), variety, int(covered))

    return measure


def _patch_scorer(folder: Path, data: Manifest, count: int) -> Callable[[Sampler], Measurement]:
    """Score `count` samples by their sliced Wasserstein distance to as many test images."""
    patches = swd.Patches(count, data.shape, _SWD_SEED)
    for images, _ in records.batches(folder, data, "test", _BATCH).take(-(-count // _BATCH)):
        patches.add(images.numpy())
    real = patches.descriptors()

    def measure(sampler: Sampler) -> Measurement:
        variety, patches = None, swd.Patches(count, data.shape, _SWD_SEED)
        for images in sampler.batches(range(_FIRST_SEED, _FIRST_SEED + count)):
            variety = variety or guards.variety(images[:_VARIETY_IMAGES])
            patches.add(images)
        assert variety is not None  # noqa: S101 - there is at least one batch
        return Measurement(swd.sliced_wasserstein(patches.descriptors(), real, _SWD_SEED)["swd"], variety, None)

    return measure
