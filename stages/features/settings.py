"""What the features stage can be told."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Float, Int


@dataclass(frozen=True)
class Settings:
    """The `features` section: the judge's size and training."""

    __pydantic_config__ = FORBID_UNKNOWN

    base_channels: Annotated[Int, Field(ge=4, le=512)] = 24
    images: Annotated[Int, Field(ge=1)] = 240_000
    """How many images the judge sees in training, repeats counted."""
    batch_size: Annotated[Int, Field(ge=2)] = 128
    learning_rate: Annotated[Float, Field(gt=0)] = 3e-3
    """Of Adam at the start; it falls to zero along a cosine."""
    seed: Annotated[Int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        """Reject a training that has no step."""
        if self.images < self.batch_size:
            raise ValueError(f"images: expected at least a batch ({self.batch_size}), got {self.images}")
