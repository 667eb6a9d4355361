"""The settings of the sample stage."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Int, Seed, Text


@dataclass(frozen=True)
class Settings:
    """The `sample` section: which z to draw, and how to lay them out."""

    __pydantic_config__ = FORBID_UNKNOWN

    first_seed: Seed = 0
    """The grid shows this seed and the ones that follow it."""
    count: Annotated[Int, Field(ge=1, le=1024)] = 64
    """The number of samples in the grid."""
    columns: Annotated[Int, Field(ge=1, le=64)] = 8
    """The number of images in a row of the grids and of the timeline."""
    scale: Annotated[Int, Field(ge=1, le=8)] = 2
    """Each pixel becomes a block of `scale` × `scale`."""
    interpolate: Annotated[tuple[Seed, ...], Field(min_length=2, max_length=65)] = (0, 1, 2, 3, 4)
    """The interpolation has one row from each of these seeds to the next."""
    interpolation_steps: Annotated[Int, Field(ge=2, le=64)] = 8
    """The number of images from one seed to the next, both included."""
    arithmetic: Annotated[tuple[tuple[Text, Text, Text], ...], Field(max_length=64)] = ()
    """Rows of three classes A, B and C. Each row draws the mean z of A, minus that of B, plus that of C."""
