"""Gather what the metrics compare: patches of real images and of samples, and what the judge says of samples."""

from pathlib import Path

import numpy as np

from stages import records
from stages.evaluate.settings import Settings
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.metrics.swd import Patches
from stages.networks.judge import Judge, Judgement
from stages.progress import Progress

SEED = 0
"""Decides where the patches lie and which directions the sliced Wasserstein distance takes."""
_BATCH = 500


def real_descriptors(folder: Path, data: Manifest, split: str, count: int) -> list[np.ndarray]:
    """The patches of the first `count` images of a split, which prepare has shuffled."""
    patches = Patches(count, data.shape, SEED)
    for images, _ in records.batches(folder, data, split, _BATCH).take(-(-count // _BATCH)):
        patches.add(images.numpy())
    return patches.descriptors()


def measure_samples(
    sampler: Sampler, judge: Judge | None, settings: Settings, count: int
) -> tuple[list[np.ndarray], Judgement | None]:
    """The patches of the first `count` samples, and the judge's classes and features of all, where there is a judge."""
    patches, judgements = Patches(count, sampler.shape, SEED), []
    total = count if judge is None else settings.samples
    with Progress("evaluate", total, "samples") as progress:
        for images in sampler.of(range(settings.first_seed, settings.first_seed + total)):
            patches.add(images)
            if judge is not None:
                judgements.append(judge(images))
            progress.advance(len(images))
    if not judgements:
        return patches.descriptors(), None
    classes = np.concatenate([judgement.classes for judgement in judgements])
    features = np.concatenate([judgement.features for judgement in judgements])
    return patches.descriptors(), Judgement(classes, features)
