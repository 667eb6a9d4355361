"""Losses, against NumPy; the gradient penalty and its own gradient, against finite differences."""

import math

import numpy as np
import pytest
import tensorflow as tf

from stages.train import losses

REAL = np.array([[2.0], [-1.0], [0.3]], np.float32)
FAKE = np.array([[-3.0], [0.5], [1.0]], np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def test_the_discriminator_descends_the_negative_of_figure_2() -> None:
    value = np.log(sigmoid(REAL)).mean() + np.log(1 - sigmoid(FAKE)).mean()
    assert float(losses.logistic_discriminator(REAL, FAKE)) == pytest.approx(-value, rel=1e-6)


def test_minimax_is_the_generators_part_of_figure_2() -> None:
    assert float(losses.minimax(FAKE)) == pytest.approx(np.log(1 - sigmoid(FAKE)).mean(), rel=1e-6)


def test_non_saturating_is_minus_log_d() -> None:
    assert float(losses.non_saturating(FAKE)) == pytest.approx(-np.log(sigmoid(FAKE)).mean(), rel=1e-6)


def test_smoothing_is_the_cross_entropy_to_a_softer_label_for_real_images_only() -> None:
    p = sigmoid(REAL)
    expected = -(0.9 * np.log(p) + 0.1 * np.log(1 - p)).mean() - np.log(1 - sigmoid(FAKE)).mean()
    assert float(losses.logistic_discriminator(REAL, FAKE, 0.1)) == pytest.approx(expected, rel=1e-6)


def test_minimax_saturates_where_non_saturating_does_not() -> None:
    logits = tf.constant([[-20.0]])  # D is sure that this is a fake
    gradients = []
    for loss in (losses.minimax, losses.non_saturating):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(logits)
        gradients.append(tape.gradient(value, logits).numpy().item())
    assert gradients[0] == pytest.approx(0, abs=1e-8)
    assert gradients[1] == pytest.approx(-1, abs=1e-8)


@pytest.mark.parametrize("loss", [losses.minimax, losses.non_saturating, losses.least_squares, losses.mean_output])
def test_no_overflow_at_any_logit(loss: object) -> None:
    assert np.isfinite(loss(tf.constant([[-1e4], [1e4]])))  # type: ignore[operator]


def test_least_squares_against_numpy() -> None:
    expected = ((REAL - 0.9) ** 2).mean() / 2 + (FAKE**2).mean() / 2
    assert float(losses.least_squares_discriminator(REAL, FAKE, 0.1)) == pytest.approx(expected, rel=1e-6)
    assert float(losses.least_squares(FAKE)) == pytest.approx(((FAKE - 1) ** 2).mean() / 2, rel=1e-6)


def test_hinge_against_numpy() -> None:
    expected = np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean()
    assert float(losses.hinge_discriminator(REAL, FAKE)) == pytest.approx(expected, rel=1e-6)
    assert float(losses.mean_output(FAKE)) == pytest.approx(-FAKE.mean(), rel=1e-6)


def test_wasserstein_against_numpy() -> None:
    assert float(losses.wasserstein_discriminator(REAL, FAKE)) == pytest.approx(FAKE.mean() - REAL.mean(), rel=1e-6)


@pytest.mark.parametrize("name", losses.OBJECTIVES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_bounds_are_ds_loss_where_it_is_right_and_where_it_cannot_tell(name: str, smoothing: float) -> None:
    objective = losses.OBJECTIVES[name]
    bounds = objective.bounds(smoothing)
    if bounds is None:
        assert name == "wasserstein_gp"
        return
    outputs = np.linspace(-12, 12, 481, dtype=np.float32)

    def loss(real: float, fake: float) -> float:
        return float(objective.discriminator(tf.constant([[real]]), tf.constant([[fake]]), smoothing))

    assert min(loss(real, fake) for real in outputs for fake in (-12.0, 0.0)) == pytest.approx(bounds[0], abs=1e-3)
    same = min(loss(output, output) for output in outputs)  # one answer to everything
    if smoothing == 0 or not objective.logistic:
        assert same == pytest.approx(bounds[1], abs=1e-3)
    else:
        assert same < bounds[1] == pytest.approx(2 * math.log(2))


def test_the_penalty_of_a_linear_d_is_its_slopes_distance_from_one() -> None:
    weights = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3) / 10
    images = np.random.default_rng(0).normal(size=(2, 5, 2, 2, 3)).astype(np.float32)

    def discriminator(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x * weights, (1, 2, 3))[:, None]

    value = losses.gradient_penalty(discriminator, images[0], images[1], tf.fill((5, 1, 1, 1), 0.3))
    assert float(value) == pytest.approx((np.linalg.norm(weights) - 1) ** 2, rel=1e-5)


def test_the_penalty_is_taken_between_the_two_images() -> None:
    seen = []

    def discriminator(x: tf.Tensor) -> tf.Tensor:
        seen.append(x.numpy())
        return tf.reduce_sum(x**2, (1, 2, 3))[:, None]

    real, fake = np.full((2, 1, 1, 1), 1, np.float32), np.full((2, 1, 1, 1), 3, np.float32)
    value = losses.gradient_penalty(discriminator, real, fake, tf.constant([0.0, 0.5], shape=(2, 1, 1, 1)))
    assert seen[0].ravel().tolist() == [1, 2]
    assert float(value) == pytest.approx(((2 - 1) ** 2 + (4 - 1) ** 2) / 2, rel=1e-5)
