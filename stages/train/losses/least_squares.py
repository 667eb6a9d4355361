"""The least-squares loss (Mao et al. 2017, arXiv:1611.04076, equation 9)."""

import tensorflow as tf


def discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """½E[(D(x) − b)²] + ½E[D(G(z))²] with b = 1 − smoothing."""
    return (tf.reduce_mean(tf.square(real - (1 - smoothing))) + tf.reduce_mean(tf.square(fake))) / 2


def generator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """½E[(D(G(z)) − 1)²]."""
    return tf.reduce_mean(tf.square(fake - 1)) / 2


def bounds(smoothing: float) -> tuple[float, float]:
    """0, and the loss of a D that always answers (1 − smoothing)/2, half-way between its two targets."""
    return 0.0, (1 - smoothing) ** 2 / 4
