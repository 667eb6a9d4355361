"""The transforms of what D sees: each against NumPy, and which images they change."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from stages.train.augment import transforms
from stages.train.augment.settings import TransformName
from stages.train.augment.transforms import FAKE, MEASURED, REAL, TRANSFORMS, apply, draw

GENERATOR = np.random.default_rng(0)
NUMBERS = GENERATOR.uniform(0, 1, (40, 3)).astype(np.float32)


def pictures(channels: int, count: int = 40) -> np.ndarray:
    """Random images of 16 × 24 pixels."""
    return np.random.default_rng(channels).uniform(-1, 1, (count, 16, 24, channels)).astype(np.float32)


def coloured(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    colours = image[..., :3].astype(np.float64) + numbers[0] - 0.5
    gray = colours.mean(2, keepdims=True)
    colours = gray + (colours - gray) * 2 * numbers[1]
    colours = colours.mean() + (colours - colours.mean()) * (numbers[2] + 0.5)
    return np.concatenate([colours, image[..., 3:]], 2)


def translated(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    down, right = (int(numbers[i] * (2 * reach + 1)) - reach for i, reach in enumerate((2, 3)))
    padded = np.pad(image, ((2, 2), (3, 3), (0, 0)), "reflect")
    return padded[2 - down : 18 - down, 3 - right : 27 - right]


def cut_out(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    top, left = int(numbers[0] * 16) - 4, int(numbers[1] * 24) - 6
    result = image.astype(np.float64)
    result[max(top, 0) : max(top + 8, 0), max(left, 0) : max(left + 12, 0)] = image.mean((0, 1), np.float64)
    return result


EXPECTED: dict[TransformName, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "colour": coloured,
    "translation": translated,
    "cutout": cut_out,
}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_equals_numpy(name: TransformName, channels: int) -> None:
    images = pictures(channels)
    ours = TRANSFORMS[name](tf.constant(images), tf.fill(40, True), tf.constant(NUMBERS))
    expected = np.stack([EXPECTED[name](image, numbers) for image, numbers in zip(images, NUMBERS, strict=True)])
    assert np.allclose(ours, expected, atol=1e-5)


def test_a_translation_reaches_an_eighth_of_each_side_in_both_directions() -> None:
    ramp = np.zeros((40, 16, 24, 1), np.float32) + np.arange(24, dtype=np.float32)[:, None]
    numbers = np.linspace(0, 0.9999999, 40, dtype=np.float32)[:, None].repeat(3, 1)
    shifts = 12 - TRANSFORMS["translation"](tf.constant(ramp), tf.fill(40, True), tf.constant(numbers))[:, 0, 12, 0]
    assert sorted(set(shifts.numpy().tolist())) == [-3, -2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_leaves_an_image_exactly_as_it_is_if_it_is_off(name: TransformName, channels: int) -> None:
    images, on = pictures(channels), np.arange(40) % 2 == 0
    result = TRANSFORMS[name](tf.constant(images), tf.constant(on), tf.constant(NUMBERS)).numpy()
    assert np.array_equal(result[~on], images[~on])


def changed(probability: float, kind: int = REAL, number: int = 0, seed: int = 0) -> list[bool]:
    """Which of 400 images change."""
    images = pictures(3, 400)
    result = apply(["colour"], tf.constant(images), draw(seed, tf.constant(number), kind, 400, 1), probability).numpy()
    return [not np.array_equal(a, b) for a, b in zip(images, result, strict=True)]


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (0.5, 160, 240), (1.0, 400, 400)])
def test_the_probability_is_the_share_of_the_images_that_change(probability: float, least: int, most: int) -> None:
    assert least <= sum(changed(probability)) <= most


def test_two_transforms_choose_their_images_independently() -> None:
    numbers = draw(0, tf.constant(0), REAL, 400, 2).numpy()
    both = (numbers[:, 0, 0] < 0.5) & (numbers[:, 1, 0] < 0.5)
    assert 60 <= both.sum() <= 140, "a quarter"


def test_the_seed_the_number_and_the_kind_of_a_batch_decide_which_images_change() -> None:
    one = changed(0.5)
    assert changed(0.5) == one
    assert changed(0.5, seed=1) != one
    draws = [changed(0.5, kind, number) for kind in (REAL, FAKE, MEASURED) for number in range(3)]
    assert len(set(map(tuple, draws))) == 9


def test_the_transforms_are_applied_in_their_order() -> None:
    images, numbers = tf.constant(pictures(3)), draw(0, tf.constant(0), REAL, 40, 2)
    first = apply(["translation"], images, numbers[:, :1], 1.0)
    assert np.array_equal(
        apply(["translation", "cutout"], images, numbers, 1.0), apply(["cutout"], first, numbers[:, 1:], 1.0)
    )


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_gradient_of_a_transform_is_that_of_finite_differences(name: TransformName) -> None:
    """Each transform is linear in the images, up to a constant, so a large difference is exact."""
    images, on = tf.constant(pictures(3)), tf.constant(np.arange(40) % 2 == 0)
    weights, direction = (GENERATOR.normal(size=images.shape).astype(np.float32) for _ in range(2))

    def value(images: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(weights * TRANSFORMS[name](images, on, tf.constant(NUMBERS)))

    with tf.GradientTape() as tape:
        tape.watch(images)
        total = value(images)
    slope = float(tf.reduce_sum(tape.gradient(total, images) * direction))
    assert slope == pytest.approx(float(value(images + direction) - value(images - direction)) / 2, rel=1e-3)


def test_a_graph_gives_what_eager_execution_gives() -> None:
    images, numbers = tf.constant(pictures(4)), draw(0, tf.constant(0), FAKE, 40, 3)
    graph = tf.function(lambda images: apply(list(TRANSFORMS), images, numbers, 0.5))
    assert np.allclose(graph(images), apply(list(TRANSFORMS), images, numbers, 0.5), atol=1e-6)


def test_no_other_draw_of_the_training_has_the_random_pair_of_the_transforms() -> None:
    """Taken are [seed, number], [seed, -1 - number] and [-1 - seed, number] with numbers from 0."""
    pairs = {(-1 - 5, -1 - (3 * number + kind)) for number in range(100) for kind in (REAL, FAKE, MEASURED)}
    assert len(pairs) == 300
    assert all(seed < 0 and number < 0 for seed, number in pairs)
    assert transforms.draw(5, tf.constant(1), FAKE, 2, 1).numpy().tolist() == (
        tf.random.stateless_uniform((2, 1, 4), [-6, -5]).numpy().tolist()
    )
