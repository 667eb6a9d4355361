"""What the download stage can be told."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stages.download import catalog
from stages.params import FORBID_UNKNOWN, Text, nearest

OWN = "own"


def _source(value: str) -> str:
    """Let a name of the catalog, `own` and an address through, or say what is expected."""
    known = catalog.load()
    urlsplit(value)  # raises ValueError for brackets that are no IPv6 address
    if value != OWN and value not in known and "://" not in value:
        is_path = any(mark in value for mark in "/\\.~")
        hint = f"a path belongs in dataset.own, with source: {OWN}" if is_path else ""
        hint = hint or f"the nearest is {nearest(value, [*known, OWN])!r}"
        raise ValueError(
            f"expected one of {', '.join(known)}, {OWN} (the folder or archive that dataset.own names) or an address "
            f"(https://, s3://, gs://, hf://datasets/…); {hint}; got {value!r}"
        )
    return value


def _own(value: str) -> str:
    """Let a path through that DVC, which watches it, takes as it stands."""
    if value.startswith("~"):
        raise ValueError(f"DVC, which watches it, does not know what ~ stands for: write it out, got {value!r}")
    return value


@dataclass(frozen=True)
class Settings:
    """The `dataset` section: which pictures."""

    __pydantic_config__ = FORBID_UNKNOWN

    source: Annotated[Text, AfterValidator(_source)] = "fashion_mnist"
    """An entry of stages/download/catalog.yaml; own; or the address of an archive or a folder."""
    own: Annotated[Text, AfterValidator(_own)] = "data/own"
    """Your folder or archive of pictures, read where source is own. DVC watches it: a picture more, and it is rerun."""
    title: str = ""
    """What to call the data set, where it is not the catalog's; by default its folder's or file's name."""
    licence: str = ""
    """Under what terms the pictures may be used, where it is not the catalog's."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """What an archive from an address must hash to; by default the first download decides, and dvc.lock holds it."""
