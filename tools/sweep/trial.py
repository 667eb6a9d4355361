"""A queued experiment on a node of a Ray cluster.

The node needs the installed packages and nothing else: no shared folder, no remote. It keeps a clone of the project in
its temporary folder (TMPDIR), which gets the commits as a Git bundle and the data from the cache of the project at
home. The clone stays, so the next experiment finds the data there, and an interrupted training its checkpoint.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from dvc.env import DVC_ROOT
from dvc.repo import Repo
from dvc.repo.experiments.executor.base import BaseExecutor, ExecutorInfo
from dvc.repo.experiments.executor.local import TempDirExecutor
from dvc.repo.experiments.queue.base import QueueEntry
from dvc.repo.experiments.stash import ExpStashEntry

from stages.errors import StageError
from stages.locks import lock_in_folder, remove_folder
from tools.git import git
from tools.sweep.local import SHARED_CARD, all_cores, on_cores

# Not for an experiment: Ray's path to this code, and what makes a training one of several workers.
_NOT_INHERITED = ("PYTHONPATH", "TF_CONFIG", "SLURM_")
# Runs a command, and ends its process group when the pipe from Ray's worker closes. That happens at the latest when the
# worker dies: with its node, after Ctrl-C at home, or by a kill. What waits for it is no child of the worker, which
# kills its own children when it ends, but not theirs. Not by SIGINT, which Ray blocks in its workers.
_GUARDED = 'exec 3<&0 </dev/null; { read _ <&3; kill -s TERM 0; } & exec "$@" 3<&-'


@dataclass(frozen=True)
class Trial:
    """What a node needs to know of a queued experiment.

    `key` names the project's clone on the node, `folder` is the project's place in its repository, `objects` are the
    hashes of the data that it may need, and `cores` its share of the node.
    """

    entry: QueueEntry
    message: str | None
    key: str
    folder: str
    objects: tuple[str, ...]
    cores: int


@dataclass(frozen=True)
class Outcome:
    """How an experiment ended: DVC's record, its output, and its commit as a Git bundle (empty if it failed)."""

    info: dict[str, Any]
    log: str
    bundle: bytes


class Objects(Protocol):
    """A cache of data by hash, on this machine or another."""

    def lacking(self, hashes: Iterable[str]) -> list[str]:
        """Those of the hashes that the cache does not have."""

    def read(self, key: str) -> bytes:
        """The data with a hash."""

    def write(self, key: str, content: bytes) -> None:
        """Add the data with a hash."""


class Cache:
    """DVC's cache of a project on this machine."""

    def __init__(self, folder: str) -> None:
        self._cache = Repo(folder).cache.local

    def lacking(self, hashes: Iterable[str]) -> list[str]:
        """Those of the hashes that the cache does not have."""
        return [key for key in hashes if not self._cache.exists(key)]

    def read(self, key: str) -> bytes:
        """The data with a hash."""
        return Path(self._cache.oid_to_path(key)).read_bytes()

    def write(self, key: str, content: bytes) -> None:
        """Add the data with a hash, whole or not at all."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "object"
            file.write_bytes(content)
            self._cache.add(str(file), self._cache.fs, key)


def copy(hashes: Iterable[str], source: Objects, target: Objects) -> None:
    """Copy the data that the target lacks, one file at a time."""
    for key in target.lacking(hashes):
        target.write(key, source.read(key))


def used(repo: Any) -> set[str]:
    """The hashes of all data that the project's dvc.lock and .dvc files name."""
    return {info.value for infos in repo.used_objs().values() for info in infos}


