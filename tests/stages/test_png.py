"""stages/png.py: grids, PNG files and their provenance; stages/pixels.py: bytes and floats."""

import base64
import dataclasses
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages import pixels, png
from stages.errors import StageError
from stages.png import Provenance


def test_to_uint8_rounds_and_clips() -> None:
    assert pixels.to_uint8(np.array([-2, -1, 0, 0.999, 1, 2])).tolist() == [0, 0, 128, 255, 255, 255]


def test_a_byte_survives_normalising_and_conversion_back() -> None:
    values = np.arange(256, dtype=np.float32)
    assert pixels.to_uint8(values / 127.5 - 1).tolist() == list(range(256))


def test_a_grid_is_filled_row_by_row_with_white_gaps() -> None:
    pictures = np.stack([np.full((2, 3, 1), value) for value in (-1.0, -0.5, 0.5)]).astype(np.float32)
    grid = png.grid(pictures, columns=2, gap=1)
    assert grid.shape == (5, 7, 1)
    assert (grid[:2, :3] == 0).all()
    assert (grid[:2, 4:] == 64).all()
    assert (grid[3:, :3] == 191).all()
    assert (grid[2] == 255).all()
    assert (grid[:, 3] == 255).all()
    assert (grid[3:, 4:] == 255).all(), "an empty place is white"


def test_a_grid_shows_images_with_alpha_on_a_checkerboard() -> None:
    images = np.full((2, 8, 12, 4), 1.0, np.float32)
    images[0] = -1, 0, 1, -1
    images[1, ..., 1] = -1
    images[1, :, :6, 3] = 0
    grid = png.grid(images, columns=2, gap=2)
    assert grid.shape == (8, 26, 3)
    assert (grid[:4, :4] == 255).all(), "transparent: the first square is white"
    assert (grid[:4, 4:8] == grid[4:, :4]).all() and (grid[4:, :4] == 204).all(), "its neighbours are gray"
    assert (grid[:, 20:] == [255, 0, 255]).all(), "opaque: the colour itself"
    assert grid[0, 14].tolist() == [255, 127, 255], "half of white shows through"


PROVENANCE = Provenance(
    description="seeds 0 → 3",
    source="generator.keras",
    params={"count": 4, "arithmetic": [["a", "b", "c"]]},
    stage="sample",
    seeds="0-3",
    generator_sha256="a" * 64,
    manifest_sha256="b" * 64,
    grid="2x2",
)


def test_a_png_holds_its_provenance(tmp_path: Path) -> None:
    png.save_png(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png", 3, PROVENANCE)
    assert png.read(tmp_path / "a.png").provenance == dataclasses.replace(PROVENANCE, scale=3)


def test_the_provenance_has_a_keyword_for_captions_and_keys(tmp_path: Path) -> None:
    png.save_png(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png", 3, PROVENANCE)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.info == {
            "Description": "seeds 0 → 3",
            "Source": "generator.keras",
            "Params": '{"count": 4, "arithmetic": [["a", "b", "c"]]}',
            "Stage": "sample",
            "Seeds": "0-3",
            "Generator-SHA256": "a" * 64,
            "Manifest-SHA256": "b" * 64,
            "Grid": "2x2",
            "Scale": "3",
        }


def test_a_png_without_provenance_has_no_text(tmp_path: Path) -> None:
    png.save_png(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png", 3)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.info == {}
    assert png.read(tmp_path / "a.png").provenance == Provenance()


def test_the_scale_in_the_provenance_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "_MAX_ENLARGED_PIXELS", 16 * 4)
    png.save_png(np.zeros((4, 4, 1), np.uint8), tmp_path / "a.png", 64, PROVENANCE)
    picture = png.read(tmp_path / "a.png")
    assert (picture.width, picture.provenance.scale) == (8, 2)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("Params", "no JSON"), ("Params", "[1]"), ("Params", "[" * 9999), ("Scale", "x"), ("Generator-SHA256", "\x1b[2J")],
)
def test_a_value_of_the_wrong_form_is_ignored(keyword: str, value: str) -> None:
    text, file = PngInfo(), io.BytesIO()
    text.add_itxt(keyword, value)
    Image.new("L", (4, 4)).save(file, format="PNG", pnginfo=text)
    assert png.decode(file.getvalue()).provenance == Provenance()


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_has_its_pixels_enlarged(tmp_path: Path, channels: int) -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    png.save_png(picture, tmp_path / "a.png", 3, PROVENANCE)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.size == (12, 12)
        assert np.array_equal(np.asarray(opened)[::3, ::3], picture)


