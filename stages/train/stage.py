"""The train stage: train the DCGAN and keep the best checkpoint."""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import yaml

from stages import artifacts, locks, machine, manifest, records, reference, resume, shell
from stages.classes import Classes, attributes_of
from stages.errors import StageError
from stages.manifest import Manifest
from stages.networks import judge as judges
from stages.networks import saving
from stages.networks.plain import plain
from stages.train import devices, finished, flip, loop, origin, overfitting, scoring
from stages.train.checkpoints import Checkpoints
from stages.train.devices import Devices
from stages.train.journal import Journal
from stages.train.losses.catalog import LOSSES
from stages.train.origin import Start
from stages.train.overfitting import Probe
from stages.train.settings import Settings
from stages.train.trainer import Trainer
from stages.train.watch import Watch
from stages.workspace import Workspace

_ROOT = Path(__file__).resolve().parents[2]
# A class with fewer training images is an error: G would repeat them.
_FEWEST_IMAGES = 10
_OUTPUTS = (
    "models/generator.keras",
    "models/discriminator.keras",
    "models/model.json",
    "models/timeline.npz",
    "models/training_state.npz",
    "reports/train/metrics.json",
    "reports/train/plots",
)


def train(settings: Settings, workspace: Workspace) -> Mapping[str, float] | None:
    """Train the two networks on data/prepared. A worker that is not the chief takes part and writes nothing."""
    hardware = devices.find()  # before TensorFlow creates any op
    inputs = _read_inputs(settings, workspace)
    trainer = _new_trainer(settings, inputs, hardware)
    if inputs.start is not None:
        trainer.start_from(inputs.start)
        shell.say(f"train: starting from the model {inputs.start.origin}")
    key = _key(settings, inputs)
    with devices.failures(settings.batch_size, hardware):
        mirrored = _mirrored(settings, inputs, hardware, trainer)
        batches_from = _stream(settings, inputs, mirrored)
        if not hardware.chief:
            loop.train(trainer, batches_from, settings, None, None, Checkpoints(resume.state_folder() / "train" / key))
            return None
        judge = judges.load(workspace.input("models/features"), inputs.data)
        measure, real, score = scoring.scorer(
            inputs.folder, inputs.data, judge, reference.load(inputs.reference), settings
        )
        with resume.unfinished("train", key) as state, workspace.outputs(*_OUTPUTS) as new:
            log = new("reports/train/metrics.json").parent
            checkpoints, course = Checkpoints(state), _course(settings, inputs)
            finished.continue_from(workspace.out, course, settings, trainer, checkpoints)
            total = trainer.steps * settings.images_per_step
            bounds = LOSSES[settings.loss.name].formulas.bounds(settings.loss.label_smoothing)
            probe = Probe(trainer, overfitting.read(inputs.folder, inputs.data))
            with contextlib.closing(Watch(workspace.out / "reports/train/live", total)) as watch:
                _announce(trainer, state, watch.page)
                journal = Journal(log, settings, bounds, measure, real, total, watch)
                speed = loop.train(trainer, batches_from, settings, journal, probe, checkpoints)
            facts = _facts(settings, inputs, hardware, score, trainer.classes)
            _publish(trainer, journal, facts | {"mirrored": mirrored}, new)
            finished.write(new("models/training_state.npz"), course, settings, checkpoints)
    _say_result(journal)
    return {"images_per_second": speed} if speed else {}


@dataclass(frozen=True)
class _Inputs:
    """The files that the stage reads. `shards` are those of the training images. `start` is the model to start from."""

    folder: Path
    data: Manifest
    shards: Sequence[Path]
    reference: Path
    features: Path
    start: Start | None


def _read_inputs(settings: Settings, workspace: Workspace) -> _Inputs:
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    available = data.splits["train"].records
    if available < settings.batch_size:
        raise StageError(f"train.batch_size: {settings.batch_size} is more than the {available} training images")
    return _Inputs(
        folder,
        data,
        manifest.verified_shards(folder, data, "train"),
        workspace.input("data/reference.npz"),
        workspace.input("models/features/features.json"),
        origin.load(settings.start_from) if settings.start_from else None,
    )


def _new_trainer(settings: Settings, inputs: _Inputs, hardware: Devices) -> Trainer:
    try:
        classes = _classes(settings, inputs)
        return Trainer(settings, inputs.data.shape[:2], inputs.data.shape[2], hardware.strategy, classes)
    except ValueError as error:
        raise StageError(f"{inputs.folder / manifest.FILE}: {error}") from None


