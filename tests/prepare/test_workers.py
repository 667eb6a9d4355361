"""Training on several devices and machines gives the same as on one, and stops cleanly when a worker is lost."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.networks import saving
from tests.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The difference after twenty steps between one process and two. Sums are in another order, and Adam can turn a gradient
# near zero into a step of its full rate, 2e-4.
TOLERANCE = 2e-4


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def worker(project: Project, addresses: list[str], index: int, log: Path) -> subprocess.Popen:
    """Start one of several workers on loopback, each a process with its TF_CONFIG."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    environment = {**project.environment(), "TF_CONFIG": json.dumps(config), "TRAIN_CHECKPOINT_SECONDS": "0"}
    with log.open("w") as file:
        return subprocess.Popen(project.command("train"), cwd=project.folder, env=environment, stderr=file)


def slurm_task(project: Project, index: int, log: Path) -> subprocess.Popen:
    """Start one of the two tasks of a Slurm step on this machine, with the variables that srun sets."""
    step = {"NUM_TASKS": "2", "NODELIST": "localhost", "TASKS_PER_NODE": "2"}
    environment = {**project.environment(), "SLURM_PROCID": str(index)}
    environment |= {f"SLURM_STEP_{name}": value for name, value in step.items()}
    with log.open("w") as file:
        return subprocess.Popen(project.command("train"), cwd=project.folder, env=environment, stderr=file)


def two_workers(project: Project) -> list[subprocess.Popen]:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    return [worker(project, addresses, i, project.folder / f"worker-{i}.log") for i in range(2)]


def weights(project: Project) -> dict[str, list[np.ndarray]]:
    return {
        name: saving.load(project.folder / f"models/{name}.keras").get_weights()
        for name in ("generator", "discriminator")
    }


def test_two_workers_train_the_same_as_one_process(tiny_copy: Project) -> None:
    path = tiny_copy.folder / "params.yaml"
    augment = "augment: {transforms: [colour, translation, cutout], rise: 320}"
    path.write_text(path.read_text().replace("images: 640,", f"images: 320, {augment},"))  # twenty steps
    assert tiny_copy.run_process("train").returncode == 0
    alone, log = weights(tiny_copy), (tiny_copy.folder / "reports/train/plots/metrics/loss/generator.tsv").read_text()
    processes = two_workers(tiny_copy)
    assert [process.wait(300) for process in processes] == [0, 0], (tiny_copy.folder / "worker-0.log").read_text()
    together = weights(tiny_copy)
    for name, arrays in alone.items():
        for a, b in zip(arrays, together[name], strict=True):
            assert np.allclose(a, b, atol=TOLERANCE), name
    ours = pd.read_csv(tiny_copy.folder / "reports/train/plots/metrics/loss/generator.tsv", sep="\t")
    assert len(ours) == len(log.splitlines()) - 1, "one log, not two"
    assert json.loads((tiny_copy.folder / "models/model.json").read_text())["environment"]["workers"] == 2


