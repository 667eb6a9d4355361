"""The settings of the GAN's two networks. Does not import TensorFlow, so that reading the params stays fast.

choices.py has the closed sets of their values.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.networks.choices import (
    Activation,
    DiscriminatorNorm,
    GeneratorNorm,
    Head,
    Initializer,
    KernelSize,
    Stem,
    Upsampling,
)
from stages.params import FORBID_UNKNOWN, Bool, Int

MINIBATCH_STD_GROUP = 4
"""How many images of a batch `minibatch_std` compares: as in the code of Karras et al. 2020 (arXiv:1912.04958)."""


@dataclass(frozen=True)
class GeneratorSettings:
    """The group `train.generator`."""

    __pydantic_config__ = FORBID_UNKNOWN

    latent_dim: Annotated[Int, Field(ge=1)] = 100
    """Length of the latent vector z."""
    channels: Annotated[Int, Field(ge=1)] = 32
    """Channels before the last convolution; each layer further from the image has twice as many."""
    kernel_size: KernelSize = 4
    """Side of the strided convolutions' kernels; 5 leaves checkerboards and costs half as much again."""
    upsampling: Upsampling = "transposed"
    """How a layer doubles the sides of an image."""
    stem: Stem = "conv"
    """conv: one layer from z to 4 × 4. dense: a fully connected hidden layer before it. both: as dense, but the layer
    to 4 × 4 also gets z."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""
    norm: GeneratorNorm = "batch"
    """batch: batch norm after every layer but the last. batch_all: after the last too, which makes training oscillate
    (Radford et al. 2016, section 3). none: no norm. layer: layer norm after every layer but the last."""
    initializer: Initializer = "dcgan"
    """Initial weights. dcgan: N(0, 0.02), as in the paper. he: the standard deviation of He et al. 2015. It keeps the
    scale of the activations from layer to layer, which a network without a norm needs."""
    class_norm: Bool = False
    """A scale and an offset for each class or attribute after each norm (conditional batch norm), for
    `train.conditional`."""


@dataclass(frozen=True)
class DiscriminatorSettings:
    """The group `train.discriminator`."""

    __pydantic_config__ = FORBID_UNKNOWN

    channels: Annotated[Int, Field(ge=1)] = 32
    """Channels after the first convolution; each layer further from the image has twice as many."""
    kernel_size: KernelSize = 4
    """Side of the strided convolutions' kernels."""
    head: Head = "conv"
    """conv: one layer from 4 × 4 to the logit. dense: a fully connected hidden layer before it. gap: global average
    pooling."""
    minibatch_std: Bool = False
    """A channel before the head that says how much images of a batch differ, against samples that are too much alike
    (Karras et al. 2018, arXiv:1710.10196). The part of a batch on each device is a multiple of 4 images then."""
    activation: Activation = "leaky_relu"
    """Activation of the hidden layers."""
    norm: DiscriminatorNorm = "batch"
    """batch: batch norm after every layer but the first and the last. batch_all: after the first too. none: no norm, as
    a gradient penalty needs. spectral: each kernel is divided by its spectral norm (Miyato et al. 2018); batch norm
    would undo the division. layer: layer norm after every layer but the first and the last, beside a gradient penalty
    too."""
    initializer: Initializer = "dcgan"
    """Initial weights. dcgan: N(0, 0.02), as in the paper. he: the standard deviation of He et al. 2015. It keeps the
    scale of the activations from layer to layer, which a network without a norm needs."""
