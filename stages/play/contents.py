"""What the page shows besides the networks: directions of z, real images, classes, the judge's map, the timeline."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages import artifacts, pixels, records
from stages.latent import class_means, latent
from stages.manifest import Manifest

DIRECTIONS = 8
"""The number of directions of z that the page can move along."""
SEEDS = 1000
"""The judge classifies the samples of this many first seeds. The page looks there for the samples of a class."""
_MAX_REAL, _MIN_REAL = 48, 6
# A strip of pictures has at most this many pixels, so that the page stays small: about 200 KB of noise, less of images.
_STRIP_PIXELS = 200_000
# Base 36 writes the class of a seed as one character.
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def directions_of(vectors: np.ndarray) -> str:
    """Directions of z, (K, dimensions), as base64 of little-endian float32."""
    return base64.b64encode(vectors.astype("<f4").tobytes()).decode()


def strip(images: np.ndarray) -> dict[str, Any]:
    """uint8 images (N, H, W, C) as one PNG, side by side without gaps: its base64, and the number of images.

    PNG keeps the pixels exactly, and a browser decodes it without help.
    """
    picture = np.concatenate(list(images), axis=1)
    content = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(content, "PNG", optimize=True)
    return {"png": base64.b64encode(content.getvalue()).decode(), "count": len(images)}


def real_images(folder: Path, data: Manifest) -> dict[str, Any] | None:
    """The first held-out images (training images if there are none) as a strip; None if the shards are missing."""
    split = "test" if data.splits["test"].records else "train"
    height, width, _ = data.shape
    count = min(max(_STRIP_PIXELS // (height * width), _MIN_REAL), _MAX_REAL, data.splits[split].records)
    if not all((folder / shard.name).is_file() for shard in data.splits[split].shards):
        return None
    return {**strip(pixels.to_uint8(records.images_at(folder, data, split, range(count)))), "split": split}


def timeline(path: Path) -> dict[str, Any] | None:
    """The training's samples of fixed z: images seen (T,) and a strip with T rows; None before the first score."""
    seen, pictures = artifacts.read_arrays(path, "images_seen", "pictures")
    if not len(seen):
        return None
    height, width = pictures.shape[2:4]
    moments = _spread(len(seen), max(2, 4 * _STRIP_PIXELS // (8 * height * width)))
    shown = pictures[moments, : max(1, min(8, pictures.shape[1]))]
    rows = np.concatenate([np.concatenate(list(row), axis=1) for row in shown])
    return {**strip(rows[None]), "count": shown.shape[1], "seen": [int(seen[moment]) for moment in moments]}


def _spread(total: int, most: int) -> list[int]:
    """At most `most` of the numbers from 0 to total − 1, evenly spread, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, total - 1, min(total, most))})


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
    means = [
        None if np.isnan(mean).any() else directions_of(mean) for mean in class_means(z, found, len(names))
    ]
    return {"names": list(names), "seeds": "".join(_DIGITS[index] for index in found), "means": means}


def judges_map(points: Path, metrics: Path) -> dict[str, Any] | None:
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

    first_seed = json.loads(metrics.read_text(encoding="utf-8"))["protocol"]["first_seed"]
    return {"names": names, "first_seed": first_seed, "samples": kind("generated"), "real": kind("real")}
