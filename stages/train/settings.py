"""The settings of the train stage."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import Field, Strict

from stages.networks.choices import Conditional, Precision
from stages.networks.settings import MINIBATCH_STD_GROUP, DiscriminatorSettings, GeneratorSettings
from stages.params import FORBID_UNKNOWN, Float, Int, Scheduled, Seed, number_or_pair
from stages.train.augment.settings import AugmentSettings
from stages.train.losses.catalog import LOSSES
from stages.train.losses.settings import LossSettings

Rate = Annotated[Scheduled, number_or_pair(Annotated[Float, Field(gt=0)])]
Beta2 = Annotated[Scheduled, number_or_pair(Annotated[Float, Field(ge=0, lt=1)])]


@dataclass(frozen=True)
class OptimizerSettings:
    """The group `train.optimizer`: the two Adam optimizers and the order of their updates."""

    __pydantic_config__ = FORBID_UNKNOWN

    generator_learning_rate: Rate = 2e-4
    """Learning rate of the generator's Adam, or a pair [start, end]: see burn_in."""
    discriminator_learning_rate: Rate = 2e-4
    """Learning rate of the discriminator's Adam, or a pair."""
    warmup: Annotated[Int, Field(ge=0)] = 0
    """Images over which both learning rates rise linearly from 0."""
    burn_in: Annotated[Int, Field(ge=0)] = 0
    """Images over which each value that is a pair [start, end] moves from its start to its end, along half a cosine
    wave (Huang et al. 2024). The learning rates, beta_2, loss.r1 and loss.r2 can be pairs."""
    learning_rate_decay: Annotated[Float, Field(ge=0, le=1)] = 0.0
    """The last part of training, as a fraction, in which both learning rates fall linearly to zero."""
    beta_1: Annotated[Float, Field(ge=0, lt=1)] = 0.5
    """Adam's decay of the gradients' mean."""
    beta_2: Beta2 = 0.999
    """Adam's decay of the squared gradients' mean."""
    discriminator_steps: Annotated[Int, Field(ge=1)] = 1
    """Steps of the discriminator, each on a new batch, per step of the generator."""
    updates: Literal["alternating", "simultaneous"] = "alternating"
    """alternating: the generator's step uses the updated discriminator. simultaneous: it uses the discriminator from
    before the update, which takes less time and learns less per image."""


@dataclass(frozen=True)
class AverageSettings:
    """The group `train.average`: the moving average of the generator's weights."""

    __pydantic_config__ = FORBID_UNKNOWN

    halflife: Annotated[Float, Field(gt=0)] = 0.001
    """Images after which a weight counts half; 20,000 is a decay of 0.998 at batches of 64. 0.001 is no average: the
    newest weights alone count."""
    rampup: Annotated[Float, Field(gt=0)] = 0.2
    """The half-life is at most this share of the images seen, so that the average forgets the initial weights."""


@dataclass(frozen=True)
class ScoringSettings:
    """The group `train.scoring`: the score selects the best checkpoint and adds a row to the timeline."""

    __pydantic_config__ = FORBID_UNKNOWN

    every: Annotated[Int, Field(ge=1)] = 30_000
    """Images between two scores."""
    samples: Annotated[Int, Field(ge=2, le=50_000)] = 5000
    """Images generated for a score."""
    patience: Annotated[Int, Field(ge=0)] = 0
    """Stop after this many images without a better score; 0: never."""


