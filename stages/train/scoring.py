"""How a generator is scored while it trains: in the judge's features, or by sliced Wasserstein distance without one."""

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

# Seeds that no other stage draws from, the same for every score.
_FIRST_SEED = 1 << 40
# Decides the patches and directions of the sliced Wasserstein distance.
_SWD_SEED = 0
# Pictures whose distances from each other are looked at, and the part of its share from which a class is reached.
_SPREAD_OF = 256
_MODE_THRESHOLD = 0.1
_BATCH = 500


def scorer(
    folder: Path, data: Manifest, judge: Judge | None, reference: Reference | None, settings: Settings
) -> tuple[Callable[[Sampler], Measurement], Real, str]:
    """What measures a generator, what the data is held to be, and the score's name with its protocol.

    Raises StageError where a judge has no reference, or a single test image leaves nothing to compare.
    """
    held_out = data.splits["test"].records
    if held_out < 2:
        raise StageError(f"{folder}: the test split has {held_out} image; scoring needs at least 2")
    (first,) = records.batches(folder, data, "test", min(_SPREAD_OF, held_out)).take(1)
    real = Real(guards.spread(first[0].numpy()), len(data.classes) if judge else 0)
    if judge is None:
        return (
            _by_patches(folder, data, min(settings.score_samples, held_out)),
            real,
            (f"Sliced Wasserstein distance ×10³, {min(settings.score_samples, held_out)} samples against test images"),
        )
    if reference is None:
        raise StageError("data/reference.npz: made without a judge, but the data set has labels; run `dvc repro`")
    measure = _by_features(judge, reference, data.splits["train"].shares, settings.score_samples)
    return measure, real, f"Fréchet distance in the judge's features, {settings.score_samples} samples"


def _by_features(
    judge: Judge, reference: Reference, shares: np.ndarray, count: int
) -> Callable[[Sampler], Measurement]:
    def measure(sampler: Sampler) -> Measurement:
        spread, judgements = 0.0, []
        for images in sampler.of(range(_FIRST_SEED, _FIRST_SEED + count)):
            spread = spread or guards.spread(images[:_SPREAD_OF])
            judgements.append(judge(images))
        histogram = class_histogram(np.concatenate([judgement.classes for judgement in judgements]), len(shares))
        features = np.concatenate([judgement.features for judgement in judgements])
        covered = modes(histogram, shares, _MODE_THRESHOLD)["modes_covered"]
        return Measurement(frechet_distance(gaussian(features), reference.train), spread, int(covered))

    return measure


def _by_patches(folder: Path, data: Manifest, count: int) -> Callable[[Sampler], Measurement]:
    patches = swd.Patches(count, data.shape, _SWD_SEED)
    for images, _ in records.batches(folder, data, "test", _BATCH).take(-(-count // _BATCH)):
        patches.add(images.numpy())
    real = patches.descriptors()

    def measure(sampler: Sampler) -> Measurement:
        spread, patches = 0.0, swd.Patches(count, data.shape, _SWD_SEED)
        for images in sampler.of(range(_FIRST_SEED, _FIRST_SEED + count)):
            spread = spread or guards.spread(images[:_SPREAD_OF])
            patches.add(images)
        return Measurement(swd.sliced_wasserstein(patches.descriptors(), real, _SWD_SEED)["swd"], spread, None)

    return measure
