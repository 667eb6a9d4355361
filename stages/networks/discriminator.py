"""The discriminator: image => one logit, by strided convolutions without pooling. It mirrors the generator."""

import math
from typing import assert_never

import keras
from keras import layers

from stages.networks.choices import Precision
from stages.networks.layers import (
    Initializers,
    MinibatchStd,
    SpectralConv2D,
    SpectralDense,
    norm_after,
    normalise_and_activate,
    precision,
    width_before,
)
from stages.networks.settings import DiscriminatorSettings
from stages.sizes import Size, doublings, sides


def discriminator(
    size: Size,
    channels: int,
    settings: DiscriminatorSettings,
    compute: Precision = "float32",
    seed: int = 0,
    classes: int = 0,
) -> keras.Model:
    """Build the network images (N, height, width, channels) in [-1,1] => logits float32 (N, 1).

    The sigmoid of a logit is the probability of "real". Each convolution halves the sides and doubles the channels,
    down to the generator's grid, 4 × 4 for a power of two; the head gives the logit.

    - `settings`: a layer before a norm has no bias. With the head `gap` the images can have any size.
    - `compute`: the precision of the layers' arithmetic.
    - `seed`: decides the initial weights.
    - `classes`: the number K of classes or attributes of a conditional discriminator. It has a second input, `class`
      (N, K), and says whether an image is a real one of this class: see `_projection`.

    Raises ValueError for a size that stages/sizes.py does not allow.
    """
    init = Initializers(seed, settings.initializer)
    conv = SpectralConv2D if settings.norm == "spectral" else layers.Conv2D
    steps = doublings(size)
    shape = (None, None) if settings.head == "gap" else sides(size)
    with precision(compute):
        image = x = keras.Input((*shape, channels), name="image")
        for step in range(1, steps + 1):
            norm = norm_after(settings.norm, excluded=step == 1)
            x = conv(
                width_before(settings.activation, settings.channels * 2 ** (step - 1)),
                settings.kernel_size,
                strides=2,
                padding="same",
                use_bias=not norm,
                kernel_initializer=init.kernel(settings.kernel_size**2 * x.shape[-1], settings.activation),
                name=f"down_{step}",
            )(x)
            x = normalise_and_activate(x, norm, settings.activation, step)
        if settings.minibatch_std:
            x = MinibatchStd(name="minibatch_std")(x)
        x = _features(x, settings, settings.channels * 2 ** (steps - 1), init)
        exact = keras.config.dtype_policy().variable_dtype
        logits = layers.Reshape((1,), dtype=exact, name="logits")(_last(x, settings, 1, init, "logit", bias=True))
        inputs = image
        if classes:
            weights = keras.Input((classes,), name="class")
            of_classes = _last(x, settings, classes, init, "class_logits", bias=False)
            inputs, logits = [image, weights], _projection(logits, of_classes, weights, exact)
    return keras.Model(inputs, logits, name="discriminator")


def _projection(
    logits: keras.KerasTensor, of_classes: keras.KerasTensor, classes: keras.KerasTensor, dtype: str
) -> keras.KerasTensor:
    """The logits (N, 1) plus those of the classes (…, K), weighted by `classes` (N, K) => (N, 1).

    Miyato, Koyama 2018 (arXiv:1802.05637), equation 3: ψ(φ(x)) + yᵀVφ(x), where φ are the features before the last
    layer ψ. V is a second last layer without a bias, with an output for each class.

    For attributes, y has a number for each, and yᵀVφ is the sum of the outputs of those that the image has. This is the
    paper's likelihood ratio (section 3) for yes-or-no attributes that are independent given the image: log p(yₖ|x) is
    yₖ·vₖᵀφ minus a term without y, which ψ can learn. So an image without attributes needs no output of its own.
    """
    of_classes = layers.Reshape((classes.shape[-1],), dtype=dtype, name="of_classes")(of_classes)
    chosen = layers.Dot(1, dtype=dtype, name="of_class")([of_classes, classes])
    return layers.Add(dtype=dtype, name="logits_of_class")([logits, chosen])


def _features(
    x: keras.KerasTensor, settings: DiscriminatorSettings, width: int, init: Initializers
) -> keras.KerasTensor:
    """(N, *shape, width) => the features before the last layer.

    The head `conv` has none between: its last layer is one convolution over the whole grid. `dense`: a fully connected
    hidden layer of `width` units, then a fully connected layer. (One fully connected layer alone would be the same map
    as `conv`.) `gap`: global average pooling, then a fully connected layer, which accepts images of any size.
    """
    if settings.head == "conv":
        return x
    if settings.head == "gap":
        return layers.GlobalAveragePooling2D(name="mean")(x)
    if settings.head == "dense":
        dense = SpectralDense if settings.norm == "spectral" else layers.Dense
        fan_in = math.prod(x.shape[1:])
        x = layers.Reshape((1, 1, fan_in), name="flat")(x)
        units, norm = width_before(settings.activation, width), norm_after(settings.norm)
        kernel = init.kernel(fan_in, settings.activation)
        x = dense(units, use_bias=not norm, kernel_initializer=kernel, name="hidden")(x)
        return normalise_and_activate(x, norm, settings.activation, "hidden")
    assert_never(settings.head)


def _last(
    x: keras.KerasTensor, settings: DiscriminatorSettings, outputs: int, init: Initializers, name: str, *, bias: bool
) -> keras.KerasTensor:
    """The features of an image => `outputs` numbers, by one linear layer."""
    spectral = settings.norm == "spectral"
    options = {"use_bias": bias, "kernel_initializer": init.kernel(math.prod(x.shape[1:])), "name": name}
    if settings.head == "conv":
        conv = SpectralConv2D if spectral else layers.Conv2D
        return conv(outputs, x.shape[1:3], padding="valid", **options)(x)
    return (SpectralDense if spectral else layers.Dense)(outputs, **options)(x)
