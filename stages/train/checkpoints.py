"""Checkpoints: everything that an interrupted training needs to go on as if nothing had been."""

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

# Step and the start of the content's SHA-256: a file whose bytes are not what they were is known by its name.
_NAME = re.compile(r"(\d{10})-([0-9a-f]{16})\.npz")


class Checkpoints:
    """The checkpoints of one training, in a folder of its own; the newest two stay."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _all(self) -> list[tuple[int, Path]]:
        """Step and path, the newest first."""
        named = [(match, path) for path in self._folder.glob("*.npz") if (match := _NAME.fullmatch(path.name))]
        return sorted(((int(match[1]), path) for match, path in named), reverse=True)

    def save(self, step: int, state: Mapping[str, np.ndarray], keep: Collection[int] = ()) -> None:
        """Write the state after `step` steps, whole or not at all; of the older ones one stays, and those of `keep`.

        Raises OSError where the disk is full: the checkpoints before stay as they are.
        """
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
                f"{part}: the checkpoint could not be written ({error}); the one before it is whole"
            ) from error
        finally:
            part.unlink(missing_ok=True)
        for older, old in self._all()[2:]:
            if older not in keep:
                old.unlink()

    def load(self, step: int) -> dict[str, np.ndarray] | None:
        """The state after `step` steps; None where there is none that is whole."""
        for found, path in self._all():
            if found == step:
                with path.open("rb") as file:
                    whole = hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.split("-")[1])
                if whole:
                    try:
                        with np.load(path, allow_pickle=False) as arrays:
                            return {name: arrays[name] for name in arrays.files}
                    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error):
                        pass
                shell.say(f"train: {path}: the checkpoint is damaged; trying the one before it")
                path.unlink()
        return None

    def latest(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """The newest whole state and its step; what is damaged on the way is said and removed."""
        for step, _ in self._all():
            state = self.load(step)
            if state is not None:
                return step, state
        return None

    def must_load(self, step: int) -> dict[str, np.ndarray]:
        """The state after `step` steps. Raises StageError where there is none."""
        state = self.load(step)
        if state is None:
            raise StageError(
                f"{self._folder}: no whole checkpoint of step {step}; every worker must see this folder; "
                "remove it to start from the beginning"
            )
        return state
