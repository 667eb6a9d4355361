"""Values that change during training. Each depends only on the images seen, so a resumed run has the same values."""

import math

import tensorflow as tf

from stages.params import Scheduled


def scheduled(value: Scheduled, images: tf.Tensor, burn_in: int) -> tf.Tensor:
    """The value (float32) of a setting once `images` (float32) images have been seen.

    A pair moves from its start to its end over the first `burn_in` images along half a cosine wave, and then stays at
    its end: the schedule of R3GAN (Huang et al. 2024, arXiv:2501.05441), as in their code.
    """
    if not isinstance(value, tuple):
        return tf.constant(value, tf.float32)
    start, end = value
    share = tf.minimum(images / burn_in, 1.0)
    return start + (end - start) * (1 - tf.cos(math.pi * share)) / 2


def images_seen(step: tf.Tensor, batch: int) -> tf.Tensor:
    """The images (float32) seen after step number `step` (the first is 0), each of `batch` images."""
    return tf.cast(step + 1, tf.float32) * batch
