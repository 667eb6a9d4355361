"""Over-fitting of D: how it rates images that it was trained on, held-out images, and samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages import pixels, records
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.train.augment.settings import AugmentSettings
from stages.train.trainer import Trainer

# Images of each kind, at most. At a score, more would take over 1 % of the training's time (at 30,000 images between
# scores). A row of the log between two scores has few, because there are 25 of them; they are others in each row.
_IMAGES, _IMAGES_OF_A_ROW = 1000, 64
# The first seed of the samples. Every score uses the same, and no other stage uses them.
_FIRST_SEED = 3 << 40


@dataclass(frozen=True)
class Outputs:
    """D's mean outputs, before any sigmoid, for training images, held-out images and samples."""

    train: float
    held_out: float
    generated: float

    @property
    def overfitting(self) -> float:
        """The over-fitting in [0,1]. 0: D rates held-out images like training images. 1: it rates them like samples.

        Karras et al. 2020 (arXiv:2006.06676), section 3, equation 1, r_v: (E[D_train] − E[D_held_out]) / (E[D_train] −
        E[D_generated]). It suits every loss, because a constant or a factor of D changes nothing; their other measure,
        r_t, needs a D that is above 0 for real images. A D that rates samples no lower than training images is at 0.
        """
        gap = self.train - self.generated
        return float(np.clip((self.train - self.held_out) / gap, 0, 1)) if gap > 0 else 0.0

    def values(self) -> dict[str, float]:
        """The values for the log, by name."""
        return {
            "overfitting/train": self.train,
            "overfitting/held_out": self.held_out,
            "overfitting/generated": self.generated,
            "overfitting/measure": self.overfitting,
        }


def next_probability(probability: float, outputs: Outputs, settings: AugmentSettings, images: int) -> float:
    """The adaptive probability after `images` more images: one step up if D over-fits more than the target, else down.

    Karras et al. 2020, section 3.
    """
    step = images / settings.rise
    return float(np.clip(probability + (step if outputs.overfitting > settings.target else -step), 0, 1))


class Probe:
    """Measures how D rates the three kinds of images, as it sees them: augmented, with fixed random numbers."""

    def __init__(self, trainer: Trainer, images: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """`images` are the training and the held-out images and their labels, by `train` and `test`: see `read`."""
        self._trainer, self._images = trainer, images
        # Not the average: D was trained on samples of the generator itself.
        self._sampler = Sampler(trainer.generator, trainer.classes)

    def __call__(self, row: int, *, score: bool) -> Outputs:
        """D's outputs at a row of the log (the first is 0): for all images at a score, else for a few."""
        first, count = (0, _IMAGES) if score else (row * _IMAGES_OF_A_ROW, _IMAGES_OF_A_ROW)

        def mean(split: str) -> float:
            images, labels = self._images[split]
            places = np.arange(first, first + min(count, len(images))) % len(images)
            classes = self._trainer.classes.vectors(labels[places]) if self._trainer.classes else None
            return self._trainer.mean_output(pixels.normalise(images[places]), classes)

        seeds = [_FIRST_SEED + place % _IMAGES for place in range(first, first + count)]
        samples = np.concatenate(list(self._sampler.batches(seeds)))
        weights = self._sampler.weights(seeds)
        return Outputs(mean("train"), mean("test"), self._trainer.mean_output(samples, weights))


def read(folder: Path, data: Manifest) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The first images of each split, at most 1000, for a `Probe`: uint8 NHWC and labels int64 (N,)."""
    images = {}
    for split in ("train", "test"):
        ((batch, labels),) = records.batches(folder, data, split, min(_IMAGES, data.splits[split].records)).take(1)
        images[split] = pixels.to_uint8(batch.numpy()), labels.numpy()
    return images