def run(trial: Trial, bundle: Callable[[], bytes], home: Objects) -> Outcome:
    """Run the experiment on this node, and copy the data of its results home.

    `bundle` returns the Git bundle of the sweep. A stage that fails is an outcome, too. Raises StageError if the
    experiment cannot begin.
    """
    place = Path(tempfile.gettempdir()) / f"dvc-sweep-{os.getuid()}-{trial.key}"
    with contextlib.ExitStack() as stack:
        folder, cores = stack.enter_context(_share(place, trial.cores))
        with _alone(place / "clone.lock"):
            root = _clone(place / "clone", trial, bundle) / trial.folder
            repo = stack.enter_context(Repo(str(root)))
            executor = _executor(repo, trial.entry, folder)
            stack.callback(executor.cleanup)
        cache = Cache(str(root))
        copy(trial.objects, home, cache)
        info, log = _reproduce(executor, trial.message, folder, root, cores)
        if not info.result_ref:
            return Outcome(info.asdict(), log, b"")
        with Repo(str(Path(executor.root_dir) / trial.folder)) as result:
            copy(used(result), cache, home)
        file = folder / "bundle"
        git(Path(executor.root_dir), "bundle", "create", "-q", str(file), f"^{trial.entry.head_rev}", info.result_ref)
        return Outcome(info.asdict(), log, file.read_bytes())


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Run the block while no other process of this node runs one with the same lock."""
    while (held := lock_in_folder(path)) is None:
        time.sleep(0.1)
    with held:
        yield


def _clone(folder: Path, trial: Trial, bundle: Callable[[], bytes]) -> Path:
    """The node's clone, which no other process uses now, with the commits of this sweep and the project's names."""
    for lock in (folder / ".git").rglob("*.lock"):  # of a Git that was killed
        lock.unlink()
    git(folder.parent, "init", "--quiet", str(folder))
    try:
        git(folder, "cat-file", "-e", trial.entry.stash_rev)
    except StageError:
        with tempfile.NamedTemporaryFile() as file:
            file.write(bundle())
            file.flush()
            git(folder, "fetch", "--quiet", "--force", "--prune", "--update-head-ok", file.name, "+refs/*:refs/*")
    git(folder, "checkout", "--quiet", "--force", "--detach", trial.entry.head_rev or "HEAD")
    return folder


def _executor(repo: Any, entry: QueueEntry, folder: Path) -> TempDirExecutor:
    """DVC's temporary workspace for the experiment, below a folder, as DVC makes it when it runs a queue by itself."""
    stashed = ExpStashEntry(None, entry.head_rev, entry.baseline_rev, entry.branch, entry.name)
    executor = TempDirExecutor.from_stash_entry(repo, stashed, wdir=str(folder))
    executor.wdir = os.path.relpath(repo.root_dir, repo.scm.root_dir)  # DVC took the folder of Ray's worker
    executor.init_git(repo, repo.scm, entry.stash_rev, stashed, None, branch=entry.branch)
    executor.init_cache(repo, entry.stash_rev)
    # The arguments of `dvc exp run` name the project at home, where the stages would keep their unfinished work.
    file = Path(executor.root_dir, executor.dvc_dir, "tmp", BaseExecutor.PACKED_ARGS_FILE)
    arguments, options = BaseExecutor.unpack_repro_args(file)
    options["run_env"] = {**options.get("run_env", {}), DVC_ROOT: repo.root_dir}
    BaseExecutor.pack_repro_args(file, *arguments, **options)
    return executor


@contextlib.contextmanager
def _share(place: Path, count: int) -> Iterator[tuple[Path, list[int]]]:
    """An empty folder and cores that no other experiment of this node has until the block ends, or all cores."""
    cores = all_cores()
    parts = [cores[start : start + count] for start in range(0, len(cores) - count + 1, count)]
    for number in itertools.count():
        folder = place / f"share-{number}"
        if held := lock_in_folder(folder.with_suffix(".lock")):
            with held:
                shutil.rmtree(folder, ignore_errors=True)  # of an experiment that was killed
                folder.mkdir()
                yield folder, parts[number] if number < len(parts) else cores
                remove_folder(folder, held)
            return


def _reproduce(
    executor: TempDirExecutor, message: str | None, folder: Path, root: Path, cores: list[int]
) -> tuple[ExecutorInfo, str]:
    """Run the stages on these cores, as DVC's worker does. Returns DVC's record and the output, also in `folder`."""
    record, log = folder / "info.run", folder / "output"
    executor.info.dump_json(str(record))
    command = [sys.executable, "-m", "dvc", "exp", "exec-run", "--infofile", str(record)]
    command += ["--message", message] if message else []
    with log.open("wb") as output, on_cores(cores):
        _run_guarded(command, root, output)
    return ExecutorInfo.load_json(str(record)), log.read_text(encoding="utf-8", errors="replace")


def _run_guarded(command: list[str], folder: Path, output: IO[bytes]) -> None:
    """Run a command, which is asked to end when this process dies."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    environment |= SHARED_CARD
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
    guarded = ["sh", "-c", _GUARDED, "sh", *command]
    with subprocess.Popen(
        guarded,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=True,
    ) as process:
        process.wait()
