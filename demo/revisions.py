"""The revisions that the page offers: the folder as it is, and the tags, branches and experiments of Git and DVC."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.errors import StageError
from tools.git import git, kind_and_name

WORKSPACE = "workspace"
_KINDS = ("tag", "branch", "experiment")  # of two revisions with one name, the first kind is offered
_REFERENCES = ("refs/tags", "refs/heads", "refs/exps")


@dataclass(frozen=True)
class Revision:
    """A name to choose, its kind (`tag`, `branch`, `experiment`), and its commit."""

    name: str
    kind: str
    commit: str


def offered(project: Path) -> dict[str, Revision]:
    """Tags, branches and experiments whose commit has a dvc.lock, by name; empty outside a Git repository.

    A tag hides a branch of the same name, and both hide an experiment. Bytes of a name that are not UTF-8 become
    escapes (caf\\xe9), because a page cannot show them.
    """
    try:
        listing = _git(project, "for-each-ref", "--format=%(refname)", *_REFERENCES)
        names = [(*pair, reference) for reference in listing.splitlines() if (pair := kind_and_name(reference))]
        names.sort(key=lambda name: _KINDS.index(name[0]))
        objects = "".join(f"{reference}^{{commit}}\n{reference}:dvc.lock\n" for *_, reference in names)
        types = _git(project, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=objects).splitlines()
    except (OSError, StageError):
        return {}
    revisions: dict[str, Revision] = {}
    for (kind, name, _), commit, lock in zip(names, types[::2], types[1::2], strict=True):
        if commit.endswith(" commit") and lock.endswith(" blob"):
            escaped = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            revisions.setdefault(escaped, Revision(escaped, kind, commit.split()[0]))
    return revisions


def _git(project: Path, *arguments: str, stdin: str | None = None) -> str:
    return git(project, *arguments, stdin=stdin, errors="surrogateescape")  # a name may have any bytes


def fetch(project: Path, revision: Revision, files: Iterable[str], folders: Iterable[str], target: Path) -> None:
    """Copy a revision's `files` and `folders` below `target`: from Git, DVC's cache or the default remote.

    Skips files that the revision does not have. Raises StageError if the cache and the remote both lack a file that
    it has.
    """
    # DVC takes a second to import, and most users never open a revision.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    try:
        system = DVCFileSystem(str(project), rev=revision.commit)
        present = (name for name in files if system.exists(name))
        within = (name for folder in folders if system.isdir(folder) for name in system.find(folder))
        for name in itertools.chain(present, within):
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(system.read_bytes(name))
    except (OSError, DvcException, DataIndexDirError) as error:
        raise StageError(
            f"{revision.name} ({revision.commit[:7]}): {error}; run `dvc pull` in a check-out of it for details"
        ) from error
