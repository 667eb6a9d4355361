"""The discriminator's loss of the original GAN, which `non_saturating` and `minimax` share."""

import math

import tensorflow as tf


def discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """−E[log D(x)] − E[log(1 − D(G(z)))] in nats, where D is the sigmoid of the logits.

    Minimising it maximises V(D, G): Goodfellow et al. 2014 (arXiv:1406.2661), equation 1. One-sided label smoothing α
    turns the first term into the cross-entropy to 1 − α (Salimans et al. 2016, arXiv:1606.03498, section 3.4).
    """
    real_term = (1 - smoothing) * tf.nn.softplus(-real) + smoothing * tf.nn.softplus(real)
    return tf.reduce_mean(real_term) + tf.reduce_mean(tf.nn.softplus(fake))


def bounds(smoothing: float) -> tuple[float, float]:
    """The entropy of the smoothed label, and 2 log 2 (every probability is one half)."""
    entropy = -sum(p * math.log(p) for p in (smoothing, 1 - smoothing) if p > 0)
    return entropy, 2 * math.log(2)
