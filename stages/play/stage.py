"""The play stage: pack the networks and write the page."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from stages import artifacts, manifest, png, shell
from stages.errors import StageError
from stages.networks import saving
from stages.play import packing
from stages.play.assembly import render
from stages.play.contents import contents
from stages.play.settings import Settings
from stages.workspace import Workspace

_TIMELINE_COLUMNS = 8


def play(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Write reports/play.html: the networks and the code that computes them, in one file."""
    page = render(payload(workspace))
    if len(page.encode()) > settings.max_megabytes * 1e6:
        page = render(payload(workspace, discriminator=False))
        shell.say(f"the page has no discriminator: it would be larger than {settings.max_megabytes:g} MB")
    with workspace.outputs("reports/play.html") as new:
        new("reports/play.html").write_text(page, encoding="utf-8")
    shell.say(f"open {workspace.out / 'reports/play.html'} ({len(page.encode()) / 1e6:.1f} MB)")
    return {}


def payload(workspace: Workspace, *, discriminator: bool = True) -> dict[str, Any]:
    """Everything that the page computes with and shows, as JSON."""
    data = manifest.read(workspace.input("data/prepared/manifest.json").parent)
    weights = packing.Weights()
    path = workspace.input("models/generator.keras")
    generator = saving.load(path)
    if generator.output_shape[1:] != data.shape:
        made = generator.output_shape[1:]
        raise StageError(f"{path}: makes {made} images, but the data set has {data.shape}; run `dvc repro`")
    networks = {"generator": packing.network(generator, generator.inputs[0].shape[1:], weights, path)}
    if discriminator:
        path = workspace.input("models/discriminator.keras")
        networks["discriminator"] = packing.network(saving.load(path), data.shape, weights, path)
    return {
        "facts": _facts(workspace, data, generator),
        **networks,
        "weights": weights.base64(),
        "timeline": _timeline(workspace),
        "page": contents(workspace, data, generator),
    }


def _facts(workspace: Workspace, data: manifest.Manifest, generator: keras.Model) -> dict[str, Any]:
    path = workspace.input("models/model.json")
    model = artifacts.read_json(path, "generator", "best_images_seen", "logistic", "paired")
    height, width, channels = data.shape
    return {
        "latentSize": generator.inputs[0].shape[-1],
        "height": height,
        "width": width,
        "channels": channels,
        "classes": list(data.classes),
        "title": data.source["title"],
        "licence": data.source["licence"],
        "generator": artifacts.sha256(workspace.input("models/generator.keras")),
        "images": model["best_images_seen"],
        "logistic": model["logistic"],
        "paired": model["paired"],
    }


def _timeline(workspace: Workspace) -> list[dict[str, Any]]:
    """For each score in training: the images seen, and the samples of the seeds 0, 1, … as one PNG without gaps."""
    images, pictures = artifacts.read_arrays(workspace.input("models/timeline.npz"), "images_seen", "pictures")
    return [
        {"images": int(seen), "count": len(samples), "columns": _TIMELINE_COLUMNS, "png": _sheet(samples)}
        for seen, samples in zip(images, pictures, strict=True)
    ]


def _sheet(samples: np.ndarray) -> str:
    """Samples uint8 NHWC, side by side in rows, as the address of a PNG. The last row is filled with zeros."""
    count, height, width, channels = samples.shape
    rows = -(-count // _TIMELINE_COLUMNS)
    sheet = np.zeros((rows * _TIMELINE_COLUMNS, height, width, channels), np.uint8)
    sheet[:count] = samples
    lines = sheet.reshape(rows, _TIMELINE_COLUMNS, height, width, channels).swapaxes(1, 2)
    file = io.BytesIO()
    png.save_png(lines.reshape(rows * height, -1, channels), file, 1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
