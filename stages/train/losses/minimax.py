"""The minimax loss (Goodfellow et al. 2014, arXiv:1406.2661, equation 1)."""

import tensorflow as tf

from stages.train.losses.logistic import bounds, discriminator

__all__ = ["bounds", "discriminator", "generator"]


def generator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """E[log(1 − D(G(z)))], exactly as in equation 1. Its gradient vanishes when D is sure that images are fake."""
    return -tf.reduce_mean(tf.nn.softplus(fake))
