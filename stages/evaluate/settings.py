"""The settings of the evaluate stage."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Float, Int, Seed


@dataclass(frozen=True)
class Settings:
    """The `evaluate` section: the number of samples, their seeds, when a class counts as covered, and inversion."""

    __pydantic_config__ = FORBID_UNKNOWN

    samples: Annotated[Int, Field(ge=4, le=50_000)] = 10_000
    """The number of samples to measure."""
    first_seed: Seed = 1_000_000
    """The samples use this seed and the following ones. By default none of them is in the sample stage's grid."""
    class_accuracy: Annotated[Int, Field(ge=0)] = 0
    """Train a judge on this many samples of a conditional generator, for the classification accuracy score; 0: do not.
    It takes about as long as the features stage takes for as many images, and a pass of the generator."""
    mode_threshold: Annotated[Float, Field(gt=0, le=1)] = 0.1
    """A class is covered if its share among the samples is at least this fraction of its share in the data."""
    inversion: Annotated[Int, Field(ge=0, le=10_000)] = 0
    """How many held-out images, and as many training images, to search the nearest samples of; 0: none. On two cores,
    100 take about three minutes with the default generator."""
