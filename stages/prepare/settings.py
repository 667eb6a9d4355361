"""What the prepare stage can be told."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from stages.params import FORBID_UNKNOWN, Int


def _crop(value: object) -> object:
    """Let the words and a well-formed box through, or say what is expected."""
    if value in ("none", "square"):
        return value
    if isinstance(value, list | tuple) and len(value) == 4 and all(type(edge) is int for edge in value):
        left, top, right, bottom = value
        if 0 <= left < right and 0 <= top < bottom:
            return tuple(value)
    raise ValueError(
        f"expected none, square or [left, top, right, bottom] in whole pixels with 0 ≤ left < right and "
        f"0 ≤ top < bottom, got {value!r}"
    )


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError(f"expected a power of two (16, 32, 64, …), got {value}")
    return value


Crop = Annotated[Literal["none", "square"] | tuple[int, int, int, int], BeforeValidator(_crop)]


@dataclass(frozen=True)
class Settings:
    """The `prepare` section: crop, then fit into a square, then normalise and write."""

    __pydantic_config__ = FORBID_UNKNOWN

    crop: Crop = "none"
    """none; the largest centred square; or a box [left, top, right, bottom] in pixels, right and bottom exclusive."""
    size: Annotated[Int, Field(ge=16, le=1024), AfterValidator(_power_of_two)] = 32
    """Height and width of the images, a power of two."""
    fit: Literal["resize", "pad"] = "resize"
    """resize: to the size in both directions; pad: keep the proportions (never enlarging) and fill up with black."""
    channels: Literal[1, 3] = 1
    dtype: Literal["float32", "uint8"] = "float32"
    """How pixels are stored: normalised values, or bytes (a quarter of the size) normalised when they are read."""
    records_per_shard: Annotated[Int, Field(ge=1)] = 8192
    """At most so many records in a shard; they are spread evenly."""
    seed: Annotated[Int, Field(ge=0)] = 0
    """Decides the order of the records."""
