"""The gradient penalty of the losses that have one."""

from collections.abc import Callable

import tensorflow as tf


def gradient_penalty(
    discriminator: Callable[[tf.Tensor], tf.Tensor], real: tf.Tensor, fake: tf.Tensor, mix: tf.Tensor
) -> tf.Tensor:
    """E[(|∇D(x̂)| − 1)²] at x̂ = real + mix · (fake − real). Images are (N, H, W, C), `mix` is (N, 1, 1, 1) in [0,1].

    Gulrajani et al. 2017 (arXiv:1704.00028), equation 3, without its factor λ.
    """
    between = real + mix * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(between)
        outputs = discriminator(between)
    gradients = tape.gradient(outputs, between)
    # 1e-12, because the gradient of a square root is infinite at zero.
    norms = tf.sqrt(tf.reduce_sum(tf.square(gradients), (1, 2, 3)) + 1e-12)
    return tf.reduce_mean(tf.square(norms - 1))
