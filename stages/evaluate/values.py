"""Compute the metrics from the collected statistics."""

import importlib

import numpy as np

from stages.artifacts import rounded
from stages.evaluate.collectors import SWD_SEED, FeatureStatistics
from stages.evaluate.measuring import HeldOutImages, Samples, TrainingImages
from stages.evaluate.reaching import Reached
from stages.metrics import memorization, within_classes
from stages.metrics.catalog import FEATURE_MODULES, METRICS
from stages.metrics.checkerboard import checkerboard
from stages.metrics.frechet import frechet_distance, gaussian
from stages.metrics.modes import class_histogram, modes
from stages.metrics.swd import sliced_wasserstein
from stages.metrics.within_classes import OfClass, agreement, confusion


def compute(
    samples: Samples, test: HeldOutImages, train: TrainingImages, shares: np.ndarray, mode_threshold: float
) -> dict[str, float]:
    """All metrics by name, in the order of the catalog and rounded.

    `shares` (K,) are the shares of the judge's classes in the training split. Raises KeyError for a metric that the
    catalog lacks.
    """
    values = _image_values(samples, test, train)
    if samples.classes is not None:
        values |= modes(class_histogram(samples.classes, len(shares)), shares, mode_threshold)
        if samples.asked is not None and test.judged is not None:
            total = len(shares)
            values |= {
                "class_agreement": agreement(confusion(samples.asked, samples.classes, total)),
                "class_agreement_real": agreement(confusion(test.classes, test.judged, total)),
            }
            values |= within_classes.means(of_classes(samples, test, total))
    if samples.features:
        values |= _feature_values(samples.features)
    position = {name: index for index, name in enumerate(METRICS)}
    return {
        name: values[name] if isinstance(values[name], int) else rounded(values[name])
        for name in sorted(values, key=position.__getitem__)
    }


def of_classes(samples: Samples, test: HeldOutImages, total: int) -> list[OfClass]:
    """What compares the samples of each class with its held-out images; empty without features or conditions."""
    if samples.features is None or samples.asked is None:
        return []
    generated, real = samples.features.first, samples.features.reference.held_out[: len(test.classes)]
    return within_classes.compare(generated, samples.asked[: len(generated)], real, test.classes[: len(real)], total)


def _image_values(samples: Samples, test: HeldOutImages, train: TrainingImages) -> dict[str, float]:
    """The metrics of images, which need no network."""
    held_out = test.images.descriptors()
    return {
        **sliced_wasserstein(samples.images.descriptors(), held_out, SWD_SEED),
        "swd_floor": sliced_wasserstein(train.patches, held_out, SWD_SEED)["swd"],
        "checkerboard": checkerboard(samples.images.power),
        "checkerboard_real": checkerboard(test.images.power),
        "ms_ssim": float(samples.images.similarities.mean()),
        "ms_ssim_real": float(test.images.similarities.mean()),
        **memorization.memorization(train.of_samples.scores, train.of_real.scores),
        "nearest_distance": memorization.nearest_distance(
            train.of_samples.distances[:, 0], train.of_real.distances[:, 0]
        ),
    }


def _feature_values(samples: FeatureStatistics) -> dict[str, float]:
    """The metrics in a network's features: the Fréchet distances, and those that the catalog names a module for."""
    train = samples.reference.train
    fid = frechet_distance(samples.whole, train)
    values = {
        "fid": fid,
        "fid_floor": frechet_distance(gaussian(samples.floor), train),
        # Chong, Forsyth 2020 (arXiv:1911.07023): the bias is proportional to 1/N, so half of the samples double it.
        "fid_bias": sum(frechet_distance(half, train) for half in samples.halves) / 2 - fid,
    }
    generated, real = samples.pairs
    if len(generated):
        for module in FEATURE_MODULES:
            values |= importlib.import_module(f"stages.metrics.{module}").compute(generated, real)
    return values


def inversion(reached: Reached) -> dict[str, float]:
    """The metrics of inversion by name, in the order of the catalog and rounded: medians over the images."""
    held_out, train = reached.held_out, reached.train
    distances = {
        "inversion": held_out.pixels,
        "inversion_train": train.pixels,
        "inversion_real": reached.real_pixels,
        "inversion_features": held_out.features,
        "inversion_features_train": train.features,
        "inversion_features_real": reached.real_features,
    }
    medians = {name: rounded(float(np.median(of))) for name, of in distances.items() if of is not None}
    return {"inversion_images": len(held_out.pixels), **medians}
