"""What revisions hold, which commits introduced it, and the tags, branches and experiments that contain them."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import StageError
from tools.git import KINDS, git, kind_and_name
from tools.terminal import one_line

_MAX_NAMES = 8  # tags and branches on one line


@dataclass(frozen=True)
class Commit:
    """A commit: its full and its short hash, its date and its subject."""

    full: str
    short: str
    date: str
    subject: str


def introducing(project: Path, has: Callable[[str], bool], *search: str) -> list[Commit]:
    """The commits that have something which none of their parents has, oldest first.

    `search` are options of `git log` that find the candidates; `has` decides for a revision.
    """
    # --full-history, -m: a merge can drop it, and a merge can introduce it. --root, --no-show-signature: the user's
    # log.showRoot and log.showSignature must not change the output.
    form = "--format=%H%x09%h%x09%P%x09%cs%x09%s"
    log = ("log", "--no-show-signature", "--root", "--all", "--full-history", "-m", "--reverse", form)
    commits: dict[str, Commit] = {}
    for line in filter(None, git(project, *log, *search).split("\n")):
        full, short, parents, date, subject = line.split("\t", 4)
        if full not in commits and has(full) and not any(map(has, parents.split())):
            commits[full] = Commit(full, short, date, subject)
    return list(commits.values())


def text_at(project: Path, revision: str, path: str) -> str | None:
    """A text file of a revision; None where the revision does not have it."""
    try:
        return git(project, "show", f"{revision}:./{path}")
    except StageError:
        return None


def text_now(project: Path, path: str) -> str | None:
    """A text file of the working tree; None if it is missing."""
    try:
        return (project / path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested params or metrics as one level with dotted names below `name`. Lists and empty objects stay whole."""
    if not isinstance(value, Mapping) or not value:
        return {name: value}
    prefix = f"{name}." if name else ""
    return {inner: part for key, deeper in value.items() for inner, part in flat(deeper, f"{prefix}{key}").items()}


def path_of_blob(project: Path, revision: str, blob: str, folder: str) -> str:
    """The path below `folder` where a revision has a file with these bytes; empty where it has none."""
    with contextlib.suppress(StageError):  # a branch's name need not be UTF-8
        for line in git(project, "ls-tree", "-r", "-z", revision, "--", folder).split("\0"):
            entry, _, path = line.partition("\t")
            if entry.endswith(f" {blob}"):
                return path
    return ""


def names(project: Path, commit: Commit, has: Callable[[str], bool]) -> str:
    """The tags, experiments and branches that still have it; if none has, those with the commit in their history."""
    references = git(project, "for-each-ref", "--contains", commit.full, "--format=%(refname)").splitlines()
    named = [
        (*pair, reference)
        for reference in references
        if (pair := kind_and_name(reference)) and not reference.endswith("/HEAD")
    ]
    named.sort(key=lambda entry: KINDS.index(entry[0]))
    current = [entry for entry in named if has(entry[2])]
    listed = [f"{kind} {one_line(name)}" for kind, name, _ in current or named]
    if not listed:
        return f"in no branch and no tag: `git tag NAME {commit.short}` keeps it"
    more = f" and {len(listed) - _MAX_NAMES} more" if len(listed) > _MAX_NAMES else ""
    return ("" if current else "replaced since, in the history of ") + ", ".join(listed[:_MAX_NAMES]) + more


def is_kept(project: Path, commit: Commit) -> bool:
    """Whether a tag or a branch has the commit in its history."""
    places = "refs/tags", "refs/heads", "refs/remotes"
    return bool(git(project, "for-each-ref", "--count=1", "--contains", commit.full, *places))
