"""Conditional training: a step by hand, several devices, resuming, equal classes, and labels that do not suffice."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages import manifest, records, tfrecord
from stages.classes import Classes
from stages.errors import StageError
from stages.latent import Sampler
from stages.manifest import Manifest, Shard, Split
from stages.networks.choices import DiscriminatorNorm
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.train import stage
from stages.train.augment import transforms
from stages.train.augment.settings import AugmentSettings
from stages.train.losses.settings import LossSettings
from stages.train.origin import Origin, Start, take_over
from stages.train.overfitting import Probe
from stages.train.settings import AverageSettings, OptimizerSettings, Settings
from stages.train.trainer import Trainer
from tests.conftest import Project

CLASSES = Classes(("a", "b", "c"), (0.5, 0.25, 0.25))
COMBINATIONS = "not red, not large", "red, not large", "red, large"
ATTRIBUTES = Classes(COMBINATIONS, (0.5, 0.25, 0.25), ("red", "large"))
KINDS = pytest.mark.parametrize("classes", [CLASSES, ATTRIBUTES], ids=["classes", "attributes"])
SETTINGS = Settings(
    images=80,
    batch_size=8,
    conditional="classes",
    generator=GeneratorSettings(channels=4, class_norm=True),
    discriminator=DiscriminatorSettings(channels=4, norm="none", initializer="he"),
    loss=LossSettings("relativistic", r1=2.0, r2=3.0),
    augment=AugmentSettings(tuple(transforms.TRANSFORMS), probability=0.7),
    optimizer=OptimizerSettings(1e-3, 1e-3),
)


def batches() -> Iterator:
    images = np.random.default_rng(0).uniform(-1, 1, (80, 16, 16, 1)).astype(np.float32)
    return iter(tf.data.Dataset.from_tensor_slices((images, np.arange(80) // 2 % 3)).batch(8).repeat())


def weights(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.trainable_variables]


def by_hand(classes: Classes) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The networks' weights after one step on the first batch: at the start, Adam moves a weight by its rate."""
    expected = Trainer(SETTINGS, 16, 1, classes=classes)
    inputs = np.array([[0, 0], [1, 0], [1, 1]]) if classes.attributes else np.eye(3)
    g, d = expected.generator, expected.discriminator
    names, probability = SETTINGS.augment.transforms, SETTINGS.augment.probability

    def seen(images: tf.Tensor, kind: int) -> tf.Tensor:
        return transforms.apply(names, images, transforms.draw(0, tf.constant(0), kind, 8, len(names)), probability)

    images, labels = next(batches())
    y, z = tf.constant(inputs.astype(np.float32)[labels.numpy()]), tf.random.stateless_normal((8, 100), [0, 0])
    real, fake = seen(images, transforms.REAL), seen(g([z, y], training=True), transforms.FAKE)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch((real, fake))
            outputs = d([real, y], training=True), d([fake, y], training=True)
        slopes = inner.gradient(outputs, (real, fake))
        loss = tf.reduce_mean(tf.math.log(1 + tf.exp(outputs[1] - outputs[0])))
        loss += sum(gamma / 2 * tf.reduce_sum(slope**2) / 8 for gamma, slope in zip((2.0, 3.0), slopes, strict=True))

    def move(network: keras.Model, gradients: list[tf.Tensor]) -> None:
        for weight, gradient in zip(network.trainable_variables, gradients, strict=True):
            weight.assign_sub(1e-3 * gradient / (abs(gradient) + 1e-7 / np.sqrt(1 - 0.999)))

    move(d, outer.gradient(loss, d.trainable_variables))
    with tf.GradientTape() as tape:
        fake = seen(g([z, y], training=True), transforms.FAKE)
        loss = tf.reduce_mean(tf.math.log(1 + tf.exp(d([real, y], training=True) - d([fake, y], training=True))))
    move(g, tape.gradient(loss, g.trainable_variables))
    return weights(g), weights(d)