def _classes(settings: Settings, inputs: _Inputs) -> Classes | None:
    """The classes of a conditional training; else None. Raises StageError if the data's labels do not suffice."""
    if settings.conditional == "none":
        return None
    names, train = inputs.data.classes, inputs.data.splits["train"]
    if len(names) < 2:
        raise StageError(
            f"train.conditional: expected none, since the data has {len(names) or 'no'} "
            f"{'class' if len(names) == 1 else 'classes'}, got {settings.conditional!r}; put the pictures of each "
            "class in a folder, or set prepare.labels"
        )
    for name, split in inputs.data.splits.items():
        if unlabelled := split.records - sum(split.labels):
            raise StageError(
                f"train.conditional: {unlabelled:,} of the {split.records:,} images of the split {name} have no label; "
                "label them, remove them or set train.conditional: none"
            )
    attributes = _attributes(names, train.labels) if settings.conditional == "attributes" else ()
    few = {name: count for name, count in zip(names, train.labels, strict=True) if count < _FEWEST_IMAGES}
    if attributes:  # the networks learn a combination from the images of its attributes
        few = {name: count for name, count in few.items() if count and settings.class_shares == "equal"}
    if few:
        raise StageError(
            f"train.conditional: classes with fewer than {_FEWEST_IMAGES} training images: {_counted(few)}; add "
            "pictures, join classes or remove them"
        )
    return Classes(names, tuple(train.shares.tolist()), attributes)


def _attributes(names: Sequence[str], counts: Sequence[int]) -> tuple[str, ...]:
    """The attributes whose combinations the classes are. `counts` are the training images of each class.

    Raises StageError if they are no combinations, and for an attribute that too few images have or lack.
    """
    attributes = attributes_of(names)
    if not attributes:
        raise StageError(
            "train.conditional: expected none or classes, since the classes of the data are no combinations of "
            "attributes, got 'attributes'; list attributes of CelebA in prepare.labels, or name each class by what it "
            "has and lacks, such as 'red, not large'"
        )
    having = np.array(counts) @ Classes(tuple(names), (), attributes).rows
    images: dict[str, int] = {}
    for name, count in zip(attributes, having.astype(int).tolist(), strict=True):
        images |= {name: count, f"not {name}": sum(counts) - count}
    if few := {name: count for name, count in images.items() if count < _FEWEST_IMAGES}:
        raise StageError(
            f"train.conditional: attributes with fewer than {_FEWEST_IMAGES} training images: {_counted(few)}; add "
            "pictures, or leave the attribute out of the labels"
        )
    return attributes


def _counted(few: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in few.items())


def _inputs_of(settings: Settings, inputs: _Inputs) -> tuple[object, ...]:
    """Everything besides the code that decides a training with these settings."""
    files = (inputs.folder / manifest.FILE, inputs.reference, inputs.features)
    versions = tf.__version__, keras.__version__, np.__version__
    # A branch may move and a file may change, but they keep their name in the settings.
    start = [inputs.start.origin] if inputs.start else []
    deciding = dataclasses.replace(settings, tensorboard=False)  # event files change no result
    return dataclasses.asdict(deciding), [artifacts.sha256(path) for path in files], versions, *start


def _key(settings: Settings, inputs: _Inputs) -> str:
    """A key for this training. Call it after the trainer has imported the loss, whose code counts."""
    return resume.key_of(*_inputs_of(settings, inputs))


