"""The evaluate stage: measure samples of the generator against the data."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from stages import artifacts, manifest, png, records, shell
from stages.errors import StageError
from stages.evaluate import class_accuracy, collectors, measuring, values
from stages.evaluate.measuring import HeldOutImages, Samples, TrainingImages
from stages.evaluate.networks import Networks, load_networks
from stages.evaluate.plane import POINTS, plane, typical
from stages.evaluate.reaching import reach
from stages.evaluate.settings import Settings
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.metrics import files
from stages.metrics.modes import class_histogram
from stages.metrics.prdc import realism
from stages.metrics.within_classes import OfClass, confusion
from stages.networks import judge as judges
from stages.workspace import Workspace

# lowest.png and clusters.png: the columns, and the side of a pixel's block. The number of samples in lowest.png.
_COLUMNS, _SCALE = 8, 2
_LOWEST = 16


def evaluate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Measure the generator's samples; write the metrics, their tables and the samples of lowest realism."""
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    networks = load_networks(workspace, data)
    model = workspace.input("models/generator.keras")
    sampler = Sampler.load(model, data.shape, data.classes)
    count = _compared_images(settings, folder, data)

    started = time.monotonic()
    samples = measuring.measure_samples(sampler, networks, settings, count)
    seconds = time.monotonic() - started
    conditional = samples.asked is not None
    if sampler.classes:
        shell.say("evaluate: the classes of the samples have the shares of the training data")
    test = measuring.measure_test_images(folder, data, networks, count, judged=conditional)
    train = measuring.measure_training_images(folder, data, count, samples.images.views, test.images.views)
    reached = reach(sampler, networks, folder, data, settings.inversion) if settings.inversion else None

    rejected = {"judge_rejected": 1} if judges.rejected(workspace.input("models/features")) else {}
    metrics = rejected | values.compute(samples, test, train, networks.shares, settings.mode_threshold)
    if conditional and settings.class_accuracy:
        metrics["class_accuracy"] = _class_accuracy(settings, workspace, folder, data, sampler, count)
    if reached:
        metrics |= values.inversion(reached)
    if not networks.precise:
        imprecise = ("precision", "density", "class_precision")
        metrics = {name: value for name, value in metrics.items() if name not in imprecise}
    manifest_sha256 = artifacts.sha256(folder / manifest.FILE)
    protocol = _protocol(settings, manifest_sha256, data, networks, samples, train, count)
    of_classes = values.of_classes(samples, test, len(networks.names))
    if conditional:
        protocol |= _class_protocol(settings, of_classes)
    with workspace.outputs("reports/metrics.json", "reports/evaluate") as new:
        headlines, details = files.split(metrics)
        artifacts.write_json(new("reports/metrics.json"), headlines)
        tables = new("reports/evaluate")
        tables.mkdir()
        artifacts.write_json(tables / Path(files.DETAILS).name, details)
        artifacts.write_json(tables / Path(files.PROTOCOL).name, protocol)
        _class_shares(networks, samples).to_csv(tables / "modes.csv", index=False)
        _points(settings, networks, samples, test).to_csv(tables / "points.csv", index=False)
        if samples.asked is not None and samples.classes is not None and test.judged is not None:
            of_samples = confusion(samples.asked, samples.classes, len(networks.names))
            of_real = confusion(test.classes, test.judged, len(networks.names))
            _confusion(networks, of_samples).to_csv(tables / "confusion.csv", index=False)
            _class_table(networks, of_samples, of_real, of_classes).to_csv(tables / "classes.csv", index=False)
        _draw_clusters(settings, folder, data, networks, test, manifest_sha256, tables / "clusters.png")
        _draw_lowest(settings, sampler, networks, samples, model, manifest_sha256, tables / "lowest.png")
    shell.say("  ".join(f"{name} {value:g}" for name, value in metrics.items()))
    return {"samples_per_second": samples.count / seconds}


def _compared_images(settings: Settings, folder: Path, data: Manifest) -> int:
    """The number of samples, test images and training images that the metrics without a network compare."""
    count = min(settings.samples, data.splits["test"].records, data.splits["train"].records)
    if count < 2:
        raise StageError(f"{folder}: images in the smallest split: {count}; evaluating needs at least 2")
    return count


