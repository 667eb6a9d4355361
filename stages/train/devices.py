"""Which devices train: one, all GPUs of this machine, or several machines.

What cannot change a result beyond rounding is no param. The environment says it:

    TF_CONFIG        the workers' addresses and which of them this is (TensorFlow's own; Ray and Kubernetes set it)
    SLURM_*          with more than one task in a Slurm step (srun), each task is a worker
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
    """What trains. `strategy` is None for one device; only the chief writes."""

    strategy: tf.distribute.Strategy | None
    chief: bool
    workers: int

    @property
    def replicas(self) -> int:
        """How many devices a batch is dealt out to."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1


def _config() -> tuple[int, bool]:
    """How many workers TF_CONFIG names, the chief among them, and whether this is the chief. 0 where it names none.

    The chief is the one of the job that is called so, where there is one, and else the first worker.
    """
    text = os.environ.get("TF_CONFIG", "") or "{}"
    try:
        config = json.loads(text)
        cluster = config.get("cluster", {})
        if not cluster:
            return 0, True
        jobs = {name: cluster.get(name, []) for name in ("chief", "worker")}
        if not all(isinstance(addresses, list) for addresses in jobs.values()):
            raise ValueError("the addresses of a job are no list")
        job, index = config["task"].get("type", "worker"), int(config["task"]["index"])
        if job not in jobs or not 0 <= index < len(jobs[job]):
            raise ValueError(f"task: the cluster has no {job} {index} that could train")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StageError(f"TF_CONFIG: expected TensorFlow's description of a cluster, got {text!r}: {error}") from None
    return sum(map(len, jobs.values())), index == 0 and (job == "chief" or not jobs["chief"])


def find() -> Devices:
    """What the environment offers. To be called before TensorFlow does anything else.

    Raises StageError where TF_CONFIG makes no sense.
    """
    workers, chief = _config()
    if workers > 1:
        return Devices(tf.distribute.MultiWorkerMirroredStrategy(), chief, workers)
    tasks = shell.slurm_tasks()
    if tasks > 1 and not workers:
        # Which GPUs a task sees is Slurm's to say (--gpus-per-task); the resolver's own division, which asks nvidia-smi
        # and fails where there is none, is made to do nothing.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        return Devices(strategy, resolver.task_id == 0, tasks)
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return Devices(tf.distribute.MirroredStrategy(), True, 1)
    return Devices(None, True, 1)


# What the survivors of a lost worker get to see.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError)


@contextmanager
def failures(batch_size: int, devices: Devices) -> Iterator[None]:
    """Turn errors of TensorFlow's own into a StageError: out of memory, a worker lost, records of another shape."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        fits = max(1, batch_size // 2 // devices.replicas) * devices.replicas
        raise StageError(
            f"train: a device is out of memory ({_first_line(error)}); try train.batch_size: {fits}, or fewer channels"
        ) from None
    except tf.errors.InvalidArgumentError as error:
        raise StageError(
            f"data/prepared: its records are not what its manifest says ({_first_line(error)}); run `dvc repro`"
        ) from None
    except _LOST as error:
        if devices.workers == 1:
            raise
        raise StageError(
            f"train: a worker was lost ({_first_line(error)}); start all of them again, as many as there are: the "
            "training goes on from its last checkpoint"
        ) from None


def _first_line(error: tf.errors.OpError) -> str:
    """The first line of an error that says something: before it stands where in the graph it was."""
    noise = ("Graph execution error", "Detected at", "  ", "Stack trace", "\t")
    lines = [line for line in str(error.message).splitlines() if line and not line.startswith(noise)]
    return lines[0][:300] if lines else type(error).__name__
