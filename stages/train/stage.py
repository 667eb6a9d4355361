"""The train stage: train the DCGAN and keep the best checkpoint."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stages import artifacts, locks, machine, manifest, records, reference, resume, shell
from stages.errors import StageError
from stages.networks import saving
from stages.networks.judge import load as load_judge
from stages.train import devices, scoring
from stages.train.checkpoints import Checkpoints
from stages.train.devices import Devices
from stages.train.journal import Journal
from stages.train.loop import train as run
from stages.train.losses import OBJECTIVES
from stages.train.settings import Settings
from stages.train.trainer import Trainer
from stages.workspace import Workspace


def _environment(devices: Devices) -> dict[str, object]:
    """What the bytes of a result depend on besides data, params and code."""

    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "") != "0",
        "accelerators": [device.name for device in tf.config.list_physical_devices("GPU")],
        "workers": devices.workers,
    }


def _publish(trainer: Trainer, journal: Journal, facts: Mapping[str, object], new: Callable[[str], Path]) -> None:
    """Write what the training came to."""

    best = journal.best
    networks = trainer.networks(best.average, best.discriminator)
    described = {}
    for name, network in zip(("generator", "discriminator"), networks, strict=True):
        path = new(f"models/{name}.keras")
        saving.save(network, path)
        described[name] = {"sha256": artifacts.sha256(path), "parameters": network.count_params()}
    scored = [row.images for row in journal.rows if row.picture]
    np.savez(new("models/timeline.npz"), images_seen=np.array(scored), pictures=np.stack(journal.pictures))
    artifacts.write_json(
        new("models/model.json"),
        {
            **described,
            "images_seen": journal.rows[-1].images,
            "best_images_seen": best.images,
            "best_score": best.score,
            "stopped": journal.stopped,
            "flags": [dataclasses.asdict(flag) for flag in journal.flags],
            **facts,
        },
    )


def train(settings: Settings, workspace: Workspace) -> Mapping[str, float] | None:
    """Turn data/prepared into the two networks. On a worker that is not the chief: take part, and write nothing."""

    found = devices.find()  # before TensorFlow does anything else

    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    available = data.splits["train"].records
    if available < settings.batch_size:
        raise StageError(f"train.batch_size: {settings.batch_size} is more than the {available} images of the data set")
    files = manifest.verified_shards(folder, data, "train")
    inputs = (
        folder / manifest.FILE,
        workspace.input("data/reference.npz"),
        workspace.input("models/features/features.json"),
    )
    versions = tf.__version__, keras.__version__, np.__version__
    key = resume.key_of(dataclasses.asdict(settings), [artifacts.sha256(path) for path in inputs], versions)
    try:
        trainer = Trainer(settings, data.shape[0], data.shape[2], found.strategy)
    except ValueError as error:
        raise StageError(f"{folder / manifest.FILE}: {error}") from None

    def batches_from(first: int) -> Iterator:
        return iter(
            records.shuffled(
                *(files, data, settings.batch_size, settings.seed),
                first_batch=first,
                horizontal_flip=settings.horizontal_flip,
            )
        )

    with devices.failures(settings.batch_size, found):
        if not found.chief:
            run(trainer, batches_from, settings, None, Checkpoints(resume.state_folder() / "train" / key))
            return None
        judge = load_judge(workspace.input("models/features"), data)
        real = reference.load(workspace.input("data/reference.npz"))
        measure, held_out, score = scoring.scorer(folder, data, judge, real, settings)
        outputs = (
            *("models/generator.keras", "models/discriminator.keras", "models/model.json", "models/timeline.npz"),
            *("reports/train/metrics.json", "reports/train/plots"),
        )
        with resume.unfinished("train", key) as state, workspace.outputs(*outputs) as new:
            others = (path for path in state.parent.glob("*.lock") if path != state.with_suffix(".lock"))
            if not any(state.iterdir()) and not all(map(locks.is_locked, others)):
                shell.say(f"train: begins anew: what waits in {state.parent} is of other params, data or code")
            log = new("reports/train/metrics.json").parent
            shell.say(
                f"generator {trainer.generator.count_params():,} parameters, "
                f"discriminator {trainer.discriminator.count_params():,}; watch {log}/plots/images"
            )
            objective = OBJECTIVES[settings.loss]
            bounds = objective.bounds(settings.label_smoothing)
            total = trainer.steps * settings.images_per_step
            journal = Journal(log, settings, bounds, measure, held_out, total)
            rate = run(trainer, batches_from, settings, journal, Checkpoints(state))
            facts = {
                "score": score,
                "logistic": objective.logistic,  # whether D's outputs are the logits of probabilities
                "data_manifest_sha256": artifacts.sha256(folder / manifest.FILE),
                "params": dataclasses.asdict(settings),
                "environment": _environment(found),
            }
            _publish(trainer, journal, facts, new)
    if journal.stopped:
        shell.say(f"train: {journal.stopped}")
    best = journal.best
    shell.say(f"best: score {best.score:.2f} after {best.images:,} of {journal.rows[-1].images:,} images")
    return {"images_per_second": rate} if rate else {}
