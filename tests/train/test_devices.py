"""Which devices train, and how TensorFlow's errors are reported."""

import json

import pytest
import tensorflow as tf

from stages.errors import StageError
from stages.train import devices
from stages.train.devices import Devices

ALONE = Devices(None, True, 1)


def message_for(error: Exception, batch_size: int, hardware: Devices) -> str:
    with pytest.raises(StageError) as caught, devices.failures(batch_size, hardware):
        raise error
    return str(caught.value)


def test_out_of_memory_suggests_a_batch_that_might_fit() -> None:
    error = tf.errors.ResourceExhaustedError(
        None, None, "Graph execution error:\n\nOOM when allocating tensor of 9 GB\nmore"
    )
    message = message_for(error, 128, ALONE)
    assert message == (
        "train: a device is out of memory (OOM when allocating tensor of 9 GB); try train.batch_size: 64, "
        "or fewer channels"
    )
    mirrored = Devices(tf.distribute.MirroredStrategy(["CPU:0"]), True, 1)
    assert "try train.batch_size: 3," in message_for(error, 7, mirrored)


def test_records_of_another_shape_are_reported() -> None:
    error = tf.errors.InvalidArgumentError(None, None, "input must be of 3072 values")
    message = message_for(error, 8, ALONE)
    assert message.startswith("data/prepared: the records do not match the manifest (input must be of 3072 values)")


def test_a_lost_worker_is_reported_if_there_are_several() -> None:
    error = tf.errors.UnavailableError(None, None, "Graph execution error:\n  at node x\nConnection reset by peer")
    message = message_for(error, 8, Devices(None, True, 2))
    assert message.startswith("train: a worker was lost (Connection reset by peer); start all workers again")
    with pytest.raises(tf.errors.UnavailableError), devices.failures(8, ALONE):
        raise error


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"index": 5}}',
        '{"cluster": {"worker": "a:1"}, "task": {"index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_malformed_tf_config_is_reported(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(StageError, match="TF_CONFIG: expected TensorFlow's description of a cluster"):
        devices.find()


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 0}, (2, True)),
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": "0"}, (2, True)),
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 1}, (2, False)),
        ({"chief": ["c:1"], "worker": ["a:1"]}, {"type": "chief", "index": 0}, (2, True)),
        ({"chief": ["c:1"], "worker": ["a:1"]}, {"type": "worker", "index": 0}, (2, False)),
        ({"chief": ["c:1"], "worker": ["a:1", "b:1"]}, {"type": "worker", "index": 1}, (3, False)),
    ],
)
def test_every_worker_of_a_cluster_trains_and_one_is_the_chief(
    monkeypatch: pytest.MonkeyPatch, cluster: dict, task: dict, expected: tuple[int, bool]
) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", object)
    hardware = devices.find()
    assert hardware.strategy is not None
    assert (hardware.workers, hardware.chief) == expected


def test_without_a_cluster_one_device_trains_as_the_chief(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    alone = devices.find()
    assert (alone.strategy, alone.chief, alone.workers, alone.replicas) == (None, True, 1, 1)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 0}}')
    assert devices.find() == alone
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert devices.find() == alone
