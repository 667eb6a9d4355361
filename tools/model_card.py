"""The facts in a model card, from its YAML front matter (stages/report/front_matter.py)."""

import contextlib
import re
from typing import Any

import yaml

from tools import legacy_captions


def _provenance(card: str) -> dict[str, Any]:
    """The `provenance` section of the front matter; empty where the card has none."""
    match = re.match(r"---\n(.*?\n)---\n", card, re.DOTALL)
    front = None
    with contextlib.suppress(yaml.YAMLError):
        front = yaml.safe_load(match[1]) if match else None
    section = front.get("provenance") if isinstance(front, dict) else None
    return section if isinstance(section, dict) else {}


def facts(card: str) -> dict[str, str]:
    """The data, the checkpoint, the params and the environment of a run, as text by name; empty without a card."""
    provenance = _provenance(card)
    if not provenance:
        return legacy_captions.card_facts(card)
    texts = {
        "data": _sentences(provenance.get("data")),
        "manifest": provenance.get("manifest_sha256"),
        "checkpoint": _checkpoint(provenance.get("checkpoint")),
        "params": _params(provenance.get("preset"), provenance.get("params")),
        "seed": provenance.get("seed"),
        "environment": _pairs(provenance.get("environment")),
    }
    return {name: str(text) for name, text in texts.items() if text not in (None, "")}


def image_size(card: str) -> tuple[int, int] | None:
    """The (height, width) of the images; None where the card does not say."""
    match _provenance(card).get("shape"):
        case [int(height), int(width), int(_)]:
            return height, width
    return legacy_captions.card_image(card)


def _sentences(data: object) -> str:
    if not isinstance(data, dict):
        return ""
    name = ", ".join(str(data[key]) for key in ("title", "homepage") if data.get(key))
    licence, citation = data.get("licence"), data.get("citation")
    return f"{name}. Licence: {licence}." + (f" {citation}." if citation else "")


def _checkpoint(checkpoint: object) -> str:
    match checkpoint:
        case {"images_seen": int(best), "of": int(total)}:
            return f"{best:,} of {total:,} images seen"
    return ""


def _params(preset: object, params: object) -> str:
    differences = _pairs(params)
    if not preset:
        return differences
    return f"presets/{preset}.yaml" + (f", except {differences}" if differences else "")


def _pairs(values: object) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) if isinstance(values, dict) else ""
