"""The generator: z => image, by fractionally-strided convolutions (Radford, Metz, Chintala 2016, figure 1)."""

from typing import Literal

import keras
from keras import layers

from stages.networks.layers import BatchNorm, Initializers, ZeroInsertion2D, doublings

Upsampling = Literal["transposed", "fractional", "resize"]
BatchNormPlan = Literal["dcgan", "none", "all"]


def _upsample(
    x: keras.KerasTensor,
    channels: int,
    how: Upsampling,
    kernel_size: int,
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
    kernel_size: int = 4,
    upsampling: Upsampling = "transposed",
    batch_norm: BatchNormPlan = "dcgan",
    seed: int = 0,
) -> keras.Model:
    """z (N, latent_dim) => images (N, size, size, channels) in [-1,1].

    A transposed convolution takes z straight to 4 × 4 × base_channels·size/8 (no fully connected layer); each further
    one doubles the sides and halves the channels, the last gives the image through tanh. ReLU between. Batch norm after
    all but the last (`dcgan`), nowhere (`none`), or after the last too (`all`, which makes training oscillate). A
    convolution that batch norm follows has no bias: the norm would take it away.

    Raises ValueError unless `size` is a power of two from 16 up.
    """
    steps = doublings(size)
    normal = batch_norm != "none"
    init = Initializers(seed)
    width = base_channels * 2 ** (steps - 1)
    z = keras.Input((latent_dim,), name="z")
    x = layers.Reshape((1, 1, latent_dim), name="z_as_pixel")(z)
    x = layers.Conv2DTranspose(
        width, 4, padding="valid", use_bias=not normal, kernel_initializer=init.normal(), name="stem"
    )(x)
    for step in range(1, steps + 1):
        if normal:
            x = BatchNorm(name=f"norm_{step}")(x)
        x = layers.ReLU(name=f"relu_{step}")(x)
        last = step == steps
        width = channels if last else width // 2
        bias = batch_norm != "all" if last else not normal
        x = _upsample(x, width, upsampling, kernel_size, bias, init, f"up_{step}")
    if batch_norm == "all":
        x = BatchNorm(name="norm_image")(x)
    return keras.Model(z, layers.Activation("tanh", name="image")(x), name="generator")
