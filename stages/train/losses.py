"""The GAN's objectives, as losses to descend, on D's outputs (N, 1) before any sigmoid; means over the batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

Loss = Literal["non_saturating", "minimax", "least_squares", "hinge", "wasserstein_gp"]


@dataclass(frozen=True)
class Objective:
    """A pair of losses.

    `discriminator(real, fake, smoothing)` and `generator(fake)` take D's outputs (N, 1). `logistic`: the outputs are
    logits, their sigmoid the probability of "real". `bounds(smoothing)`: D's loss where it is right about everything,
    and where it cannot tell at all; None where there is no such bound.
    """

    discriminator: Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]
    generator: Callable[[tf.Tensor], tf.Tensor]
    logistic: bool
    bounds: Callable[[float], tuple[float, float] | None]


def logistic_discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """−E[log D(x)] − E[log(1 − D(G(z)))] in nats, D the logits' sigmoid: its descent is D's ascent of V(D, G).

    Goodfellow et al. 2014 (arXiv:1406.2661), equation 1. With one-sided label smoothing α the first term becomes the
    cross-entropy to 1 − α (Salimans et al. 2016, arXiv:1606.03498, section 3.4).
    """
    real_term = (1 - smoothing) * tf.nn.softplus(-real) + smoothing * tf.nn.softplus(real)
    return tf.reduce_mean(real_term) + tf.reduce_mean(tf.nn.softplus(fake))


def minimax(fake: tf.Tensor) -> tf.Tensor:
    """E[log(1 − D(G(z)))], the generator's part of equation 1 to the letter. It saturates where D is sure of itself."""
    return -tf.reduce_mean(tf.nn.softplus(fake))


def non_saturating(fake: tf.Tensor) -> tf.Tensor:
    """−E[log D(G(z))]: the same fixed point with a gradient that does not vanish (the same paper, section 3)."""
    return tf.reduce_mean(tf.nn.softplus(-fake))


def _logistic_bounds(smoothing: float) -> tuple[float, float]:
    entropy = -sum(p * math.log(p) for p in (smoothing, 1 - smoothing) if p > 0)
    return entropy, 2 * math.log(2)


def least_squares_discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """½E[(D(x) − b)²] + ½E[D(G(z))²] with b = 1 − smoothing (Mao et al. 2017, arXiv:1611.04076, equation 9)."""
    return (tf.reduce_mean(tf.square(real - (1 - smoothing))) + tf.reduce_mean(tf.square(fake))) / 2


def least_squares(fake: tf.Tensor) -> tf.Tensor:
    """½E[(D(G(z)) − 1)²] (the same paper and equation)."""
    return tf.reduce_mean(tf.square(fake - 1)) / 2


def hinge_discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))] (Lim, Ye 2017, arXiv:1705.02894; Miyato et al. 2018, eq. 16)."""
    return tf.reduce_mean(tf.nn.relu(1 - real)) + tf.reduce_mean(tf.nn.relu(1 + fake))


def wasserstein_discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """E[D(G(z))] − E[D(x)] (Arjovsky et al. 2017, arXiv:1701.07875), to which the gradient penalty comes."""
    return tf.reduce_mean(fake) - tf.reduce_mean(real)


def mean_output(fake: tf.Tensor) -> tf.Tensor:
    """−E[D(G(z))]: the generator's part of both the hinge and the Wasserstein loss."""
    return -tf.reduce_mean(fake)


def gradient_penalty(
    discriminator: Callable[[tf.Tensor], tf.Tensor], real: tf.Tensor, fake: tf.Tensor, mix: tf.Tensor
) -> tf.Tensor:
    """E[(|∇D(x̂)| − 1)²] at x̂ = real + mix · (fake − real), images (N, H, W, C), `mix` in [0,1] (N, 1, 1, 1).

    Gulrajani et al. 2017 (arXiv:1704.00028), equation 3, without its factor λ.
    """
    between = real + mix * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(between)
        outputs = discriminator(between)
    gradients = tape.gradient(outputs, between)
    # The root's own gradient is not finite at zero.
    norms = tf.sqrt(tf.reduce_sum(tf.square(gradients), (1, 2, 3)) + 1e-12)
    return tf.reduce_mean(tf.square(norms - 1))


OBJECTIVES: dict[str, Objective] = {
    "non_saturating": Objective(logistic_discriminator, non_saturating, True, _logistic_bounds),
    "minimax": Objective(logistic_discriminator, minimax, True, _logistic_bounds),
    # Where D cannot tell it answers (1 − smoothing)/2, half-way between its two targets.
    "least_squares": Objective(
        least_squares_discriminator, least_squares, False, lambda smoothing: (0.0, (1 - smoothing) ** 2 / 4)
    ),
    "hinge": Objective(hinge_discriminator, mean_output, False, lambda _: (0.0, 2.0)),
    "wasserstein_gp": Objective(wasserstein_discriminator, mean_output, False, lambda _: None),
}
