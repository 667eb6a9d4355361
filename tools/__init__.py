"""What one does around the pipeline: look at the machine, at the lock, at the history. No stage needs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dvc.exceptions import DvcException

from stages import shell
from stages.errors import StageError

# Which way a metric is better: however far it goes, or near a value, or near another metric, which is of real images.
BETTER = {
    **dict.fromkeys(("fid", "kid", "mode_kl", "swd"), "lower"),
    **{f"swd_{16 << level}": "lower" for level in range(7)},
    **dict.fromkeys(("precision", "recall", "coverage", "modes_covered", "rarest_mode"), "higher"),
    **dict.fromkeys(("density", "nearest_distance"), "near 1"),
    **{name: f"near {name}_real" for name in ("ms_ssim", "checkerboard", "memorization")},
}


def run(main: Callable[[], None]) -> None:
    """Do `main` as the whole of a command: a mistake of the user's is one line, and exit status 1 (2 in the params).

    What a terminal's encoding has no letter for (−, →) is printed as a question mark. Where nobody reads on (`| head`),
    it ends without a word, as a command does that SIGPIPE has ended.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # DVC has it wrapped, which passes this on
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes what is left once more when it ends
        sys.exit(128 + signal.SIGPIPE)
    except (StageError, DvcException, OSError) as error:
        shell.say(f"error: {error}")
        sys.exit(error.code if isinstance(error, StageError) else StageError.code)


def git(project: Path, *arguments: str) -> str:
    """What a command of Git's prints in a project. Raises StageError where it fails, or where there is no Git."""
    try:
        # UTF-8, as Git has it, whatever the terminal's encoding.
        result = subprocess.run(
            ["git", *arguments], cwd=project, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        raise StageError("git is not installed, and only it knows what is committed") from None
    if result.returncode:
        raise StageError(f"git {arguments[0]}: {result.stderr.strip()}")
    return result.stdout
