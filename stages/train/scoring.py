"""How a generator is scored while it trains: in the judge's features, or by sliced Wasserstein distance without one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages import records
from stages.errors import StageError
from stages.latent import Sampler, latent
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
# Of the projections and patches of the sliced Wasserstein distance.
_SWD_SEED = 0
# Pictures whose distances from each other are looked at, and the part of its share from which a class is reached.
_SPREAD_OF = 256
_MODE_THRESHOLD = 0.1


def _held_out(folder: Path, data: Manifest, count: int) -> np.ndarray:
    """Up to `count` images of the test split, in stored order: float32 NHWC [-1,1]."""
    count = min(count, data.splits["test"].records)
    return next(iter(records.batches(folder, data, "test", count)))[0].numpy()


def scorer(
    folder: Path, data: Manifest, judge: Judge | None, reference: Reference, settings: Settings
) -> tuple[Callable[[Sampler], Measurement], Real, str]:
    """What measures a generator, what the data is held to be, and the score's name with its protocol.

    Raises StageError where the judge's reference is missing, or a single test image leaves nothing to compare.
    """
    if data.splits["test"].records < 2:
        raise StageError(f"{folder}: the test split has {data.splits['test'].records} image; scoring needs at least 2")
    real_images = _held_out(folder, data, settings.score_samples if judge is None else _SPREAD_OF)
    count = settings.score_samples if judge else len(real_images)
    z = latent(range(_FIRST_SEED, _FIRST_SEED + count), settings.latent_dim)
    real = Real(guards.spread(real_images[:_SPREAD_OF]), len(data.classes) if judge else 0)

    if judge is None:
        described = swd.descriptors(real_images, _SWD_SEED)

        def by_patches(sampler: Sampler) -> Measurement:
            samples = sampler(z)
            distance = swd.sliced_wasserstein(swd.descriptors(samples, _SWD_SEED), described, _SWD_SEED)["swd"]
            return Measurement(distance, guards.spread(samples[:_SPREAD_OF]), None)

        return by_patches, real, f"Sliced Wasserstein distance ×10³, {count} samples against test images"

    gaussian_of_real = reference.train
    if gaussian_of_real is None:
        raise StageError("data/reference.npz: made without a judge, but the data set has labels; run `dvc repro`")

    def by_features(sampler: Sampler) -> Measurement:
        samples = sampler(z)
        judgement = judge(samples)
        covered = modes(class_histogram(judgement.classes, len(data.classes)), reference.histogram, _MODE_THRESHOLD)
        return Measurement(
            frechet_distance(gaussian(judgement.features), gaussian_of_real),
            guards.spread(samples[:_SPREAD_OF]),
            int(covered["modes_covered"]),
        )

    return by_features, real, f"Fréchet distance in the judge's features, {count} samples"
