"""What the train stage can be told."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Bool, Float, Int


@dataclass(frozen=True)
class Settings:
    """The `train` section: the two networks, the loss, the optimizers. Sizes are in images seen, repeats counted."""

    __pydantic_config__ = FORBID_UNKNOWN

    latent_dim: Annotated[Int, Field(ge=1)] = 100
    generator_channels: Annotated[Int, Field(ge=1)] = 32
    """Channels before the last convolution; each layer further from the image has twice as many."""
    discriminator_channels: Annotated[Int, Field(ge=1)] = 32
    """Channels after the first convolution; each layer further from the image has twice as many."""
    kernel_size: Literal[4, 5] = 4
    """Of the strided convolutions; 5 leaves checkerboards and costs half as much again."""
    upsampling: Literal["transposed", "fractional", "resize"] = "transposed"
    batch_norm: Literal["dcgan", "none", "all"] = "dcgan"
    """dcgan: everywhere but on G's output and D's input layer."""
    loss: Literal["non_saturating", "minimax"] = "non_saturating"
    label_smoothing: Annotated[Float, Field(ge=0, lt=0.5)] = 0.1
    """One-sided: D is to say 1 − this of real images (Salimans et al. 2016)."""
    images: Annotated[Int, Field(ge=1)] = 480_000
    """How many images D sees before training ends."""
    horizontal_flip: Bool = False
    """Mirror half of the real images, anew each time they are read: for faces and rooms, not for letters."""
    batch_size: Annotated[Int, Field(ge=2)] = 64
    learning_rate: Annotated[Float, Field(gt=0)] = 2e-4
    """Of Adam, for both networks."""
    learning_rate_decay: Annotated[Float, Field(ge=0, le=1)] = 0.0
    """The last part of the training, as a share, in which the rate falls to zero in a straight line."""
    beta_1: Annotated[Float, Field(ge=0, lt=1)] = 0.5
    beta_2: Annotated[Float, Field(ge=0, lt=1)] = 0.999
    ema_halflife: Annotated[Float, Field(gt=0)] = 88_000.0
    """Images after which a weight counts half in the generator's average (that is decay 0.999 at batches of 128)."""
    ema_rampup: Annotated[Float, Field(gt=0)] = 0.2
    """The half-life is at most this share of the images seen, so that the average forgets the initialisation."""
    score_samples: Annotated[Int, Field(ge=2, le=50_000)] = 5000
    """Images generated after each epoch to choose the best checkpoint by."""
    seed: Annotated[Int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        """Reject a training that has no step."""
        if self.images < self.batch_size:
            raise ValueError(f"images: expected at least a batch ({self.batch_size}), got {self.images}")
