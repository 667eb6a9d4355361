"""The discriminator: image => one logit, by strided convolutions without pooling. It mirrors the generator."""

import math
from typing import assert_never

import keras
from keras import layers

from stages.networks.choices import Activation, BatchNormPlan, Head, KernelSize, Precision
from stages.networks.layers import (
    Initializers,
    SpectralConv2D,
    SpectralDense,
    normalise_and_activate,
    precision,
    width_before,
)
from stages.sizes import Size, doublings, grid, sides


def discriminator(
    size: Size,
    channels: int,
    *,
    base_channels: int = 128,
    kernel_size: KernelSize = 4,
    head: Head = "conv",
    activation: Activation = "leaky_relu",
    batch_norm: BatchNormPlan = "dcgan",
    spectral_norm: bool = False,
    compute: Precision = "float32",
    seed: int = 0,
) -> keras.Model:
    """Build the network images (N, height, width, channels) in [-1,1] => logits float32 (N, 1).

    The sigmoid of a logit is the probability of "real". Each convolution halves the sides and doubles the channels,
    down to the generator's grid, 4 × 4 for a power of two; the head gives the logit.

    - `base_channels`: channels after the first convolution.
    - `head`: see `_head`.
    - `batch_norm`: `dcgan` after every layer but the first and the last; `none`; `all` after the first too, which makes
      training oscillate (Radford et al. 2016, section 3).
    - `spectral_norm`: divide every kernel by its spectral norm (Miyato et al. 2018).
    - `compute`: the precision of the layers' arithmetic.
    - `seed`: decides the initial weights.

    Raises ValueError for a size that stages/sizes.py does not allow.
    """
    init = Initializers(seed)
    conv = SpectralConv2D if spectral_norm else layers.Conv2D
    steps = doublings(size)
    with precision(compute):
        image = x = keras.Input((None, None, channels) if head == "gap" else (*sides(size), channels), name="image")
        for step in range(1, steps + 1):
            normalise = batch_norm == "all" or (batch_norm == "dcgan" and step > 1)
            x = conv(
                width_before(activation, base_channels * 2 ** (step - 1)),
                kernel_size,
                strides=2,
                padding="same",
                use_bias=not normalise,
                kernel_initializer=init.normal(),
                name=f"down_{step}",
            )(x)
            x = normalise_and_activate(x, normalise, activation, step)
        width = base_channels * 2 ** (steps - 1)
        x = _head(x, head, grid(size), width, activation, batch_norm != "none", spectral_norm, init)
        logits = layers.Reshape((1,), dtype=keras.config.dtype_policy().variable_dtype, name="logits")(x)
    return keras.Model(image, logits, name="discriminator")


def _head(
    x: keras.KerasTensor,
    head: Head,
    shape: tuple[int, int],
    width: int,
    activation: Activation,
    normalise: bool,
    spectral_norm: bool,
    init: Initializers,
) -> keras.KerasTensor:
    """(N, *shape, width) => logits, one for each image.

    `conv`: one convolution over the whole grid. `dense`: a fully connected hidden layer of `width` units, then a fully
    connected layer. (One fully connected layer alone would be the same map as `conv`.) `gap`: global average pooling,
    then a fully connected layer, which accepts images of any size.
    """
    conv, dense = (SpectralConv2D, SpectralDense) if spectral_norm else (layers.Conv2D, layers.Dense)
    if head == "conv":
        return conv(1, shape, padding="valid", kernel_initializer=init.normal(), name="logit")(x)
    if head == "gap":
        x = layers.GlobalAveragePooling2D(name="mean")(x)
    elif head == "dense":
        x = layers.Reshape((1, 1, math.prod(shape) * width), name="flat")(x)
        units = width_before(activation, width)
        x = dense(units, use_bias=not normalise, kernel_initializer=init.normal(), name="hidden")(x)
        x = normalise_and_activate(x, normalise, activation, "hidden")
    else:
        assert_never(head)
    return dense(1, kernel_initializer=init.normal(), name="logit")(x)
