"""tools/sweep on a Ray cluster: experiments run in a clone on a node, come home once, and wait in the queue until then."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from stages.errors import StageError
from tests.conftest import ROOT, dvc, git
from tests.git_project import commit
from tools.sweep import local, on_ray, packages, trial

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
    dvc(folder, "init")
    dvc(folder, "config", "core.analytics", "false")
    dvc(folder, "repro")
    commit(folder)
    return folder


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for one test, which runs in it."""
    folder = Path(shutil.copytree(original, tmp_path / "project", symlinks=True))
    monkeypatch.chdir(folder)
    return folder


def queue_up(folder: Path, *seeds: int, **params: Any) -> None:
    """Queue an experiment for each seed, named seed-<number>."""
    others = [word for name, value in params.items() for word in ("-S", f"{name}={value}")]
    for seed in seeds:
        dvc(folder, "exp", "run", "--queue", "--name", f"seed-{seed}", "-S", f"seed={seed}", *others)


def states(folder: Path) -> dict[str, str]:
    """The states of the experiments in the queue, by name."""
    with Repo(str(folder)) as repo:
        return {task["name"]: task["status"] for task in repo.experiments.celery_queue.status()}


def test_an_experiment_runs_on_a_node_and_comes_home(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    queue_up(project, 1)
    with Repo(str(project)) as repo:
        queue = repo.experiments.celery_queue
        (experiment,) = on_ray.queued(queue)
        home = trial.Cache(str(project))
        ((task, _),) = on_ray._trials(repo, [experiment], 1)
        pack = on_ray.bundle(project, [experiment.entry])
        outcome = trial.run(task, lambda: pack, home)
        print(outcome.log, outcome.info)
        assert on_ray.record(queue, experiment, outcome) == ""
    assert states(project) == {"seed-1": "Success"}


@dataclasses.dataclass(frozen=True)
class Nodes:
    """A cluster of two nodes on loopback, each with its own temporary folder."""

    cluster: Any
    folders: tuple[Path, Path]
    second: Any

    def kill_the_second(self) -> None:
        """Kill the second node as a power cut would."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def marks(self, number: int, kind: str) -> set[str]:
        """The experiments that began or ended on a node."""
        return {path.name.removeprefix(f"{kind}-") for path in self.folders[number].glob(f"*/clone/.state/{kind}-*")}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Two nodes with one processor each."""
    pytest.importorskip("ray", reason="Ray comes with requirements-slow.lock")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    # Loopback, but not 127.0.0.1: Ray replaces that by the machine's address, on which its head does not listen.
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "env_vars": {"TMPDIR": str(folders[0])}})
    try:
        second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2", env_vars={"TMPDIR": str(folders[1])})
        yield Nodes(cluster, folders, second)
    finally:
        cluster.shutdown()


def start(project: Path, nodes: Nodes) -> subprocess.Popen[str]:
    """Start a sweep on the nodes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": nodes.cluster.address}
    command = [sys.executable, "-m", "tools.sweep", "--jobs", "1"]
    return subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_experiment_comes_home_once_although_a_node_is_killed(project: Path, nodes: Nodes) -> None:
    shutil.copytree(project, project.with_name("alone"), symlinks=True)
    for folder in (project, project.with_name("alone")):
        queue_up(folder, 1, 2, 3, 13, seconds=1.5)
    sweep = start(project, nodes)
    while not nodes.marks(1, "began") and sweep.poll() is None:
        time.sleep(0.02)
    killed = nodes.marks(1, "began")
    nodes.kill_the_second()
    _, output = sweep.communicate()
    print(output, killed)
    assert sweep.returncode == 1, output
