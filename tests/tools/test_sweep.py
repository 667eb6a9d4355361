"""tools/sweep/local.py: workers get equal shares of the cores, and a failed experiment is named with its reason."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.errors import StageError
from tools.sweep import local as sweep
from tools.sweep.__main__ import main


@pytest.mark.parametrize(
    ("cores", "jobs", "expected"),
    [
        ([0, 1], 2, [[0], [1]]),
        ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3]]),
        ([3, 7], 1, [[3, 7]]),
        ([0, 1], 3, [[0, 1]] * 3),
    ],
)
def test_the_cores_are_divided_into_equal_shares(cores: list[int], jobs: int, expected: list[list[int]]) -> None:
    assert sweep.shares(cores, jobs) == expected


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            "Running\nerror: params.yaml: train.images: no\nERROR: failed to reproduce 'train'\n",
            "params.yaml: train.images: no",
        ),
        ("ERROR: failed to run: exited with -9\n", "failed to run: exited with -9"),
        ("one\nKilled\n\n", "Killed"),
        ("", "no output"),
    ],
)
def test_the_reason_is_the_stages_own_error(log: str, expected: str) -> None:
    assert sweep.reason(log) == expected


class Queue:
    """DVC's queue in a folder. `looks` are the states of its experiments, one mapping for each look at it."""

    def __init__(self, folder: Path, *looks: dict[str, str]) -> None:
        self.wdir, self.looks = str(folder), list(looks)
        self.spawned: list[tuple[int, list[int]]] = []
        (folder / "log").write_text("error: the key is wrong\n")
        self.proc = {"b": SimpleNamespace(stdout=str(folder / "log"))}

    def status(self) -> list[dict[str, Any]]:
        """The next look, and the last one for ever."""
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return [{"rev": rev, "name": rev, "status": status} for rev, status in look.items()]

    def _spawn_worker(self, number: int) -> None:
        self.spawned.append((number, sorted(os.sched_getaffinity(0))))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the queue and the workers without pauses."""
    monkeypatch.setattr(sweep, "_SECONDS", 0)
    monkeypatch.setattr(sweep, "_RESTART_SECONDS", -1)


def test_a_failed_experiment_is_named_with_its_reason_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Queue(tmp_path, {"a": "Success", "b": "Queued", "other": "Failed"}, {"b": "Failed"})
    assert sweep.follow(queue, {"a": "first", "b": "second"}, 1) == 1
    assert capsys.readouterr().err.splitlines() == [
        "first (1 of 2): done",
        "second (2 of 2): failed: the key is wrong   (dvc queue logs second)",
    ]


def test_a_worker_that_has_ended_is_started_again_and_a_running_one_is_not(tmp_path: Path) -> None:
    queue = Queue(tmp_path, {"a": "Queued"}, {"a": "Queued"}, {"a": "Success"})
    for number, code in ((1, 0), (2, None)):
        (tmp_path / f"dvc-exp-worker-{number}.json").write_text(json.dumps({"pid": os.getpid(), "returncode": code}))
    sweep.follow(queue, {"a": "first"}, 2)
    assert [number for number, _ in queue.spawned] == [1, 1]


def test_each_worker_starts_on_its_own_cores_and_this_process_keeps_all(tmp_path: Path) -> None:
    before = sorted(os.sched_getaffinity(0))
    queue = Queue(tmp_path, {})
    sweep.start(queue, 2)
    assert queue.spawned == list(enumerate(sweep.shares(before, 2), start=1))
    assert sorted(os.sched_getaffinity(0)) == before


def test_an_experiment_that_was_lost_with_its_worker_is_named(tmp_path: Path) -> None:
    queue = Queue(tmp_path, {"a": "Queued", "b": "Running"}, {"b": "Running"})
    with pytest.raises(StageError, match="second: lost, because the worker ended"):
        sweep.follow(queue, {"b": "second"}, 1)


def test_an_empty_queue_is_named() -> None:
    empty: Any = SimpleNamespace(experiments=SimpleNamespace(celery_queue=SimpleNamespace(status=list)))
    with pytest.raises(StageError, match="the queue is empty; fill it first"):
        sweep.sweep(empty, 2)


def test_a_bad_number_of_experiments_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sweep", "--jobs", "0"])
    with pytest.raises(StageError, match="JOBS: expected"):
        main()