@dataclass(frozen=True)
class Settings:
    """The `train` section: its own keys and its groups.

    A key that params.yaml omits has the value of the paper's recipe, presets/paper.yaml. Durations are in images that
    the discriminator has seen, counting repeats.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    images: Annotated[Int, Field(ge=1)] = 240_000
    """The number of images that the discriminator sees, counting repeats."""
    start_from: Annotated[str, Strict()] = ""
    """Another model to start from, instead of random weights: a Git revision (tag, commit, branch or experiment), a
    folder with generator.keras and discriminator.keras, or the .keras file of a generator next to its
    discriminator.keras. The optimizers are new."""
    batch_size: Annotated[Int, Field(ge=2)] = 128
    """Images in a batch, on all devices together."""
    horizontal_flip: Literal[True, False, "auto"] = False
    """Mirror half of the real images, chosen again each time they are read; for faces and rooms, not for letters. auto:
    if the training images have no left and right (flip.py)."""
    conditional: Conditional = "none"
    """classes: both networks get the class of each image, so that samples of one class can be drawn. attributes: they
    get a number for each attribute instead, so that any combination can be drawn, even one without images. The data
    needs labels, and for attributes each class is a combination of them (`Male, not Smiling`)."""
    class_shares: Literal["data", "equal"] = "data"
    """How often each class comes in the batches of a conditional training, in real images and samples alike. data: as
    in the data. equal: all equally often; images of rare classes repeat, and each epoch skips some of frequent ones."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    discriminator: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    average: AverageSettings = field(default_factory=AverageSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    precision: Precision = "float32"
    """mixed_bfloat16: for processors and GPUs with bfloat16 units; others get slower."""
    guard: Literal["continue", "stop", "rollback"] = "continue"
    """The response, besides a flag, if the discriminator saturates, the generator collapses, training explodes or a
    loss is not finite. continue: only a loss that is not finite ends training. stop: each of them does. rollback:
    return to the last good score (to the start if training explodes before one) and halve the learning rates, at most
    three times, then stop."""
    tensorboard: Annotated[bool, Strict()] = False
    """Also write the log as TensorBoard's event files, to reports/train/live/tensorboard. No result depends on it."""
    seed: Seed = 0
    """Seed of the initial weights, the order of the images and every z."""

    @property
    def images_per_step(self) -> int:
        """How many images the discriminator sees for each step of the generator."""
        return self.batch_size * self.optimizer.discriminator_steps

    @property
    def steps_per_score(self) -> int:
        """Steps between two scores."""
        return max(1, self.scoring.every // self.images_per_step)

    @property
    def course(self) -> "Settings":
        """These settings without the length of the training."""
        return replace(self, images=self.images_per_step, scoring=replace(self.scoring, patience=0))

    def __post_init__(self) -> None:
        """Reject a run shorter than one step, and settings that the loss cannot have."""
        if self.images < self.images_per_step:
            raise ValueError(f"images: expected at least one step ({self.images_per_step}), got {self.images}")
        loss = LOSSES[self.loss.name]
        if self.loss.label_smoothing and not loss.smoothing:
            raise ValueError(
                f"loss.label_smoothing: expected 0, since {loss.name} has no labels, got {self.loss.label_smoothing}"
            )
        if self.discriminator.minibatch_std and self.batch_size % MINIBATCH_STD_GROUP:
            raise ValueError(
                f"batch_size: expected a multiple of {MINIBATCH_STD_GROUP}, since discriminator.minibatch_std is true, "
                f"got {self.batch_size}"
            )
        # Batch norm mixes the images of a batch, but a penalty is for each image alone (Gulrajani et al. 2017, section
        # 4).
        if self.loss.penalties and self.discriminator.norm in ("batch", "batch_all"):
            penalised = f"{loss.name} has" if loss.penalty else f"loss.{self.loss.penalties[0]} is"
            raise ValueError(
                f"discriminator.norm: expected no batch norm, since {penalised} a gradient penalty, got "
                f"{self.discriminator.norm!r}; write `discriminator.norm: none` (or layer or spectral)"
            )
        if self.conditional == "none" and self.class_shares != "data":
            raise ValueError(
                f"class_shares: expected data, since conditional is none, got {self.class_shares}; write "
                "`conditional: classes`"
            )
        if self.generator.class_norm and (self.conditional == "none" or self.generator.norm == "none"):
            key, other = ("conditional", "classes") if self.conditional == "none" else ("generator.norm", "batch")
            raise ValueError(
                f"generator.class_norm: expected false, since {key} is none, got true; write `{key}: {other}`"
            )
        pairs = {key: value for group in (self.optimizer, self.loss) for key, value in vars(group).items()}
        moving = [key for key, value in pairs.items() if isinstance(value, tuple)]
        if moving and not self.optimizer.burn_in:
            raise ValueError(f"optimizer.burn_in: expected the images over which {moving[0]} moves, got 0")
