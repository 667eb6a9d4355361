"""tools/sweep on a Ray cluster: an experiment runs in a clone on a node, and waits in the queue until it is home."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from dvc.api import DVCFileSystem
from dvc.repo import Repo
from dvc.repo.experiments.queue.base import QueueEntry

from stages import ray_cluster
from stages.errors import StageError
from tests.conftest import ROOT, dvc, git
from tests.git_project import commit
from tools.sweep import on_ray, packages, trial

# `began` and `ended` show which node ran an experiment, and how often.
WORK = """
import os, pathlib, sys, time
import yaml

params = yaml.safe_load(open("params.yaml"))
state = pathlib.Path(os.environ["DVC_ROOT"], ".state")
state.mkdir(exist_ok=True)
(state / f"began-{params['seed']}").touch()
if params["seed"] == 13:
    sys.exit("error: params.yaml: seed: 13 is unlucky")
time.sleep(params["seconds"])
data = open("data.bin", "rb").read()
pathlib.Path("model.bin").write_bytes(data + bytes([params["seed"]]))
pathlib.Path("metrics.json").write_text('{"fid": %d}' % params["seed"])
(state / f"ended-{params['seed']}").touch()
"""
PIPELINE = """
stages:
  data:
    cmd: echo data > data.bin && test ! -e made && touch made
    outs: [data.bin]
  train:
    cmd: python work.py
    params: [seed, seconds]
    deps: [data.bin, work.py]
    outs: [model.bin]
    metrics:
      - metrics.json:
          cache: false
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two stages that has run, with everything committed. The first stage cannot run twice."""
    folder = tmp_path_factory.mktemp("original") / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "work.py").write_text(WORK)
    (folder / "params.yaml").write_text("seed: 0\nseconds: 0\n")
    (folder / ".gitignore").write_text("/.state\n")
    git(folder, "init", "-q", "-b", "main")
    with contextlib.chdir(folder):
        Repo.init().close()
        with Repo() as repo:
            repo.reproduce()
    commit(folder)
    return folder


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for one test, which runs in it."""
    folder = Path(shutil.copytree(original, tmp_path / "project", symlinks=True))
    monkeypatch.chdir(folder)
    return folder


def queue_up(folder: Path, *seeds: int, **options: Any) -> None:
    """Queue an experiment for each seed: seed-1, seed-2, …; a single one is called seed."""
    seconds = options.pop("seconds", 0)
    with contextlib.chdir(folder), Repo() as repo:
        chosen = [f"seed={','.join(map(str, seeds))}", f"seconds={seconds}"]
        repo.experiments.run(queue=True, name="seed", params=chosen, **options)


def states(folder: Path) -> dict[str, str]:
    """The states of the experiments in the queue, by name."""
    with Repo(str(folder)) as repo:
        return {task["name"]: task["status"] for task in repo.experiments.celery_queue.status()}


def reference(folder: Path, name: str) -> str:
    """The full reference name of an experiment of the first commit."""
    head = git(folder, "rev-parse", "HEAD")
    return f"refs/exps/{head[:2]}/{head[2:]}/{name}"


def model(folder: Path, name: str) -> bytes:
    """The model of an experiment, from DVC's cache."""
    return bytes(
        DVCFileSystem(str(folder), rev=git(folder, "rev-parse", reference(folder, name))).read_bytes("model.bin")
    )


def run_on_a_node(folder: Path, node: Path) -> dict[str, str]:
    """Run the queue as Ray's tasks do, in this process, with `node` as the node's temporary folder. Returns why each
    experiment failed, by name.
    """
    node.mkdir()
    with pytest.MonkeyPatch.context() as patch, Repo(str(folder)) as repo:
        patch.setattr("tempfile.tempdir", str(node))
        queue, home = repo.experiments.celery_queue, trial.Cache(str(folder))
        experiments = on_ray.queued(queue)
        content = on_ray.bundle(folder, [experiment.entry for experiment in experiments])
        return {
            experiment.name: on_ray.record(queue, experiment, trial.run(task, lambda: content, home))
            for task, experiment in on_ray._trials(repo, experiments, 1)
        }


