"""Augmentations: random changes to the real images of a batch as they are read.

Each is a function of the images (float32 NHWC [-1,1]), the seed and the batch's number, which together decide every
random choice. So a resumed run sees the same images as an uninterrupted one.
"""

from collections.abc import Callable

import tensorflow as tf

from stages.train.settings import Settings


def horizontal_flip(images: tf.Tensor, seed: int, number: tf.Tensor) -> tf.Tensor:
    """Mirror each image with a chance of one half."""
    # The seed is negated: [seed, number] already draws the z of that step, and [seed, -1 - number] the mixture of the
    # gradient penalty. A shared pair would give the same bits.
    chances = tf.random.stateless_uniform((images.shape[0],), tf.stack([-1 - seed, number]))
    # Reverse all rows, then select whole images: images[:, :, ::-1] with tf.where takes nine times as long.
    rows = tf.reverse(tf.reshape(images, [-1, *images.shape[2:]]), [1])
    return tf.raw_ops.Select(condition=chances < 0.5, x=images, y=tf.reshape(rows, tf.shape(images)))


AUGMENTATIONS = {"horizontal_flip": horizontal_flip}
"""Keyed by the setting that turns each on, in the order in which they are applied."""


def augmentation(settings: Settings) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The augmentations that `settings` turns on, as one function of a batch's images and its number."""
    active = [augment for name, augment in AUGMENTATIONS.items() if getattr(settings, name)]

    def apply(images: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        for augment in active:
            images = augment(images, settings.seed, number)
        return images

    return apply
