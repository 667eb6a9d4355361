"""The queue on a Ray cluster: each experiment is a task of Ray's, which runs on any node and again if its node dies.

An experiment stays in the queue until its result is home: its commit, and its data in DVC's cache. So nothing is lost
with a node, by Ctrl-C or by a kill; what had not ended is still queued.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo
from dvc.repo.experiments.executor.base import ExecutorInfo, TaskStatus
from dvc.repo.experiments.queue.base import BaseStashQueue, QueueEntry
from dvc_task.proc.process import ProcessInfo

import stages
import tools
from stages import ray_cluster
from stages.errors import StageError
from stages.locks import hold_signals, lock_in_folder
from stages.resume import state_folder
from stages.shell import say
from tools import audit, commits
from tools.git import git
from tools.sweep import local, packages
from tools.sweep.trial import Cache, Objects, Outcome, Trial, run, used

_PACKAGES = [str(Path(package.__file__ or "").parent) for package in (stages, tools)]  # the code that the nodes need
_LOCK = Path(tools.__file__ or "").parents[1] / "requirements.lock"


@dataclass(frozen=True)
class Queued:
    """An experiment in DVC's queue: what DVC has recorded, and the message of its commit."""

    entry: QueueEntry
    message: str | None

    @property
    def name(self) -> str:
        """The name for the user."""
        return self.entry.name or self.entry.stash_rev[:7]


def queued(queue: Any) -> list[Queued]:
    """The experiments that wait in the queue.

    Raises StageError if there are none, if one needs files that the nodes cannot have, or if DVC's workers run.
    """
    waiting = []
    for message, entry in queue._iter_queued():
        _, options, _ = message.decode()
        found = Queued(entry, options.get("message"))
        if options.get("copy_paths"):
            raise StageError(
                f"{found.name}: queued with --copy-paths, and the nodes have no such files; `dvc queue remove "
                f"{found.name}` and queue it without, or run `make sweep` without RAY_ADDRESS"
            )
        waiting.append(found)
    if local.workers(queue):
        raise StageError(
            "DVC's workers run the queue on this machine; wait for their end (make sweep without RAY_ADDRESS follows "
            "them), or stop them: dvc queue stop"
        )
    if not waiting:
        raise local.empty_queue()
    return waiting


def record(queue: Any, experiment: Queued, outcome: Outcome) -> str:
    """Bring the commit of an experiment home, and take it from the queue. Returns why it failed; "" if it did not.

    The queue then has the same record as after a run by DVC's own worker.
    """
    entry, info = experiment.entry, ExecutorInfo.from_dict(dict(outcome.info))
    message = next((message for message, other in queue._iter_queued() if other.stash_rev == entry.stash_rev), None)
    if message is None:
        return "it is no longer in the queue, so its result was not kept"
    why = _fetch(Path(queue.repo.scm.root_dir), info, outcome.bundle) if outcome.bundle else local.reason(outcome.log)
    if why:
        info.result_hash, info.result_ref, info.status = None, None, TaskStatus.FAILED
    folder = Path(queue.pid_dir) / entry.stash_rev
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{entry.stash_rev}.out"
    log.write_text(outcome.log, encoding="utf-8")
    queue.proc[entry.stash_rev] = ProcessInfo(
        pid=os.getpid(), stdin=None, stdout=str(log), stderr=None, returncode=int(bool(why))
    )
    info.dump_json(queue.get_infofile_path(entry.stash_rev))
    # What a worker of DVC's does when it takes a message, and when it is done with it.
    queue.celery.backend.store_result(message.headers["id"], None, "SUCCESS")
    processed = queue.celery.conf.broker_transport_options["processed_folder"]
    path = Path(queue.celery._queued_msg_path_cache[message.delivery_tag])
    path.replace(Path(processed) / path.name)
    BaseStashQueue.get_stash_entry(queue.repo.experiments, entry)  # and removes it
    if why:
        queue.stash_failed(entry)
    return why


