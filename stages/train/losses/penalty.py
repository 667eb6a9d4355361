"""The gradient penalties: WGAN-GP's, on slopes other than one between real and fake images; R1 and R2, on any slope."""

from collections.abc import Callable

import tensorflow as tf


def gradient_penalty(
    discriminator: Callable[..., tf.Tensor], real: tf.Tensor, fake: tf.Tensor, mix: tf.Tensor
) -> tf.Tensor:
    """E[(|∇D(x̂)| − 1)²] at x̂ = real + mix · (fake − real). Images are (N, H, W, C), `mix` is (N, 1, 1, 1) in [0,1].

    Gulrajani et al. 2017 (arXiv:1704.00028), equation 3, without its factor λ. D is not in training mode, in which
    spectral norm would assign a variable: under tf.cond, several devices cannot.
    """
    between = real + mix * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(between)
        outputs = discriminator(between, training=False)
    gradients = tape.gradient(outputs, between)
    # 1e-12, because the gradient of a square root is infinite at zero.
    norms = tf.sqrt(tf.reduce_sum(tf.square(gradients), (1, 2, 3)) + 1e-12)
    return tf.reduce_mean(tf.square(norms - 1))


def squared_slope(slopes: tf.Tensor) -> tf.Tensor:
    """E[|∇D(x)|²] of `slopes`, the gradients ∇D(x) as (N, H, W, C).

    Mescheder et al. 2018 (arXiv:1801.04406), equation 9, without its factor γ/2. At real images its name is R1, at fake
    ones R2.
    """
    return tf.reduce_mean(tf.reduce_sum(tf.square(slopes), (1, 2, 3)))
