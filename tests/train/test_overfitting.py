"""How over-fitting is measured, and how the probability of an augmentation follows it."""

import dataclasses

import numpy as np
import pytest

from stages import pixels
from stages.latent import latent
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.train.augment.settings import AugmentSettings
from stages.train.overfitting import _FIRST_SEED, Outputs, Probe, next_probability
from stages.train.settings import Settings
from stages.train.trainer import Trainer

SETTINGS = Settings(
    images=80,
    batch_size=8,
    generator=GeneratorSettings(channels=4),
    discriminator=DiscriminatorSettings(channels=4),
)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (Outputs(2.0, 2.0, -2.0), 0.0),
        (Outputs(2.0, 1.0, -2.0), 0.25),
        (Outputs(2.0, -2.0, -2.0), 1.0),
        (Outputs(2.0, -3.0, -2.0), 1.0),
        (Outputs(2.0, 3.0, -2.0), 0.0),
        (Outputs(1.0, 0.5, 1.0), 0.0),
        (Outputs(1.0, 0.5, 2.0), 0.0),
    ],
)
def test_the_over_fitting_is_the_place_of_the_held_out_images_between_training_images_and_samples(
    outputs: Outputs, expected: float
) -> None:
    assert outputs.overfitting == pytest.approx(expected)


def test_a_constant_and_a_factor_of_d_do_not_change_the_over_fitting() -> None:
    assert Outputs(7.0, 6.0, 3.0).overfitting == pytest.approx(Outputs(0.14, 0.12, 0.06).overfitting)


@pytest.mark.parametrize(
    ("before", "held_out", "after"), [(0.5, 0.0, 0.6), (0.5, 0.9, 0.4), (0.95, 0.0, 1.0), (0.05, 0.9, 0.0)]
)
def test_the_probability_moves_by_the_images_over_the_rise_and_stays_in_0_to_1(
    before: float, held_out: float, after: float
) -> None:
    settings = AugmentSettings(("colour",), target=0.3, rise=1000)
    assert next_probability(before, Outputs(1.0, held_out, 0.0), settings, 100) == pytest.approx(after)


def test_a_score_rates_all_images_and_a_row_rates_a_few_that_change_from_row_to_row() -> None:
    """D is replaced by the mean of an image's first pixel, which names the image."""
    rated: list[list[float]] = []

    class Watched(Trainer):
        def mean_output(self, images: np.ndarray, classes: np.ndarray | None = None) -> float:
            assert classes is None
            rated.append(images[:, 0, 0, 0].tolist())
            return 0.0

    trainer = Watched(SETTINGS, 16, 1)
    images = {split: np.zeros((count, 16, 16, 1), np.uint8) for split, count in (("train", 100), ("test", 20))}
    for array in images.values():
        array[:, 0, 0, 0] = np.arange(len(array))
    names = pixels.normalise(np.arange(100, dtype=np.uint8)).tolist()
    probe = Probe(trainer, {split: (array, np.zeros(len(array), np.int64)) for split, array in images.items()})
    probe(3, score=True)
    assert rated[0] == names
    assert rated[1] == names[:20]
    assert len(rated[2]) == 1000
    rated.clear()
    for row in range(3):
        probe(row, score=False)
    assert rated[0] + rated[3] + rated[6] == (names * 2)[:192], "each row continues where the last one ended"
    assert sorted(rated[1]) == names[:20]
    assert len(rated[2]) == 64
    assert rated[2] != rated[5]


def test_the_samples_are_those_of_the_generator_itself() -> None:
    trainer = Trainer(SETTINGS, 16, 1)
    trainer.average.set_weights([np.zeros_like(weight) for weight in trainer.average.get_weights()])
    z = latent(range(_FIRST_SEED, _FIRST_SEED + 64), 100)
    expected = trainer.mean_output(trainer.generator(z, training=False).numpy())
    images = np.zeros((8, 16, 16, 1), np.uint8), np.zeros(8, np.int64)
    outputs = Probe(trainer, {"train": images, "test": images})(0, score=False)
    assert outputs.generated == pytest.approx(expected, rel=1e-4)
    assert outputs.train == outputs.held_out


def test_a_measure_that_is_not_a_number_keeps_the_probability_one() -> None:
    outputs = dataclasses.replace(Outputs(1.0, 0.0, 0.0), train=float("nan"))
    assert 0 <= next_probability(0.5, outputs, AugmentSettings(("colour",)), 100) <= 1
