"""The discriminator: image => one logit, by strided convolutions and no pooling; the generator's mirror."""

import keras
from keras import layers

from stages.networks.generator import BatchNormPlan
from stages.networks.layers import BatchNorm, Initializers, doublings

# Radford, Metz, Chintala 2016, section 4: "the slope of the leak was set to 0.2 in all models".
_LEAK = 0.2


def discriminator(
    size: int,
    channels: int,
    *,
    base_channels: int = 128,
    kernel_size: int = 4,
    batch_norm: BatchNormPlan = "dcgan",
    seed: int = 0,
) -> keras.Model:
    """Images (N, size, size, channels) in [-1,1] => logits (N, 1); the probability of "real" is their sigmoid.

    Each convolution halves the sides and doubles the channels down to 4 × 4, then one 4 × 4 convolution gives the logit
    (no fully connected layer). LeakyReLU between. Batch norm after all but the first and the last (`dcgan`), nowhere
    (`none`), or after the first too (`all`, which makes training oscillate).

    Raises ValueError unless `size` is a power of two from 16 up.
    """
    init = Initializers(seed)
    image = x = keras.Input((size, size, channels), name="image")
    for step in range(1, doublings(size) + 1):
        normal = batch_norm == "all" or (batch_norm == "dcgan" and step > 1)
        x = layers.Conv2D(
            base_channels * 2 ** (step - 1),
            kernel_size,
            strides=2,
            padding="same",
            use_bias=not normal,
            kernel_initializer=init.normal(),
            name=f"down_{step}",
        )(x)
        if normal:
            x = BatchNorm(name=f"norm_{step}")(x)
        x = layers.LeakyReLU(_LEAK, name=f"leaky_relu_{step}")(x)
    x = layers.Conv2D(1, 4, padding="valid", kernel_initializer=init.normal(), name="logit")(x)
    return keras.Model(image, layers.Reshape((1,), name="logits")(x), name="discriminator")
