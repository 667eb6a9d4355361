"""What one does around the pipeline: look at the machine, at the lock, at the history. No stage needs it."""

import sys
from collections.abc import Callable

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
