"""A check's argument and result: the examined project, and a finding."""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stages.errors import StageError
from tools import dvc_files


@dataclass(frozen=True)
class Project:
    """The examined project."""

    folder: Path

    @functools.cached_property
    def repo(self) -> Any:
        """DVC's view of the project, opened once. Raises errors in each check that needs it."""
        return dvc_files.open_repo(self.folder)


@dataclass(frozen=True)
class Finding:
    """One result of a check, with a remedy ("" if none is needed)."""

    state: Literal["ok", "note", "wrong"]
    text: str
    remedy: str = ""


Check = Callable[[Project], Iterator[Finding]]


def size(place: Path) -> int:
    """The bytes of a file or of all files in a folder. Links count as their targets."""
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def without_passwords(text: str) -> str:
    """A text without the user names and passwords in its addresses, even in malformed ones."""
    return re.sub(r"://(?:[^/@\s]*:(?!\d+/)\S*|[^/]*)@", "://***@", text)


def reason(error: Exception) -> str:
    """An error as one line that is safe to show."""
    kind = "" if isinstance(error, StageError | OSError) and str(error) else f"{type(error).__name__}: "
    return without_passwords(" ".join(f"{kind}{error}".split()))