def _protocol(
    settings: Settings,
    manifest_sha256: str,
    data: Manifest,
    networks: Networks,
    samples: Samples,
    train: TrainingImages,
    count: int,
) -> dict[str, str | int | float]:
    """The conditions of the measurement. Only metrics of the same protocol can be compared."""
    height, width, channels = data.shape
    protocol: dict[str, str | int | float] = {
        "feature_network": networks.name,
        "samples": samples.count,
        "first_seed": settings.first_seed,
        "without_network_samples": count,
        "swd_seed": collectors.SWD_SEED,
        "memorization_samples": len(train.of_samples.scores),
        "memorization_real": "held-out images" if train.real_are_held_out else "training images",
        "memorization_real_images": len(train.of_real.scores),
        "mode_threshold": settings.mode_threshold,
        "data": data.source["title"],
        "data_manifest_sha256": manifest_sha256,
        "crop": str(data.params["crop"]),
        "fit": data.params["fit"],
        "size": height if height == width else f"{height}×{width}",
        "channels": channels,
    }
    if samples.features:
        protocol |= {
            "feature_network_sha256": networks.sha256,
            "floor_samples": len(samples.features.floor),
            "compared_samples": len(samples.features.pairs[0]),
        }
    return protocol


def _class_accuracy(
    settings: Settings, workspace: Workspace, folder: Path, data: Manifest, sampler: Sampler, count: int
) -> float:
    """The accuracy, on the first `count` test images, of a judge trained on samples."""
    facts = artifacts.read_json(workspace.input("models/features") / judges.FACTS, "params")["params"]
    images = max(settings.class_accuracy, facts["batch_size"])
    judge = class_accuracy.train_on_samples(sampler, data, facts, settings.first_seed, images)
    correct = seen = 0
    for batch, labels in records.batches(folder, data, "test", 1000):
        labels = labels[: count - seen]
        correct += int((judge(batch.numpy()[: len(labels)]).classes == labels.numpy()).sum()) if len(labels) else 0
        seen += len(labels)
    return artifacts.rounded(correct / count)


def _class_protocol(settings: Settings, of_classes: list[OfClass]) -> dict[str, str | int | float]:
    """The conditions of the metrics of a conditional generator (metrics/catalog.py, CLASS_PROTOCOL)."""
    protocol: dict[str, str | int | float] = {"class_shares": "as in the training data"}
    compared = [one.compared for one in of_classes if one.fid is not None]
    if compared:
        protocol["class_compared_samples"] = sum(compared)
    if settings.class_accuracy:
        protocol["class_accuracy_images"] = settings.class_accuracy
    return protocol


def _confusion(networks: Networks, counts: np.ndarray) -> pd.DataFrame:
    """The number of samples for each class asked for and each class that the judge sees."""
    names = np.array(networks.names)
    asked, judged = np.indices(counts.shape).reshape(2, -1)
    return pd.DataFrame({"class": names[asked], "judged": names[judged], "samples": counts.ravel()})


