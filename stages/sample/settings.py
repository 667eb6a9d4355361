"""What the sample stage can be told."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Int, Seed, Text


@dataclass(frozen=True)
class Settings:
    """The `sample` section: which z, and how they are laid out."""

    __pydantic_config__ = FORBID_UNKNOWN

    first_seed: Seed = 0
    """The grid shows this seed and those that follow, none left out."""
    count: Annotated[Int, Field(ge=1, le=1024)] = 64
    columns: Annotated[Int, Field(ge=1, le=64)] = 8
    scale: Annotated[Int, Field(ge=1, le=8)] = 2
    """Each pixel becomes a block of so many in each direction."""
    interpolate: Annotated[tuple[Seed, ...], Field(min_length=2, max_length=65)] = (0, 1, 2, 3, 4)
    """The interpolation goes from each of these seeds to the next, a row for each pair."""
    interpolation_steps: Annotated[Int, Field(ge=2, le=64)] = 8
    arithmetic: Annotated[tuple[tuple[Text, Text, Text], ...], Field(max_length=64)] = ()
    """Rows of three classes, A, B and C: the generator's picture of the mean z of A, minus B's, plus C's."""
