"""The differentiable transforms of the images that D sees.

Zhao et al. 2020 (arXiv:2006.10738) apply the same random transforms to real images and samples, and G learns through
them. Karras et al. 2020 (arXiv:2006.06676) show that transforms do not leak into the samples as long as each leaves
enough images as they are.

A transform is a function of the images (float32 NHWC [-1,1]), of which images to change (bool N) and of random numbers
(float32 (N, 3), uniform in [0,1)). It returns an image that it must not change with the same values. The result is not
clipped to [-1,1], as in Zhao's code: a clipped pixel would have no gradient.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from stages.train.augment.settings import TransformName

REAL, FAKE, MEASURED = range(3)
"""The kinds of batches. Those of the same number have different random numbers."""

_NUMBERS = 3  # for each transform of an image
_REACH = 8  # a translation moves an image by up to this fraction of its side
_HOLE = 2  # the side of a cutout is this fraction of the image's


def colour(images: tf.Tensor, on: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Change brightness, then saturation, then contrast, by random amounts. An alpha channel stays.

    Zhao et al. 2020, as in their code: x + b, b in ±0.5; the distance of a pixel's channels from their mean times s in
    [0,2); the distance of all values from their mean times c in [0.5,1.5). This is one linear function of x. Gray
    images have no saturation.
    """
    channels = images.shape[3]
    if channels == 4:
        return tf.concat([colour(images[..., :3], on, numbers), images[..., 3:]], 3)
    neutral = tf.constant([0.0, 1.0, 1.0])
    amounts = tf.where(on[:, None], numbers * tf.constant([1.0, 2.0, 1.0]) + tf.constant([-0.5, 0.0, 0.5]), neutral)
    brightness, saturation, contrast = (amounts[:, i, None, None, None] for i in range(3))
    shift = brightness + (1 - contrast) * tf.reduce_mean(images, (1, 2, 3), keepdims=True)
    if channels == 1:
        return contrast * images + shift
    gray = contrast * (1 - saturation) * tf.reduce_mean(images, 3, keepdims=True)
    return contrast * saturation * images + (gray + shift)


def translation(images: tf.Tensor, on: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Move an image by a whole number of pixels, up to an eighth of each side, and fill the border by reflection.

    Zhao et al. 2020 fill it with zeros, which is a gray bar in any image whose border has another colour. A reflection
    fits every border.
    """
    rows, columns = (_moved(images.shape[1 + i], on, numbers[:, i]) for i in range(2))
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def _moved(side: int, on: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """For each image, the place that each of the `side` pixels of an axis is taken from: int32 (N, side)."""
    reach = side // _REACH
    shift = tf.where(on, tf.cast(tf.floor(number * (2 * reach + 1)), tf.int32) - reach, 0)
    places = abs(tf.range(side) - shift[:, None])
    return side - 1 - abs(side - 1 - places)


def cutout(images: tf.Tensor, on: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Cover a rectangle of half the height and width at a random place with the image's mean colour.

    As in Zhao et al. 2020, the centre is at any pixel, so a part of the rectangle can be outside. They fill it with
    gray. The mean of the image fits data on any background.
    """
    inside = [_covered(images.shape[1 + i], numbers[:, i]) for i in range(2)]
    covered = inside[0][:, :, None] & inside[1][:, None, :] & on[:, None, None]
    cover = tf.cast(covered, images.dtype)[..., None]
    return images * (1 - cover) + tf.reduce_mean(images, (1, 2), keepdims=True) * cover


def _covered(side: int, number: tf.Tensor) -> tf.Tensor:
    """For each image, which pixels of an axis the rectangle covers: bool (N, side)."""
    first = tf.cast(tf.floor(number * side), tf.int32)[:, None] - side // _HOLE // 2
    places = tf.range(side)
    return (places >= first) & (places < first + side // _HOLE)


TRANSFORMS: dict[TransformName, Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}
"""By the name in `train.augment.transforms`."""


def draw(seed: int, number: tf.Tensor, kind: int, count: tf.Tensor | int, transforms: int) -> tf.Tensor:
    """The random numbers for this many transforms of `count` images: those of the batch `number` of a kind."""
    # Both are negative, so no other draw of the training has this pair: see flip.py.
    pair = tf.stack([-1 - seed, -1 - (3 * number + kind)])
    return tf.random.stateless_uniform((count, transforms, 1 + _NUMBERS), pair)


def apply(
    names: Sequence[TransformName], images: tf.Tensor, numbers: tf.Tensor, probability: tf.Tensor | float
) -> tf.Tensor:
    """Apply each transform to each image with this probability. `numbers` are those of `draw`."""
    for i, name in enumerate(names):
        images = TRANSFORMS[name](images, numbers[:, i, 0] < probability, numbers[:, i, 1:])
    return images
