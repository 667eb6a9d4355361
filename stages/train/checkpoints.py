"""Checkpoints: everything that an interrupted training run needs to resume and end with the same bytes."""

import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from stages import shell
from stages.errors import StageError

# The step and the start of the content's SHA-256, so that the name of a damaged file does not match its content.
_NAME = re.compile(r"(\d{10})-([0-9a-f]{16})\.npz")


class Checkpoints:
    """The checkpoints of one training run, in their own folder. The newest two are kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def final(self) -> "Checkpoints":
        """Where the run keeps the state that it leaves to a longer run."""
        return Checkpoints(self._folder / "final")

    def _all(self) -> list[tuple[int, Path]]:
        """The step and the path of each checkpoint, newest first."""
        paths = [(match, path) for path in self._folder.glob("*.npz") if (match := _NAME.fullmatch(path.name))]
        return sorted(((int(match[1]), path) for match, path in paths), reverse=True)

    def save(self, step: int, state: Mapping[str, np.ndarray], keep: Collection[int] = ()) -> None:
        """Write the state after `step` steps atomically, and delete all but the newest two and the steps in `keep`.

        Raises OSError on a full disk. Earlier checkpoints stay intact.
        """
        self._folder.mkdir(exist_ok=True)
        part = self._folder / "new.part"
        try:
            with part.open("wb") as file:
                np.savez(file, **state)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            path = self._folder / f"{step:010}-{digest[:16]}.npz"
            part.replace(path)
        except OSError as error:
            raise OSError(
                f"{part}: the checkpoint could not be written ({error}); the previous one is intact"
            ) from error
        finally:
            part.unlink(missing_ok=True)
        for older_step, older_path in self._all()[2:]:
            if older_step not in keep:
                older_path.unlink()

    def load(self, step: int) -> dict[str, np.ndarray] | None:
        """The state after `step` steps, or None. A damaged checkpoint is reported and deleted."""
        for path in (path for saved_step, path in self._all() if saved_step == step):
            state = _read(path)
            if state is not None:
                return state
            shell.say(f"train: {path}: the checkpoint is damaged; trying the previous one")
            path.unlink()
        return None

    def latest(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """The step and the state of the newest intact checkpoint, or None."""
        for step, _ in self._all():
            state = self.load(step)
            if state is not None:
                return step, state
        return None

    def must_load(self, step: int) -> dict[str, np.ndarray]:
        """The state after `step` steps. Raises StageError if there is no intact checkpoint."""
        state = self.load(step)
        if state is None:
            raise StageError(
                f"{self._folder}: no intact checkpoint of step {step}; every worker must see this folder; remove it to "
                "start from scratch"
            )
        return state


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The state in a file; None if it is damaged."""
    with path.open("rb") as file:
        if not hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.split("-")[1]):
            return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