def _fetch(repository: Path, info: ExecutorInfo, bundle: bytes) -> str:
    """Fetch the commit of an experiment from its bundle. Returns why that failed; "" if it did not."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(bundle)
        file.flush()
        force = "+" if info.result_force else ""
        try:
            git(repository, "fetch", "--quiet", "--no-tags", file.name, f"{force}{info.result_ref}:{info.result_ref}")
        except StageError as error:
            return f"its result cannot be kept, perhaps because another experiment has its name ({error})"
    return ""


def bundle(root: Path, entries: Sequence[QueueEntry]) -> bytes:
    """All commits of the repository and those of the queued experiments, as a Git bundle."""
    names = {f"refs/exps/temp/sweep-{entry.stash_rev}": entry.stash_rev for entry in entries}
    try:
        for name, revision in names.items():
            git(root, "update-ref", name, revision)
        with tempfile.NamedTemporaryFile() as file:
            git(root, "bundle", "create", "-q", file.name, "--all")
            return Path(file.name).read_bytes()
    finally:
        for name in names:
            git(root, "update-ref", "-d", name)


def needed(repo: Any, entry: QueueEntry, home: Objects) -> tuple[str, ...]:
    """The hashes of the data that the experiment may need and the project's cache has."""
    root = Path(repo.root_dir)
    params = commits.flat(yaml.safe_load(commits.text_at(root, entry.stash_rev, "params.yaml") or ""))
    revisions, start = [entry.stash_rev], str(params.get("train.start_from") or "")
    if start and not (root / start).exists():  # else it is a folder or a file
        with contextlib.suppress(StageError):  # the stage says what is wrong with it
            revisions.append(git(root, "rev-parse", "--verify", "--quiet", f"{start}^{{commit}}").strip())
    found: set[str] = set()
    for revision in revisions:
        with repo.switch(revision):
            found |= used(repo)
    return tuple(sorted(found - set(home.lacking(found))))


def share(nodes: Sequence[Mapping[str, Any]], resource: str, jobs: int) -> float:
    """The part of a resource that each of the `jobs` experiments on the smallest node gets.

    The same on every node, because training gives the same bytes only with the same number of cores. A whole number,
    unless it is below 1.
    """
    part = min(node["Resources"].get(resource, 0.0) for node in nodes) / jobs
    return part if part < 1 else part // 1


class _Home:
    """The cache of the project at home, as a node sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        import ray

        return lambda *arguments: ray.get(getattr(self._actor, name).remote(*arguments))


def _run_on_node(trial: Trial, packed: Sequence[Any], home: Any) -> Outcome:
    """The task of an experiment. `packed` has a reference to the bundle, which a node fetches only if it needs it."""
    import ray

    return run(trial, lambda: ray.get(packed[0]), _Home(home))


def _nodes(ray: Any) -> list[dict[str, Any]]:
    """The nodes with processors. Raises StageError if there are none, or one has other packages than this machine."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        raise StageError("RAY_ADDRESS: no node of the Ray cluster has processors; `ray start --address=…` on one")
    names = [package.name for package in audit.locked(_LOCK)]
    here = packages.versions(names)
    look = ray.remote(num_cpus=0)(packages.versions)
    found = [look.options(scheduling_strategy=_on(ray, node["NodeID"])).remote(names) for node in nodes]
    try:
        theirs = ray.get(found)
    except ray.exceptions.RayError as error:
        raise StageError(f"RAY_ADDRESS: a node cannot run the project's code: {_reason(error)}") from None
    for node, there in zip(nodes, theirs, strict=True):
        if different := packages.differences(here, there):
            more = f" and {len(different) - 5} more" if len(different) > 5 else ""
            raise StageError(
                f"the node {node['NodeManagerAddress']} has {', '.join(different[:5])}{more}; run `make setup` there, "
                "and `ray start` from its .venv"
            )
    return nodes