@pytest.fixture(scope="module")
def swept(original: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A project with two experiments that ran on a node, of which the second failed, and why each failed."""
    folder = Path(shutil.copytree(original, tmp_path_factory.mktemp("swept") / "project", symlinks=True))
    queue_up(folder, 1, 13)
    return folder, run_on_a_node(folder, folder.with_name("node"))


def test_an_experiment_comes_home_with_its_data(swept: tuple[Path, dict[str, str]]) -> None:
    folder, reasons = swept
    assert reasons["seed-1"] == ""
    assert states(folder)["seed-1"] == "Success"
    assert model(folder, "seed-1") == b"data\n\x01"


def test_an_experiment_that_failed_is_kept_apart_with_its_reason_and_its_output(
    swept: tuple[Path, dict[str, str]],
) -> None:
    folder, reasons = swept
    assert reasons["seed-2"] == "params.yaml: seed: 13 is unlucky"
    assert states(folder)["seed-2"] == "Failed"
    with Repo(str(folder)) as repo:
        queue = repo.experiments.celery_queue
        assert [entry.entry.name for entry in queue.iter_failed()] == ["seed-2"]
        assert queue.failed_stash.stash_revs.keys() == {entry.entry.stash_rev for entry in queue.iter_failed()}
        assert not queue.stash.stash_revs, "nothing is left of the queue"
    output = subprocess.run(["dvc", "queue", "logs", "seed-2"], cwd=folder, capture_output=True, text=True, check=True)
    assert "Running stage 'train'" in output.stdout


def test_the_stages_keep_unfinished_work_on_the_node(swept: tuple[Path, dict[str, str]]) -> None:
    folder, _ = swept
    assert {path.name for path in folder.parent.glob("node/*/clone/.state/began-*")} == {"began-1", "began-13"}
    assert not (folder / ".state/began-1").exists()


def test_nothing_but_the_clone_is_left_on_the_node(swept: tuple[Path, dict[str, str]]) -> None:
    folder, _ = swept
    (place,) = folder.parent.glob("node/*")
    assert {path.name for path in place.iterdir()} == {"clone", "clone.lock"}


def test_the_result_of_an_experiment_that_left_the_queue_is_not_kept(project: Path) -> None:
    queue_up(project, 1)
    with Repo(str(project)) as repo:
        queue = repo.experiments.celery_queue
        (experiment,) = on_ray.queued(queue)
        queue.remove(["seed"])
        assert "no longer in the queue" in on_ray.record(queue, experiment, trial.Outcome(INFO, "", b"a bundle"))
    assert states(project) == {}


INFO = {"git_url": "", "baseline_rev": "", "location": "", "root_dir": "", "dvc_dir": ".dvc"}


def test_a_result_that_git_refuses_is_a_failure(project: Path) -> None:
    queue_up(project, 1)
    with Repo(str(project)) as repo:
        queue = repo.experiments.celery_queue
        (experiment,) = on_ray.queued(queue)
        info = {**INFO, "result_hash": "1", "result_ref": reference(project, "seed")}
        assert "its result cannot be kept" in on_ray.record(queue, experiment, trial.Outcome(info, "", b"torn"))
    assert states(project) == {"seed": "Failed"}


def test_a_node_gets_the_data_of_the_experiment_and_of_the_model_that_it_starts_from(project: Path) -> None:
    git(project, "tag", "old")
    (project / "params.yaml").write_text("seed: 1\nseconds: 0\ntrain: {start_from: old}\n")
    dvc(project, "repro")
    commit(project)
    queue_up(project, 2)
    with Repo(str(project)) as repo:
        (experiment,) = on_ray.queued(repo.experiments.celery_queue)
        objects = on_ray.needed(repo, experiment.entry, trial.Cache(str(project)))
    expected = (b"data\n", b"data\n\x00", b"data\n\x01")
    assert set(objects) == {hashlib.md5(content).hexdigest() for content in expected}  # noqa: S324 - as DVC does


def test_a_git_that_was_killed_on_a_node_does_not_stop_the_next_one(project: Path, tmp_path: Path) -> None:
    head = git(project, "rev-parse", "HEAD")
    entry = QueueEntry(str(project), str(project), "", head, head, None, "seed", head)
    content = on_ray.bundle(project, [entry])
    task = trial.Trial(entry, None, "", ".", (), 1)
    clone = trial._clone(tmp_path / "clone", task, lambda: content)
    (clone / ".git/index.lock").touch()
    (clone / "work.py").unlink()
    trial._clone(clone, task, lambda: content)
    assert (clone / "work.py").exists()


def test_an_empty_queue_is_named(project: Path) -> None:
    with Repo(str(project)) as repo, pytest.raises(StageError, match="the queue is empty; fill it first"):
        on_ray.queued(repo.experiments.celery_queue)


def test_an_experiment_that_needs_files_of_this_machine_is_named(project: Path) -> None:
    queue_up(project, 1, copy_paths=["work.py"])
    with Repo(str(project)) as repo, pytest.raises(StageError, match="seed: queued with --copy-paths"):
        on_ray.queued(repo.experiments.celery_queue)


def test_a_queue_that_dvc_runs_is_not_run_twice(project: Path) -> None:
    with Repo(str(project)) as repo:
        queue = repo.experiments.celery_queue
        Path(queue.wdir).mkdir(parents=True)
        worker = {"pid": os.getpid(), "returncode": None}
        (Path(queue.wdir) / "dvc-exp-worker-2.json").write_text(json.dumps(worker))
        with pytest.raises(StageError, match="DVC's workers run the queue on this machine; wait"):
            on_ray.queued(queue)


@pytest.mark.parametrize(
    ("cores", "jobs", "expected"), [((8, 6, 16), 2, 3), ((5, 9), 2, 2), ((1, 4), 2, 0.5), ((2, 0), 2, 0)]
)
def test_each_experiment_gets_its_share_of_the_smallest_node(
    cores: tuple[float, ...], jobs: int, expected: float
) -> None:
    assert on_ray.share([{"Resources": {"CPU": float(count)}} for count in cores], "CPU", jobs) == expected


def test_a_node_without_the_packages_of_this_machine_is_told_apart() -> None:
    here = packages.versions(["numpy", "nonesuch"])
    there = {**here, "numpy": "1.0", "Python": ""}
    assert packages.differences(here, here) == []
    assert packages.differences(here, there) == [
        f"Python missing (here: {here['Python']})",
        f"numpy 1.0 (here: {here['numpy']})",
    ]


class Nodes:
    """Ray with one node of so many processors, whose NumPy is an old one."""

    exceptions = SimpleNamespace(RayError=ConnectionError)
    util = SimpleNamespace(scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None))

    def __init__(self, cores: float) -> None:
        self._node = {"Alive": True, "NodeID": "1", "NodeManagerAddress": "10.0.0.2", "Resources": {"CPU": cores}}

    def nodes(self) -> list[dict[str, Any]]:
        """The node."""
        return [self._node]

    def remote(self, **_: Any) -> Any:
        """A decorator that turns a function into a task."""

        def task(function: Any) -> Any:
            there = SimpleNamespace(remote=lambda names: {**function(names), "numpy": "1.0"})
            return SimpleNamespace(options=lambda **_: there)

        return task

    def get(self, results: Any) -> Any:
        """The results of tasks."""
        return results


def test_a_node_with_another_package_is_named_and_nothing_runs() -> None:
    message = r"^the node 10\.0\.0\.2 has numpy 1\.0 \(here: .*\); run `make setup` there"
    with pytest.raises(StageError, match=message):
        on_ray._nodes(Nodes(2.0))


def test_a_cluster_without_processors_is_named() -> None:
    with pytest.raises(StageError, match="no node of the Ray cluster has processors"):
        on_ray._nodes(Nodes(0.0))


def test_experiments_on_one_node_have_other_cores_and_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "all_cores", lambda: [0, 1, 2, 4, 5, 6, 7])
    with contextlib.ExitStack() as stack:
        shares = [stack.enter_context(trial._share(tmp_path, 3)) for _ in range(3)]
    assert [cores for _, cores in shares] == [[0, 1, 2], [4, 5, 6], [0, 1, 2, 4, 5, 6, 7]]
    assert len({folder for folder, _ in shares}) == 3


def test_what_a_killed_experiment_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "share-0").mkdir()
    (tmp_path / "share-0/half").touch()
    with trial._share(tmp_path, 1) as (folder, _):
        assert not list(folder.iterdir())


def test_an_experiment_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    loop = "(trap 'touch ended; exit' TERM; touch began; while true; do sleep 0.05; done) & wait"
    code = (
        "import sys; from pathlib import Path; from tools.sweep import trial\n"
        f"trial._run_guarded(['bash', '-c', {loop!r}], Path(), sys.stderr.buffer)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_for(lambda: (tmp_path / "began").exists())
    for child in psutil.Process(process.pid).children():
        child.kill()  # as a worker of Ray's does when it ends
    process.kill()
    process.wait()
    wait_for(lambda: (tmp_path / "ended").exists())


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, for at most three minutes."""
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_without_ray_the_error_says_what_to_install(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue_up(project, 1)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with Repo(str(project)) as repo, pytest.raises(StageError, match=r"pip install -e '\.\[ray\]'"):
        on_ray.sweep(repo, 1)


def test_a_machine_outside_of_the_cluster_is_told_what_to_do(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue_up(project, 1)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with Repo(str(project)) as repo, pytest.raises(StageError, match=r"^RAY_ADDRESS: .* this machine must be a node"):
        on_ray.sweep(repo, 1)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nonsense"])
def test_an_address_without_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    pytest.importorskip("ray", reason="Ray comes with requirements-slow.lock")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with (
        pytest.raises(StageError, match=f"^RAY_ADDRESS: cannot connect to a Ray cluster at {address}"),
        ray_cluster.connected("a test", 1),
    ):
        pass


# Loopback, but not 127.0.0.1: Ray replaces that by the machine's address, on which its head does not listen.
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.2"}


@dataclasses.dataclass(frozen=True)
class Node:
    """The first node of a cluster, and its temporary folder."""

    cluster: Any
    folder: Path

    def sweep(self, project: Path) -> subprocess.Popen[str]:
        """Start a sweep on the cluster."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": self.cluster.address}
        command = [sys.executable, "-m", "tools.sweep", "--jobs", "1"]
        return subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A cluster of one node with one processor, on loopback."""
    pytest.importorskip("ray", reason="Ray comes with requirements-slow.lock")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    folder = tmp_path_factory.mktemp("first")
    settings = {**NODE, "include_dashboard": False, "env_vars": {"TMPDIR": str(folder)}}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    try:
        yield Node(cluster, folder)
    finally:
        cluster.shutdown()


def marks(folder: Path, kind: str) -> set[str]:
    """The seeds of the experiments that began or ended on the node with this temporary folder."""
    return {path.name.removeprefix(f"{kind}-") for path in folder.glob(f"*/clone/.state/{kind}-*")}


def running(folder: Path) -> list[str]:
    """The processes that work below a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_an_interrupt_the_experiments_wait_in_the_queue(project: Path, first: Node) -> None:
    queue_up(project, 21, 22, seconds=300)
    sweep = first.sweep(project)
    wait_for(lambda: bool(marks(first.folder, "began")))
    sweep.send_signal(signal.SIGINT)
    _, output = sweep.communicate()
    assert sweep.returncode == 130, output
    assert "still in the queue" in output
    assert states(project) == {"seed-1": "Queued", "seed-2": "Queued"}
    wait_for(lambda: not running(first.folder))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_experiment_comes_home_once_although_a_node_is_killed(project: Path, first: Node, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(project, tmp_path / "alone", symlinks=True))
    folder = tmp_path / "second"
    folder.mkdir()
    queue_up(project, 1, 2, 3, seconds=2)
    second = first.cluster.add_node(**NODE, env_vars={"TMPDIR": str(folder)})
    sweep = first.sweep(project)
    wait_for(lambda: bool(marks(folder, "began")) or sweep.poll() is not None)
    killed = marks(folder, "began")
    first.cluster.remove_node(second, allow_graceful=False)
    _, output = sweep.communicate()
    assert sweep.returncode == 0, output
    assert len(killed) == 1
    assert not marks(folder, "ended"), "the experiment ends with its node"
    assert killed < marks(first.folder, "ended")
    assert len(re.findall(r"^seed-. \(. of 3\): done$", output, re.MULTILINE)) == 3
    names = git(project, "for-each-ref", "--format=%(refname:lstrip=-1)", reference(project, "")[:-1])
    assert names.splitlines() == ["seed-1", "seed-2", "seed-3"]
    assert states(project) == dict.fromkeys(("seed-1", "seed-2", "seed-3"), "Success")
    assert [model(project, f"seed-{seed}") for seed in (1, 2, 3)] == [b"data\n\x01", b"data\n\x02", b"data\n\x03"]
    (seed,) = killed
    dvc(alone, "exp", "run", "--temp", "--name", "here", "-S", f"seed={seed}", "-S", "seconds=2")
    tree = git(alone, "rev-parse", f"{reference(alone, 'here')}^{{tree}}")
    assert git(project, "rev-parse", f"{reference(project, f'seed-{seed}')}^{{tree}}") == tree
