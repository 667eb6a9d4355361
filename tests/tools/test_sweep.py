"""tools/sweep.py: workers get equal shares of the cores, and a failed experiment is named with its reason."""

from types import SimpleNamespace
from typing import Any

import pytest

from stages.errors import StageError
from tools import sweep


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
    """DVC's queue: two experiments, one of which fails at the second look."""

    def __init__(self, log: str) -> None:
        self.looks, self.proc = 0, {"b": SimpleNamespace(stdout=log)}

    def status(self) -> list[dict[str, Any]]:
        """What is known at each look."""
        self.looks += 1
        states = {"a": "Success", "b": "Running" if self.looks < 2 else "Failed", "other": "Failed"}
        return [{"rev": rev, "name": rev, "status": status} for rev, status in states.items()]


def test_a_failed_experiment_is_named_with_its_reason_and_the_others_are_done(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_SECONDS", 0)
    (tmp_path / "log").write_text("error: the key is wrong\n")
    assert sweep.follow(Queue(str(tmp_path / "log")), {"a": "first", "b": "second"}) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "first (1 of 2): done",
        "second (2 of 2): failed: the key is wrong   (dvc queue logs second)",
    ]


def test_an_empty_queue_and_a_bad_number_of_workers_are_named() -> None:
    empty: Any = SimpleNamespace(experiments=SimpleNamespace(celery_queue=SimpleNamespace(status=list)))
    with pytest.raises(StageError, match="the queue is empty; fill it first"):
        sweep.sweep(empty, 2)
    with pytest.raises(StageError, match="JOBS: expected"):
        sweep.sweep(empty, 0)
