"""What one does around the pipeline: look at the machine, at the lock, at the history. No stage needs it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dvc.exceptions import DvcException

from stages import shell
from stages.errors import StageError


def run(main: Callable[[], None]) -> None:
    """Do `main` as the whole of a command: a mistake of the user's is one line, and exit status 1."""
    try:
        main()
    except (StageError, DvcException, OSError) as error:
        shell.say(f"error: {error}")
        sys.exit(StageError.code)


def git(project: Path, *arguments: str) -> str:
    """What a command of Git's prints in a project. Raises StageError where it fails, or where there is no Git."""
    try:
        result = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise StageError("git is not installed, and only it knows what is committed") from None
    if result.returncode:
        raise StageError(f"git {arguments[0]}: {result.stderr.strip()}")
    return result.stdout
