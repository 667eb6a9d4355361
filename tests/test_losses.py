"""Losses, against NumPy."""

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
    assert float(losses.discriminator_loss(REAL, FAKE)) == pytest.approx(-value, rel=1e-6)


def test_minimax_is_the_generators_part_of_figure_2() -> None:
    assert float(losses.minimax(FAKE)) == pytest.approx(np.log(1 - sigmoid(FAKE)).mean(), rel=1e-6)


def test_non_saturating_is_minus_log_d() -> None:
    assert float(losses.non_saturating(FAKE)) == pytest.approx(-np.log(sigmoid(FAKE)).mean(), rel=1e-6)


def test_smoothing_is_the_cross_entropy_to_a_softer_label_for_real_images_only() -> None:
    p = sigmoid(REAL)
    expected = -(0.9 * np.log(p) + 0.1 * np.log(1 - p)).mean() - np.log(1 - sigmoid(FAKE)).mean()
    assert float(losses.discriminator_loss(REAL, FAKE, 0.1)) == pytest.approx(expected, rel=1e-6)


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


@pytest.mark.parametrize("loss", [losses.minimax, losses.non_saturating])
def test_no_overflow_at_any_logit(loss: object) -> None:
    assert np.isfinite(loss(tf.constant([[-1e4], [1e4]])))  # type: ignore[operator]