def _on(ray: Any, node: str) -> Any:
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)


def sweep(repo: Repo, jobs: int) -> None:
    """Run what is queued on the cluster at RAY_ADDRESS. Raises StageError for an empty queue, a cluster that cannot run
    it, and at the end if an experiment has failed.
    """
    queue = repo.experiments.celery_queue
    waiting = queued(queue)
    if os.environ["RAY_ADDRESS"].startswith("ray://"):
        raise StageError(
            "RAY_ADDRESS: a sweep needs the data of this machine, so this machine must be a node: `ray start "
            "--address=head:6379` here, then RAY_ADDRESS=auto"
        )
    if (held := lock_in_folder(state_folder() / "sweep.lock")) is None:
        raise StageError(".state/sweep.lock: locked; another `make sweep` runs this queue; wait until it ends")
    environment = {"py_modules": _PACKAGES}
    with held:
        try:
            with ray_cluster.connected("RAY_ADDRESS", 1, runtime_env=environment, log_to_driver=False) as ray:
                failed = _follow(ray, queue, waiting, jobs)
        except KeyboardInterrupt:
            say("\nThe experiments that had not ended are still in the queue; make sweep runs them from the start.")
            raise SystemExit(130) from None
    local.conclude(failed, len(waiting))


def _follow(ray: Any, queue: Any, experiments: Sequence[Queued], jobs: int) -> int:
    """Run the experiments, and print how each ended. Returns how many failed."""
    nodes = _nodes(ray)
    cores, gpus = int(max(1, share(nodes, "CPU", jobs))), share(nodes, "GPU", jobs)
    each = f"{cores} of a node's cores" + (f" and {gpus:g} of its GPUs" if gpus else "")
    say(f"sweep: {len(experiments)} experiments, {len(nodes)} nodes; each experiment gets {each}")
    root = queue.repo.root_dir
    here = _on(ray, ray.get_runtime_context().get_node_id())
    home = ray.remote(num_cpus=0, scheduling_strategy=here)(Cache).remote(root)
    packed = [ray.put(bundle(Path(root), [experiment.entry for experiment in experiments]))]
    task = ray.remote(num_cpus=cores, num_gpus=gpus, scheduling_strategy="SPREAD")(_run_on_node)
    tasks = {
        task.remote(trial, packed, home): experiment for trial, experiment in _trials(queue.repo, experiments, cores)
    }
    failed = 0
    while tasks:
        (done,), _ = ray.wait(list(tasks), num_returns=1)
        experiment = tasks.pop(done)
        ended = len(experiments) - len(tasks)
        try:
            outcome = ray.get(done)
        except ray.exceptions.RayError as error:
            failed += 1
            did = f"did not run, and is still in the queue: {_reason(error)}"
            say(f"{experiment.name} ({ended} of {len(experiments)}): {did}")
            continue
        with hold_signals():
            why = record(queue, experiment, outcome)
        failed += bool(why)
        local.say_end(experiment.name, ended, len(experiments), why)
    return failed


def _reason(error: Exception) -> str:
    """The first line of an error on a node, without Ray's traceback."""
    return str(getattr(error, "cause", error)).strip().split("\n")[0]


def _trials(repo: Any, experiments: Sequence[Queued], cores: int) -> Iterator[tuple[Trial, Queued]]:
    """What the nodes need to know of each experiment."""
    cache, root = Cache(repo.root_dir), repo.scm.root_dir
    first = git(Path(root), "rev-list", "--max-parents=0", "--all").split()
    key = hashlib.sha256(" ".join(sorted(first)).encode()).hexdigest()[:12]
    for experiment in experiments:
        objects = needed(repo, experiment.entry, cache)
        folder = os.path.relpath(repo.root_dir, root)
        yield Trial(experiment.entry, experiment.message, key, folder, objects, cores), experiment
