"""The revisions that the page offers: the folder as it is, and what Git and DVC remember."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.errors import StageError

WORKSPACE = "workspace"
_EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)")  # DVC's own; below refs/exps/ it has others too


@dataclass(frozen=True)
class Revision:
    """A name to choose, what kind of name it is (`tag`, `branch`, `experiment`), and the commit that it means."""

    name: str
    kind: str
    commit: str


def _git(project: Path, *arguments: str, text: str = "") -> str:
    command = ["git", "-C", str(project), *arguments]
    given = text.encode("utf-8", "surrogateescape")  # a name may be of any bytes
    done = subprocess.run(command, input=given, capture_output=True, check=True)  # noqa: S603
    return done.stdout.decode("utf-8", "surrogateescape")


def offered(project: Path) -> dict[str, Revision]:
    """Tags, branches and experiments whose commit has a dvc.lock, by name; none where there is no Git repository.

    A branch of a tag's name is left out, as is an experiment of either's. Bytes of a name that are no UTF-8 are named
    by their numbers, for a page can show no others.
    """
    try:
        listed = _git(project, "for-each-ref", "--format=%(refname)", "refs/tags", "refs/heads", "refs/exps")
        names = [name for name in map(_named, listed.splitlines()) if name]
        locks = "".join(f"{name[2]}^{{commit}}\n{name[2]}:dvc.lock\n" for name in names)
        found = _git(project, "cat-file", "--batch-check=%(objectname) %(objecttype)", text=locks).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return {}
    revisions: dict[str, Revision] = {}
    for (kind, name, _), commit, lock in zip(names, found[::2], found[1::2], strict=True):
        if commit.endswith(" commit") and lock.endswith(" blob"):
            shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            revisions.setdefault(shown, Revision(shown, kind, commit.split()[0]))
    return revisions


def _named(reference: str) -> tuple[str, str, str] | None:
    """(kind, short name, full name) of a reference of Git's, the tags' first; None for what is not offered."""
    for kind, prefix in (("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if reference.startswith(prefix):
            return kind, reference.removeprefix(prefix), reference
    match = _EXPERIMENT.fullmatch(reference)
    return ("experiment", match[1], reference) if match else None


def fetch(project: Path, revision: Revision, files: Iterable[str], folders: Iterable[str], target: Path) -> None:
    """Copy what a revision has of these below `target`: from Git, from DVC's cache or from its default remote.

    Raises StageError where neither the cache nor a remote has a file that the revision names.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    try:
        system = DVCFileSystem(str(project), rev=revision.commit)
        wanted = [name for name in files if system.exists(name)]
        wanted += [name for folder in folders if system.isdir(folder) for name in system.find(folder)]
        for name in wanted:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(system.read_bytes(name))
    except (OSError, DvcException) as error:
        raise StageError(
            f"{revision.name} ({revision.commit[:7]}): {error}; `dvc pull` in a check-out of it says more"
        ) from error