def test_a_png_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        png.save_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), tmp_path / name, 3, PROVENANCE)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_address_of_a_picture_holds_the_file(tmp_path: Path) -> None:
    png.save_png(np.zeros((4, 6, 3), np.uint8), tmp_path / "a.png", 1)
    picture = png.read(tmp_path / "a.png")
    assert (picture.width, picture.height) == (6, 4)
    kind, encoded = picture.address.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(encoded) == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\nhalf"])
def test_bytes_that_are_not_a_png_are_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a PNG"):
        png.decode(content)


def test_a_missing_png_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"x\.png: missing"):
        png.read(tmp_path / "x.png")


@pytest.mark.parametrize(("count", "layout"), [(64, "8x8"), (3, "1x3"), (9, "2x8")])
def test_grid_layout_gives_the_layout_that_grid_draws(count: int, layout: str) -> None:
    assert png.grid_layout(count, 8) == layout
    rows, columns = map(int, layout.split("x"))
    assert png.grid(np.zeros((count, 2, 3, 1)), 8).shape == (rows * 4 - 2, columns * 5 - 2, 1)


def test_a_grid_with_a_fixed_number_of_rows_is_white_in_empty_places() -> None:
    grid = png.grid(np.zeros((2, 3, 3, 1), np.float32), columns=4, gap=1, rows=2)
    assert grid.shape == (7, 15, 1)
    assert (grid[:3, :7:4] == 128).all()
    assert (grid[:, 8:] == 255).all()
    assert (grid[4:] == 255).all()


@pytest.mark.parametrize("channels", [3, 4])
def test_an_animation_has_its_frames_and_their_durations(tmp_path: Path, channels: int) -> None:
    frames = [np.full((4, 6, channels), value, np.uint8) for value in (0, 100, 200)]
    png.save_animation(frames, tmp_path / "a.png", 2, [500, 500, 2000], PROVENANCE)
    with Image.open(tmp_path / "a.png") as opened:
        assert (opened.n_frames, opened.size, opened.info["loop"]) == (3, (12, 8), 0)  # type: ignore[attr-defined]
        for index, (value, duration) in enumerate(((0, 500), (100, 500), (200, 2000))):
            opened.seek(index)
            assert opened.info["duration"] == duration
            assert (np.asarray(opened.convert("RGBA"))[..., :channels] == value).all()


def test_an_animation_holds_its_provenance_and_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    frames = [np.full((4, 6, 3), value, np.uint8) for value in (0, 100)]
    for name in ("a.png", "b.png"):
        png.save_animation(frames, tmp_path / name, 2, [500, 500], PROVENANCE)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert png.read(tmp_path / "a.png").provenance == dataclasses.replace(PROVENANCE, scale=2)


def test_an_animation_of_one_frame_is_a_plain_png(tmp_path: Path) -> None:
    png.save_animation([np.zeros((4, 4, 1), np.uint8)], tmp_path / "a.png", 1, [100])
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.size == (4, 4)


def test_a_picture_larger_than_most_programs_open_is_rejected(tmp_path: Path) -> None:
    picture = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (9000, 10000, 1))
    with pytest.raises(StageError, match="a picture of 10,000 × 9,000 pixels is larger than most programs can open"):
        png.save_png(picture, tmp_path / "x.png", 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(512, 512, 1), (1024, 1024, 3), (32, 64, 1), (16, 5_600_000, 1)])
def test_max_rows_is_the_largest_number_of_rows_that_programs_open(shape: tuple[int, int, int]) -> None:
    rows = png.max_rows(shape, 8)
    height, width = ((count * (side + 2) - 2) for count, side in zip((rows, 8), shape, strict=False))
    assert height * width <= png._MAX_OPENED_PIXELS or rows == 1
    assert (height + shape[0] + 2) * width > png._MAX_OPENED_PIXELS


def test_a_file_that_claims_a_huge_size_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    png.save_png(np.zeros((8, 8, 1), np.uint8), path, 1)
    content = bytearray(path.read_bytes())
    content[16:24] = (50_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(StageError, match=r"x\.png: damaged"):
        png.read(path)
