"""The catalog of data sets known by name: reads catalog.yaml into frozen dataclasses."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from stages.params import FORBID_UNKNOWN


@dataclass(frozen=True)
class File:
    """One file of a data set: its name, its addresses if they differ from the data set's, and its known size and hash.

    With `unpack`, servers have it as <name>.gz and the stage keeps it unpacked. Size and hash are of the unpacked file.
    `git_blob` is the ID of another build of the same version in a Git repository. It is accepted too.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    name: str
    bytes: int | None = None
    sha256: str = ""
    md5: str = ""
    git_blob: str = ""
    unpack: bool = False
    addresses: tuple[str, ...] = ()

    @property
    def served_name(self) -> str:
        """The file's name on a server."""
        return f"{self.name}.gz" if self.unpack else self.name

    @property
    def pinned(self) -> bool:
        """Whether a hash is known."""
        return bool(self.sha256 or self.md5 or self.git_blob)


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package with the same files, or some of them, and the folder that it installs them to."""

    __pydantic_config__ = FORBID_UNKNOWN

    package: str
    folder: str


@dataclass(frozen=True)
class DataSet:
    """A data set of the catalog.

    `format` names its reader (stages/prepare/sources/formats.py). `images` is the number of images as published.
    `classes` are the class names in the order of the labels; empty if the files contain them or there are none. The
    packages of `debian` together have all files. With `kaggle`, the files can also be placed by hand as Kaggle has them
    (stages/download/kaggle.py).
    """

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
    debian: tuple[DebianPackage, ...] = ()
    kaggle: bool = False


_FILE = Path(__file__).with_name("catalog.yaml")


def load() -> dict[str, DataSet]:
    """Every data set of the catalog, by name."""
    return TypeAdapter(dict[str, DataSet]).validate_python(yaml.safe_load(_FILE.read_text(encoding="utf-8")))
