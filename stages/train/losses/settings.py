"""The settings of the loss. Does not import TensorFlow, so that reading the params stays fast."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Float
from stages.train.losses.catalog import LossName


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
