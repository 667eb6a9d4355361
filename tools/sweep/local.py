"""The queue on this machine: DVC's own workers, each on its own share of the processor's cores.

The workers go on after Ctrl-C, and the next sweep follows them again.
"""

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
from stages.shell import say
from tools.terminal import one_line

SHARED_CARD = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
"""For TensorFlow, which else takes all memory of a graphics card for one experiment."""
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
def on_cores(cores: Sequence[int]) -> Iterator[None]:
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


def workers(queue: Any) -> list[int]:
    """The numbers of the workers that run."""
    numbers = [int(path.stem.rpartition("-")[2]) for path in Path(queue.wdir).glob("dvc-exp-worker-*.json")]
    return [number for number in numbers if is_running(queue, number)]


def start(queue: Any, jobs: int) -> None:
    """Start the workers that do not run, with equal shares of the cores (on macOS, which cannot bind: with all).

    Call it again while experiments wait: a worker of DVC 3.67 ends if it reads a message that another process is still
    writing (JSONDecodeError in .dvc/tmp/exps/celery/*.out).
    """
    for number, cores in enumerate(shares(all_cores(), jobs), start=1):
        if not is_running(queue, number):
            with on_cores(cores):
                queue._spawn_worker(number)  # DVC's start_workers starts all of them on the same cores


def all_cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count_cores()))


def follow(queue: Any, tasks: dict[str, str], jobs: int) -> int:
    """Wait for the experiments (names by revision), print how each ended, and return how many failed.

    Starts workers that have ended again. Raises StageError for experiments that were lost with their worker.
    """
    failed, waiting, started = 0, dict(tasks), 0.0
    while waiting:
        states = {task["rev"]: task["status"] for task in queue.status()}
        for revision in [revision for revision in waiting if states.get(revision) in _ENDED]:
            name, why = waiting.pop(revision), ""
            if states[revision] == "Failed":
                failed += 1
                why = reason(_log(queue, revision))
            say_end(name, len(tasks) - len(waiting), len(tasks), why)
        if waiting and time.monotonic() - started > _RESTART_SECONDS:
            if started and not any(is_running(queue, number) for number in range(1, jobs + 1)):
                _require_queued(waiting, states)
            if any(states.get(revision) == "Queued" for revision in waiting):
                start(queue, jobs)
            started = time.monotonic()
        time.sleep(_SECONDS if waiting else 0)
    return failed


def say_end(name: str, number: int, total: int, why: str) -> None:
    """Print how an experiment ended; `why` it failed is empty if it did not."""
    text = f"failed: {one_line(why)}   (dvc queue logs {name})" if why else "done"
    say(f"{name} ({number} of {total}): {text}")


def conclude(failed: int, total: int) -> None:
    """Print where the results are. Raises StageError if experiments have failed."""
    if failed:
        raise StageError(f"{failed} of {total} experiments failed; `dvc queue remove --failed` forgets them")
    say("The results: dvc exp show")


def empty_queue() -> StageError:
    """The error for a queue without experiments."""
    return StageError("the queue is empty; fill it first: dvc exp run --queue -S 'train.seed=range(0,3)'")


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
    queue = repo.experiments.celery_queue
    status = queue.status()
    tasks = {task["rev"]: task["name"] or task["rev"][:7] for task in status if task["status"] not in _ENDED}
    if not tasks:
        raise empty_queue()
    os.environ |= SHARED_CARD
    try:
        failed = follow(queue, tasks, jobs)
    except KeyboardInterrupt:
        say("\nThe workers go on. Follow them again with make sweep; `dvc queue stop --kill` stops them.")
        raise SystemExit(130) from None
    conclude(failed, len(tasks))
