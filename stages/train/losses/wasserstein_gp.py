"""The Wasserstein loss (Arjovsky et al. 2017, arXiv:1701.07875). The trainer adds the gradient penalty."""

import tensorflow as tf

from stages.train.losses.hinge import generator

__all__ = ["bounds", "discriminator", "generator"]


def discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """E[D(G(z))] − E[D(x)], without the penalty. It has no labels to smooth."""
    return tf.reduce_mean(fake) - tf.reduce_mean(real)


def bounds(smoothing: float) -> None:
    """None: the difference of two means has no smallest value."""
