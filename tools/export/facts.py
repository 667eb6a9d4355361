"""What a user of an exported generator has to know: its inputs and outputs, the images' preparation, the licence."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages import artifacts
from stages.errors import StageError

FILE = "metadata.json"
"""The name of the facts in the folder, and in each file that can hold another one."""
_CHANNELS = {1: "gray", 3: "red, green, blue", 4: "red, green, blue, alpha (straight)"}
_LICENCE_KEYS = ("license", "license_name", "license_link")


@dataclass(frozen=True)
class Card:
    """The model card of the report stage: its YAML front matter, and the Markdown below it."""

    front: dict[str, Any]
    body: str


def read_card(path: Path, generator: Path) -> Card:
    """Read reports/model_card.md. Raises StageError if it is missing, damaged or describes another generator."""
    if not path.exists():
        raise artifacts.missing(path)
    match = re.match(r"---\n(.*?\n)---\n(.*)", path.read_text(encoding="utf-8"), re.DOTALL)
    try:
        front = yaml.safe_load(match[1]) if match else None
        described = front["provenance"]["generator_sha256"] if front else ""
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise artifacts.damaged(path, f"its front matter: {str(error).splitlines()[0]}") from None
    if match is None or described != artifacts.sha256(generator):
        raise StageError(f"{path}: describes another generator than {generator}; run `dvc repro report`")
    return Card(dict(front or {}), match[2])


def facts(
    card: Card,
    inputs: dict[str, int],
    image: tuple[int, int, int],
    classes: list[str],
    attributes: list[str],
) -> dict[str, Any]:
    """The facts as JSON values.

    - `inputs`: the name and the length of each input: `z`, and `class_` if the generator is conditional.
    - `image`: the height, width and channels of its images.
    - `classes`: the names of the classes, in their order; empty if they are unknown.
    - `attributes`: the names of the attributes, if `class_` has their values instead of the classes; else empty.
    """
    provenance = card.front["provenance"]
    meanings = {
        "z": "independent numbers from N(0, 1). Those of seed s are numpy.random.default_rng(s).standard_normal("
        f"{inputs['z']}, numpy.float32)",
        "class_": "1 at the class's number, else 0; shares of 1 blend classes. Its name in generator.keras is class",
    }
    named = {"classes": classes}
    if attributes:
        meanings["class_"] = (
            "1 for each of the attributes that the image has, else 0; values between blend. Its name in "
            "generator.keras is class"
        )
        named = {"attributes": attributes}
    return {
        "title": card.front["model-index"][0]["name"],
        **{name: card.front[name] for name in _LICENCE_KEYS if name in card.front},
        "inputs": {
            name: {
                "shape": ["N", length],
                "dtype": "float32",
                "meaning": meanings.get(name, ""),
                **(named if name == "class_" and classes else {}),
            }
            for name, length in inputs.items()
        },
        "outputs": {
            "image": {
                "shape": ["N", *image],
                "dtype": "float32",
                "range": [-1, 1],
                "channels": _CHANNELS[image[2]],
                "meaning": "rows from the top, columns from the left, channels. The value of 8 bits of x is "
                "round((x + 1) * 127.5)",
            }
        },
        "preparation": provenance.get("preparation", {}),
        "data": provenance["data"],
        "generator_sha256": provenance["generator_sha256"],
    }
