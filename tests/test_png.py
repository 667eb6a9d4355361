"""Pictures of pictures."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import pixels, png
from stages.errors import StageError


def test_to_bytes_rounds_and_clips() -> None:
    assert pixels.to_uint8(np.array([-2, -1, 0, 0.999, 1, 2])).tolist() == [0, 0, 128, 255, 255, 255]


def test_a_byte_survives_the_way_there_and_back() -> None:
    values = np.arange(256, dtype=np.float32)
    assert pixels.to_uint8(values / 127.5 - 1).tolist() == list(range(256))


def test_a_grid_is_row_by_row_with_white_between() -> None:
    pictures = np.stack([np.full((2, 3, 1), value) for value in (-1.0, -0.5, 0.5)]).astype(np.float32)
    grid = png.grid(pictures, columns=2, gap=1)
    assert grid.shape == (5, 7, 1)
    assert (grid[:2, :3] == 0).all()
    assert (grid[:2, 4:] == 64).all()
    assert (grid[3:, :3] == 191).all()
    assert (grid[2] == 255).all()
    assert (grid[:, 3] == 255).all()
    assert (grid[3:, 4:] == 255).all(), "an empty place is white"


def test_a_png_carries_its_facts_and_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    facts = {"Description": "seeds 0 → 3", "Source": "generator.keras"}
    for name in ("a.png", "b.png"):
        png.save_png(picture, tmp_path / name, 3, facts)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert png.read_facts(tmp_path / "a.png") == facts
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.size == (12, 12)
        assert np.array_equal(np.asarray(opened)[::3, ::3], picture)


def test_a_grid_of_so_many_rows_is_white_where_there_are_no_images() -> None:
    grid = png.grid(np.zeros((2, 3, 3, 1), np.float32), columns=4, gap=1, rows=2)
    assert grid.shape == (7, 15, 1)
    assert (grid[:3, :7:4] == 128).all()
    assert (grid[:, 8:] == 255).all()
    assert (grid[4:] == 255).all()


def test_an_animation_has_its_frames_their_times_and_its_facts_and_the_same_bytes(tmp_path: Path) -> None:
    frames = [np.full((4, 6, 3), value, np.uint8) for value in (0, 100, 200)]
    for name in ("a.png", "b.png"):
        png.save_animation(frames, tmp_path / name, 2, {"Description": "z → z"}, [500, 500, 2000])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert png.read_facts(tmp_path / "a.png")["Description"] == "z → z"
    with Image.open(tmp_path / "a.png") as opened:
        assert (opened.n_frames, opened.size, opened.info["loop"]) == (3, (12, 8), 0)  # type: ignore[attr-defined]
        for index, (value, duration) in enumerate(((0, 500), (100, 500), (200, 2000))):
            opened.seek(index)
            assert opened.info["duration"] == duration
            assert (np.asarray(opened.convert("RGB")) == value).all()


def test_an_animation_of_one_frame_is_a_picture(tmp_path: Path) -> None:
    png.save_animation([np.zeros((4, 4, 1), np.uint8)], tmp_path / "a.png", 1, {"Description": "x"}, [100])
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.size == (4, 4)


def test_a_picture_larger_than_programs_open_is_refused(tmp_path: Path) -> None:
    picture = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (9000, 10000, 1))
    with pytest.raises(StageError, match="a picture of 10,000 × 9,000 pixels is more than programs open"):
        png.save_png(picture, tmp_path / "x.png", 1, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(512, 512, 1), (1024, 1024, 3), (32, 64, 1), (16, 5_600_000, 1)])
def test_the_most_rows_are_what_programs_open_and_no_more(shape: tuple[int, int, int]) -> None:
    rows = png.most_rows(shape, 8)
    height, width = ((count * (side + 2) - 2) for count, side in zip((rows, 8), shape, strict=False))
    assert height * width <= png._MOST_PIXELS or rows == 1
    assert (height + shape[0] + 2) * width > png._MOST_PIXELS


def test_a_picture_that_is_said_to_be_huge_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    png.save_png(np.zeros((8, 8, 1), np.uint8), path, 1, {})
    content = bytearray(path.read_bytes())
    content[16:24] = (50_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(StageError, match=r"x\.png: damaged"):
        png.read_facts(path)
