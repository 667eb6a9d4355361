"""The settings of the report stage."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Int, Text


@dataclass(frozen=True)
class Settings:
    """The `report` section."""

    __pydantic_config__ = FORBID_UNKNOWN

    title: Text = "DCGAN"
    """The page's title; the data set's name follows it."""
    smoothing: Annotated[Int, Field(ge=1)] = 5
    """The curves show a running mean over this many points, with the points themselves faintly behind it."""