def _class_table(
    networks: Networks, of_samples: np.ndarray, of_real: np.ndarray, of_classes: list[OfClass]
) -> pd.DataFrame:
    """A row for each class: its samples, the agreement with the judge, and the comparison within the class.

    A cell is empty if there are too few images.
    """

    def agreements(counts: np.ndarray) -> list[float | None]:
        return [artifacts.rounded(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(counts)]

    def compared(name: str) -> list[float | None]:
        numbers = [getattr(one, name) for one in of_classes] or [None] * len(networks.names)
        return [None if number is None else artifacts.rounded(number) for number in numbers]

    return pd.DataFrame(
        {
            "class": networks.names,
            "samples": of_samples.sum(1),
            "agreement": agreements(of_samples),
            "agreement_real": agreements(of_real),
            "fid": compared("fid"),
            "precision": compared("precision"),
            "recall": compared("recall"),
        }
    )


def _class_shares(networks: Networks, samples: Samples) -> pd.DataFrame:
    """The share of each of the judge's classes among samples and training images; no rows without a judge."""
    if samples.classes is None:
        return pd.DataFrame({"class": [], "generated": [], "real": []})
    generated = class_histogram(samples.classes, len(networks.names)).round(6)
    return pd.DataFrame({"class": networks.names, "generated": generated, "real": networks.shares.round(6)})


def _points(settings: Settings, networks: Networks, samples: Samples, test: HeldOutImages) -> pd.DataFrame:
    """The first test images and samples as points of a plane; no rows without features.

    `class` is a test image's label or the judge's class of a sample. With a judge without labels, it is the cluster of
    either. It is empty without a judge.
    """
    if samples.features is None:
        return pd.DataFrame({"kind": [], "class": [], "x": [], "y": []})
    real, generated = samples.features.reference.held_out, samples.features.first
    shown = min(POINTS, len(real), len(generated), len(test.classes))
    classes = np.full(shown, -1) if samples.classes is None else samples.classes[:shown]
    places = plane(real[:shown], generated[:shown], settings.first_seed % 2**32).round(2)
    names = np.array([*networks.names, ""])  # -1, the missing label, takes the last one
    return pd.DataFrame(
        {
            "kind": np.repeat(["real", "generated"], shown),
            "class": names[np.concatenate([test.classes[:shown], classes])],
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )


def _draw_clusters(
    settings: Settings,
    folder: Path,
    data: Manifest,
    networks: Networks,
    test: HeldOutImages,
    manifest_sha256: str,
    target: Path,
) -> None:
    """Draw the held-out images nearest to the middle of each cluster, a row each. Draws nothing without clusters."""
    if networks.name != judges.UNLABELLED or networks.reference is None:
        return
    places = [
        typical(networks.reference.held_out, test.classes, cluster, _COLUMNS) for cluster in range(len(networks.names))
    ]
    pictures = np.ones((len(places) * _COLUMNS, *data.shape), np.float32)  # empty places are white
    spots = [cluster * _COLUMNS + column for cluster, row in enumerate(places) for column in range(len(row))]
    pictures[spots] = records.images_at(folder, data, "test", [place for row in places for place in row])
    png.save_png(
        png.grid(pictures, _COLUMNS),
        target,
        _SCALE,
        png.Provenance(
            description=f"The held-out images nearest to the middle of each cluster, from cluster 1 to {len(places)}, "
            "a row each",
            source=f"data/prepared, manifest SHA-256 {manifest_sha256}",
            params=dataclasses.asdict(settings),
            stage="evaluate",
            manifest_sha256=manifest_sha256,
            grid=png.grid_layout(len(pictures), _COLUMNS),
        ),
    )


def _draw_lowest(
    settings: Settings,
    sampler: Sampler,
    networks: Networks,
    samples: Samples,
    model: Path,
    manifest_sha256: str,
    target: Path,
) -> None:
    """Draw the samples of lowest realism, the lowest first. Draws nothing if there are too few features to compare."""
    if samples.features is None:
        return
    generated, real = samples.features.pairs
    if not len(generated):
        return
    lowest = realism(generated, real).argsort(kind="stable")[:_LOWEST]
    seeds = [settings.first_seed + int(index) for index in lowest]
    generator_sha256 = artifacts.sha256(model)
    png.save_png(
        png.grid(sampler.images(seeds), _COLUMNS),
        target,
        _SCALE,
        png.Provenance(
            description=f"The {len(seeds)} samples of lowest realism (Kynkäänniemi et al. 2019) of {len(generated):,}, "
            f"in the features of {networks.name}, the lowest first: seeds {', '.join(map(str, seeds))}",
            source=f"generator.keras, SHA-256 {generator_sha256}",
            params=dataclasses.asdict(settings),
            stage="evaluate",
            seeds=",".join(map(str, seeds)),
            generator_sha256=generator_sha256,
            manifest_sha256=manifest_sha256,
            grid=png.grid_layout(len(seeds), _COLUMNS),
        ),
    )
