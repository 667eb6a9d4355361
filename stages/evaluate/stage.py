"""The evaluate stage: measure the samples against the data."""

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from stages import artifacts, manifest, png, shell
from stages.errors import StageError
from stages.evaluate import measuring, values
from stages.evaluate.plane import POINTS, plane
from stages.evaluate.settings import Settings
from stages.latent import Sampler, latent
from stages.manifest import Manifest
from stages.metrics import memorization
from stages.metrics.modes import class_histogram, modes
from stages.workspace import Workspace

# How many of the samples furthest from real images are shown.
_LOWEST, _COLUMNS, _SCALE = 16, 8, 2


def _protocol(
    settings: Settings, folder: Path, data: Manifest, samples: int, count: int
) -> dict[str, str | int | float]:
    """What numbers hold under: they can be compared where all of it is the same."""

    return {
        "feature_network": "none",
        "samples": samples,
        "first_seed": settings.first_seed,
        "without_network_samples": count,
        "swd_seed": measuring.SEED,
        "memorization_samples": min(count, measuring.THUMBNAILS),
        "memorization_needs": memorization.FEWEST,
        "mode_threshold": settings.mode_threshold,
        "data": data.source["title"],
        "data_manifest_sha256": artifacts.sha256(folder / manifest.FILE),
        "crop": str(data.params["crop"]),
        "fit": data.params["fit"],
        "size": data.shape[0],
        "channels": data.shape[2],
    }


def _points(
    settings: Settings,
    data: Manifest,
    real: np.ndarray,
    labels: np.ndarray,
    generated: np.ndarray,
    classes: np.ndarray | None,
) -> pd.DataFrame:
    """The first test images and samples in a plane, with the class of each: its label, or what the judge holds it for.

    From features (N, d) and (M, d), labels (N,), and classes (M,), or None without a judge.
    """

    shown = min(POINTS, len(real), len(generated), len(labels))
    classes = np.full(shown, -1) if classes is None else classes[:shown]
    places = plane(real[:shown], generated[:shown], settings.first_seed % 2**32).round(2)
    names = np.array([*data.classes, ""])  # -1: without a label
    return pd.DataFrame(
        {
            "kind": np.repeat(["real", "generated"], shown),
            "class": names[np.concatenate([labels[:shown], classes])],
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )


def _draw_lowest(
    settings: Settings, sampler: Sampler, realism: np.ndarray, network: str, model: Path, target: Path
) -> None:
    """Draw the samples of lowest `realism` (N,), the lowest first."""

    lowest = realism.argsort(kind="stable")[:_LOWEST]
    seeds = [settings.first_seed + int(index) for index in lowest]
    png.save_png(
        png.grid(sampler(latent(seeds, sampler.dimensions)), _COLUMNS),
        target,
        _SCALE,
        {
            "Description": f"The {len(seeds)} samples of lowest realism (Kynkäänniemi et al. 2019) of "
            f"{len(realism):,}, in the features of {network}, the lowest first: seeds {', '.join(map(str, seeds))}",
            "Source": f"generator.keras, SHA-256 {artifacts.sha256(model)}",
            "Params": json.dumps(dataclasses.asdict(settings)),
        },
    )


def evaluate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn the generator into metrics."""

    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    networks = measuring.networks(workspace, data)
    model = workspace.input("models/generator.keras")
    sampler = Sampler.load(model)
    if sampler.shape != data.shape:
        raise StageError(f"{model}: makes {sampler.shape} images, but the data set has {data.shape}; run `dvc repro`")
    count = min(settings.samples, data.splits["test"].records, data.splits["train"].records)
    if count < 2:
        raise StageError(f"{folder}: a split of {count} image cannot be measured against; it takes 2")

    started = time.monotonic()
    samples = measuring.measure_samples(sampler, networks, settings, count)
    seconds = time.monotonic() - started
    test, labels = measuring.look_at_test(folder, data, count)
    train, nearest = measuring.look_at_train(folder, data, count, (samples.look.thumbnails, test.thumbnails))
    found = values.of_pictures(samples.look, test, train, nearest)
    protocol = _protocol(settings, folder, data, samples.count, count)
    shares = pd.DataFrame({"class": [], "generated": [], "real": []})
    points = pd.DataFrame({"kind": [], "class": [], "x": [], "y": []})
    if samples.classes is not None:
        histogram, real = class_histogram(samples.classes, len(data.classes)), data.splits["train"].shares
        found = {**modes(histogram, real, settings.mode_threshold), **found}
        shares = pd.DataFrame({"class": data.classes, "generated": histogram.round(6), "real": real.round(6)})
    measured = None
    if networks.real is not None and samples.features is not None:
        measured = values.in_features(samples.features, networks.real)
        found = {**measured.values, **found}
        protocol |= {
            "feature_network": networks.name,
            "feature_network_sha256": networks.sha256,
            "floor_samples": measured.floor_samples,
            "compared_samples": measured.compared,
        }
        points = _points(settings, data, networks.real.held_out, labels, samples.features.first, samples.classes)
    metrics = {name: value if isinstance(value, int) else artifacts.rounded(value) for name, value in found.items()}
    with workspace.outputs("reports/metrics.json", "reports/evaluate") as new:
        artifacts.write_json(new("reports/metrics.json"), {**metrics, "protocol": protocol})
        tables = new("reports/evaluate")
        tables.mkdir()
        shares.to_csv(tables / "modes.csv", index=False)
        points.to_csv(tables / "points.csv", index=False)
        if measured is not None and measured.realism is not None:
            _draw_lowest(settings, sampler, measured.realism, networks.name, model, tables / "lowest.png")
    shell.say("  ".join(f"{name} {value:g}" for name, value in metrics.items()))
    return {"samples_per_second": samples.count / seconds}
