"""Files that stages leave for each other: where they are, written whole or not at all, hashed, strict JSON."""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
import signal
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from stages.errors import StageError


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON, indented by two spaces, finite numbers only.

    Raises StageError for NaN or infinity, which JSON has no way to write and which DVC would drop in silence.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise StageError(f"{path.name}: a value is not finite, and JSON cannot hold it: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def missing(path: Path | str) -> StageError:
    """The error for an input that is not there."""
    return StageError(f"{path}: missing; `dvc repro` makes it, `dvc pull` fetches it")


def damaged(path: Path, what: object) -> StageError:
    """The error for an input that cannot be what a stage wrote."""
    return StageError(f"{path}: damaged ({what}); delete it and run `dvc checkout`, `dvc pull` or `dvc repro`")


def read_json(path: Path, *required: str) -> dict[str, Any]:
    """A JSON object with at least the `required` keys. Raises StageError naming the file that is missing or is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, f"no JSON: {error}") from None
    if not isinstance(value, dict) or not all(key in value for key in required):
        raise damaged(path, f"expected an object with {', '.join(required)}")
    return value


def read_arrays(path: Path, *names: str) -> tuple[np.ndarray, ...]:
    """Arrays of an .npz file, by name. Raises StageError naming the file that is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(arrays[name] for name in names)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, error) from None


def rounded(value: float, digits: int = 6) -> float:
    """`value` to `digits` significant digits: what a metrics file shows, and a diff can be read by."""
    if value == 0 or not math.isfinite(value):
        return float(value)
    return round(float(value), digits - 1 - math.floor(math.log10(abs(value))))


def state_folder() -> Path:
    """Where unfinished work waits: `.state/` of the project.

    Under DVC that is $DVC_ROOT, which in a queued experiment is the parent repository, so that a temporary workspace
    finds what an earlier one left; outside DVC the current folder. Git ignores it and DVC does not know it.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".state"


def key_of(*what: object) -> str:
    """A key for `unfinished`: for these values (by their repr) and the project's code as far as it is loaded.

    To be called once all that decides the result is imported.
    """
    digest = hashlib.sha256(repr(what).encode())
    package = __name__.split(".")[0]
    # By the name of its spec, which is that of the file: what `python -m` runs is called __main__ otherwise.
    files = {
        spec.name: spec.origin
        for module in list(sys.modules.values())
        if (spec := getattr(module, "__spec__", None)) and spec.name.split(".")[0] == package and spec.origin
    }
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + Path(files[name]).read_bytes())
    return digest.hexdigest()[:16]


ABANDONED_AFTER = 30 * 24 * 3600.0
"""Seconds after which unfinished work that nothing has touched is removed."""


def _flock(file: IO[str], operation: int) -> bool:
    """Whether a file could be locked. Raises StageError on a file system without such locks."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StageError(
            f"{file.name}: cannot be locked ({error.strerror}); put the project on a file system with flock "
            "(Lustre: mounted with -o flock)"
        ) from None
    return True


def _lock(path: Path) -> IO[str] | None:
    """The file at `path`, made where it is not there, and locked until it is closed; None where another has it locked.

    A lock of the file system, and no note of a process: whoever is killed has let go of it, on whatever machine.
    """
    while True:
        file = path.open("a+", encoding="utf-8")
        with contextlib.ExitStack() as stack:
            stack.callback(file.close)
            if not _flock(file, fcntl.LOCK_EX):
                return None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    stack.pop_all()
                    return file
        # Whoever had it has removed it since it was opened.


def _lock_in_folder(path: Path) -> IO[str] | None:
    """`_lock`, in a folder that is made where it is not there, and that another may remove as it finds it empty."""
    for _ in range(100):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _lock(path)
        except (FileNotFoundError, FileExistsError) as error:
            raced = error
    raise raced


def is_locked(path: Path) -> bool:
    """Whether a process, on whatever machine, holds the lock at `path`: that of work in `.state/` is beside its folder.

    Raises OSError where this user may not look.
    """
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        return not _flock(file, fcntl.LOCK_SH)
    return False


def _remove(folder: Path, lock: IO[str]) -> None:
    """Remove a folder, then its lock beside it, and let go of that."""
    with lock:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)


def _prune() -> None:
    """Remove unfinished work of every stage that nothing has touched for thirty days and that nobody holds."""
    with contextlib.suppress(FileNotFoundError):  # another has just removed a folder that was empty
        for path in list(state_folder().glob("*/*.lock")):
            folder = path.with_suffix("")
            with contextlib.suppress(OSError, StageError):  # another does the same, or it is another user's
                touched = (folder if folder.exists() else path).stat().st_mtime
                if time.time() - touched > ABANDONED_AFTER and (lock := _lock(path)):
                    _remove(folder, lock)


