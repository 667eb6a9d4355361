"""The GAN's objective, as losses to descend, on logits (N, 1). All are means over the batch, in nats."""

import tensorflow as tf


def discriminator_loss(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """−E[log D(x)] − E[log(1 − D(G(z)))], with D the logits' sigmoid: its descent is D's ascent of V(D, G).

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


GENERATOR_LOSSES = {"non_saturating": non_saturating, "minimax": minimax}
