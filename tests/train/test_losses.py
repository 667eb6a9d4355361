"""The losses against NumPy, and the gradient penalty against its closed form."""

import math

import numpy as np
import pytest
import tensorflow as tf

from stages.train.losses import hinge, least_squares, minimax, non_saturating, relativistic, wasserstein_gp
from stages.train.losses.catalog import LOSSES
from stages.train.losses.penalty import gradient_penalty, squared_slope

REAL = np.array([[2.0], [-1.0], [0.3]], np.float32)
FAKE = np.array([[-3.0], [0.5], [1.0]], np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


@pytest.mark.parametrize("name", ["non_saturating", "minimax"])
def test_the_logistic_discriminator_minimises_minus_v_of_d_and_g(name: str) -> None:
    value = np.log(sigmoid(REAL)).mean() + np.log(1 - sigmoid(FAKE)).mean()
    assert float(LOSSES[name].formulas.discriminator(REAL, FAKE)) == pytest.approx(-value, rel=1e-6)


def test_the_minimax_generator_minimises_its_part_of_v_of_d_and_g() -> None:
    assert float(minimax.generator(REAL, FAKE)) == pytest.approx(np.log(1 - sigmoid(FAKE)).mean(), rel=1e-6)


def test_the_non_saturating_generator_minimises_minus_log_d() -> None:
    assert float(non_saturating.generator(REAL, FAKE)) == pytest.approx(-np.log(sigmoid(FAKE)).mean(), rel=1e-6)


def test_label_smoothing_softens_the_label_of_real_images_only() -> None:
    p = sigmoid(REAL)
    expected = -(0.9 * np.log(p) + 0.1 * np.log(1 - p)).mean() - np.log(1 - sigmoid(FAKE)).mean()
    assert float(non_saturating.discriminator(REAL, FAKE, 0.1)) == pytest.approx(expected, rel=1e-6)


def test_the_relativistic_losses_compare_the_images_of_each_pair() -> None:
    assert float(relativistic.discriminator(REAL, FAKE)) == pytest.approx(
        -np.log(sigmoid(REAL - FAKE)).mean(), rel=1e-6
    )
    assert float(relativistic.generator(REAL, FAKE)) == pytest.approx(-np.log(sigmoid(FAKE - REAL)).mean(), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_only_a_paired_loss_of_g_depends_on_the_real_outputs_and_only_on_differences(name: str) -> None:
    values = [float(LOSSES[name].formulas.generator(REAL + more, FAKE + more)) for more in (0.0, 1.0)]
    changed = float(LOSSES[name].formulas.generator(REAL + 1, FAKE))
    assert (changed != values[0]) == (values[0] == pytest.approx(values[1])) == LOSSES[name].paired


def test_the_gradient_of_minimax_vanishes_and_that_of_non_saturating_does_not() -> None:
    logits = tf.constant([[-20.0]])  # D is sure that the image is fake
    gradients = []
    for loss in (minimax.generator, non_saturating.generator):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(logits, logits)
        gradients.append(tape.gradient(value, logits).numpy().item())
    assert gradients[0] == pytest.approx(0, abs=1e-8)
    assert gradients[1] == pytest.approx(-1, abs=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_the_generators_loss_is_finite_at_extreme_outputs(name: str) -> None:
    real, fake = tf.constant([[1e4], [-1e4]]), tf.constant([[-1e4], [1e4]])
    assert np.isfinite(LOSSES[name].formulas.generator(real, fake))


def test_the_least_squares_loss_matches_numpy() -> None:
    expected = ((REAL - 0.9) ** 2).mean() / 2 + (FAKE**2).mean() / 2
    assert float(least_squares.discriminator(REAL, FAKE, 0.1)) == pytest.approx(expected, rel=1e-6)
    assert float(least_squares.generator(REAL, FAKE)) == pytest.approx(((FAKE - 1) ** 2).mean() / 2, rel=1e-6)


def test_the_hinge_loss_matches_numpy() -> None:
    expected = np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean()
    assert float(hinge.discriminator(REAL, FAKE)) == pytest.approx(expected, rel=1e-6)
    assert float(hinge.generator(REAL, FAKE)) == pytest.approx(-FAKE.mean(), rel=1e-6)


def test_the_wasserstein_loss_matches_numpy() -> None:
    assert float(wasserstein_gp.discriminator(REAL, FAKE)) == pytest.approx(FAKE.mean() - REAL.mean(), rel=1e-6)
    assert float(wasserstein_gp.generator(REAL, FAKE)) == pytest.approx(-FAKE.mean(), rel=1e-6)


def test_a_loss_without_a_penalty_has_bounds() -> None:
    assert all(loss.formulas.bounds(0.0) for loss in LOSSES.values() if not loss.penalty)


def test_the_wasserstein_loss_has_no_bounds() -> None:
    assert LOSSES["wasserstein_gp"].formulas.bounds(0.1) is None


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.formulas.bounds(0.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_bounds_are_ds_loss_when_it_is_right_and_when_it_cannot_tell(name: str, smoothing: float) -> None:
    formulas = LOSSES[name].formulas
    right, chance = formulas.bounds(smoothing) or (math.nan, math.nan)
    outputs = np.linspace(-12, 12, 481, dtype=np.float32)

    def loss(real: float, fake: float) -> float:
        return float(formulas.discriminator(tf.constant([[real]]), tf.constant([[fake]]), smoothing))

    assert min(loss(real, fake) for real in outputs for fake in (-12.0, 0.0)) == pytest.approx(right, abs=1e-3)
    best_constant = min(loss(output, output) for output in outputs)  # a D with one answer for every image
    if smoothing == 0 or not (LOSSES[name].logistic and LOSSES[name].smoothing):
        assert best_constant == pytest.approx(chance, abs=1e-3)
    else:
        assert best_constant < chance == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("name", LOSSES)
def test_only_a_loss_with_labels_depends_on_label_smoothing(name: str) -> None:
    formulas = LOSSES[name].formulas
    values = [float(formulas.discriminator(REAL, FAKE, smoothing)) for smoothing in (0.0, 0.1)]
    assert (values[0] != values[1]) == LOSSES[name].smoothing


def test_the_penalty_of_a_linear_d_is_the_squared_difference_of_its_slope_from_one() -> None:
    weights = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3) / 10
    images = np.random.default_rng(0).normal(size=(2, 5, 2, 2, 3)).astype(np.float32)

    def discriminator(x: tf.Tensor, training: bool) -> tf.Tensor:
        assert not training
        return tf.reduce_sum(x * weights, (1, 2, 3))[:, None]

    value = gradient_penalty(discriminator, images[0], images[1], tf.fill((5, 1, 1, 1), 0.3))
    assert float(value) == pytest.approx((np.linalg.norm(weights) - 1) ** 2, rel=1e-5)


def test_the_squared_slope_is_the_mean_over_the_images_of_the_sum_over_an_image() -> None:
    slopes = np.random.default_rng(0).normal(size=(5, 2, 2, 3)).astype(np.float32)
    assert float(squared_slope(slopes)) == pytest.approx((slopes**2).sum() / 5, rel=1e-5)


def test_the_penalty_is_taken_between_the_real_and_the_fake_image() -> None:
    inputs = []

    def discriminator(x: tf.Tensor, training: bool) -> tf.Tensor:
        assert not training
        inputs.append(x.numpy())
        return tf.reduce_sum(x**2, (1, 2, 3))[:, None]

    real, fake = np.full((2, 1, 1, 1), 1, np.float32), np.full((2, 1, 1, 1), 3, np.float32)
    value = gradient_penalty(discriminator, real, fake, tf.constant([0.0, 0.5], shape=(2, 1, 1, 1)))
    assert inputs[0].ravel().tolist() == [1, 2]
    assert float(value) == pytest.approx(((2 - 1) ** 2 + (4 - 1) ** 2) / 2, rel=1e-5)
