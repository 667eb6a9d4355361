"""The settings of the train stage."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from stages.networks.choices import Activation, BatchNormPlan, Head, KernelSize, Precision, Stem, Upsampling
from stages.params import FORBID_UNKNOWN, Bool, Float, Int, Seed
from stages.train.losses.catalog import LOSSES, LossName


@dataclass(frozen=True)
class Settings:
    """The `train` section: the two networks, the loss and the optimizers.

    Durations are in images that the discriminator has seen, counting repeats.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    latent_dim: Annotated[Int, Field(ge=1)] = 100
    """Length of the latent vector z."""
    generator_channels: Annotated[Int, Field(ge=1)] = 32
    """Channels before the generator's last convolution; each layer further from the image has twice as many."""
    discriminator_channels: Annotated[Int, Field(ge=1)] = 32
    """Channels after the discriminator's first convolution; each layer further from the image has twice as many."""
    kernel_size: KernelSize = 4
    """Side of the strided convolutions' kernels; 5 leaves checkerboards and costs half as much again."""
    upsampling: Upsampling = "transposed"
    """How the generator doubles the sides of an image."""
    generator_stem: Stem = "conv"
    """conv: one layer from z to 4 × 4. dense: a fully connected hidden layer before it."""
    discriminator_head: Head = "conv"
    """conv: one layer from 4 × 4 to the logit. dense: a fully connected hidden layer before it. gap: global average
    pooling."""
    generator_activation: Activation = "relu"
    """Activation of the generator's hidden layers."""
    discriminator_activation: Activation = "leaky_relu"
    """Activation of the discriminator's hidden layers."""
    batch_norm: BatchNormPlan = "dcgan"
    """dcgan: every layer except the generator's last and the discriminator's first. The discriminator has none at all
    with spectral_norm or a gradient penalty, which replace it."""
    spectral_norm: Bool = False
    """Divide each kernel of the discriminator by its spectral norm (Miyato et al. 2018)."""
    loss: LossName = "non_saturating"
    """The loss of both networks; stages/train/losses has the formulas."""
    gradient_penalty: Annotated[Float, Field(ge=0)] = 10.0
    """Weight of the gradient penalty (Gulrajani et al. 2017) in a loss that has one, such as wasserstein_gp."""
    label_smoothing: Annotated[Float, Field(ge=0, lt=0.5)] = 0.0
    """The discriminator's target for real images is 1 minus this (Salimans et al. 2016). A loss without labels, such as
    hinge, needs 0."""
    images: Annotated[Int, Field(ge=1)] = 240_000
    """The number of images that the discriminator sees, counting repeats."""
    horizontal_flip: Bool = False
    """Mirror half of the real images, chosen again each time they are read; for faces and rooms, not for letters."""
    batch_size: Annotated[Int, Field(ge=2)] = 64
    """Images in a batch, on all devices together."""
    discriminator_steps: Annotated[Int, Field(ge=1)] = 1
    """Steps of the discriminator, each on a new batch, per step of the generator."""
    updates: Literal["alternating", "simultaneous"] = "alternating"
    """alternating: the generator's step uses the updated discriminator. simultaneous: it uses the discriminator from
    before the update, which takes a tenth less time and learns less per image (studies/recipe.yaml)."""
    generator_learning_rate: Annotated[Float, Field(gt=0)] = 1e-3
    """Adam's rate; the paper uses 2e-4, and studies/recipe.yaml measures the difference."""
    discriminator_learning_rate: Annotated[Float, Field(gt=0)] = 2e-4
    """Adam's rate, as in the paper."""
    learning_rate_decay: Annotated[Float, Field(ge=0, le=1)] = 0.0
    """The last part of training, as a fraction, in which both learning rates fall linearly to zero."""
    beta_1: Annotated[Float, Field(ge=0, lt=1)] = 0.5
    """Adam's decay of the gradients' mean."""
    beta_2: Annotated[Float, Field(ge=0, lt=1)] = 0.999
    """Adam's decay of the squared gradients' mean."""
    precision: Precision = "float32"
    """mixed_bfloat16: for processors and GPUs with bfloat16 units; others get slower."""
    ema_halflife: Annotated[Float, Field(gt=0)] = 20_000.0
    """Images after which a weight counts half in the generator's moving average (decay 0.998 at batches of 64)."""
    ema_rampup: Annotated[Float, Field(gt=0)] = 0.2
    """The half-life is at most this share of the images seen, so that the average forgets the initial weights."""
    score_every: Annotated[Int, Field(ge=1)] = 30_000
    """Images between two scores; the score selects the best checkpoint and adds a row to the timeline."""
    score_samples: Annotated[Int, Field(ge=2, le=50_000)] = 5000
    """Images generated for a score."""
    patience: Annotated[Int, Field(ge=0)] = 120_000
    """Stop after this many images without a better score; 0: never."""
    guard: Literal["continue", "stop", "rollback"] = "continue"
    """The response, besides a flag, if the discriminator saturates, the generator collapses, training explodes or a
    loss is not finite. continue: only a loss that is not finite ends training. stop: each of them does. rollback:
    return to the last good score (to the start if training explodes before one) and halve the learning rates, at most
    three times, then stop."""
    seed: Seed = 0
    """Seed of the initial weights, the order of the images and every z."""

    @property
    def images_per_step(self) -> int:
        """How many images the discriminator sees for each step of the generator."""
        return self.batch_size * self.discriminator_steps

    def __post_init__(self) -> None:
        """Reject a run shorter than one step, and label smoothing for a loss without labels."""
        if self.images < self.images_per_step:
            raise ValueError(f"images: expected at least one step ({self.images_per_step}), got {self.images}")
        if self.label_smoothing and not LOSSES[self.loss].smoothing:
            raise ValueError(
                f"label_smoothing: expected 0, since {self.loss} has no labels, got {self.label_smoothing}"
            )
