"""Checks of the project's files: DVC's cache, dvc.lock and the results it lists, DVC's locks, unfinished runs."""

import concurrent.futures
import hashlib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from dvc.scm import NoSCM

from stages import resume
from stages.errors import StageError
from stages.locks import is_locked
from stages.progress import Progress
from tools import dvc_files
from tools.doctor.finding import Finding, Project, size

# The folders in .state/ that belong to studies, and the commands that resume them.
_STUDIES = {"seeds": "make seeds", "studies": "python -m studies repro studies/dvc.yaml"}


def _is_intact(path: Path) -> bool:
    """Whether an object in the cache has the MD5 that its name gives."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return md5 == path.parent.name + path.name.removesuffix(".dir")


def cache(project: Project) -> Iterator[Finding]:
    """The MD5 of every object in DVC's cache. DVC itself trusts objects that are read-only."""
    folder = Path(project.repo.cache.local.path)
    objects = sorted(path for path in folder.glob("??/*") if path.is_file() and not path.name.endswith(".tmp"))
    damaged = []
    with (
        Progress("doctor: DVC's cache", sum(path.stat().st_size for path in objects), "bytes") as progress,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        for path, intact in zip(objects, pool.map(_is_intact, objects), strict=True):
            progress.advance(path.stat().st_size)
            if not intact:
                damaged.append(path)
    for path in damaged:
        yield Finding(
            "wrong",
            f"cache: {path} is damaged: its hash does not match its name. The workspace file from it is damaged too",
            f"rm -f {shlex.quote(str(path))} && dvc pull   (or dvc repro, which rebuilds it)",
        )
    if not damaged:
        yield Finding("ok", f"cache: {len(objects):,} objects, all intact")


def pipeline(project: Project) -> Iterator[Finding]:
    """Each dvc.lock, the entries of the run cache, and the results in Git, such as DVCLive's files in reports/train."""
    problems = [*_lock_files(project.folder)]
    problems += [*_runs(Path(project.repo.stage_cache.cache_dir)), *([] if problems else _results(project.repo))]
    yield from problems
    if not problems:
        yield Finding("ok", "pipeline: dvc.lock, the run cache and the results in Git are intact")


def _lock_files(folder: Path) -> Iterator[Finding]:
    for path in dvc_files.lock_files(folder):
        if damage := dvc_files.lock_damage(path.read_bytes()):
            conflict = "make repro   (names the files with conflicts and the commands that resolve them)"
            restore = "make repro   (restores it from Git, and takes newer results from DVC's run cache)"
            text = f"pipeline: {path} is damaged ({damage}), and DVC will refuse to run"
            yield Finding("wrong", text, conflict if damage == "merge conflict" else restore)


def _runs(run_cache: Path) -> Iterator[Finding]:
    if damaged := [shlex.quote(str(path)) for path in dvc_files.damaged_runs(run_cache)]:
        text = f"pipeline: {len(damaged):,} damaged files in DVC's run cache, which knows the results of earlier runs"
        yield Finding("wrong", text, f"rm -rf {' '.join(damaged)}")


def _results(repo: Any) -> Iterator[Finding]:
    """The results in Git that are missing, or that are not as DVC has last seen them.

    Outputs that neither Git nor DVC's cache has are only where they were made, so they may be missing.
    """
    small = [out for stage in repo.index.stages for out in stage.outs if not out.use_cache and out.hash_info]
    if isinstance(repo.scm, NoSCM):  # no Git to ask; of the main pipeline, Git has all small results
        outs = [out for out in small if out.stage.path_in_repo == "dvc.yaml"]
    else:
        outs = [out for out in small if not repo.scm.is_ignored(out.fs_path)]
    states = [(out.def_path, state) for out in outs for state in out.workspace_status().values()]
    remedy = "make repro   (takes them from DVC's run cache, or runs their stage)"
    if missing := [name for name, state in states if state == "deleted"]:
        yield Finding(
            "note", f"pipeline: results are missing, as in a run or after a kill: {', '.join(missing)}", remedy
        )
    if changed := [name for name, state in states if state == "modified"]:
        yield Finding("wrong", f"pipeline: results were damaged or edited: {', '.join(changed)}", remedy)


def locks(project: Project) -> Iterator[Finding]:
    """DVC's locks."""
    path = project.folder / ".dvc/tmp/rwlock"
    if damage := dvc_files.rwlock_damage(path):
        text = f"locks: {path} is damaged ({damage}), and DVC will refuse to run"
        yield Finding("wrong", text, f"rm {shlex.quote(str(path))}")
        return
    holders = dvc_files.lock_holders(path)
    running = {f"{command} (process {process})" for process, command in holders.items() if dvc_files.is_dvc(process)}
    if running:
        yield Finding("note", f"locks: held by {', '.join(sorted(running))}", "wait for it, or stop it")
    elif other := next(filter(psutil.pid_exists, holders), None):
        text = f"locks: left by a DVC process that was killed; another program now has its number {other}"
        yield Finding("wrong", f"{text}, and DVC will refuse to run", f"rm {shlex.quote(str(path))}")
    elif holders:
        yield Finding("note", "locks: left by a DVC process that was killed; the next one removes them")
    else:
        yield Finding("ok", "locks: none")


def unfinished(project: Project) -> Iterator[Finding]:
    """Unfinished runs in .state/, which a later run resumes."""
    folders = sorted(path for path in (project.folder / ".state").glob("*/*") if path.is_dir())
    for folder in folders:
        yield _unfinished(folder)
    if not folders:
        yield Finding("ok", "unfinished: none")


def _unfinished(folder: Path) -> Finding:
    """The finding of one unfinished run, .state/<stage>/<key>."""
    stage, age = folder.parent.name, time.time() - folder.stat().st_mtime
    text = f"unfinished: {folder}, {size(folder) / 1e6:,.0f} MB"
    remove = f"rm -r {shlex.quote(str(folder))}"
    try:
        running, process = _process(folder)
    except (OSError, StageError) as error:
        return Finding("note", f"{text}: cannot tell whether a process is running: {error}")
    if stage in _STUDIES:
        remedy = "you can remove it while no study is running"
        return Finding("note", f"{text}: from {_STUDIES[stage]}, which resumes it", remedy)
    if running:
        return Finding("note", f"{text}: process {process or '?'} is running")
    if stage == "staging":
        return Finding("note", f"{text}: from a stage that was killed; the next one removes it")
    if age > resume.ABANDONED_AFTER:
        return Finding("note", f"{text}: abandoned for {age / 86400:.0f} days", remove)
    remedy = f"dvc repro with these resumes it; otherwise remove it: {remove}"
    return Finding("note", f"{text}: waits for the same params, data and code of {stage}", remedy)


def _process(folder: Path) -> tuple[bool, str]:
    """Whether a process works in the folder of an unfinished run, and its id. Raises OSError or StageError."""
    lock = folder.with_suffix(".lock")
    running = is_locked(lock)
    if folder.parent.name == "staging":  # these locks are empty; the folder's name has the process
        return running, folder.name.split("-")[0]
    return running, lock.read_text(encoding="utf-8").strip() if running else ""
