"""Views: random changes to a picture that the judge without labels learns to ignore.

A view of a picture in colour is the picture shifted. A view of a gray picture is also brighter or darker, with more or
less contrast, and with a rectangle erased. A judge that learns to ignore light and contrast sees less of the quality of
photographs in colour, and more of that of gray clothes (docs/metrics.md). Nothing is resized, rotated, blurred or
noisy: a judge of quality must see these, so it must not learn to ignore them.
"""

import tensorflow as tf

# The largest changes.
_SHIFT = 0.125  # of the height and width, in each direction; the border is mirrored
_ERASED = 0.5  # of the height and width
_BRIGHTNESS = 0.2  # of the range from -1 to 0
_CONTRAST = 0.3  # the factor is between exp(-0.3) and exp(0.3)


def view(images: tf.Tensor, seed: int, number: tf.Tensor) -> tf.Tensor:
    """Images float32 NHWC [-1,1] => a view of each. The seed and the number decide every random choice."""
    count, height, width, channels = images.shape
    chances = tf.random.stateless_uniform((8, count, 1, 1), tf.stack([seed, number]))
    views = _shifted(images, chances[0], chances[1])
    if channels > 1:
        return views
    means = tf.reduce_mean(views, (1, 2), keepdims=True)
    factors = tf.exp(_CONTRAST * (2 * chances[2, ..., None] - 1))
    views = (views - means) * factors + means + _BRIGHTNESS * (2 * chances[3, ..., None] - 1)
    rows, columns = (
        _stretch(side, chances[place], chances[length]) for side, place, length in ((height, 4, 5), (width, 6, 7))
    )
    erased = (rows[:, :, None] & columns[:, None, :])[..., None]
    return tf.where(erased, means, views)


def _shifted(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Shift each image by whole pixels. `down` and `right` (N, 1, 1) in [0,1) choose how far."""
    count, height, width, _ = images.shape
    rows, columns = round(_SHIFT * height), round(_SHIFT * width)
    padded = tf.pad(images, [[0, 0], [rows, rows], [columns, columns], [0, 0]], "SYMMETRIC")
    y = tf.range(height)[None, :, None] + tf.cast(down * (2 * rows + 1), tf.int32)
    x = tf.range(width)[None, None, :] + tf.cast(right * (2 * columns + 1), tf.int32)
    shape = (count, height, width)
    return tf.gather_nd(padded, tf.stack([tf.broadcast_to(y, shape), tf.broadcast_to(x, shape)], -1), batch_dims=1)


def _stretch(side: int, place: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """A stretch of each side, bool (N, side). `place` and `length` (N, 1, 1) in [0,1) choose where and how long."""
    lengths = _ERASED * side * length[:, 0]
    starts = place[:, 0] * (side - lengths)
    pixels = tf.range(side, dtype=tf.float32)
    return (pixels >= starts) & (pixels < starts + lengths)
