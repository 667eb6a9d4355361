"""The generator: z => image, by fractionally-strided convolutions (Radford, Metz, Chintala 2016, figure 1)."""

import math
from typing import assert_never

import keras
from keras import layers

from stages.networks.choices import Precision
from stages.networks.layers import (
    Condition,
    Initializers,
    ZeroInsertion2D,
    norm_after,
    normalise_and_activate,
    precision,
    scale_by_class,
    width_before,
)
from stages.networks.settings import GeneratorSettings
from stages.sizes import Size, doublings, grid

EMBEDDING = "embedding"
"""The name of a conditional generator's layer that turns the class into numbers beside z."""
_EMBEDDING_SIZE = 32


def generator(
    size: Size,
    channels: int,
    settings: GeneratorSettings,
    compute: Precision = "float32",
    seed: int = 0,
    classes: int = 0,
    attributes: bool = False,
) -> keras.Model:
    """Build the network z (N, latent_dim) => images float32 (N, height, width, channels) in [-1,1].

    The stem turns z into the grid of stages/sizes.py, 4 × 4 pixels for a power of two. Each further layer doubles the
    sides and halves the channels; the last one gives the image, through tanh.

    - `settings`: the stem has settings.channels · 2^(doublings − 1) channels. A layer before a norm has no bias.
    - `compute`: the precision of the layers' arithmetic.
    - `seed`: decides the initial weights.
    - `classes`: the number of classes K of a conditional generator. It has a second input, `class` (N, K): weights with
      a sum of 1, which are 0 and 1 for one class. An embedding of the class joins z (Mirza, Osindero 2014,
      arXiv:1411.1784). With settings.class_norm each norm is conditional, too.
    - `attributes`: the K numbers are those of attributes, each from 0 to 1. The embedding is a bias plus the sum of an
      embedding for each attribute (Perarnau et al. 2016, arXiv:1611.06355, condition on such a vector). The bias is the
      embedding of an image without any of the attributes.

    Raises ValueError for a size that stages/sizes.py does not allow.
    """
    steps = doublings(size)
    init = Initializers(seed, settings.initializer)
    width = settings.channels * 2 ** (steps - 1)
    norm, last_norm = norm_after(settings.norm), norm_after(settings.norm, excluded=True)
    with precision(compute):
        z = x = keras.Input((settings.latent_dim,), name="z")
        inputs, by_class = z, None
        if classes:
            condition = Condition(keras.Input((classes,), name="class"), attributes)
            inputs, by_class = [z, condition.values], condition if settings.class_norm else None
            x = _join(z, condition, init)
        x = layers.Reshape((1, 1, x.shape[-1]), name="z_as_pixel")(x)
        x = _stem(x, settings, grid(size), width, init, by_class)
        for step in range(1, steps + 1):
            x = normalise_and_activate(x, norm, settings.activation, step, by_class)
            last = step == steps
            width //= 2
            filters = channels if last else width_before(settings.activation, width)
            x = _upsample(x, filters, settings, last, init, f"up_{step}")
        if last_norm:
            x = last_norm(name="norm_image")(x)
            if by_class:
                x = scale_by_class(x, by_class, "norm_image")
        image = layers.Activation("tanh", dtype=keras.config.dtype_policy().variable_dtype, name="image")(x)
    return keras.Model(inputs, image, name="generator")


def _join(z: keras.KerasTensor, condition: Condition, init: Initializers) -> keras.KerasTensor:
    """z (N, d) and the classes or attributes (N, K) => z and their embedding (N, d + 32)."""
    options = {"use_bias": condition.of_attributes, "kernel_initializer": init.embedding()}
    if condition.of_attributes:
        options["bias_initializer"] = init.embedding()
    return layers.Concatenate(name="z_and_class")(
        [z, layers.Dense(_EMBEDDING_SIZE, name=EMBEDDING, **options)(condition.values)]
    )


def _stem(
    z: keras.KerasTensor,
    settings: GeneratorSettings,
    shape: tuple[int, int],
    width: int,
    init: Initializers,
    by_class: Condition | None,
) -> keras.KerasTensor:
    """z as (N, 1, 1, d) => (N, *shape, channels), with the channels that give `width` after the activation.

    `conv`: one transposed convolution. `dense`: a fully connected hidden layer of `width` units, then a fully connected
    layer. (One fully connected layer alone would be the same map as `conv`.) `both`: the last layer of `dense` gets z,
    too, beside the hidden layer. So it computes the sum of `dense` and of `conv`.
    """
    channels, norm = width_before(settings.activation, width), norm_after(settings.norm)
    options = {"use_bias": not norm, "kernel_initializer": init.kernel(z.shape[-1], settings.activation)}
    if settings.stem == "conv":
        return layers.Conv2DTranspose(channels, shape, padding="valid", name="stem", **options)(z)
    if settings.stem == "dense" or settings.stem == "both":
        x = layers.Dense(channels, name="hidden", **options)(z)
        x = normalise_and_activate(x, norm, settings.activation, 0, by_class)
        if settings.stem == "both":
            x = layers.Concatenate(name="hidden_and_z")([x, z])
        options["kernel_initializer"] = init.kernel(x.shape[-1], settings.activation)
        x = layers.Dense(math.prod(shape) * channels, name="stem", **options)(x)
        return layers.Reshape((*shape, channels), name="stem_as_image")(x)
    assert_never(settings.stem)


def _upsample(
    x: keras.KerasTensor, channels: int, settings: GeneratorSettings, last: bool, init: Initializers, name: str
) -> keras.KerasTensor:
    """(N, H, W, C) => (N, 2H, 2W, channels).

    `transposed`: a transposed convolution. `fractional`: zeros between the pixels, then a convolution, which is the
    same map with the kernel flipped. `resize`: nearest-neighbour up-sampling, then a 3 × 3 convolution, which cannot
    leave a checkerboard (Odena et al. 2016).
    """
    kernel_size = settings.kernel_size
    # By strides of 2, a pixel of the output has a quarter of the kernel's inputs.
    fan_in = x.shape[-1] * (9 if settings.upsampling == "resize" else kernel_size**2 / 4)
    options = {
        "use_bias": not norm_after(settings.norm, excluded=last),
        "kernel_initializer": init.kernel(fan_in, None if last else settings.activation),
        "name": name,
    }
    if settings.upsampling == "transposed":
        return layers.Conv2DTranspose(channels, kernel_size, strides=2, padding="same", **options)(x)
    if settings.upsampling == "fractional":
        x = ZeroInsertion2D(2, kernel_size, name=f"{name}_zeros")(x)
        return layers.Conv2D(channels, kernel_size, padding="valid", **options)(x)
    if settings.upsampling == "resize":
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_nearest")(x)
        return layers.Conv2D(channels, 3, padding="same", **options)(x)
    assert_never(settings.upsampling)
