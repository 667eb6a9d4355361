"""The discriminator: image => one logit, by strided convolutions and no pooling; the generator's mirror."""

import keras
from keras import layers

from stages.networks.choices import Activation, BatchNormPlan, Head, KernelSize, Precision
from stages.networks.layers import (
    BatchNorm,
    Initializers,
    SpectralConv2D,
    SpectralDense,
    activate,
    doublings,
    precision,
    width_before,
)


def discriminator(
    size: int,
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
    """Images (N, size, size, channels) in [-1,1] => logits float32 (N, 1); "real" has their sigmoid as probability.

    Each convolution halves the sides and doubles the channels down to 4 × 4. Then `conv`: one 4 × 4 convolution gives
    the logit; `dense`: a fully connected layer of as many units as there are channels comes before (a single one is the
    same map as `conv`); `gap`: the mean over all places, which takes images of any size. Batch norm after all but the
    first and the last (`dcgan`), nowhere (`none`), or after the first too (`all`, which makes training oscillate). With
    `spectral_norm` every kernel is divided by its spectral norm.

    Raises ValueError unless `size` is a power of two from 16 up.
    """
    init = Initializers(seed)
    conv, dense = (SpectralConv2D, SpectralDense) if spectral_norm else (layers.Conv2D, layers.Dense)

    def follow(x: keras.KerasTensor, normal: bool, name: int | str) -> keras.KerasTensor:
        if normal:
            x = BatchNorm(name=f"norm_{name}")(x)
        return activate(x, activation, f"{activation}_{name}")

    width = base_channels
    with precision(compute):
        image = x = keras.Input((None, None, channels) if head == "gap" else (size, size, channels), name="image")
        for step in range(1, doublings(size) + 1):
            normal = batch_norm == "all" or (batch_norm == "dcgan" and step > 1)
            width = base_channels * 2 ** (step - 1)
            x = conv(
                width_before(activation, width),
                kernel_size,
                strides=2,
                padding="same",
                use_bias=not normal,
                kernel_initializer=init.normal(),
                name=f"down_{step}",
            )(x)
            x = follow(x, normal, step)
        if head == "conv":
            x = conv(1, 4, padding="valid", kernel_initializer=init.normal(), name="logit")(x)
        else:
            if head == "dense":
                normal = batch_norm != "none"
                x = layers.Reshape((1, 1, 4 * 4 * width), name="flat")(x)
                units = width_before(activation, width)
                x = dense(units, use_bias=not normal, kernel_initializer=init.normal(), name="hidden")(x)
                x = follow(x, normal, "hidden")
            else:
                x = layers.GlobalAveragePooling2D(name="mean")(x)
            x = dense(1, kernel_initializer=init.normal(), name="logit")(x)
        logits = layers.Reshape((1,), dtype=keras.config.dtype_policy().variable_dtype, name="logits")(x)
    return keras.Model(image, logits, name="discriminator")
