"""The generator: z => image, by fractionally-strided convolutions (Radford, Metz, Chintala 2016, figure 1)."""

import math
from typing import assert_never

import keras
from keras import layers

from stages.networks.choices import Activation, BatchNormPlan, KernelSize, Precision, Stem, Upsampling
from stages.networks.layers import (
    BatchNorm,
    Initializers,
    ZeroInsertion2D,
    normalise_and_activate,
    precision,
    width_before,
)
from stages.sizes import Size, doublings, grid


def generator(
    size: Size,
    channels: int,
    *,
    latent_dim: int = 100,
    base_channels: int = 128,
    kernel_size: KernelSize = 4,
    stem: Stem = "conv",
    upsampling: Upsampling = "transposed",
    activation: Activation = "relu",
    batch_norm: BatchNormPlan = "dcgan",
    compute: Precision = "float32",
    seed: int = 0,
) -> keras.Model:
    """Build the network z (N, latent_dim) => images float32 (N, height, width, channels) in [-1,1].

    The stem turns z into the grid of stages/sizes.py, 4 × 4 pixels for a power of two. Each further layer doubles the
    sides and halves the channels; the last one gives the image, through tanh.

    - `base_channels`: channels before the last layer. The stem has base_channels · 2^(doublings − 1).
    - `stem`: see `_stem`.
    - `upsampling`: see `_upsample`.
    - `batch_norm`: `dcgan` after every layer but the last; `none`; `all` after the last too, which makes training
      oscillate (Radford et al. 2016, section 3). A layer before batch norm has no bias, because the norm would cancel
      it.
    - `compute`: the precision of the layers' arithmetic.
    - `seed`: decides the initial weights.

    Raises ValueError for a size that stages/sizes.py does not allow.
    """
    steps = doublings(size)
    normalise = batch_norm != "none"
    init = Initializers(seed)
    width = base_channels * 2 ** (steps - 1)
    with precision(compute):
        z = keras.Input((latent_dim,), name="z")
        x = layers.Reshape((1, 1, latent_dim), name="z_as_pixel")(z)
        x = _stem(x, stem, grid(size), width, activation, normalise, init)
        for step in range(1, steps + 1):
            x = normalise_and_activate(x, normalise, activation, step)
            last = step == steps
            width //= 2
            filters = channels if last else width_before(activation, width)
            bias = batch_norm != "all" if last else not normalise
            x = _upsample(x, filters, upsampling, kernel_size, bias, init, f"up_{step}")
        if batch_norm == "all":
            x = BatchNorm(name="norm_image")(x)
        image = layers.Activation("tanh", dtype=keras.config.dtype_policy().variable_dtype, name="image")(x)
    return keras.Model(z, image, name="generator")


def _stem(
    z: keras.KerasTensor,
    stem: Stem,
    shape: tuple[int, int],
    width: int,
    activation: Activation,
    normalise: bool,
    init: Initializers,
) -> keras.KerasTensor:
    """z as (N, 1, 1, latent_dim) => (N, *shape, channels), with the channels that give `width` after the activation.

    `conv`: one transposed convolution. `dense`: a fully connected hidden layer of `width` units, then a fully connected
    layer. (One fully connected layer alone would be the same map as `conv`.)
    """
    channels = width_before(activation, width)
    options = {"use_bias": not normalise}
    if stem == "conv":
        return layers.Conv2DTranspose(
            channels, shape, padding="valid", kernel_initializer=init.normal(), name="stem", **options
        )(z)
    if stem == "dense":
        x = layers.Dense(channels, kernel_initializer=init.normal(), name="hidden", **options)(z)
        x = normalise_and_activate(x, normalise, activation, 0)
        x = layers.Dense(math.prod(shape) * channels, kernel_initializer=init.normal(), name="stem", **options)(x)
        return layers.Reshape((*shape, channels), name="stem_as_image")(x)
    assert_never(stem)


def _upsample(
    x: keras.KerasTensor,
    channels: int,
    upsampling: Upsampling,
    kernel_size: KernelSize,
    bias: bool,
    init: Initializers,
    name: str,
) -> keras.KerasTensor:
    """(N, H, W, C) => (N, 2H, 2W, channels).

    `transposed`: a transposed convolution. `fractional`: zeros between the pixels, then a convolution, which is the
    same map with the kernel flipped. `resize`: nearest-neighbour up-sampling, then a 3 × 3 convolution, which cannot
    leave a checkerboard (Odena et al. 2016).
    """
    options = {"use_bias": bias, "kernel_initializer": init.normal(), "name": name}
    if upsampling == "transposed":
        return layers.Conv2DTranspose(channels, kernel_size, strides=2, padding="same", **options)(x)
    if upsampling == "fractional":
        x = ZeroInsertion2D(2, kernel_size, name=f"{name}_zeros")(x)
        return layers.Conv2D(channels, kernel_size, padding="valid", **options)(x)
    if upsampling == "resize":
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_nearest")(x)
        return layers.Conv2D(channels, 3, padding="same", **options)(x)
    assert_never(upsampling)
