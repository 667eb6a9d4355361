"""The settings of the loss. Does not import TensorFlow, so that reading the params stays fast."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Float, Int, Scheduled, number_or_pair
from stages.train.losses.catalog import LOSSES, LossName

Gamma = Annotated[Scheduled, number_or_pair(Annotated[Float, Field(ge=0)])]


@dataclass(frozen=True)
class LossSettings:
    """The group `train.loss`."""

    __pydantic_config__ = FORBID_UNKNOWN

    name: LossName = "non_saturating"
    """The loss of both networks; the module of this name has the formulas."""
    label_smoothing: Annotated[Float, Field(ge=0, lt=0.5)] = 0.0
    """The discriminator's target for real images is 1 minus this (Salimans et al. 2016). A loss without labels, such as
    hinge, needs 0."""
    gradient_penalty: Annotated[Float, Field(ge=0)] = 10.0
    """Weight of the gradient penalty (Gulrajani et al. 2017) in a loss that has one, such as wasserstein_gp."""
    r1: Gamma = 0.0
    """Weight γ of the penalty γ/2 · E[|∇D(x)|²] at real images (Mescheder et al. 2018). The discriminator must have no
    batch norm then."""
    r2: Gamma = 0.0
    """The same at fake images."""
    penalty_every: Annotated[Int, Field(ge=1)] = 1
    """Every k-th step of the discriminator has the penalties, with k times their weights (Karras et al. 2020,
    arXiv:1912.04958, appendix B). There a penalty has its own step, so Adam's rate and decays need a correction. Here
    it is part of the step's loss, so they need none."""

    @property
    def penalties(self) -> tuple[str, ...]:
        """The settings whose gradient penalties are part of the discriminator's loss."""
        weights = {"gradient_penalty": LOSSES[self.name].penalty, "r1": self.r1, "r2": self.r2}
        return tuple(name for name, weight in weights.items() if weight)
