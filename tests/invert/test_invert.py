"""`python -m stages.invert`: from a picture to z, the files that it writes, and pictures that cannot be used."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import manifest, pixels, png, records
from stages.artifacts import sha256
from stages.errors import StageError
from stages.invert import command
from stages.invert.settings import Settings
from stages.manifest import Manifest
from tests.conftest import Project, draw
from tests.image_files import file, image


@pytest.fixture
def data(tiny: Project) -> Manifest:
    return manifest.read(tiny.folder / "data/prepared")


def test_a_picture_is_prepared_as_the_data_was(tiny: Project, data: Manifest, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0)  # the first training images, as tests/conftest.py draws them
    first = [draw(label, pictures) for label in range(4)]
    (of_data,) = [batch.numpy() for batch, _ in records.batches(tiny.folder / "data/prepared", data, "train", 320)]
    for number, picture in enumerate(first):
        path = tmp_path / f"{number}.png"
        path.write_bytes(file(image(picture[..., None]), "PNG"))
        assert (command.read(path, data) == of_data).all((1, 2, 3)).any()


def test_the_crop_and_the_colours_are_those_of_the_data(data: Manifest, tmp_path: Path) -> None:
    cropped = dataclasses.replace(data, params=data.params | {"crop": [2, 0, 18, 16], "labels": {"column": "a"}})
    red = np.zeros((16, 20, 3), np.uint8)
    red[..., 0] = np.arange(20) * 10
    (tmp_path / "red.png").write_bytes(file(image(red), "PNG"))
    gray = np.rint(red[:, 2:18, :1] * 0.299).astype(np.uint8)  # ITU-R BT.601
    np.testing.assert_allclose(command.read(tmp_path / "red.png", cropped), pixels.normalise(gray), atol=1 / 127)


def picture_file(folder: Path, name: str) -> Path:
    """A picture that cannot be used, by its problem."""
    good = file(Image.new("L", (20, 20), 99), "PNG")
    contents = {
        "empty.png": b"",
        "text.png": b"not a picture",
        "half.png": file(image(np.random.default_rng(0).integers(0, 256, (60, 60, 1), np.uint8)), "PNG")[:900],
        "small.png": good,
        "large.png": good,
        "raw.psd": b"8BPS" + bytes(100),
        "crop.png": good,
    }
    if name in contents:
        (folder / name).write_bytes(contents[name])
    return folder / name


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("missing.png", {}, "no such file; expected a picture"),
        ("", {}, "a folder; expected one picture"),
        ("empty.png", {}, "the file is empty; choose another picture"),
        ("text.png", {}, "not a picture; choose a PNG, a JPEG or another picture"),
        ("half.png", {}, "the end of the picture is missing; copy it again, or choose another one"),
        ("small.png", {"min_size": 64}, "20×20 pixels, less than prepare.min_size allows; choose a larger picture"),
        ("large.png", {"max_pixels": 9}, "20×20 pixels, more than prepare.max_pixels allows; make the picture smaller"),
        ("raw.psd", {}, "PSD; convert it to PNG or JPEG"),
        ("crop.png", {"crop": "celeba_108"}, "20×20 pixels, smaller than prepare.crop needs; choose a picture like"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named_with_a_remedy(
    name: str, params: dict[str, object], message: str, data: Manifest, tmp_path: Path
) -> None:
    path = picture_file(tmp_path, name)
    with pytest.raises(StageError) as error:
        command.read(path, dataclasses.replace(data, params=data.params | params))
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "--seed: expected 0 to 1,048,575, got -1"),
        ({"steps": 0}, "--steps: expected 1 to 100,000, got 0"),
        ({"out": Path("x.jpg")}, "--out: x.jpg: expected a name that ends with .png"),
    ],
)
def test_a_wrong_option_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(StageError, match=f"^{message}$"):
        Settings(Path("a.png"), **values)  # type: ignore[arg-type]


def test_a_difference_is_gray_where_there_is_none() -> None:
    one, other = np.full((2, 2, 1), -1.0), np.full((2, 2, 1), 1.0)
    assert (command.difference(one, one) == 0).all()
    assert (command.difference(one, other) == 1).all()


def test_a_difference_of_invisible_pixels_is_gray_and_opaque() -> None:
    one, other = np.full((2, 2, 4), -1.0, np.float32), np.concatenate([np.ones((2, 2, 3)), -np.ones((2, 2, 1))], 2)
    shown = command.difference(one, other.astype(np.float32))
    assert pixels.to_uint8(shown[..., :3]).tolist() == np.full((2, 2, 3), 128).tolist()
    assert (shown[..., 3] == 1).all()


def test_the_files_show_the_sample_and_draw_it_again(tiny_copy: Project) -> None:
    folder, scale = tiny_copy.folder, 16
    assert tiny_copy.run("sample", "--seeds", "7", "--scale", "1", "--out", "seven.png").returncode == 0
    result = tiny_copy.run("invert", "seven.png", "--steps", "2", "--out", "found/x.png")
    assert result.returncode == 0, result.stderr
    assert "it is the sample of the seed 7\n" in result.stderr
    assert "python -m stages.sample --z found/x.npy --out again.png\n" in result.stderr
    assert sorted(path.name for path in (folder / "found").iterdir()) == ["x.npy", "x.png"]
    assert tiny_copy.run("sample", "--z", "found/x.npy", "--scale", "1", "--out", "again.png").returncode == 0
    seven, again, three = (
        np.asarray(Image.open(folder / name)).astype(int) for name in ("seven.png", "again.png", "found/x.png")
    )
    np.testing.assert_array_equal(again, seven)
    shown = three[::scale, ::scale]
    for place in range(2):
        np.testing.assert_array_equal(shown[:, 18 * place :][:, :16], seven)
    assert abs(shown[:, 36:] - 127.5).max() <= 1
    provenance = png.read(folder / "found/x.png").provenance
    assert (provenance.stage, provenance.seeds, provenance.params) == (
        "invert",
        "",
        {"seed": 0, "steps": 2, "restarts": 8},
    )
    assert provenance.generator_sha256 == sha256(folder / "models/generator.keras")
    assert provenance.manifest_sha256 == sha256(folder / "data/prepared/manifest.json")


def test_the_files_get_the_name_of_the_picture() -> None:
    settings = Settings(Path("pictures/my shoe.jpg"))
    assert (settings.image_file, settings.z_file) == (Path("my shoe-inverted.png"), Path("my shoe-inverted.npy"))