MIRRORED = """
import sys, numpy as np, tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.train.augment.settings import AugmentSettings
from stages.train.losses.settings import LossSettings
from stages.train.settings import OptimizerSettings, Settings
from stages.train.trainer import Trainer
optimizer = OptimizerSettings(discriminator_steps=2, updates=sys.argv[1], beta_2=(0.9, 0.99), burn_in=160)
settings = Settings(
    batch_size=8,
    images=320,
    generator=GeneratorSettings(channels=4),
    discriminator=DiscriminatorSettings(channels=4, norm=sys.argv[2], minibatch_std=sys.argv[5] == "std"),
    loss=LossSettings(sys.argv[3], r1=float(sys.argv[4]), penalty_every=3),
    optimizer=optimizer,
    augment=AugmentSettings(tuple(sys.argv[6:]), probability=0.5),
)
images = np.random.default_rng(0).uniform(-1, 1, (80, 16, 16, 1)).astype(np.float32)
data = tf.data.Dataset.from_tensor_slices((images, np.zeros(80, np.int64))).batch(8).repeat()
strategies = None, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one, two = (Trainer(settings, 16, 1, strategy) for strategy in strategies)
batches = {trainer: iter(data) for trainer in (one, two)}
for step in range(20):
    two.restore(one.state())
    for trainer in (one, two):
        trainer.run(batches[trainer], step, 1)
    a, b = one.state(), two.state()
    print(max(float(np.abs(a[name] - b[name]).max() / max(1, np.abs(a[name]).max())) for name in a))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("alternating", "batch", "non_saturating", "0", "none"),
        ("simultaneous", "batch", "relativistic", "0", "none"),
        ("alternating", "layer", "relativistic", "1", "std", "colour", "translation", "cutout"),
        ("simultaneous", "spectral", "wasserstein_gp", "1", "none"),
    ],
)
def test_two_devices_of_one_machine_train_the_same_as_one(tiny: Project, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", MIRRORED, *arguments]
    done = subprocess.run(command, env=tiny.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    differences = [float(line) for line in done.stdout.splitlines()]
    assert len(differences) == 20
    # A value that rounding moves across the kink of a ReLU makes one step differ by more. No fault would make so few.
    assert sorted(differences)[17] < 2e-6, differences


def test_two_tasks_of_a_slurm_step_are_two_workers(tiny_copy: Project) -> None:
    processes = [slurm_task(tiny_copy, i, tiny_copy.folder / f"task-{i}.log") for i in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0], (tiny_copy.folder / "task-0.log").read_text()
    assert json.loads((tiny_copy.folder / "models/model.json").read_text())["environment"]["workers"] == 2


def test_on_ray_each_worker_gets_its_tf_config(tiny_copy: Project) -> None:
    command = [sys.executable, "-m", "stages.train.on_ray", "2"]
    environment = {**tiny_copy.environment(), "RAY_ADDRESS": ""}
    done = subprocess.run(
        command, cwd=tiny_copy.folder, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tiny_copy.folder / "models/model.json").read_text())["environment"]["workers"] == 2


@pytest.mark.parametrize("lost", [0, 1])
def test_when_a_worker_is_lost_the_other_stops_and_one_process_can_resume(tiny_copy: Project, lost: int) -> None:
    path = tiny_copy.folder / "params.yaml"
    path.write_text(path.read_text().replace("images: 640,", "images: 6400,"))
    processes = two_workers(tiny_copy)
    try:
        while len(list((tiny_copy.folder / ".state/train").glob("*/*.npz"))) < 2:
            assert [process.poll() for process in processes] == [None, None]
            time.sleep(0.05)
        processes[lost].kill()
        killed = time.monotonic()
        assert processes[1 - lost].wait(120) == 1
        assert time.monotonic() - killed < 60, "within a minute"
    finally:
        for process in processes:
            process.kill()
    complaint = (tiny_copy.folder / f"worker-{1 - lost}.log").read_text()
    assert "error: train: a worker was lost (" in complaint
    assert "to resume from the last checkpoint" in complaint
    assert "Traceback" not in complaint
    result = tiny_copy.run_process("train")
    assert result.returncode == 0, result.stderr
    assert "resuming from the checkpoint after" in result.stderr
    curve = pd.read_csv(tiny_copy.folder / "reports/train/plots/metrics/loss/generator.tsv", sep="\t")
    assert list(curve["step"]) == list(range(16, 6401, 16)), "no step is missing or repeated"


def test_a_batch_size_that_the_devices_cannot_share_is_named(tiny_copy: Project) -> None:
    path = tiny_copy.folder / "params.yaml"
    path.write_text(path.read_text().replace("images: 640, batch_size: 16", "images: 640, batch_size: 15"))
    processes = two_workers(tiny_copy)
    assert [process.wait(300) for process in processes] == [1, 1]
    complaint = (tiny_copy.folder / "worker-0.log").read_text()
    assert "error: train.batch_size: expected a multiple of 2 for 2 devices, got 15" in complaint
    assert "Traceback" not in complaint
