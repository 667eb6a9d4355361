"""The settings of the download stage, with their ranges."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stages.download import catalog
from stages.params import FORBID_UNKNOWN, Text, nearest

OWN = "own"


def _source(value: str) -> str:
    """Accept a name of the catalog, `own` or an address. Raises a ValueError that lists the choices."""
    names = catalog.load()
    urlsplit(value)  # raises ValueError for brackets that are not an IPv6 address
    if value != OWN and value not in names and "://" not in value:
        is_path = any(mark in value for mark in "/\\.~")
        hint = f"did you mean {nearest(value, [*names, OWN])!r}?"
        hint = f"a path belongs in dataset.own, with source: {OWN}" if is_path else hint
        raise ValueError(
            f"expected one of {', '.join(names)}, {OWN} (the folder or archive that dataset.own names) or an address "
            f"(https://, s3://, gs://, hf://datasets/…), got {value!r}; {hint}"
        )
    return value


def _own(value: str) -> str:
    """Accept a path that DVC understands. Raises ValueError for one with ~."""
    if value.startswith("~"):
        raise ValueError(f"DVC watches this path and does not expand ~; write the full path, got {value!r}")
    return value


@dataclass(frozen=True)
class Settings:
    """The `dataset` section: which pictures to use."""

    __pydantic_config__ = FORBID_UNKNOWN

    source: Annotated[Text, AfterValidator(_source)] = "fashion_mnist"
    """A data set of stages/download/catalog.yaml; own; or the address of an archive or a folder."""
    own: Annotated[Text, AfterValidator(_own)] = "data/own"
    """Your folder or archive of pictures, used with source: own. DVC watches it and reruns the stage after a change."""
    title: str = ""
    """The name of a data set that is not in the catalog. Empty: the name of its folder or file."""
    licence: str = ""
    """The terms of use of a data set that is not in the catalog."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """The expected hash of an archive from an address. Empty: not checked, and dvc.lock records the first
    download's hash."""
