"""What the download stage can be told."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from stages.download import catalog
from stages.params import FORBID_UNKNOWN, Text


@dataclass(frozen=True)
class Settings:
    """The `dataset` section: which pictures."""

    __pydantic_config__ = FORBID_UNKNOWN

    name: Annotated[Text, AfterValidator(catalog.known_name)] = "fashion_mnist"
    """An entry of stages/download/catalog.yaml."""
