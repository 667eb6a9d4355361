"""The mirroring of real images as they are read, and whether it suits the data.

Mirroring is a function of the images (float32 NHWC [-1,1]), the seed and the batch's number, which together decide
every random choice. So a resumed run sees the same images as an uninterrupted one.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from stages.neighbours import Nearest, thumbnails

IMAGES = 2000
"""The images that `sides` needs for a clear answer."""
# The share of images on their own side above which the data has a left and a right. For scale: 0.49 for 2,000 images of
# noise, 0.95 for scikit-learn's digits, 0.79 for Fashion-MNIST (T-shirts 0.64, sneakers 0.99), 0.82 for the emoji. For
# data without a left and a right, it is above this in one of 50 cases with 100 images, in one of 1000 with 200.
_OWN_SIDE = 0.65


def horizontal_flip(images: tf.Tensor, seed: int, number: tf.Tensor) -> tf.Tensor:
    """Mirror each image with a chance of one half."""
    # The seed is negated: [seed, number] already draws the z of that step, and [seed, -1 - number] the mixture of the
    # gradient penalty. A shared pair would give the same bits.
    chances = tf.random.stateless_uniform((images.shape[0],), tf.stack([-1 - seed, number]))
    # Reverse all rows, then select whole images: images[:, :, ::-1] with tf.where takes nine times as long.
    rows = tf.reverse(tf.reshape(images, [-1, *images.shape[2:]]), [1])
    return tf.raw_ops.Select(condition=chances < 0.5, x=images, y=tf.reshape(rows, tf.shape(images)))


@dataclass(frozen=True)
class Sides:
    """The share of images (of this number) whose nearest other image is nearer than its mirror image would be.

    In data that does not change when all images are mirrored, each image is on its own side with a chance of one half,
    and independently of the others, whatever the data is.
    """

    own_side: float
    images: int

    @property
    def differ(self) -> bool:
        """Whether the data has a left and a right: the share is large, and more than two standard deviations off."""
        return self.own_side > max(_OWN_SIDE, 0.5 + 2 * math.sqrt(0.25 / self.images))


def sides(images: np.ndarray) -> Sides:
    """Compare each second image with the others and with their mirror images: float32 NHWC, in any fixed order.

    A test of two samples by nearest neighbours, after Schilling 1986 (Journal of the American Statistical Association
    81), with distances between thumbnails. An image as near to both sides counts half.
    """
    queries, others = images[::2], images[1::2]
    distances = []
    for points in (others, others[:, :, ::-1]):
        nearest = Nearest(thumbnails(queries)[None], 1)
        nearest.add(thumbnails(points))
        distances.append(nearest.distances[:, 0])
    own, mirrored = distances
    return Sides(float(np.mean((1 + np.sign(mirrored - own)) / 2)), len(queries))
