"""What the train stage can be told."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from stages.networks.choices import Activation, BatchNormPlan, Head, KernelSize, Precision, Stem, Upsampling
from stages.params import FORBID_UNKNOWN, Bool, Float, Int, Seed


@dataclass(frozen=True)
class Settings:
    """The `train` section: the two networks, the loss, the optimizers. Sizes are in images seen, repeats counted."""

    __pydantic_config__ = FORBID_UNKNOWN

    latent_dim: Annotated[Int, Field(ge=1)] = 100
    generator_channels: Annotated[Int, Field(ge=1)] = 32
    """Channels before the last convolution; each layer further from the image has twice as many."""
    discriminator_channels: Annotated[Int, Field(ge=1)] = 32
    """Channels after the first convolution; each layer further from the image has twice as many."""
    kernel_size: KernelSize = 4
    """Of the strided convolutions; 5 leaves checkerboards and costs half as much again."""
    upsampling: Upsampling = "transposed"
    generator_stem: Stem = "conv"
    """conv: from z straight to 4 × 4. dense: with one hidden fully connected layer before."""
    discriminator_head: Head = "conv"
    """conv: from 4 × 4 straight to the logit. dense: one hidden fully connected layer. gap: global average pooling."""
    generator_activation: Activation = "relu"
    discriminator_activation: Activation = "leaky_relu"
    batch_norm: BatchNormPlan = "dcgan"
    """dcgan: everywhere but on G's output and D's input layer. D has none where spectral_norm or the penalty of
    wasserstein_gp is there in its place."""
    spectral_norm: Bool = False
    """Divide each of D's kernels by its spectral norm (Miyato et al. 2018)."""
    loss: Literal["non_saturating", "minimax", "least_squares", "hinge", "wasserstein_gp"] = "non_saturating"
    gradient_penalty: Annotated[Float, Field(ge=0)] = 10.0
    """The weight of wasserstein_gp's penalty (Gulrajani et al. 2017); other losses have none."""
    label_smoothing: Annotated[Float, Field(ge=0, lt=0.5)] = 0.0
    """One-sided: D is to say 1 − this of real images (Salimans et al. 2016). hinge and wasserstein_gp have none."""
    images: Annotated[Int, Field(ge=1)] = 240_000
    """How many images D sees before training ends."""
    horizontal_flip: Bool = False
    """Mirror half of the real images, anew each time they are read: for faces and rooms, not for letters."""
    batch_size: Annotated[Int, Field(ge=2)] = 64
    """Over all devices together."""
    discriminator_steps: Annotated[Int, Field(ge=1)] = 1
    """How often D learns, each time from a new batch, before G does."""
    updates: Literal["alternating", "simultaneous"] = "alternating"
    """Whether G learns from D as it is after its update, or from what D said before it, which spares a pass through D:
    a tenth of the time, and worth less per image (studies/recipe.yaml)."""
    generator_learning_rate: Annotated[Float, Field(gt=0)] = 1e-3
    """Of Adam. The paper has 2e-4; studies/recipe.yaml measures what this one is worth."""
    discriminator_learning_rate: Annotated[Float, Field(gt=0)] = 2e-4
    learning_rate_decay: Annotated[Float, Field(ge=0, le=1)] = 0.0
    """The last part of the training, as a share, in which both rates fall to zero in a straight line."""
    beta_1: Annotated[Float, Field(ge=0, lt=1)] = 0.5
    beta_2: Annotated[Float, Field(ge=0, lt=1)] = 0.999
    precision: Precision = "float32"
    """mixed_bfloat16: for processors and cards with bfloat16 units; elsewhere it is slower."""
    ema_halflife: Annotated[Float, Field(gt=0)] = 20_000.0
    """Images after which a weight counts half in the generator's average (that is decay 0.998 at batches of 64)."""
    ema_rampup: Annotated[Float, Field(gt=0)] = 0.2
    """The half-life is at most this share of the images seen, so that the average forgets the initialisation."""
    score_every: Annotated[Int, Field(ge=1)] = 30_000
    """Images between two scores, by which the best checkpoint is chosen; each also gives a row of the timeline."""
    score_samples: Annotated[Int, Field(ge=2, le=50_000)] = 5000
    """Images generated for a score."""
    patience: Annotated[Int, Field(ge=0)] = 120_000
    """Training ends when so many images have brought no better score; 0: it goes on to its end."""
    guard: Literal["continue", "stop", "rollback"] = "continue"
    """What a saturated D, a collapsed G or a loss that is not finite leads to, besides a flag; rollback: back to the
    last good score with half the rates, three times, then stop. A loss that is not finite cannot go on."""
    seed: Seed = 0

    @property
    def images_per_step(self) -> int:
        """How many images D sees for each step of G."""
        return self.batch_size * self.discriminator_steps

    def __post_init__(self) -> None:
        """Reject a training that has no step, and combinations that mean nothing."""
        if self.images < self.images_per_step:
            raise ValueError(f"images: expected at least a step ({self.images_per_step}), got {self.images}")
        if self.label_smoothing and self.loss in ("hinge", "wasserstein_gp"):
            raise ValueError(
                f"label_smoothing: expected 0, since {self.loss} has no labels, got {self.label_smoothing}"
            )
