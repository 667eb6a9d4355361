"""Checks of the project's files: DVC's cache, DVC's locks, unfinished runs."""

import concurrent.futures
import hashlib
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from stages import resume
from stages.errors import StageError
from stages.locks import is_locked
from stages.progress import Progress
from tools.doctor.finding import Finding, Project, size

# The folders in .state/ that belong to studies, and the commands that resume them.
_STUDIES = {"seeds": "make seeds", "studies": "dvc repro studies/dvc.yaml"}


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


def locks(project: Project) -> Iterator[Finding]:
    """DVC's locks."""
    path = project.folder / ".dvc/tmp/rwlock"
    holders = []
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for infos in [*content.get("write", {}).values(), *content.get("read", {}).values()]:
            holders += infos if isinstance(infos, list) else [infos]
    except (ValueError, AttributeError):
        text = f"locks: {path} is damaged, and DVC will refuse to run"
        yield Finding("wrong", text, f"rm {shlex.quote(str(path))}")
        return
    running = {f"{info['cmd']} (process {info['pid']})" for info in holders if psutil.pid_exists(int(info["pid"]))}
    if running:
        yield Finding("note", f"locks: held by {', '.join(sorted(running))}", "wait for it, or stop it")
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
