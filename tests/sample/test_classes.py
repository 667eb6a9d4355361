"""Samples of a class, from the command line."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import png
from stages.classes import Classes
from stages.latent import Sampler
from stages.networks import saving
from stages.networks.generator import generator
from stages.networks.settings import GeneratorSettings
from tests.conftest import CLASSES, Project
from tools import whence


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An untrained conditional generator."""
    path = tmp_path / "models/g.keras"
    path.parent.mkdir()
    network = generator(16, 1, GeneratorSettings(channels=4, norm="none", initializer="he"), classes=4)
    saving.save(network, path, Classes(tuple(CLASSES), (0.25,) * 4))
    return path


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)[::2, ::2]


@pytest.mark.parametrize(
    ("options", "rows", "classes"),
    [
        ("--class stripes --seeds 0-2", [(3, [0, 1]), (3, [2])], ("stripes",)),
        ("--class stripes --class disc --seeds 4,5", [(3, [4, 5]), (0, [4, 5])], ("stripes", "disc")),
        ("--every-class --seeds 7", [(index, [7]) for index in range(4)], tuple(CLASSES)),
        ("--seeds 0-1", [(None, [0, 1])], ()),
    ],
)
def test_samples_of_a_class_from_the_command_line(
    tiny: Project,
    model: Path,
    tmp_path: Path,
    options: str,
    rows: list[tuple[int | None, list[int]]],
    classes: tuple[str, ...],
) -> None:
    out, sampler = tmp_path / "x.png", Sampler.load(model)
    result = tiny.run("sample", "--model", str(model), *shlex.split(options), "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert ("no --class: the seed decides the class, by the shares in the training data" in result.stderr) == (
        not classes
    )
    images = np.concatenate([sampler.images(seeds, index) for index, seeds in rows])
    expected = png.grid(images, len(rows[0][1]), rows=len(rows))
    assert np.array_equal(pixels_of(out), expected[..., 0])
    provenance = png.read(out).provenance
    assert provenance.classes == classes
    assert shlex.split(whence._sample_options(provenance)) == [
        *(word for name in classes for word in ("--class", name)),
        *("--scale", "2"),
    ]


def test_files_of_a_class_are_numbered_because_its_name_need_not_be_a_files_name(
    tiny: Project, model: Path, tmp_path: Path
) -> None:
    result = tiny.run(
        "sample", "--model", str(model), "--class", CLASSES[2], "--seeds", "0,1", "--out", f"{tmp_path}/p/"
    )
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == [
        *("class-002-seed-000000.png", "class-002-seed-000001.png")
    ]
    provenance = png.read(tmp_path / "p/class-002-seed-000001.png").provenance
    assert (provenance.classes, provenance.seeds) == ((CLASSES[2],), "1")


def test_a_class_that_the_model_does_not_have_is_an_error(tiny: Project, model: Path, tmp_path: Path) -> None:
    arguments = "--class", "stripe", "--seeds", "0", "--out", str(tmp_path / "x.png")
    result = tiny.run("sample", "--model", str(model), *arguments)
    assert result.returncode == 1
    assert (
        "error: --class: the model has no class 'stripe'; did you mean 'stripes'? It has disc, square" in result.stderr
    )
    result = tiny.run("sample", *arguments)
    assert "error: --class: models/generator.keras is not conditional, so it has no classes" in result.stderr
