"""A tiny playable page for tests: small untrained networks, with everything that the page can show."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.latent import directions
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.pixels import to_uint8
from stages.play import contents, packing

SIZE, CHANNELS, LATENT, CLASSES = 16, 1, 8, ("round", "square")


def tiny_generator(channels: int = CHANNELS, *, conditional: bool = False) -> keras.Model:
    """The generator of the page. The same weights every time."""
    settings = GeneratorSettings(latent_dim=LATENT, channels=4, initializer="he")
    return generator(SIZE, channels, settings, classes=len(CLASSES) if conditional else 0)


def payload(
    folder: Path, title: str = "Shapes", channels: int = CHANNELS, *, conditional: bool = False
) -> dict[str, Any]:
    """What the play stage packs, of untrained networks. `folder` is for the tables that the contents are read from."""
    g = tiny_generator(channels, conditional=conditional)
    kinds = len(CLASSES) if conditional else 0
    d = discriminator(SIZE, channels, DiscriminatorSettings(channels=4), classes=kinds)
    weights, labels = packing.Weights(), np.arange(12) % 2
    z = np.random.default_rng(0).standard_normal((12, LATENT), np.float32)
    pictures = np.asarray(g([z, np.eye(2, dtype=np.float32)[labels]] if conditional else z))
    (folder / "points.csv").write_text(
        "kind,class,x,y\n"
        + "".join(f"{kind},{CLASSES[i % 2]},{i},{i % 3}\n" for kind in ("real", "generated") for i in range(4))
    )
    (folder / "protocol.json").write_text(json.dumps({"first_seed": 1000}))
    row = contents.strip(to_uint8(pictures[:8]))
    return {
        "facts": {
            "latentSize": LATENT,
            "height": SIZE,
            "width": SIZE,
            "channels": channels,
            "classes": list(CLASSES),
            "conditional": kinds,
            "title": title,
            "licence": "not stated",
            "generator": "0" * 64,
            "images": 1000,
            "logistic": True,
            "paired": False,
        },
        "generator": packing.network(g, (LATENT,), weights, Path("generator.keras")),
        "discriminator": packing.network(d, (SIZE, SIZE, channels), weights, Path("discriminator.keras")),
        "weights": weights.base64(),
        "timeline": [
            {"images": images, "count": 8, "png": f"data:image/png;base64,{row['png']}"} for images in (0, 1000)
        ],
        "page": {
            "directions": [contents.encoded(vector) for vector in directions(g, contents.DIRECTIONS)],
            "start": None if conditional else [5, 3, 8, 1, 2],
            "real": {**contents.strip(to_uint8(pictures)), "labels": labels.tolist(), "split": "test"},
            "classes": None if conditional else contents.classes(CLASSES, LATENT, lambda z: (z[:, 0] > 0).astype(int)),
            "map": None if conditional else contents.judges_map(folder / "points.csv", folder / "protocol.json"),
        },
    }
