"""The settings of the play stage."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.params import FORBID_UNKNOWN, Float


@dataclass(frozen=True)
class Settings:
    """The `play` section."""

    __pydantic_config__ = FORBID_UNKNOWN

    max_megabytes: Annotated[Float, Field(gt=0)] = 20.0
    """The discriminator is left out of a page that would be larger (the page is in Git)."""
