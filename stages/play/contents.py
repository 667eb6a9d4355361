"""What the page shows besides the networks: directions of z, real images, classes, the judge's map."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from PIL import Image

from stages import artifacts, pixels, records
from stages.latent import Sampler, class_means, directions, latent
from stages.manifest import Manifest
from stages.networks import judge as judges
from stages.workspace import Workspace

DIRECTIONS = 8
"""The number of directions of z that the page can move along."""
SEEDS = 3000
"""The judge classifies the samples of this many first seeds. The page looks there for the samples of a class."""
# The page starts with those of so many first seeds that the discriminator finds most real.
_LOOKED_AT, _SHOWN_FIRST = 200, 12
_MAX_REAL, _MIN_REAL = 48, 6
# A strip of pictures has at most this many pixels, so that the page stays small: about 200 KB of noise, less of images.
_STRIP_PIXELS = 200_000
# Base 36 writes the class of a seed as one character.
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def contents(
    workspace: Workspace, data: Manifest, generator: keras.Model, discriminator: keras.Model
) -> dict[str, Any]:
    """The page's own data, as JSON: `directions`, and `start`, `real`, `classes` and `map`, each null without one.

    `start`, `classes` and `map` are for unconditional generators only: with a class, a seed gives several samples.
    """
    own = {
        "directions": [encoded(vector) for vector in directions(generator, DIRECTIONS)],
        "real": real_images(workspace.input("data/prepared"), data),
    }
    if len(generator.inputs) > 1:
        return {**own, "start": None, "classes": None, "map": None}
    sampler = Sampler(generator)
    judge = judges.load(workspace.input("models/features"), data)
    samples = sampler(latent(range(_LOOKED_AT), sampler.dimensions))
    outputs = np.asarray(discriminator(samples, training=False))[:, 0]
    kinds = judge(samples).classes if judge else np.zeros(_LOOKED_AT, np.int64)
    return {
        **own,
        "start": most_real(outputs, kinds, _SHOWN_FIRST),
        "classes": judge and classes(judge.names, sampler.dimensions, lambda z: judge(sampler(z)).classes),
        "map": judges_map(
            workspace.input("reports/evaluate/points.csv"), workspace.input("reports/evaluate/protocol.json")
        ),
    }


def most_real(outputs: np.ndarray, kinds: np.ndarray, count: int) -> list[int]:
    """The first pictures of the page: `count` seeds with high outputs (N,) of the discriminator, the highest first.

    At first one of each kind (N,), so that they differ; the page says so.
    """
    order = np.argsort(-outputs, kind="stable")
    _, firsts = np.unique(kinds[order], return_index=True)
    different = order[np.sort(firsts)]
    others = order[~np.isin(order, different)]
    return [int(seed) for seed in np.concatenate([different, others])[:count]]


def encoded(numbers: np.ndarray) -> str:
    """Numbers as base64 of little-endian float32."""
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode()


def strip(images: np.ndarray) -> dict[str, Any]:
    """uint8 images (N, H, W, C) as one PNG, side by side without gaps: its base64, and the number of images.

    PNG keeps the pixels exactly, and a browser decodes it without help.
    """
    picture = np.concatenate(list(images), axis=1)
    content = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(content, "PNG", optimize=True)
    return {"png": base64.b64encode(content.getvalue()).decode(), "count": len(images)}


def real_images(folder: Path, data: Manifest) -> dict[str, Any] | None:
    """The first held-out images (training images if there are none) as a strip; None if the shards are missing.

    `labels` are their classes, which a conditional discriminator asks for; it is empty without classes.
    """
    split = "test" if data.splits["test"].records else "train"
    height, width, _ = data.shape
    count = min(max(_STRIP_PIXELS // (height * width), _MIN_REAL), _MAX_REAL, data.splits[split].records)
    if not all((folder / shard.name).is_file() for shard in data.splits[split].shards):
        return None
    images, labels = records.at(folder, data, split, range(count))
    return {**strip(pixels.to_uint8(images)), "labels": labels.tolist() if data.classes else [], "split": split}


def classes(
    names: tuple[str, ...], dimensions: int, classify: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any] | None:
    """The judge's class of each of the first seeds, as one character each, and the mean z of each class.

    `classify` maps z (N, dimensions) to classes (N,). A class without samples has the mean null. None for more than 36
    classes, which one character cannot tell apart.
    """
    if not 2 <= len(names) <= len(_DIGITS):
        return None
    z = latent(range(SEEDS), dimensions)
    found = classify(z)
    means = [None if np.isnan(mean).any() else encoded(mean) for mean in class_means(z, found, len(names))]
    return {"names": list(names), "seeds": "".join(_DIGITS[index] for index in found), "means": means}


def judges_map(points: Path, protocol: Path) -> dict[str, Any] | None:
    """The plane of reports/evaluate/points.csv: samples with their seeds, and real images; None without features."""
    table = pd.read_csv(points, dtype={"kind": str, "class": str}, keep_default_na=False)
    if table.empty:
        return None
    names = sorted(set(table["class"]) - {""})
    number = {name: index for index, name in enumerate(names)}

    def kind(name: str) -> dict[str, Any]:
        rows = table[table["kind"] == name]
        return {
            "x": rows["x"].astype(float).round(1).tolist(),
            "y": rows["y"].astype(float).round(1).tolist(),
            "class": [number.get(value, -1) for value in rows["class"]],
        }

    first_seed = artifacts.read_json(protocol, "first_seed")["first_seed"]
    return {"names": names, "first_seed": first_seed, "samples": kind("generated"), "real": kind("real")}
