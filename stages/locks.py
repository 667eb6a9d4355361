"""File locks, which a killed process releases on any machine, and signals that wait for the end of a short block."""

import contextlib
import fcntl
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from stages.errors import StageError

INTERRUPTS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
"""Ctrl-C, the end of the terminal, and a request to end."""


def _flock(file: IO[str], operation: int) -> bool:
    """Try to lock a file; returns whether that worked. Raises StageError if the file system has no locks."""
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


def lock(path: Path) -> IO[str] | None:
    """Create the file at `path` if needed, and lock it until it is closed. None if another process holds the lock.

    The file system holds the lock, so it ends with the process. A file with a process number would outlive a killed
    process.
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
        # The previous holder removed the file after this process opened it: try again with a new one.


def lock_in_folder(path: Path) -> IO[str] | None:
    """Like `lock`, but also creates the folder, which another process may remove whenever it is empty."""
    for _ in range(100):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return lock(path)
        except (FileNotFoundError, FileExistsError) as error:
            race = error
    raise race


def is_locked(path: Path) -> bool:
    """Whether any process, on any machine, holds the lock at `path`. Raises OSError if this user cannot read it."""
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        return not _flock(file, fcntl.LOCK_SH)
    return False


def remove_folder(folder: Path, lock_file: IO[str]) -> None:
    """Remove a folder, then its lock file (`<folder>.lock`), and release the lock."""
    with lock_file:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)


@contextlib.contextmanager
def hold_signals() -> Iterator[None]:
    """Delay INTERRUPTS until the block ends, for a few steps that must not be interrupted halfway.

    It replaces the handlers. A signal mask would apply to one thread only, and TensorFlow's threads would receive the
    signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs signal handlers in the main thread only, so no signal can interrupt this thread
        return
    delayed: list[int] = []
    handlers = {number: signal.signal(number, lambda n, _: delayed.append(n)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for received in delayed:
            signal.raise_signal(received)
