"""The hinge loss (Lim, Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, equations 16 and 17)."""

import tensorflow as tf


def discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))]. It has no labels to smooth."""
    return tf.reduce_mean(tf.nn.relu(1 - real)) + tf.reduce_mean(tf.nn.relu(1 + fake))


def generator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """−E[D(G(z))]."""
    return -tf.reduce_mean(fake)


def bounds(smoothing: float) -> tuple[float, float]:
    """0, and 2 (every output is 0)."""
    return 0.0, 2.0
