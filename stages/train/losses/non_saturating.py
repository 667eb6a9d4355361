"""The non-saturating loss (Goodfellow et al. 2014, arXiv:1406.2661, section 3)."""

import tensorflow as tf

from stages.train.losses.logistic import bounds, discriminator

__all__ = ["bounds", "discriminator", "generator"]


def generator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """−E[log D(G(z))]: the fixed point of `minimax`, with a gradient that does not vanish."""
    return tf.reduce_mean(tf.nn.softplus(-fake))
