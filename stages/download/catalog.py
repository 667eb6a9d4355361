"""The catalog of data sets known by name: facts in catalog.yaml, read into frozen dataclasses."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from stages.params import FORBID_UNKNOWN


@dataclass(frozen=True)
class File:
    """One file of a data set, and what its decompressed bytes must be."""

    __pydantic_config__ = FORBID_UNKNOWN

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package that carries the same content."""

    __pydantic_config__ = FORBID_UNKNOWN

    package: str
    folder: str


@dataclass(frozen=True)
class DataSet:
    """A data set: whose it is, how it is packed, what its bytes must be and where they can be had."""

    __pydantic_config__ = FORBID_UNKNOWN

    title: str
    homepage: str
    licence: str
    citation: str
    format: str
    classes: tuple[str, ...]
    files: tuple[File, ...]
    addresses: tuple[str, ...] = ()
    debian: DebianPackage | None = None


_FILE = Path(__file__).with_name("catalog.yaml")


def load() -> dict[str, DataSet]:
    """Every data set of the catalog, by name."""
    return TypeAdapter(dict[str, DataSet]).validate_python(yaml.safe_load(_FILE.read_text(encoding="utf-8")))


def known_name(name: str) -> str:
    """The name itself. Raises ValueError that lists the known names where it is none of them."""
    known = load()
    if name not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {name!r}")
    return name
