"""Run the queued experiments side by side: make sweep [JOBS=2]

    dvc exp run --queue -S 'train.seed=range(0,3)'     # queue them first
    python -m tools.sweep --jobs 2

Starts DVC's workers, each on its own share of the processor's cores, so that they do not slow each other down: with two
workers on four cores, each experiment trains with two threads. Prints a line for each experiment as it ends; one that
failed is named with its reason, and the others go on. Exits with 1 if any has failed. After Ctrl-C the workers go on;
the same command then follows them again.
"""

import argparse
import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from dvc.repo import Repo

from stages.errors import StageError
from stages.machine import cores as count_cores
from stages.shell import run_command, say
from tools.terminal import one_line

_SECONDS = 1.0  # between two looks at the queue
_RESTART_SECONDS = 30.0  # between two looks at the workers; a new one needs a few seconds
_ENDED = ("Success", "Failed")
_ERROR = re.compile(r"^(?:error|ERROR): (.*)$", re.MULTILINE)


def shares(cores: Sequence[int], jobs: int) -> list[list[int]]:
    """The cores of each worker: as many as possible, the same number for each. Workers without one share them all.

    The same number, because training gives the same bytes only with the same number of cores.
    """
    each = len(cores) // jobs
    return [list(cores[i * each : (i + 1) * each]) or list(cores) for i in range(jobs)]


def reason(log: str) -> str:
    """Why an experiment failed: the first error in its log, which is the stage's own, or else the last line."""
    match = _ERROR.search(log)
    lines = log.split("\n") if log.strip() else ["no output"]
    return match[1] if match else next(line for line in reversed(lines) if line.strip())


@contextlib.contextmanager
def _on(cores: Sequence[int]) -> Iterator[None]:
    """Run the block, and the processes that it starts, on these cores only."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def is_running(queue: Any, number: int) -> bool:
    """Whether a worker of this number is alive. Asking the workers themselves can end one (see `start`)."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        process = json.loads((Path(queue.wdir) / f"dvc-exp-worker-{number}.json").read_text(encoding="utf-8"))
        return process["returncode"] is None and psutil.pid_exists(process["pid"])
    return False


def start(queue: Any, jobs: int) -> None:
    """Start the workers that do not run, with equal shares of the cores (on macOS, which cannot bind: with all).

    Call it again while experiments wait: a worker of DVC 3.67 ends if it reads a message that another process is still
    writing (JSONDecodeError in .dvc/tmp/exps/celery/*.out).
    """
    for number, cores in enumerate(shares(_cores(), jobs), start=1):
        if not is_running(queue, number):
            with _on(cores):
                queue._spawn_worker(number)  # DVC's start_workers starts all of them on the same cores


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count_cores()))


def follow(queue: Any, tasks: dict[str, str], jobs: int) -> int:
    """Wait for the experiments (names by revision), print how each ended, and return how many failed.

    Starts workers that have ended again. Raises StageError for experiments that were lost with their worker.
    """
    failed, waiting, started = 0, dict(tasks), 0.0
    while waiting:
        states = {task["rev"]: task["status"] for task in queue.status()}
        for revision in [revision for revision in waiting if states.get(revision) in _ENDED]:
            name, text = waiting.pop(revision), "done"
            if states[revision] == "Failed":
                failed += 1
                text = f"failed: {one_line(reason(_log(queue, revision)))}   (dvc queue logs {name})"
            say(f"{name} ({len(tasks) - len(waiting)} of {len(tasks)}): {text}")
        if waiting and time.monotonic() - started > _RESTART_SECONDS:
            if started and not any(is_running(queue, number) for number in range(1, jobs + 1)):
                _require_queued(waiting, states)
            if any(states.get(revision) == "Queued" for revision in waiting):
                start(queue, jobs)
            started = time.monotonic()
        time.sleep(_SECONDS if waiting else 0)
    return failed


def _require_queued(waiting: dict[str, str], states: dict[str, str]) -> None:
    """Raise StageError for experiments that are not in the queue, though no worker runs."""
    if lost := [name for revision, name in waiting.items() if states.get(revision) != "Queued"]:
        raise StageError(f"{', '.join(lost)}: lost, because the worker ended (was it killed?); queue it again")


def _log(queue: Any, revision: str) -> str:
    """The output of an experiment; "" if DVC has none."""
    try:
        return Path(queue.proc[revision].stdout).read_text(encoding="utf-8", errors="replace")
    except (KeyError, OSError):
        return ""


def sweep(repo: Repo, jobs: int) -> None:
    """Run what is queued. Raises StageError for an empty queue, and at the end if an experiment has failed."""
    if jobs < 1:
        raise StageError(f"JOBS: expected a number of workers of at least 1, got {jobs}")
    queue = repo.experiments.celery_queue
    status = queue.status()
    tasks = {task["rev"]: task["name"] or task["rev"][:7] for task in status if task["status"] not in _ENDED}
    if not tasks:
        raise StageError("the queue is empty; fill it first: dvc exp run --queue -S 'train.seed=range(0,3)'")
    try:
        failed = follow(queue, tasks, jobs)
    except KeyboardInterrupt:
        say("\nThe workers go on. Follow them again with make sweep; `dvc queue stop --kill` stops them.")
        raise SystemExit(130) from None
    if failed:
        raise StageError(f"{failed} of {len(tasks)} experiments failed; `dvc queue remove --failed` forgets them")
    say("The results: dvc exp show")


def main() -> None:
    """Run what is queued in the project of the current folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="experiments side by side (2)")
    arguments = parser.parse_args()
    with Repo() as repo:
        sweep(repo, arguments.jobs)


if __name__ == "__main__":
    run_command(main)
