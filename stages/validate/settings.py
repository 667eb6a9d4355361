"""The settings of the validate stage: the schema of the prepared data."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from stages.params import FORBID_UNKNOWN, Float, Int, Text


def _two(bounds: object) -> object:
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        raise ValueError(f"expected [minimum, maximum], got {bounds!r}")
    return bounds


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"expected [minimum, maximum], got {list(bounds)}")
    return bounds


Count = Annotated[Int, Field(ge=0)]
Counts = Annotated[tuple[Count, Count], BeforeValidator(_two), AfterValidator(_ordered)]
Mean = Annotated[tuple[Float, Float], BeforeValidator(_two), AfterValidator(_ordered)]


@dataclass(frozen=True)
class Settings:
    """The `validate` section: the schema. A key that is missing is not checked."""

    __pydantic_config__ = FORBID_UNKNOWN

    shape: tuple[Count, Count, Count] | None = None
    """Height, width and channels of the images."""
    classes: tuple[Text, ...] | None = None
    """The names of the classes, in order; [] for data without labels."""
    images: dict[Text, Counts] | None = None
    """The minimum and maximum number of images in each split, inclusive."""
    mean: Mean | None = None
    """The minimum and maximum of each channel's mean in the training split, in [-1,1]."""
    max_duplicates: Annotated[Int, Field(ge=0)] | None = None
    """The maximum number of exact duplicates."""
