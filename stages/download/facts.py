"""The facts of a downloaded data set, as stored in data/raw/source.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stages import artifacts


@dataclass(frozen=True)
class FileFacts:
    """One file of data/raw."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SourceFacts:
    """The content of source.json. `format` names a reader of stages/prepare/sources. An empty string means unknown.

    `left_out` counts the files of a folder that are not among `files`, by reason. An empty one is not written.
    """

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    format: str
    classes: list[str]
    files: list[FileFacts]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The content as JSON has it."""
        return {name: value for name, value in asdict(self).items() if value or name != "left_out"}


def file_facts(paths: Sequence[Path]) -> list[FileFacts]:
    """Name, size and hash of each file."""
    return [FileFacts(path.name, path.stat().st_size, artifacts.sha256(path)) for path in paths]
