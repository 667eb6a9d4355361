"""The relativistic pairing loss: how real an image is in comparison with the image it is paired with.

Jolicoeur-Martineau 2018 (arXiv:1807.00734), section 4; Huang et al. 2024 (R3GAN, arXiv:2501.05441), section 2. Image i
of the real batch is paired with image i of the fake batch. A constant added to D changes nothing.
"""

import math

import tensorflow as tf


def discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """−E[log σ(D(x) − D(G(z)))] in nats. It has no labels to smooth."""
    return tf.reduce_mean(tf.nn.softplus(fake - real))


def generator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """−E[log σ(D(G(z)) − D(x))]."""
    return tf.reduce_mean(tf.nn.softplus(real - fake))


def bounds(smoothing: float) -> tuple[float, float]:
    """0, and log 2 (the two outputs of each pair are equal)."""
    return 0.0, math.log(2)
