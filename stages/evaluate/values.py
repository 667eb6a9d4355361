"""The list of all metrics: from what was gathered to numbers by name."""

from dataclasses import dataclass

import numpy as np

from stages.evaluate.measuring import SEED, Features, Look
from stages.metrics import memorization, prdc
from stages.metrics.checkerboard import checkerboard
from stages.metrics.frechet import frechet_distance, gaussian
from stages.metrics.kid import kernel_distance
from stages.metrics.swd import sliced_wasserstein
from stages.reference import Reference


def of_pictures(
    samples: Look, test: Look, train_patches: list[np.ndarray], nearest: list[np.ndarray]
) -> dict[str, float]:
    """What needs no network. `nearest`: distances of samples and of test images to their nearest training images."""
    held_out = test.descriptors()
    return {
        **sliced_wasserstein(samples.descriptors(), held_out, SEED),
        "swd_floor": sliced_wasserstein(train_patches, held_out, SEED)["swd"],
        "checkerboard": checkerboard(samples.power),
        "checkerboard_real": checkerboard(test.power),
        "ms_ssim": float(samples.similarities.mean()),
        "ms_ssim_real": float(test.similarities.mean()),
        **memorization.memorization(*nearest),
    }


@dataclass(frozen=True)
class InFeatures:
    """What was measured in a network's features, and of how many.

    `realism` is that of the first `compared` samples; None where so few images were held out that there is none, nor
    what else compares features one by one.
    """

    values: dict[str, float]
    realism: np.ndarray | None
    floor_samples: int
    compared: int


def in_features(samples: Features, real: Reference) -> InFeatures:
    """What is measured in a network's features."""
    floor_samples = min(samples.count, len(real.held_out))
    fid = frechet_distance(samples.all, real.train)
    values = {
        "fid": fid,
        "fid_floor": frechet_distance(gaussian(real.held_out[:floor_samples]), real.train),
        # Chong, Forsyth 2020 (arXiv:1911.07023): the bias goes with 1/N, so half of the samples have as much again.
        "fid_bias": sum(frechet_distance(half, real.train) for half in samples.halves) / 2 - fid,
    }
    compared = min(len(samples.first), len(real.held_out))
    if compared <= prdc.DENSITY_K:
        return InFeatures(values, None, floor_samples, 0)
    generated, held_out = samples.first[:compared], real.held_out[:compared]
    neighbourhoods = prdc.compare(held_out, generated)
    values |= {**kernel_distance(generated, held_out), **neighbourhoods.values}
    return InFeatures(values, neighbourhoods.realism, floor_samples, compared)
