"""Where a stage reads its inputs and writes its outputs. All outputs appear together, complete, or none does."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stages import artifacts
from stages.errors import StageError
from stages.locks import hold_signals, lock, lock_in_folder, remove_folder

_staged: dict[Path, IO[str]] = {}
"""The staging folders of this process, each with its lock."""


def _stage(staging: Path) -> Path:
    """Create a folder to write outputs to. This process holds its lock as long as the folder exists."""
    while True:
        folder = staging / f"{os.getpid()}-{secrets.token_hex(4)}"
        if lock_file := lock_in_folder(folder.with_suffix(".lock")):
            folder.mkdir()
            _staged[folder] = lock_file
            return folder


def _unstage(folder: Path) -> None:
    """Remove a staging folder of this process with its contents, and its parent folders if they are empty."""
    if lock_file := _staged.pop(folder, None):
        remove_folder(folder, lock_file)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()


def _clear_abandoned(staging: Path) -> None:
    """Remove the staging folders of killed runs, which no process holds."""
    with contextlib.suppress(FileNotFoundError):  # another process has just removed it
        for folder in {path.with_suffix("") for path in staging.glob("*")}:
            with contextlib.suppress(OSError, StageError):  # another user's, or just removed
                if lock_file := lock(folder.with_suffix(".lock")):
                    remove_folder(folder, lock_file)


def _move_all(moves: list[tuple[Path, Path, Path]]) -> None:
    """For each (new, target, old): move an existing target to old, then new to target. An error undoes every move."""
    done: list[tuple[Path, Path]] = []
    try:
        for new, target, old in moves:
            if target.exists():
                target.rename(old)
                done.append((old, target))
            new.rename(target)
            done.append((target, new))
    except BaseException:
        for now, before in reversed(done):
            now.rename(before)
        raise


@dataclass(frozen=True)
class Workspace:
    """The folders of a stage's inputs and outputs. Paths are relative to the project (`data/prepared`).

    Outputs go below `out`. An input comes from below `out` if it exists there, else from below `base`. So a cell of a
    study uses its own models with the project's data.
    """

    out: Path = Path()
    base: Path = Path()

    def input(self, relative: str) -> Path:
        """The path of an input. Raises StageError if neither folder has it."""
        for folder in (self.out, self.base):
            if (folder / relative).exists():
                return folder / relative
        places = " or ".join(dict.fromkeys(str(folder / relative) for folder in (self.out, self.base)))
        raise artifacts.missing(places)

    def _staging(self, relative: str) -> Path:
        """The folder to which an output is written before it moves into place, on the same file system.

        It is `.state/staging` below `out`, or below the output's top folder if that is on another file system.
        """
        top = self.out / Path(relative).parts[0]
        other_disk = top.is_dir() and top.stat().st_dev != self.out.stat().st_dev
        return (top if other_disk else self.out) / ".state" / "staging"

    @contextlib.contextmanager
    def outputs(self, *relatives: str) -> Iterator[Callable[[str], Path]]:
        """Write outputs to a staging folder, and move all of them into place when the block ends normally.

        Yields a function that maps an output's name to the path to write it to. After an error or Ctrl-C the staging
        folder is removed and the earlier outputs are unchanged. After kill -9 the next run removes the staging folder.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        work: dict[Path, Path] = {}

        def place(kind: str, relative: str) -> Path:
            path = work[self._staging(relative)] / kind / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            return path

        def new(relative: str) -> Path:
            if relative not in relatives:
                raise KeyError(f"{relative} is not one of the outputs {relatives}")
            return place("new", relative)

        try:
            for staging in {self._staging(relative) for relative in relatives}:
                _clear_abandoned(staging)
                with hold_signals():
                    work[staging] = _stage(staging)
            yield new
            for relative in relatives:
                if not new(relative).exists():
                    raise FileNotFoundError(f"the stage ended without writing {relative}")
            moves = [(new(relative), self.out / relative, place("old", relative)) for relative in relatives]
            for _, target, _ in moves:
                target.parent.mkdir(parents=True, exist_ok=True)
            with hold_signals():
                _move_all(moves)
        finally:
            with hold_signals():
                for folder in work.values():
                    _unstage(folder)

    def clear(self) -> None:
        """Remove the staging folders of this process and of killed runs.

        Call it when the process ends: an interrupt can come at a moment when `outputs` cannot clean up.
        """
        for folder in list(_staged):
            _unstage(folder)
        for staging in [self.out / ".state/staging", *self.out.glob("*/.state/staging")]:
            _clear_abandoned(staging)

    def record_timing(self, stage: str, figures: Mapping[str, float]) -> None:
        """Write a stage's timings to `reports/timings.json`, the only file that differs from run to run."""
        path = self.out / "reports" / "timings.json"
        try:
            timings = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            timings = {}
        timings[stage] = {name: artifacts.rounded(value, 4) for name, value in figures.items()}
        with self.outputs("reports/timings.json") as new:
            artifacts.write_json(new("reports/timings.json"), timings)
