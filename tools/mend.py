"""Mend what a killed DVC process has left half-written. `make repro` and `make seeds` run this first.

A damaged dvc.lock is restored from Git. Nothing is lost: DVC's run cache has the results of every stage that finished
after that commit, and `dvc repro` takes them from there. The damaged file is kept in .state/damaged. DVC's list of
running processes (.dvc/tmp/rwlock), its database of known hashes and half-written entries of the run cache are removed:
DVC makes them anew. The user resolves the conflicts of a merge: the error names the files and the commands.
"""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from dvc.lock import LockError, make_lock

from stages.errors import StageError
from stages.shell import printable, run_command, say
from tools import dvc_files
from tools.git import git

_RESULTS = ("dvc.lock", "reports")  # Git's part of the results; DVC makes them anew from either side of a merge


def mend(folder: Path) -> Iterator[str]:
    """Mend the project in a folder. Yields a line for each file.

    Mends nothing while another DVC process writes, because its files only look damaged. Raises StageError if a merge
    left conflicts.
    """
    if conflicts := _conflicts(folder):
        raise StageError(conflicts)
    (folder / ".dvc/tmp").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack, contextlib.suppress(LockError):  # DVC itself names the other process
        for name in ("lock", "rwlock.lock"):
            stack.enter_context(make_lock(str(folder / ".dvc/tmp" / name)))
        yield from _mend(folder)


def _conflicts(folder: Path) -> str:
    """What to do about the files that Git could not merge; "" if there are none, or no Git."""
    try:
        paths = git(folder, "diff", "--relative", "--name-only", "--diff-filter=U", "-z").split("\0")[:-1]
    except StageError:
        return ""
    if not paths:
        return ""
    results = [path for path in paths if path in _RESULTS or path.startswith(f"{_RESULTS[-1]}/")]
    others = [path for path in paths if path not in results]
    steps = [f"edit {' '.join(map(shlex.quote, others))} and `git add` it"] if others else []
    if results:
        names = " ".join(_RESULTS)
        take = f"git reset -q -- {names} && git restore {names} && git clean -fdq {_RESULTS[-1]}"
        steps.append(f"take this branch's results: `{take}`")
    named = ", ".join(map(printable, (others + results)[:3])) + (
        f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    )
    return (
        f"Git could not merge {named}; {'; '.join(steps)}; then `make repro` makes the results of the merge, and "
        "`git add -A && git commit` ends it (docs/sharing.md)"
    )


def _mend(folder: Path) -> Iterator[str]:
    for path in dvc_files.lock_files(folder):
        if damage := dvc_files.lock_damage(path.read_bytes()):
            yield f"{path}: damaged ({damage}); {_restore(folder, path)}"
    rwlock = folder / ".dvc/tmp/rwlock"
    if damage := dvc_files.rwlock_damage(rwlock):
        rwlock.unlink()
        yield f"{rwlock}: damaged ({damage}); removed"
    elif (holders := dvc_files.lock_holders(rwlock)) and not any(map(dvc_files.is_dvc, holders)):
        rwlock.unlink()  # another program may now have the killed process's number, and DVC would refuse to run
    try:
        repo = dvc_files.open_repo(folder)
    except StageError as error:
        (folder / ".dvc/tmp/btime").unlink()
        yield f"{str(error).partition(';')[0]}; DVC begins a new one"
        return
    with contextlib.closing(repo):
        for path in dvc_files.half_written_runs(Path(repo.stage_cache.cache_dir)):
            path.rmdir() if path.is_dir() else path.unlink()
            yield f"{path}: half-written; removed"


def _restore(folder: Path, path: Path) -> str:
    """Restore a dvc.lock from the newest intact version in Git, or remove it. Returns what was done."""
    name = path.relative_to(folder).as_posix()
    kept = folder / ".state/damaged" / name.replace("/", "-")  # like any other lock there, removed after a month
    kept.parent.mkdir(parents=True, exist_ok=True)
    path.replace(kept)
    content = next(filter(_is_intact, _versions(folder, name)), "")
    if not content:
        return "Git has no intact version, so it was removed; DVC's run cache has the results of finished stages"
    new = kept.with_suffix(".new")
    new.write_text(content, encoding="utf-8")
    new.replace(path)
    return "restored from Git; DVC's run cache has the results of stages that have finished since"


def _is_intact(content: str) -> bool:
    return not dvc_files.lock_damage(content.encode())


def _versions(folder: Path, name: str) -> Iterator[str]:
    """The contents of a file in Git, newest first: staged, then committed. None without Git."""
    revisions = [""]  # the staged version
    with contextlib.suppress(StageError):  # no Git, or no commit yet
        revisions += git(folder, "log", "--format=%H", "--", name).split()
    for revision in revisions:
        with contextlib.suppress(StageError):  # it has no such file
            yield git(folder, "show", f"{revision}:./{name}")


def main() -> None:
    """Mend the project in the current folder."""
    for line in mend(Path()):
        say(f"mended: {line}")


if __name__ == "__main__":
    run_command(main)
