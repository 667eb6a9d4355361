"""The discriminator: image => one logit, by strided convolutions without pooling. It mirrors the generator."""

import math
from typing import assert_never

import keras
from keras import layers

from stages.networks.choices import Precision
from stages.networks.layers import (
    Initializers,
    SpectralConv2D,
    SpectralDense,
    norm_after,
    normalise_and_activate,
    precision,
    width_before,
)
from stages.networks.settings import DiscriminatorSettings
from stages.sizes import Size, doublings, grid, sides


def discriminator(
    size: Size, channels: int, settings: DiscriminatorSettings, compute: Precision = "float32", seed: int = 0
) -> keras.Model:
    """Build the network images (N, height, width, channels) in [-1,1] => logits float32 (N, 1).

    The sigmoid of a logit is the probability of "real". Each convolution halves the sides and doubles the channels,
    down to the generator's grid, 4 × 4 for a power of two; the head gives the logit.

    - `settings`: a layer before a norm has no bias. With the head `gap` the images can have any size.
    - `compute`: the precision of the layers' arithmetic.
    - `seed`: decides the initial weights.

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
        x = _head(x, settings, grid(size), settings.channels * 2 ** (steps - 1), init)
        logits = layers.Reshape((1,), dtype=keras.config.dtype_policy().variable_dtype, name="logits")(x)
    return keras.Model(image, logits, name="discriminator")


def _head(
    x: keras.KerasTensor, settings: DiscriminatorSettings, shape: tuple[int, int], width: int, init: Initializers
) -> keras.KerasTensor:
    """(N, *shape, width) => logits, one for each image.

    `conv`: one convolution over the whole grid. `dense`: a fully connected hidden layer of `width` units, then a fully
    connected layer. (One fully connected layer alone would be the same map as `conv`.) `gap`: global average pooling,
    then a fully connected layer, which accepts images of any size.
    """
    spectral = settings.norm == "spectral"
    conv, dense = (SpectralConv2D, SpectralDense) if spectral else (layers.Conv2D, layers.Dense)
    if settings.head == "conv":
        fan_in = math.prod(shape) * width
        return conv(1, shape, padding="valid", kernel_initializer=init.kernel(fan_in), name="logit")(x)
    if settings.head == "gap":
        x = layers.GlobalAveragePooling2D(name="mean")(x)
    elif settings.head == "dense":
        fan_in = math.prod(shape) * width
        x = layers.Reshape((1, 1, fan_in), name="flat")(x)
        units, norm = width_before(settings.activation, width), norm_after(settings.norm)
        kernel = init.kernel(fan_in, settings.activation)
        x = dense(units, use_bias=not norm, kernel_initializer=kernel, name="hidden")(x)
        x = normalise_and_activate(x, norm, settings.activation, "hidden")
    else:
        assert_never(settings.head)
    return dense(1, kernel_initializer=init.kernel(width), name="logit")(x)
