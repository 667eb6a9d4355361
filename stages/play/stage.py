"""The play stage: pack the networks and write the page."""

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages import artifacts, manifest, png, shell
from stages.errors import StageError
from stages.manifest import Manifest
from stages.networks import saving
from stages.play import packing
from stages.play.assembly import render
from stages.play.contents import contents
from stages.play.settings import Settings
from stages.workspace import Workspace

# The timeline has at most this many scores, and as many samples of each as fit into so many pixel values.
_SCORES, _TIMELINE_VALUES = 32, 1 << 20


def play(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Write reports/play.html: the networks and the code that computes them, in one file."""
    packed = payload(workspace)
    page = render(packed)
    if len(page.encode()) > settings.max_megabytes * 1e6:
        del packed["discriminator"]
        generator = saving.load(workspace.input("models/generator.keras"))
        page = render({**packed, **networks(generator.output_shape[1:], generator)})
        shell.say(f"the page has no discriminator: it would be larger than {settings.max_megabytes:g} MB")
    with workspace.outputs("reports/play.html") as new:
        new("reports/play.html").write_text(page, encoding="utf-8")
    shell.say(f"open {workspace.out / 'reports/play.html'} ({len(page.encode()) / 1e6:.1f} MB)")
    return {}


def payload(workspace: Workspace) -> dict[str, Any]:
    """Everything that the page shows, as JSON. Raises StageError for an input that is missing or cannot be used."""
    data = manifest.read(workspace.input("data/prepared/manifest.json").parent)
    generator = _generator(workspace.input("models/generator.keras"), data)
    discriminator = _discriminator(workspace.input("models/discriminator.keras"), data, generator)
    return {
        "facts": _facts(workspace, data, generator),
        "timeline": _timeline(workspace),
        "page": contents(workspace, data, generator, discriminator),
        **networks(data.shape, generator, discriminator),
    }


def _generator(path: Path, data: Manifest) -> keras.Model:
    """The generator, which must make images of the data's shape."""
    generator = saving.load(path)
    made = generator.output_shape[1:]
    if made != data.shape:
        raise StageError(f"{path}: makes {made} images, but the data set has {data.shape}; run `dvc repro`")
    return generator


def _discriminator(path: Path, data: Manifest, generator: keras.Model) -> keras.Model:
    """The discriminator, which must judge the data's images, with the classes that the generator draws."""
    discriminator = saving.load(path)
    judged = [tuple(given.shape[1:]) for given in discriminator.inputs]
    expected = [data.shape, *(tuple(given.shape[1:]) for given in generator.inputs[1:])]
    if judged != expected:
        raise StageError(
            f"{path}: judges inputs of the shapes {judged}, but the data set and the generator have {expected}; the "
            "two networks are of different models; run `dvc repro`"
        )
    return discriminator


def networks(
    shape: tuple[int, int, int], generator: keras.Model, discriminator: keras.Model | None = None
) -> dict[str, Any]:
    """The networks of images of `shape` as JSON: `generator`, `discriminator` if there is one, and their `weights`."""
    weights = packing.Weights()
    shapes = {"generator": generator.inputs[0].shape[1:], "discriminator": shape}
    packed = {
        name: packing.network(model, shapes[name], weights, Path(f"models/{name}.keras"))
        for name, model in (("generator", generator), ("discriminator", discriminator))
        if model is not None
    }
    return {**packed, "weights": weights.base64()}


def _facts(workspace: Workspace, data: Manifest, generator: keras.Model) -> dict[str, Any]:
    """`attributes`: the values of the attributes for each of the classes, if the networks get attributes; else null."""
    model = artifacts.read_json(
        workspace.input("models/model.json"), "generator", "best_images_seen", "logistic", "paired"
    )
    path = workspace.input("models/generator.keras")
    classes = saving.classes(path) if len(generator.inputs) > 1 else None
    height, width, channels = data.shape
    return {
        "latentSize": generator.inputs[0].shape[-1],
        "height": height,
        "width": width,
        "channels": channels,
        "classes": list(data.classes),
        "conditional": generator.inputs[1].shape[-1] if len(generator.inputs) > 1 else 0,
        "attributes": classes.rows.astype(int).tolist() if classes and classes.attributes else None,
        "title": data.source["title"],
        "licence": data.source["licence"],
        "generator": artifacts.sha256(path),
        "images": model["best_images_seen"],
        "logistic": model["logistic"],
        "paired": model["paired"],
    }


def _timeline(workspace: Workspace) -> list[dict[str, Any]]:
    """The scores of the training, evenly spaced, the last included: the images seen, and the first samples in a row.

    The samples are pictures, of the seeds 0, 1, …: the weights of earlier checkpoints are not kept, and each would be
    as large as the generator.
    """
    images, pictures = artifacts.read_arrays(workspace.input("models/timeline.npz"), "images_seen", "pictures")
    scores = min(len(pictures), _SCORES)
    shown = sorted({len(pictures) - 1 - i * (len(pictures) - 1) // max(scores - 1, 1) for i in range(scores)})
    samples = max(1, min(pictures.shape[1], _TIMELINE_VALUES // (scores * math.prod(pictures.shape[2:]))))
    return [{"images": int(images[score]), "count": samples, "png": _row(pictures[score, :samples])} for score in shown]


def _row(samples: np.ndarray) -> str:
    """Samples uint8 NHWC, side by side without gaps, as the address of a PNG."""
    file = io.BytesIO()
    png.save_png(np.concatenate(list(samples), 1), file, 1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