@KINDS
def test_a_conditional_step_equals_one_by_hand(classes: Classes) -> None:
    """Real images come with their labels, and sample i has the class of real image i."""
    trainer = Trainer(SETTINGS, 16, 1, classes=classes)
    trainer.run(batches(), 0, 1)
    for network, expected in zip((trainer.generator, trainer.discriminator), by_hand(classes), strict=True):
        for ours, theirs in zip(weights(network), expected, strict=True):
            # Where a gradient is almost zero, Adam's step depends on its rounding.
            assert np.quantile(abs(ours - theirs), 0.99) < 1e-5


@pytest.mark.parametrize(
    ("loss", "norm", "classes"),
    [
        pytest.param("wasserstein_gp", "spectral", CLASSES, marks=pytest.mark.slow),
        ("hinge", "batch", CLASSES),
        pytest.param("relativistic", "layer", ATTRIBUTES, marks=pytest.mark.slow),
    ],
)
def test_a_conditional_training_restored_in_the_middle_ends_the_same(
    loss: str, norm: DiscriminatorNorm, classes: Classes
) -> None:
    settings = dataclasses.replace(
        SETTINGS,
        loss=LossSettings(loss),
        discriminator=DiscriminatorSettings(channels=4, norm=norm),
        optimizer=OptimizerSettings(discriminator_steps=2),
        precision="mixed_bfloat16" if norm == "batch" else "float32",
    )
    trainer = Trainer(settings, 16, 1, classes=classes)
    initial, ends = trainer.state(), []
    for portions in ([4], [1, 3]):
        trainer.restore(initial)
        stream, done = batches(), 0
        for count in portions:
            means = trainer.run(stream, done, count)
            trainer.restore(trainer.state())
            done += count
        assert np.isfinite(list(means.values())).all()
        ends.append(b"".join(value.tobytes() for value in trainer.state().values()))
    assert ends[0] == ends[1]


