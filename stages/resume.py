"""Unfinished work that the next run continues: where it is kept, under which key, and when it is removed."""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from stages.errors import StageError
from stages.locks import lock, lock_in_folder, remove_folder

ABANDONED_AFTER = 30 * 24 * 3600.0
"""Unfinished work is removed this many seconds after a run last touched it."""


def state_folder() -> Path:
    """The folder for unfinished work: `.state/` of the project.

    Under DVC the project is $DVC_ROOT. In a queued experiment that is the parent repository, so a temporary workspace
    finds the work of an earlier one. Outside DVC it is the current folder. Git and DVC ignore `.state/`.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".state"


def key_of(*inputs: object) -> str:
    """A key for `unfinished`: a hash of these values (by their repr) and of the project's modules loaded so far.

    Call it after everything that decides the result has been imported.
    """
    digest = hashlib.sha256(repr(inputs).encode())
    package = __name__.split(".")[0]
    # Use the name in the spec: `python -m` renames its module to __main__, but not its spec.
    files = {
        spec.name: spec.origin
        for module in list(sys.modules.values())
        if (spec := getattr(module, "__spec__", None)) and spec.name.split(".")[0] == package and spec.origin
    }
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + Path(files[name]).read_bytes())
    return digest.hexdigest()[:16]


def _remove_abandoned() -> None:
    """Remove unfinished work of any stage that no run has touched for thirty days and no process holds."""
    with contextlib.suppress(FileNotFoundError):  # another process has just removed an empty folder
        for path in list(state_folder().glob("*/*.lock")):
            folder = path.with_suffix("")
            with contextlib.suppress(OSError, StageError):  # another process removes it, or it belongs to another user
                touched = (folder if folder.exists() else path).stat().st_mtime
                if time.time() - touched > ABANDONED_AFTER and (lock_file := lock(path)):
                    remove_folder(folder, lock_file)


def _lock_work(folder: Path, wait: Callable[[str], None] | None) -> IO[str]:
    """Lock a folder of unfinished work. If another process holds it, see `unfinished`."""
    path = folder.with_suffix(".lock")
    announced = tried = False
    while (lock_file := lock_in_folder(path)) is None:
        with contextlib.suppress(FileNotFoundError):  # the other process has just ended
            process = path.read_text(encoding="utf-8").strip() or "?"
            message = f"{folder}: process {process} is doing the same work"
            # Not at the first try: the other process may only have been checking the lock.
            if wait is None and tried:
                raise StageError(f"{message}; wait until it ends, or stop it")
            if wait is not None and not announced:
                wait(f"{message}; waiting until it ends")
                announced = True
        tried = True
        time.sleep(0.2)
    return lock_file


@contextlib.contextmanager
def unfinished(stage: str, key: str, wait: Callable[[str], None] | None = None) -> Iterator[Path]:
    """A folder that keeps a stage's unfinished work for the next run: `.state/<stage>/<key>`.

    `key` must stand for everything that decides the result (see `key_of`): a run with other params never continues this
    work. The folder is removed when the block ends normally. It stays after an error, an interrupt or a kill.

    If another process holds the folder: raises StageError, or with `wait` passes it a message and waits.
    """
    folder = state_folder() / stage / key
    with _lock_work(folder, wait) as lock_file:
        lock_file.truncate(0)
        lock_file.write(f"{os.getpid()}\n")
        lock_file.flush()
        _remove_abandoned()
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        yield folder
        remove_folder(folder, lock_file)
