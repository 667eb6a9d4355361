"""The catalog of data sets known by name: facts in catalog.yaml, read into frozen dataclasses."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from stages.params import FORBID_UNKNOWN


@dataclass(frozen=True)
class File:
    """One file of a data set: what its bytes must be as far as that is known, and where it is besides.

    With `unpack` it is served as <name>.gz and kept unpacked, and what is known of its bytes is of the unpacked ones.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    name: str
    bytes: int | None = None
    sha256: str = ""
    md5: str = ""
    unpack: bool = False
    addresses: tuple[str, ...] = ()

    @property
    def served(self) -> str:
        """The name at an address."""
        return f"{self.name}.gz" if self.unpack else self.name

    @property
    def pinned(self) -> bool:
        """Whether a hash is known."""
        return bool(self.sha256 or self.md5)


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package that carries the same content."""

    __pydantic_config__ = FORBID_UNKNOWN

    package: str
    folder: str


@dataclass(frozen=True)
class DataSet:
    """A data set: whose it is, how it is packed, how many images, what its bytes must be, where they are."""

    __pydantic_config__ = FORBID_UNKNOWN

    title: str
    homepage: str
    licence: str
    citation: str
    format: str
    images: int
    classes: tuple[str, ...]
    files: tuple[File, ...]
    addresses: tuple[str, ...] = ()
    debian: DebianPackage | None = None


_FILE = Path(__file__).with_name("catalog.yaml")


def load() -> dict[str, DataSet]:
    """Every data set of the catalog, by name."""
    return TypeAdapter(dict[str, DataSet]).validate_python(yaml.safe_load(_FILE.read_text(encoding="utf-8")))
