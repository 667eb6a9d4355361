"""The facts of a downloaded data set, as stored in data/raw/source.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages import artifacts


@dataclass(frozen=True)
class FileFacts:
    """One file of data/raw."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SourceFacts:
    """The content of source.json. `format` names a reader of stages/prepare/sources. An empty string means unknown."""

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    format: str
    classes: list[str]
    files: list[FileFacts]


def file_facts(paths: Sequence[Path]) -> list[FileFacts]:
    """Name, size and hash of each file."""
    return [FileFacts(path.name, path.stat().st_size, artifacts.sha256(path)) for path in paths]
