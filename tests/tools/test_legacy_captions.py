"""tools/legacy_captions.py: pictures and model cards of commits before there were machine keys.

tests/legacy has the captions of the pictures and the model card that were committed in November 2026.
"""

import dataclasses
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages import png
from stages.png import Picture, Provenance
from tests.conftest import ROOT, git
from tests.git_project import commit
from tools import legacy_captions, model_card, whence

FOLDER = ROOT / "tests/legacy"
CAPTIONS = json.loads((FOLDER / "captions.json").read_text())
CARD = (FOLDER / "model_card.md").read_text()
GENERATOR = "f801a14d662f68dde92a4f6b0c937a3788f24cb4bdd6fc766ccb62ec472906ff"
MANIFEST = "fb9b5b14b84c38ca59a40b822b7a04e1d814073ad7c83cd6212b31fbf3c07432"
LOWEST = (
    "1003092,1000905,1004479,1004725,1007896,1000082,1000186,1001904,1004706,1007405,1000440,1002983,1009346,1004489,"
    "1009977,1004168"
)


def content(name: str) -> bytes:
    """A PNG of the size and with the captions of a committed picture."""
    text, file = PngInfo(), io.BytesIO()
    for keyword, value in CAPTIONS[name]["text"].items():
        text.add_itxt(keyword, value)
    Image.new("L", CAPTIONS[name]["size"]).save(file, format="PNG", pnginfo=text)
    return file.getvalue()


def keys(name: str) -> tuple[str, str, str, str]:
    """The stage, the seeds, the generator and the manifest that are read from a picture's captions."""
    provenance = legacy_captions.with_keys(png.decode(content(name)).provenance)
    return provenance.stage, provenance.seeds, provenance.generator_sha256, provenance.manifest_sha256


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("samples/grid.png", ("sample", "0-63", GENERATOR, "")),
        ("samples/real.png", ("sample", "", "", MANIFEST)),
        ("samples/nearest.png", ("sample", "", GENERATOR, MANIFEST)),
        ("samples/interpolation.png", ("sample", "", GENERATOR, "")),
        ("samples/arithmetic.png", ("sample", "", GENERATOR, "")),
        ("samples/timeline.png", ("sample", "", GENERATOR, "")),
        ("samples/timeline_animated.png", ("sample", "", GENERATOR, "")),
        ("evaluate/lowest.png", ("evaluate", LOWEST, GENERATOR, "")),
        ("data/contact_sheet.png", ("prepare", "", "", "")),
    ],
)
def test_the_captions_of_a_committed_picture_give_its_keys(name: str, expected: tuple[str, str, str, str]) -> None:
    assert keys(name) == expected


@pytest.mark.parametrize(
    ("description", "seeds"),
    [
        ("Samples of the seeds 0-3, 9, in this order", "0-3,9"),
        ("Sample of the seed 7", "7"),
        ("Sample of the place 7 (seed * scale; direction of the first layer: length)", "7"),
        ("Sample of the place 7*0.8;1:2 (seed * scale; direction of the first layer: length)", ""),
        ("Samples of the seeds 0 to 3 in order, z times 0.8, uncurated", ""),
        ("Samples of the seeds 0-99999999, in this order", ""),
        ("Samples of the seeds 0 to 3 in order, uncurated; rm x", ""),
    ],
)
def test_a_description_gives_seeds_only_if_they_alone_determine_the_picture(description: str, seeds: str) -> None:
    assert legacy_captions.with_keys(Provenance(description=description)).seeds == seeds


@pytest.mark.parametrize(
    ("seeds", "size", "params", "layout"),
    [
        ("0-2", (150, 102), {"scale": 3}, ("2x2", 3)),
        ("0-2", (228, 48), {"scale": 3}, ("1x3", 3)),
        ("0-2", (150, 102), {}, ("2x2", 3)),
        ("0-3", (150, 102), {"scale": 64}, ("2x2", 3)),
        ("0-4", (150, 102), {}, ("", 0)),
        ("0-2", (151, 102), {"scale": 3}, ("", 3)),
    ],
)
def test_the_layout_follows_from_the_sizes_of_the_picture_and_of_an_image(
    seeds: str, size: tuple[int, int], params: dict[str, int], layout: tuple[str, int]
) -> None:
    provenance = Provenance(seeds=seeds, params=params)
    provenance = legacy_captions.with_layout(Picture(b"", *size, provenance), provenance, (16, 24))
    assert (provenance.grid, provenance.scale) == layout


def test_without_the_size_of_an_image_the_scale_is_that_of_the_params() -> None:
    provenance = Provenance(seeds="0-2", params={"scale": 3})
    changed = legacy_captions.with_layout(Picture(b"", 150, 102, provenance), provenance, None)
    assert changed == dataclasses.replace(provenance, scale=3)


def test_the_facts_of_a_card_without_front_matter_are_read() -> None:
    assert model_card.facts(CARD) == {
        "data": "Fashion-MNIST, https://github.com/zalandoresearch/fashion-mnist. Licence: MIT. Xiao, Rasul, Vollgraf "
        "2017, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, arXiv:1708.07747.",
        "manifest": MANIFEST,
        "checkpoint": "179,712 of 240,000 images seen",
        "params": "presets/default.yaml",
        "environment": "TensorFlow 2.21.0, AMD EPYC, 2 cores; seed 0",
    }
    assert model_card.image_size(CARD) == (32, 32)


def test_whence_finds_a_committed_picture_with_its_commands(tmp_path: Path) -> None:
    (tmp_path / "reports/samples").mkdir(parents=True)
    (tmp_path / "reports/model_card.md").write_text(CARD)
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, subject="As in November")
    picture = tmp_path / "grid.png"
    picture.write_bytes(content("samples/grid.png"))
    text = "\n".join(whence.whence(tmp_path, picture, whence.read(picture)))
    assert "As in November\n    branch main\n" in text
    assert "checkpoint: 179,712 of 240,000 images seen\n" in text
    assert "python -m stages.sample --model generator.keras --seeds 0-63 --scale 2 --out again.png\n" in text
