"""The generator: z => image, by fractionally-strided convolutions (Radford, Metz, Chintala 2016, figure 1)."""

import keras
from keras import layers

from stages.networks.choices import Activation, BatchNormPlan, KernelSize, Precision, Stem, Upsampling
from stages.networks.layers import (
    BatchNorm,
    Initializers,
    ZeroInsertion2D,
    activate,
    doublings,
    precision,
    width_before,
)


def _upsample(
    x: keras.KerasTensor,
    channels: int,
    how: Upsampling,
    kernel_size: KernelSize,
    bias: bool,
    init: Initializers,
    name: str,
) -> keras.KerasTensor:
    """NHWC to twice the height and width and `channels` channels.

    `transposed`: the framework's transposed convolution. `fractional`: zeros between the pixels, then a convolution,
    which is the same map with the kernel flipped. `resize`: the nearest pixel repeated, then a 3 × 3 convolution, which
    cannot leave a checkerboard (Odena et al. 2016).
    """
    options = {"use_bias": bias, "kernel_initializer": init.normal(), "name": name}
    if how == "transposed":
        return layers.Conv2DTranspose(channels, kernel_size, strides=2, padding="same", **options)(x)
    if how == "fractional":
        x = ZeroInsertion2D(2, kernel_size, name=f"{name}_zeros")(x)
        return layers.Conv2D(channels, kernel_size, padding="valid", **options)(x)
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_nearest")(x)
    return layers.Conv2D(channels, 3, padding="same", **options)(x)


def generator(
    size: int,
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
    """z (N, latent_dim) => images float32 (N, size, size, channels) in [-1,1].

    `conv`: a transposed convolution takes z straight to 4 × 4 × base_channels·size/8; `dense`: a fully connected layer
    of as many units as that has channels comes before one that gives it (a single one is the same map as `conv`). Each
    further convolution doubles the sides and halves the channels, the last gives the image through tanh. Batch norm
    after all but the last (`dcgan`), nowhere (`none`), or after the last too (`all`, which makes training oscillate). A
    map that batch norm follows has no bias: the norm would take it away.

    Raises ValueError unless `size` is a power of two from 16 up.
    """
    steps = doublings(size)
    normal = batch_norm != "none"
    init = Initializers(seed)
    width = base_channels * 2 ** (steps - 1)

    def follow(x: keras.KerasTensor, step: int) -> keras.KerasTensor:
        if normal:
            x = BatchNorm(name=f"norm_{step}")(x)
        return activate(x, activation, f"{activation}_{step}")

    with precision(compute):
        z = keras.Input((latent_dim,), name="z")
        x = layers.Reshape((1, 1, latent_dim), name="z_as_pixel")(z)
        options = {"use_bias": not normal}
        if stem == "dense":
            hidden = width_before(activation, width)
            x = follow(layers.Dense(hidden, kernel_initializer=init.normal(), name="hidden", **options)(x), 0)
            units = 4 * 4 * width_before(activation, width)
            x = layers.Dense(units, kernel_initializer=init.normal(), name="stem", **options)(x)
            x = layers.Reshape((4, 4, units // 16), name="stem_as_image")(x)
        else:
            filters = width_before(activation, width)
            x = layers.Conv2DTranspose(
                filters, 4, padding="valid", kernel_initializer=init.normal(), name="stem", **options
            )(x)
        for step in range(1, steps + 1):
            x = follow(x, step)
            last = step == steps
            width //= 2
            filters = channels if last else width_before(activation, width)
            bias = batch_norm != "all" if last else not normal
            x = _upsample(x, filters, upsampling, kernel_size, bias, init, f"up_{step}")
        if batch_norm == "all":
            x = BatchNorm(name="norm_image")(x)
        image = layers.Activation("tanh", dtype=keras.config.dtype_policy().variable_dtype, name="image")(x)
    return keras.Model(z, image, name="generator")