def _course(settings: Settings, inputs: _Inputs) -> str:
    """A key for all trainings that differ from this one only in their length.

    It is part of an output, so it must not depend on the modules that a process happens to have loaded. It takes the
    code that dvc.yaml names for this stage.
    """
    pipeline = yaml.safe_load((_ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    code = [_ROOT / name for name in pipeline["stages"]["train"]["deps"] if name.startswith("stages")]
    files = [file for path in code for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    key = _inputs_of(settings.course, inputs), [artifacts.sha256(file) for file in files]
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]


def _mirrored(settings: Settings, inputs: _Inputs, hardware: Devices, trainer: Trainer) -> bool:
    """Whether half of the real images are mirrored. With `auto`, the chief looks at the data and decides for all."""
    if settings.horizontal_flip != "auto":
        return settings.horizontal_flip
    mirrored = False
    if hardware.chief:
        count = min(flip.IMAGES, inputs.data.splits["train"].records)
        ((images, _),) = records.batches(inputs.folder, inputs.data, "train", count).take(1)
        sides = flip.sides(images.numpy())
        mirrored = not sides.differ
        shell.say(
            f"train: horizontal_flip: the data has {'no' if mirrored else 'a'} left and right, so images are "
            f"{'' if mirrored else 'not '}mirrored ({sides.own_side:.0%} of {sides.images:,} images are nearer to "
            "other images than to their mirror images)"
        )
    return bool(trainer.from_chief([mirrored])[0])


def _stream(settings: Settings, inputs: _Inputs, mirrored: bool) -> Callable[[int], Iterator]:
    """A function that returns the stream of training batches from number `first` on."""

    def mirror(images: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        return flip.horizontal_flip(images, settings.seed, number)

    def batches_from(first: int) -> Iterator:
        return iter(
            records.shuffled(
                *(inputs.shards, inputs.data, settings.batch_size, settings.seed),
                first_batch=first,
                augment=mirror if mirrored else None,
                equal_classes=settings.class_shares == "equal",
            )
        )

    return batches_from


def _announce(trainer: Trainer, state: Path, page: Path) -> None:
    """Print the sizes of the networks and where to watch them, and why an unfinished run does not resume."""
    others = (path for path in state.parent.glob("*.lock") if path != state.with_suffix(".lock"))
    if not any(state.iterdir()) and not all(map(locks.is_locked, others)):
        shell.say(
            f"train: starting from scratch: the unfinished run in {state.parent} used different params, data or code"
        )
    shell.say(
        f"generator {trainer.generator.count_params():,} parameters, "
        f"discriminator {trainer.discriminator.count_params():,}; watch ",
        page,
    )


def _facts(
    settings: Settings, inputs: _Inputs, hardware: Devices, score: str, classes: Classes | None
) -> dict[str, object]:
    """The part of models/model.json that is known before training starts.

    `attributes` has the attributes by name. The values of each are those of the classes, in their order.
    """
    attributes = {}
    if classes and classes.attributes:
        attributes = dict(zip(classes.attributes, classes.rows.T.astype(int).tolist(), strict=True))
    return {
        "score": score,
        "logistic": LOSSES[settings.loss.name].logistic,
        "paired": LOSSES[settings.loss.name].paired,
        "data_manifest_sha256": artifacts.sha256(inputs.folder / manifest.FILE),
        "data_title": inputs.data.source.get("title", ""),
        **({"classes": list(classes.names)} if classes else {}),
        **({"attributes": attributes} if attributes else {}),
        **({"start_from": inputs.start.origin.facts()} if inputs.start else {}),
        "params": dataclasses.asdict(settings),
        "environment": _environment(hardware),
    }


def _environment(hardware: Devices) -> dict[str, object]:
    """The versions and hardware that decide a result's bytes, in addition to data, params and code."""
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "processor": machine.processor(),
        "cores": machine.cores(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "") != "0",
        "accelerators": [device.name for device in tf.config.list_physical_devices("GPU")],
        "workers": hardware.workers,
    }


def _publish(trainer: Trainer, journal: Journal, facts: Mapping[str, object], new: Callable[[str], Path]) -> None:
    """Write the networks of the best checkpoint, built from Keras' own layers, their description, and the timeline."""
    best = journal.best
    description: dict[str, object] = {}
    networks = trainer.networks(best.average, best.discriminator)
    for name, network in zip(("generator", "discriminator"), networks, strict=True):
        path = new(f"models/{name}.keras")
        saving.save(plain(network), path, trainer.classes)
        description[name] = {"sha256": artifacts.sha256(path), "parameters": network.count_params()}
    images_seen = [row.images for row in journal.rows if row.picture]
    np.savez(new("models/timeline.npz"), images_seen=np.array(images_seen), pictures=np.stack(journal.pictures))
    description |= {
        "images_seen": journal.rows[-1].images,
        "best_images_seen": best.images,
        "best_score": best.score,
        "stopped": journal.stopped,
        "flags": [dataclasses.asdict(flag) for flag in journal.flags],
        **facts,
    }
    artifacts.write_json(new("models/model.json"), description)


def _say_result(journal: Journal) -> None:
    if journal.stopped:
        shell.say(f"train: {journal.stopped}")
    best = journal.best
    shell.say(f"best: score {best.score:.2f} after {best.images:,} of {journal.rows[-1].images:,} images")
