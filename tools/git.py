"""Run Git commands, and recognise tags, branches and DVC experiments by their full reference names."""

import re
import subprocess
from pathlib import Path

from stages.errors import StageError

# Kind => full reference name; the group is the short name. DVC keeps other references below refs/exps/ too.
_REFERENCES = {
    "tag": re.compile("refs/tags/(.+)"),
    "experiment": re.compile("refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)"),
    "branch": re.compile("refs/(?:heads|remotes)/(.+)"),
}
KINDS = tuple(_REFERENCES)  # in the order in which commands list them


def git(project: Path, *arguments: str, stdin: str | None = None, errors: str = "replace") -> str:
    """The output of a Git command in a project, as text; `errors` says how to decode bytes that are not UTF-8.

    Raises StageError if Git fails or is not installed.
    """
    try:
        # Git writes UTF-8, whatever the terminal's encoding.
        result = subprocess.run(
            ["git", *arguments],
            cwd=project,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors=errors,
            check=False,
        )
    except FileNotFoundError:
        raise StageError("git is not installed; install it (on Debian: apt-get install git)") from None
    if result.returncode:
        raise StageError(f"git {arguments[0]}: {result.stderr.strip()}")
    return result.stdout


def in_clone(project: Path, *arguments: str) -> str:
    """The output of `git rev-parse` with these arguments. The error outside a Git repository says where to run this."""
    try:
        return git(project, "rev-parse", *arguments).strip()
    except StageError as error:
        raise StageError(f"{error}; run this in a clone of the project") from None


def kind_and_name(reference: str) -> tuple[str, str] | None:
    """(kind, short name) of a full reference name; kind is tag, branch or experiment. None for any other reference."""
    for kind, pattern in _REFERENCES.items():
        if match := pattern.fullmatch(reference):
            return kind, match[1]
    return None
