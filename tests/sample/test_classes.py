"""Samples of a class, from the command line."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import png
from stages.classes import Classes
from stages.latent import Sampler, latent
from stages.networks import saving
from stages.networks.generator import generator
from stages.networks.settings import GeneratorSettings
from stages.sample.command_line import parse_grid, parse_seeds
from tests.conftest import CLASSES, Project
from tools import whence

COMBINATIONS = "not red, not large", "not red, large", "red, not large"
ATTRIBUTES = Classes(COMBINATIONS, (0.25, 0.25, 0.5), ("red", "large"))


def saved(path: Path, classes: Classes) -> Path:
    """An untrained conditional generator."""
    settings = GeneratorSettings(channels=4, norm="none", initializer="he")
    network = generator(16, 1, settings, classes=classes.rows.shape[1], attributes=bool(classes.attributes))
    path.parent.mkdir(exist_ok=True)
    saving.save(network, path, classes)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A generator of classes."""
    return saved(tmp_path / "models/g.keras", Classes(tuple(CLASSES), (0.25,) * 4))


@pytest.fixture
def model_of_attributes(tmp_path: Path) -> Path:
    """A generator of attributes."""
    return saved(tmp_path / "models/a.keras", ATTRIBUTES)


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


@pytest.mark.parametrize(
    ("options", "rows", "names"),
    [
        ("--class red,large --seeds 0-2", [[1, 1]], ("red, large",)),
        (
            *("--class 'not large, red' --class 'large=0.25, not red' --seeds 4,5", [[1, 0], [0, 0.25]]),
            ("red, not large", "not red, large=0.25"),
        ),
        ("--every-class --seeds 7", [[0, 0], [0, 1], [1, 0]], COMBINATIONS),
        ("--class large --seeds 3-6", [[np.nan, 1]], ("large",)),
    ],
)
def test_samples_with_attributes_from_the_command_line(
    tiny: Project,
    model_of_attributes: Path,
    tmp_path: Path,
    options: str,
    rows: list[list[float]],
    names: tuple[str, ...],
) -> None:
    """An attribute that is not listed is that of the seed's class."""
    out, sampler, words = tmp_path / "x.png", Sampler.load(model_of_attributes), shlex.split(options)
    result = tiny.run("sample", "--model", str(model_of_attributes), *words, "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert ("the seed decides the attributes that --class does not list" in result.stderr) == (names == ("large",))
    seeds = parse_seeds(words[-1])
    own = ATTRIBUTES.vectors(ATTRIBUTES.of_seeds(seeds))
    weights = np.concatenate([np.where(np.isnan(row), own, row) for row in rows]).astype(np.float32)
    images = sampler(np.tile(latent(seeds, sampler.dimensions), (len(rows), 1)), weights)
    columns = len(seeds) if len(rows) > 1 else parse_grid(None, len(seeds))[1]
    assert np.array_equal(pixels_of(out), png.grid(images, columns)[..., 0])
    provenance = png.read(out).provenance
    assert provenance.classes == names
    again = tiny.run(
        *("sample", "--model", str(model_of_attributes), "--seeds", words[-1], "--out", str(tmp_path / "again.png")),
        *shlex.split(whence._sample_options(provenance)),
    )
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again.png").read_bytes() == out.read_bytes()


def test_files_with_attributes_are_named_by_their_values(
    tiny: Project, model_of_attributes: Path, tmp_path: Path
) -> None:
    options = "--class", "large=0.5", "--class", "red, not large", "--seeds", "0"
    result = tiny.run("sample", "--model", str(model_of_attributes), *options, "--out", f"{tmp_path}/p/")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == [
        *("attributes-1-0-seed-000000.png", "attributes-x-0.5-seed-000000.png")
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--class rad --seeds 0", "--class: the model has no attribute 'rad'; did you mean 'red'? It has red, large"),
        ("--class 'red, not red' --seeds 0", "--class: 'red, not red' lists red twice"),
        ("--class red --z z.npy", "--class: a file of z has no seed to decide the attributes; list each of red, large"),
    ],
)
def test_attributes_that_cannot_be_drawn_are_an_error(
    tiny: Project, model_of_attributes: Path, tmp_path: Path, options: str, message: str
) -> None:
    np.save(tmp_path / "z.npy", np.zeros((2, 100), np.float32))
    arguments = shlex.split(options.replace("z.npy", str(tmp_path / "z.npy")))
    result = tiny.run("sample", "--model", str(model_of_attributes), *arguments, "--out", str(tmp_path / "x.png"))
    assert result.returncode == 1
    assert f"error: {message}" in result.stderr
