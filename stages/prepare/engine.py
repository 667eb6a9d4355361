"""The engines that build shards: processes on this machine, or Ray tasks on one or many machines.

Environment variables choose the engine. They are not params, because they cannot change the result:

    PREPARE_ENGINE   local (default) or ray
    PREPARE_WORKERS  the number of workers on this machine (default: one per processor)
    RAY_ADDRESS      the cluster to join (Ray's own variable); without it, Ray starts on this machine
    PREPARE_STORE    the store of finished shards: a folder or an address (s3://bucket/folder) that every worker can
                     reach (default: the project's .state folder)
"""

import contextlib
import functools
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
from typing import TYPE_CHECKING

from stages import ray_cluster
from stages.errors import StageError
from stages.locks import hold_signals
from stages.machine import cores

if TYPE_CHECKING:  # these import OpenCV, and the workers should start to import it before this process does
    from stages.prepare.plan import Part
    from stages.prepare.results import ShardResult
    from stages.prepare.settings import Settings
    from stages.prepare.store import Store


def workers() -> int:
    """The number of workers on this machine. Raises StageError if PREPARE_WORKERS is not a positive integer."""
    text = os.environ.get("PREPARE_WORKERS", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise StageError(f"PREPARE_WORKERS: expected a positive integer, got {text!r}")
    return int(text) if text else cores()


def _end_with_parent() -> None:
    """End a worker when the stage ends, even by a kill. Only the stage handles Ctrl-C and the end of a terminal."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    gc.set_threshold(100_000)  # decoding makes many small objects but few cycles; collecting costs 8 %
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None  # noqa: S101 - a worker has one
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


Build = Callable[["Iterable[Part]", "Settings", "Store"], "Iterator[tuple[int, ShardResult]]"]


@contextlib.contextmanager
def _local() -> Iterator[Build]:
    """Processes on this machine. They import their modules while the stage imports its own and reads the index."""
    count = workers()
    # For the workers: once NumPy is loaded, the threads of OpenBLAS spin for a while, and nothing here uses them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    forkserver.set_forkserver_preload(["stages.prepare.shards"])
    forkserver.ensure_running()  # does not wait for it; the first task does
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("forkserver"), initializer=_end_with_parent)
    try:
        yield functools.partial(_build_in_pool, pool, count)
    except BaseException:
        # End the workers at once, even in the middle of a shard. The finished shards are in the store.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        # Release the semaphores and sockets now: a stage exits without Python's own cleanup.
        multiprocessing.util._run_finalizers()  # type: ignore[attr-defined]


def _build_in_pool(
    pool: ProcessPoolExecutor, count: int, parts: "Iterable[Part]", settings: "Settings", store: "Store"
) -> "Iterator[tuple[int, ShardResult]]":
    """Build all parts with the `count` processes of a pool."""
    from stages.prepare.shards import build_shard

    def submit(part: "Part") -> "futures.Future[ShardResult]":
        with hold_signals():  # this may start a worker, and until it returns the pool cannot end that worker
            return pool.submit(build_shard, part, settings, store)

    try:
        # Only a few parts ahead: all of them would take a gigabyte for three million pictures.
        tasks = ((submit(part), number) for number, part in enumerate(parts))
        waiting = dict(itertools.islice(tasks, 3 * count))
        while waiting:
            done, _ = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
                waiting.update(itertools.islice(tasks, 1))
    except BrokenProcessPool:
        raise StageError(
            "prepare: a worker was killed (out of memory?); run the same command again to continue from the finished "
            "shards. PREPARE_WORKERS=1 needs the least memory"
        ) from None


@contextlib.contextmanager
def _ray() -> Iterator[Build]:
    """Ray's tasks. If a node dies, its shards are built again on another one, with the same bytes."""
    package = {"py_modules": [str(Path(__file__).resolve().parents[1])]}
    with ray_cluster.connected("PREPARE_ENGINE=ray", workers(), runtime_env=package, log_to_driver=False) as ray:

        def build(parts: "Iterable[Part]", settings: "Settings", store: "Store") -> "Iterator[tuple[int, ShardResult]]":
            from stages.prepare.shards import build_shard

            task = ray.remote(max_retries=-1)(build_shard)
            waiting = {task.remote(part, settings, store): number for number, part in enumerate(parts)}
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(done), ray.get(done)

        yield build


ENGINES = {"local": _local, "ray": _ray}


def start() -> contextlib.AbstractContextManager[Build]:
    """The engine that PREPARE_ENGINE names, as a context manager. It yields a function that builds all parts.

    That function yields the number and the result of each part as it finishes. Raises StageError if the engine is
    unknown or not installed, or if a worker was killed.
    """
    name = os.environ.get("PREPARE_ENGINE", "local")
    if name not in ENGINES:
        raise StageError(f"PREPARE_ENGINE: expected one of {', '.join(ENGINES)}, got {name!r}")
    return ENGINES[name]()