@contextlib.contextmanager
def unfinished(stage: str, key: str, wait: Callable[[str], None] | None = None) -> Iterator[Path]:
    """A folder where a stage's unfinished work waits for the next run: `.state/<stage>/<key>`.

    `key` stands for all that decides the result, so that a changed one never picks up what an old one left. The folder
    goes when the block ends well, and stays after an error, an interrupt or a kill. Where another process holds it:
    raises StageError, or tells it by `wait` and waits.
    """
    folder = state_folder() / stage / key
    path = folder.with_suffix(".lock")
    told = tried = False
    while (lock := _lock_in_folder(path)) is None:
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            message = (
                f"{folder}: the same work is being done by process {path.read_text(encoding='utf-8').strip() or '?'}"
            )
            if wait is None and tried:  # at the second try: somebody may only have looked whether it is locked
                raise StageError(f"{message}; wait for it, or end it")
            if wait is not None and not told:
                wait(f"{message}; waiting for it")
                told = True
        tried = True
        time.sleep(0.2)
    with lock:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        _prune()
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        yield folder
        _remove(folder, lock)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the few steps inside that must not be torn apart.

    By handlers and not by a mask: a mask holds for one thread, and TensorFlow's others would take the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only, so none can cut in here
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


_staged: dict[Path, IO[str]] = {}
"""The folders in which this process has outputs that are not in place yet, each with its lock."""


def _stage(staging: Path) -> Path:
    """A folder for outputs that are being written, its lock beside it held for as long as this process lives."""
    while True:
        folder = staging / f"{os.getpid()}-{secrets.token_hex(4)}"
        if lock := _lock_in_folder(folder.with_suffix(".lock")):
            folder.mkdir()
            _staged[folder] = lock
            return folder


def _unstage(folder: Path) -> None:
    """Remove a folder of this process's with what is in it, and those around it where nothing else is in them."""
    if lock := _staged.pop(folder, None):
        _remove(folder, lock)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()


def _clear_abandoned(staging: Path) -> None:
    """Remove what killed runs left: folders that nobody has locked."""
    with contextlib.suppress(FileNotFoundError):  # another has just removed it, empty
        for folder in {left.with_suffix("") for left in staging.glob("*")}:
            with contextlib.suppress(OSError, StageError):  # another user's, or just removed
                if lock := _lock(folder.with_suffix(".lock")):
                    _remove(folder, lock)


def _move_all(moves: list[tuple[Path, Path, Path]]) -> None:
    """Move each (new, target, old): target to old where it exists, new to target. After an error all is as before."""
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
    """Where a stage finds its inputs and puts its outputs, as paths relative to the project (`data/prepared`).

    Outputs go below `out`. An input is taken from below `out` if it is there, else from below `base`: so one cell of a
    study lies on top of the project like a sheet of glass, with its own models and the project's data.
    """

    out: Path = Path()
    base: Path = Path()

    def input(self, relative: str) -> Path:
        """The path of an input. Raises StageError where neither folder has it."""
        for folder in (self.out, self.base):
            if (folder / relative).exists():
                return folder / relative
        places = " or ".join(dict.fromkeys(str(folder / relative) for folder in (self.out, self.base)))
        raise missing(places)

    def _staging(self, relative: str) -> Path:
        """Where an output is written before it moves into place: on the file system where its place is.

        `.state/staging` below `out`, or below the output's top folder where that is a link or a mount of its own.
        """
        top = self.out / Path(relative).parts[0]
        elsewhere = top.is_dir() and top.stat().st_dev != self.out.stat().st_dev
        return (top if elsewhere else self.out) / ".state" / "staging"

    @contextlib.contextmanager
    def outputs(self, *relatives: str) -> Iterator[Callable[[str], Path]]:
        """Write outputs aside, and move them into place together when the block ends well.

        Yields a function from an output's name to the path to write it to; outputs below one top folder lie in one
        tree there. After an error, or a Ctrl-C, nothing of it is left and what was in place before still is; after a
        kill -9 the next run clears it away.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        work: dict[Path, Path] = {}

        def place(kind: str, relative: str) -> Path:
            path = work[self._staging(relative)] / kind / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            return path

        def new(relative: str) -> Path:
            if relative not in relatives:
                raise KeyError(f"{relative} is not among the outputs {relatives}")
            return place("new", relative)

        try:
            for staging in {self._staging(relative) for relative in relatives}:
                _clear_abandoned(staging)
                with signals_held():
                    work[staging] = _stage(staging)
            yield new
            for relative in relatives:
                if not new(relative).exists():
                    raise FileNotFoundError(f"the stage ended without writing {relative}")
            moves = [(new(relative), self.out / relative, place("old", relative)) for relative in relatives]
            for _, target, _ in moves:
                target.parent.mkdir(parents=True, exist_ok=True)
            with signals_held():
                _move_all(moves)
        finally:
            with signals_held():
                for folder in work.values():
                    _unstage(folder)

    def clear(self) -> None:
        """Remove what this process has staged, and what killed runs left.

        For its end: an interrupt can hit where no cleaning up is under way.
        """
        for folder in list(_staged):
            _unstage(folder)
        for staging in [self.out / ".state/staging", *self.out.glob("*/.state/staging")]:
            _clear_abandoned(staging)

    def record_timing(self, stage: str, figures: Mapping[str, float]) -> None:
        """Note how long a stage took in `reports/timings.json`, the one file that differs from run to run."""
        path = self.out / "reports" / "timings.json"
        try:
            timings = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            timings = {}
        timings[stage] = {name: rounded(value, 4) for name, value in figures.items()}
        with self.outputs("reports/timings.json") as new:
            write_json(new("reports/timings.json"), timings)