MIRRORED = """
import numpy as np, tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
from tests.train.test_conditional import ATTRIBUTES, CLASSES, SETTINGS, Trainer, batches
states = []
for strategy in (None, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    trainer = Trainer(SETTINGS, 16, 1, strategy, {classes})
    trainer.run(batches(), 0, 10)
    states.append(trainer.state())
print(max(float(np.abs(states[0][name] - states[1][name]).max()) for name in states[0]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("classes", ["CLASSES", "ATTRIBUTES"])
def test_two_devices_train_conditional_networks_as_one_does(tiny: Project, classes: str) -> None:
    command = [sys.executable, "-c", MIRRORED.format(classes=classes)]
    done = subprocess.run(command, env=tiny.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2e-3


def test_the_probe_gives_d_the_class_of_each_image() -> None:
    """D is replaced by the class, so the mean output is the mean class."""

    class Watched(Trainer):
        def mean_output(self, images: np.ndarray, classes: np.ndarray | None = None) -> float:
            assert classes is not None
            assert len(images) == len(classes)
            return float(classes.argmax(1).mean())

    images, labels = np.zeros((64, 16, 16, 1), np.uint8), np.arange(64) % 3
    probe = Probe(Watched(SETTINGS, 16, 1, classes=CLASSES), {"train": (images, labels), "test": (images, labels * 0)})
    outputs = probe(0, score=False)
    assert (outputs.train, outputs.held_out) == (labels.mean(), 0)
    assert outputs.generated == pytest.approx(0.75, abs=0.4), "0.5 · 0 + 0.25 · 1 + 0.25 · 2"


def write(folder: Path, labels: list[int], names: tuple[str, ...]) -> Manifest:
    """Write a data set of images whose first pixel is their place."""
    writers = []
    for i, part in enumerate(np.array_split(np.arange(len(labels)), 2)):
        path = folder / f"train-{i:05d}-of-00002.tfrecord"
        with tfrecord.Writer(path) as writer:
            for place in part:
                writer.write(tfrecord.encode(np.full((16, 16, 1), place, np.uint8), labels[place], str(place)))
        writers.append(Shard(path.name, writer.sha256, len(part)))
    counts = tuple(np.bincount(labels, minlength=len(names)).tolist())
    splits = {"train": Split(len(labels), counts, tuple(writers)), "test": Split(0, (0,) * len(names), ())}
    return Manifest((16, 16, 1), "uint8", names, splits, {}, {}, {})


def equal(folder: Path, data: Manifest, first: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    files = manifest.verified_shards(folder, data, "train")
    stream = records.shuffled(files, data, 5, 0, first_batch=first, equal_classes=True)
    return list(stream.take(count).as_numpy_iterator())


def test_equal_classes_come_equally_often_in_an_epoch(tmp_path: Path) -> None:
    labels = [0] * 80 + [1] * 37 + [2] * 3
    data = write(tmp_path, labels, ("a", "b", "c"))
    for epoch in range(2):
        read = equal(tmp_path, data, 24 * epoch, 24)
        assert np.bincount(np.concatenate([part for _, part in read])).tolist() == [40, 40, 40]
        places = (np.concatenate([images for images, _ in read])[:, 0, 0, 0] * 127.5 + 127.5).round().astype(int)
        times = np.bincount(places, minlength=120)
        assert (times[:80].max(), times[80:117].min(), times[80:117].max()) == (1, 1, 2)
        assert sorted(times[117:]) == [13, 13, 14]


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "a class without images")])
def test_a_stream_of_equal_classes_resumes_at_any_batch(tmp_path: Path, names: tuple[str, ...]) -> None:
    data = write(tmp_path, [0] * 20 + [1] * 11, names)
    whole, rest = equal(tmp_path, data, 0, 14), equal(tmp_path, data, 9, 5)
    for (images, labels), (other_images, other_labels) in zip(whole[9:], rest, strict=True):
        assert np.array_equal(labels, other_labels)
        assert np.array_equal(images, other_images)


@pytest.mark.parametrize(
    ("names", "counts", "records_of_train", "message"),
    [
        ((), (), 40, "since the data has no classes, got 'classes'; put the pictures of each class in a folder"),
        (("a",), (40,), 40, "since the data has 1 class, got 'classes'"),
        (("a", "b"), (20, 18), 40, "2 of the 40 images of the split train have no label"),
        (("a", "b", "c"), (20, 9, 0), 29, r"classes with fewer than 10 training images: b \(9\), c \(0\)"),
    ],
)
def test_labels_that_do_not_suffice_are_an_error(
    tmp_path: Path, names: tuple[str, ...], counts: tuple[int, ...], records_of_train: int, message: str
) -> None:
    splits = {"train": Split(records_of_train, counts, ())}
    data = Manifest((16, 16, 1), "uint8", names, splits, {}, {}, {})
    inputs = stage._Inputs(tmp_path, data, [], tmp_path, tmp_path, None)
    with pytest.raises(StageError, match=f"^train.conditional: .*{message}"):
        stage._classes(SETTINGS, inputs)


def of_data(folder: Path, names: tuple[str, ...], counts: tuple[int, ...], **changes: str) -> Classes | None:
    """The classes of a training on attributes of a data set with so many images of each class."""
    data = Manifest((16, 16, 1), "uint8", names, {"train": Split(sum(counts), counts, ())}, {}, {}, {})
    settings = dataclasses.replace(SETTINGS, conditional="attributes", **changes)  # type: ignore[arg-type]
    return stage._classes(settings, stage._Inputs(folder, data, [], folder, folder, None))


def test_attributes_are_those_of_the_classes_which_may_lack_images(tmp_path: Path) -> None:
    counts = (20, 17, 3, 0)
    classes = of_data(tmp_path, ("red, not large", "not red, large", "red, large", "not red, not large"), counts)
    assert classes is not None
    assert (classes.attributes, classes.shares) == (("red", "large"), (0.5, 0.425, 0.075, 0))


@pytest.mark.parametrize(
    ("names", "counts", "changes", "message"),
    [
        (("cat", "dog"), (20, 20), {}, "expected none or classes, since the classes of the data are no combinations"),
        (("cat",), (20,), {}, "expected none, since the data has 1 class, got 'attributes'"),
        (COMBINATIONS, (20, 20, 9), {}, r"attributes with fewer than 10 training images: large \(9\); add pictures"),
        (COMBINATIONS, (9, 20, 20), {}, r"attributes with fewer than 10 training images: not red \(9\)"),
        (
            *(COMBINATIONS, (20, 3, 20), {"class_shares": "equal"}),
            r"classes with fewer than 10 training images: red, not large \(3\)",
        ),
    ],
)
def test_attributes_that_the_data_does_not_have_are_an_error(
    tmp_path: Path, names: tuple[str, ...], counts: tuple[int, ...], changes: dict[str, str], message: str
) -> None:
    with pytest.raises(StageError, match=f"^train.conditional: {message}"):
        of_data(tmp_path, names, counts, **changes)


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (None, CLASSES, "it is of train.conditional: none, but here it is classes; write `conditional: none`"),
        (ATTRIBUTES, CLASSES, "it is of train.conditional: attributes, but here it is classes"),
        (
            CLASSES,
            Classes(("a", "b", "d"), CLASSES.shares),
            "its classes are a, b, c, but those of the data are a, b, d",
        ),
    ],
)
def test_a_training_starts_only_from_networks_of_the_same_classes(
    theirs: Classes | None, ours: Classes | None, message: str
) -> None:
    start = Start(keras.Model(), keras.Model(), theirs, Origin("base", "", "", "", "", ""))
    with pytest.raises(StageError, match=f"^train.start_from: 'base': {message}"):
        take_over(start, keras.Model(), keras.Model(), ours)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditional": "none"}, "generator.class_norm: expected false, since conditional is none, got true"),
        (
            {"conditional": "none", "generator": GeneratorSettings(), "class_shares": "equal"},
            "class_shares: expected data, since conditional is none, got equal",
        ),
        (
            {"generator": GeneratorSettings(norm="none", class_norm=True)},
            "generator.class_norm: expected false, since generator.norm is none, got true",
        ),
    ],
)
def test_settings_that_need_conditional_networks_are_an_error_without_them(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTINGS, **changes)


def rectangles(rows: np.ndarray) -> np.ndarray:
    """Images (N, 16, 16, 1) with a rectangle at the top or at the bottom, bright or dim: rows (N, 2) of 0 and 1."""
    generator, (y, x) = np.random.default_rng(0), np.mgrid[:16, :16]
    top, bright = rows.T[:, :, None, None]
    middle = generator.uniform(6, 9, (2, len(rows), 1, 1))
    inside = np.maximum(abs(y - middle[0] + 7 * top - 3.5), abs(x - middle[1])) < 3
    return np.where(inside, 0.9 * bright - 0.1 * (1 - bright), -1)[..., None].astype(np.float32)


@pytest.mark.slow
def test_samples_have_the_attributes_that_they_are_asked_for() -> None:
    """The data has three of the four combinations."""
    names = "not top, not bright", "not top, bright", "top, not bright"
    classes, labels = Classes(names, (1 / 3,) * 3, ("top", "bright")), np.arange(3000) % 3
    settings = Settings(
        images=32 * 700,
        batch_size=32,
        conditional="attributes",
        generator=GeneratorSettings(channels=8, class_norm=True),
        discriminator=DiscriminatorSettings(channels=8, norm="none", initializer="he"),
        loss=LossSettings("relativistic", r1=1.0, r2=1.0),
        optimizer=OptimizerSettings(2e-3, 2e-3, beta_1=0.0, beta_2=0.99, learning_rate_decay=0.5),
        average=AverageSettings(2000.0),
    )
    trainer = Trainer(settings, 16, 1, classes=classes)
    data = tf.data.Dataset.from_tensor_slices((rectangles(classes.rows[labels]), labels))
    trainer.run(iter(data.shuffle(3000, seed=0).repeat().batch(32)), 0, 700)
    sampler = Sampler(trainer.average, classes)
    for row in classes.rows:
        images = sampler.images(range(100), row)[..., 0]
        halves = images[:, :8].sum((1, 2)), images[:, 8:].sum((1, 2))
        assert ((halves[0] > halves[1]) == row[0]).mean() > 0.95
        brightest = np.sort(images.reshape(100, -1))[:, -12]
        assert ((brightest > 0.4) == row[1]).mean() > 0.9
