"""What the evaluate stage can be told."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Float, Int, Seed


@dataclass(frozen=True)
class Settings:
    """The `evaluate` section: how many samples, of which seeds."""

    __pydantic_config__ = FORBID_UNKNOWN

    samples: Annotated[Int, Field(ge=4, le=50_000)] = 10_000
    first_seed: Seed = 1_000_000
    """The samples are of this seed and those that follow: none that the grid shows."""
    mode_threshold: Annotated[Float, Field(gt=0, le=1)] = 0.1
    """A class is covered when its share among the samples is at least this part of its share in the data."""
