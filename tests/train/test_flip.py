"""The mirroring of real images as they are read."""

import numpy as np
import tensorflow as tf

from stages.train.flip import horizontal_flip

IMAGES = np.random.default_rng(0).uniform(-1, 1, (96, 4, 6, 3)).astype(np.float32)


def flipped(seed: int, number: int) -> list[bool]:
    """Which images of a batch are mirrored. Every other image must be unchanged."""
    result = horizontal_flip(tf.constant(IMAGES), seed, tf.constant(number, tf.int64)).numpy()
    mirrored = [np.array_equal(after, before[:, ::-1]) for before, after in zip(IMAGES, result, strict=True)]
    unchanged = [np.array_equal(after, before) for before, after in zip(IMAGES, result, strict=True)]
    assert all(a != b for a, b in zip(mirrored, unchanged, strict=True))
    return mirrored


def test_a_horizontal_flip_mirrors_about_half_of_the_images() -> None:
    total = sum(sum(flipped(0, number)) for number in range(2))
    assert 60 <= total <= 132, "of 192, each with a chance of one half"


def test_the_seed_and_the_batchs_number_decide_which_images_are_flipped() -> None:
    assert flipped(0, 1) == flipped(0, 1)
    assert flipped(0, 1) != flipped(0, 2)
    assert flipped(0, 1) != flipped(1, 1)
