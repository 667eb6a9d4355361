"""The devices that train: one device, all GPUs of this machine, or several machines.

They affect only the rounding of a result, so they are not params. The environment decides:

    TF_CONFIG        TensorFlow's list of the workers, and this worker's index (Ray and Kubernetes set it)
    SLURM_*          if a Slurm step (srun) has more than one task, each task is a worker
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import tensorflow as tf

from stages import shell
from stages.errors import StageError


@dataclass(frozen=True)
class Devices:
    """The devices that train. `strategy` is None for a single device. Only the chief writes files."""

    strategy: tf.distribute.Strategy | None
    chief: bool
    workers: int

    @property
    def replicas(self) -> int:
        """How many devices share a batch."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1


def _cluster() -> tuple[int, bool]:
    """The number of workers in TF_CONFIG, including the chief, and whether this process is the chief. 0 if not set.

    The chief is the task of the job `chief`. A cluster without that job has the first worker as its chief.
    """
    text = os.environ.get("TF_CONFIG", "") or "{}"
    try:
        config = json.loads(text)
        cluster = config.get("cluster", {})
        if not cluster:
            return 0, True
        jobs = {name: cluster.get(name, []) for name in ("chief", "worker")}
        if not all(isinstance(addresses, list) for addresses in jobs.values()):
            raise ValueError("the addresses of a job must be a list")
        job, index = config["task"].get("type", "worker"), int(config["task"]["index"])
        if job not in jobs or not 0 <= index < len(jobs[job]):
            raise ValueError(f"the cluster has no {job} {index} to train on")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StageError(f"TF_CONFIG: expected TensorFlow's description of a cluster, got {text!r}: {error}") from None
    return sum(map(len, jobs.values())), index == 0 and (job == "chief" or not jobs["chief"])


def find() -> Devices:
    """The devices that the environment offers. Call it before TensorFlow creates any op.

    Raises StageError if TF_CONFIG is malformed.
    """
    workers, chief = _cluster()
    if workers > 1:
        return Devices(tf.distribute.MultiWorkerMirroredStrategy(), chief, workers)
    tasks = shell.slurm_tasks()
    if tasks > 1 and not workers:
        # Slurm assigns the GPUs of a task (--gpus-per-task). These options turn off the resolver's own assignment,
        # which calls nvidia-smi and fails without it.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        return Devices(strategy, resolver.task_id == 0, tasks)
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return Devices(tf.distribute.MirroredStrategy(), True, 1)
    return Devices(None, True, 1)


# The errors that the other workers get when one is lost.
_LOST_WORKER = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError)


@contextmanager
def failures(batch_size: int, devices: Devices) -> Iterator[None]:
    """Turn TensorFlow's errors into a StageError: out of memory, a lost worker, or records of another shape."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        fits = max(1, batch_size // 2 // devices.replicas) * devices.replicas
        raise StageError(
            f"train: a device is out of memory ({_first_line(error)}); try train.batch_size: {fits}, or fewer channels"
        ) from None
    except tf.errors.InvalidArgumentError as error:
        raise StageError(
            f"data/prepared: the records do not match the manifest ({_first_line(error)}); run `dvc repro`"
        ) from None
    except _LOST_WORKER as error:
        if devices.workers == 1:
            raise
        raise StageError(
            f"train: a worker was lost ({_first_line(error)}); start all workers again, in any number, to resume from "
            "the last checkpoint"
        ) from None


def _first_line(error: tf.errors.OpError) -> str:
    """The first line of an error's text that explains it; the lines before it name places in the graph."""
    noise = ("Graph execution error", "Detected at", "  ", "Stack trace", "\t")
    lines = [line for line in str(error.message).splitlines() if line and not line.startswith(noise)]
    return lines[0][:300] if lines else type(error).__name__
