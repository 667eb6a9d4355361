"""What the validate stage can be told: the schema of the prepared data."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from stages.params import FORBID_UNKNOWN, Float, Int, Text


def _two(bounds: object) -> object:
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        raise ValueError(f"expected [least, most], got {bounds!r}")
    return bounds


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"expected [least, most], got {list(bounds)}")
    return bounds


Count = Annotated[Int, Field(ge=0)]
Counts = Annotated[tuple[Count, Count], BeforeValidator(_two), AfterValidator(_ordered)]
Mean = Annotated[tuple[Float, Float], BeforeValidator(_two), AfterValidator(_ordered)]


@dataclass(frozen=True)
class Settings:
    """The `validate` section: the schema. What is left out is not looked at."""

    __pydantic_config__ = FORBID_UNKNOWN

    shape: tuple[Count, Count, Count] | None = None
    """Height, width and channels of the images."""
    classes: tuple[Text, ...] | None = None
    """The names of the classes, in their order; [] for data without labels."""
    images: dict[Text, Counts] | None = None
    """Per split the least and the most images, both allowed."""
    mean: Mean | None = None
    """The least and the greatest mean of each channel over the training split, in [-1,1]."""
    max_duplicates: Annotated[Int, Field(ge=0)] | None = None
    """The most exact duplicates."""
