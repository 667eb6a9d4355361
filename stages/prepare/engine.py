"""Who makes the shards: the processes of this machine, or Ray's tasks on this one or many.

What cannot change a result is no param. The environment says it:

    PREPARE_ENGINE   local (default) or ray
    PREPARE_WORKERS  how many at once on this machine (default: one for each processor)
    RAY_ADDRESS      the cluster to join (Ray's own variable); without it Ray starts on this machine
    PREPARE_STORE    where finished shards wait: a folder or an address (s3://bucket/folder) that every worker reaches;
                     the default is the state folder of the project
"""

import contextlib
import gc
import itertools
import multiprocessing
import multiprocessing.util
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import StageError
from stages.locks import hold_signals
from stages.machine import cores

if TYPE_CHECKING:  # they import OpenCV, which the workers are to start doing before this process does
    from stages.prepare.settings import Settings
    from stages.prepare.shards import Part, ShardResult
    from stages.prepare.store import Store


def workers() -> int:
    """How many workers this machine is to have. Raises StageError where PREPARE_WORKERS is no number from 1 up."""
    text = os.environ.get("PREPARE_WORKERS", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise StageError(f"PREPARE_WORKERS: expected a number from 1 up, got {text!r}")
    return int(text) if text else cores()


def _end_with_parent() -> None:
    """Let a worker end when the stage does, however that ends; Ctrl-C in a terminal is the stage's to answer."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(100_000)  # pictures make many small objects and hardly a cycle: looking for them costs 8 % here
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None  # noqa: S101 - a worker has one
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


Build = Callable[["Iterable[Part]", "Settings", "Store"], "Iterator[tuple[int, ShardResult]]"]


@contextlib.contextmanager
def _local() -> Iterator[Build]:
    """The processes of this machine; what they need is loaded at once, while the stage loads its own and its index."""
    count = workers()
    # For the workers: OpenBLAS, which nothing here uses, has threads that spin for a while once NumPy is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    forkserver.set_forkserver_preload(["stages.prepare.shards"])
    forkserver.ensure_running()  # this does not wait for it; the first thing that is submitted does
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("forkserver"), initializer=_end_with_parent)

    def submit(*work: Any) -> "futures.Future[ShardResult]":
        with hold_signals():  # it may start a worker, which the pool could not end before it knows of it
            return pool.submit(*work)

    def build(parts: "Iterable[Part]", settings: "Settings", store: "Store") -> "Iterator[tuple[int, ShardResult]]":
        from stages.prepare.shards import build_shard

        try:
            # A few ahead, and no more: all of them at once would be a gigabyte for three million pictures.
            coming = ((submit(build_shard, part, settings, store), i) for i, part in enumerate(parts))
            waiting = dict(itertools.islice(coming, 3 * count))
            while waiting:
                done, _ = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
                    waiting.update(itertools.islice(coming, 1))
        except BrokenProcessPool:
            raise StageError(
                "prepare: a worker was killed (out of memory?); run the same command again: it goes on from the "
                "finished shards. PREPARE_WORKERS=1 needs the least memory"
            ) from None

    try:
        yield build
    except BaseException:
        # At once, in the middle of a shard: the finished ones wait in the store.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        # What it had of the system's semaphores and sockets is given back: a stage leaves without Python's own end.
        multiprocessing.util._run_finalizers()  # type: ignore[attr-defined]


@contextlib.contextmanager
def _ray() -> Iterator[Build]:
    """Ray's tasks. A node may go at any time: its shards are made anew elsewhere, with the same bytes."""
    try:
        import ray
    except ImportError:
        raise StageError("PREPARE_ENGINE=ray needs Ray: .venv/bin/pip install -e '.[ray]'") from None
    here: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):  # a Ray of our own listens to this machine alone
        here = {"num_cpus": workers(), "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    package = Path(__file__).resolve().parents[1]
    ray.init(runtime_env={"py_modules": [str(package)]}, log_to_driver=False, logging_level="warning", **here)

    def build(parts: "Iterable[Part]", settings: "Settings", store: "Store") -> "Iterator[tuple[int, ShardResult]]":
        from stages.prepare.shards import build_shard

        task: Any = ray.remote(max_retries=-1)(build_shard)
        waiting = {task.remote(part, settings, store): i for i, part in enumerate(parts)}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(done), ray.get(done)

    try:
        yield build
    finally:
        ray.shutdown()


ENGINES = {"local": _local, "ray": _ray}


def start() -> contextlib.AbstractContextManager[Build]:
    """The engine that the environment asks for: within it, a function that makes all parts.

    That function gives each part's number and result, in the order in which they are done. Raises StageError for an
    engine that is not known or not installed, and where a worker was killed.
    """
    name = os.environ.get("PREPARE_ENGINE", "local")
    if name not in ENGINES:
        raise StageError(f"PREPARE_ENGINE: expected one of {', '.join(ENGINES)}, got {name!r}")
    return ENGINES[name]()
