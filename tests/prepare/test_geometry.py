"""Crop, fit and channels: the shape for any input, and the position of the pixels."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.photos import photo
from stages import sizes
from stages.prepare import geometry
from stages.prepare.settings import CELEBA_CROPS
from stages.sizes import Size
from tests.conftest import ROOT

sides = st.integers(1, 80)
SIZES: list[Size] = [16, 32, 28, 48, (64, 28), (16, 96)]
FILTERS = ["area", "bilinear", "bicubic", "lanczos"]
# A slow machine is not a failure.
patiently = settings(deadline=None)


def ramp(height: int, width: int, channels: int) -> np.ndarray:
    """A picture whose pixels encode their position: row, column and their sum, one per channel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, y + x], axis=-1)[..., :channels].astype(np.uint8)


@given(sides, sides)
def test_the_square_crop_is_the_largest_and_centred(height: int, width: int) -> None:
    result = geometry.crop(ramp(height, width, 3), "square")
    side = min(height, width)
    assert result.shape == (side, side, 3)
    before = result[0, 0, 0], result[0, 0, 1]  # the number of rows and columns cut off before it
    assert tuple(before) == ((height - side) // 2, (width - side) // 2)


def test_a_box_is_left_top_right_bottom_and_exclusive() -> None:
    result = geometry.crop(ramp(20, 30, 3), [4, 2, 10, 7])
    assert result.shape == (5, 6, 3)
    assert result[0, 0].tolist() == [2, 4, 6]
    assert result[-1, -1].tolist() == [6, 9, 15]


def test_a_box_outside_the_image_is_an_error() -> None:
    with pytest.raises(geometry.OutsideImageError):
        geometry.crop(ramp(28, 28, 1), [0, 0, 29, 10])


def test_no_crop_and_the_same_size_change_nothing() -> None:
    image = ramp(32, 32, 1)
    assert np.array_equal(geometry.fit(geometry.crop(image, "none"), 32, "resize"), image)


def test_pad_keeps_the_pixels_and_centres_them() -> None:
    image = np.full((28, 20, 1), 200, np.uint8)
    result = geometry.fit(image, 32, "pad")
    assert np.array_equal(result[2:30, 6:26], image)
    assert result.sum() == image.sum(), "the rest is black"


def test_pad_shrinks_a_larger_image_and_keeps_its_proportions() -> None:
    result = geometry.fit(np.full((64, 128, 1), 200, np.uint8), 32, "pad")
    assert (result > 0).any(axis=1).sum() == 16
    assert (result > 0).any(axis=0).sum() == 32


def test_a_shrinking_axis_is_averaged_even_if_the_other_one_grows() -> None:
    image = np.zeros((128, 16, 1), np.uint8)
    image[::4] = 200  # a quarter of the rows
    assert (geometry.fit(image, 32, "resize") == 50).all()


def test_shrinking_averages_over_the_area() -> None:
    image = np.zeros((64, 64, 1), np.uint8)
    image[::2, ::2] = 200  # a pattern that point sampling would turn into all or nothing
    assert (geometry.fit(image, 32, "resize") == 50).all()


@pytest.mark.parametrize(("height", "width", "size"), [(28, 28, 32), (108, 108, 64), (20, 70, 32)])
def test_the_filters_do_not_depend_on_processor_specific_code(height: int, width: int, size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    fast = geometry.fit(image, size, "resize")
    cv2.setUseOptimized(False)
    try:
        plain = geometry.fit(image, size, "resize")
    finally:
        cv2.setUseOptimized(True)
    assert np.array_equal(fast, plain)


def test_gray_is_repeated_and_colour_becomes_luma() -> None:
    gray = np.array([[[10], [200]]], np.uint8)
    assert geometry.to_channels(gray, 3).tolist() == [[[10] * 3, [200] * 3]]
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [7, 7, 7]]], np.uint8)
    assert geometry.to_channels(colours, 1)[0, :, 0].tolist() == [76, 150, 29, 7]


def test_an_image_without_alpha_becomes_opaque_and_invisible_colours_become_black() -> None:
    assert geometry.to_channels(np.array([[[10]]], np.uint8), 4).tolist() == [[[10, 10, 10, 255]]]
    assert geometry.to_channels(np.array([[[1, 2, 3]]], np.uint8), 4).tolist() == [[[1, 2, 3, 255]]]
    transparent = np.array([[[1, 2, 3, 0], [1, 2, 3, 1]]], np.uint8)
    assert geometry.to_channels(transparent, 4).tolist() == [[[0, 0, 0, 0], [1, 2, 3, 1]]]


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("side", [20, 60, 128])
def test_the_colours_of_transparent_pixels_do_not_bleed_into_their_neighbours(side: int, resample: str) -> None:
    image = np.zeros((side, side, 4), np.uint8)
    image[:, : side // 2] = 200, 100, 50, 255
    image[:, side // 2 :] = 0, 255, 0, 0
    result = geometry.fit(image, (28, 48), "resize", resample).astype(int)
    visible = result[..., 3] > 20
    assert abs(result[visible][:, :3] - [200, 100, 50]).max() < 25, (
        "no more than a sharp filter rings; green would add 78"
    )
    assert 0.4 < visible.mean() < 0.6


def test_padding_is_transparent_with_alpha() -> None:
    image = np.full((16, 16, 4), 255, np.uint8)
    result = geometry.fit(image, (16, 32), "pad", "area", (10, 100, 200))
    assert not result[:, [0, 7, 24, 31]].any()
    assert (result[:, 8:24] == 255).all()


def positions(height: int, width: int, channels: int) -> np.ndarray:
    """A picture of up to 4096 × 4096 whose three channels encode the position of every pixel; or only the first."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y % 256, x % 256, y // 256 * 16 + x // 256], axis=-1)[..., :channels].astype(np.uint8)


def position_of(pixel: np.ndarray) -> tuple[int, int]:
    """The row and column of a pixel of `positions`."""
    low_y, low_x, high = (int(value) for value in pixel)
    return high // 16 * 256 + low_y, high % 16 * 256 + low_x


@st.composite
def crops(draw: st.DrawFn) -> tuple[int, int, str | list[int]]:
    """The height and width of an image, and a crop inside it."""
    kind = draw(st.sampled_from(["none", "square", "box", "celeba"]))
    if kind == "celeba":
        return 218, 178, draw(st.sampled_from(sorted(CELEBA_CROPS)))
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    if kind != "box":
        return height, width, kind
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return height, width, [left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))]


@patiently
@given(crops())
def test_a_crop_begins_and_ends_at_its_defined_position(case: tuple[int, int, str | list[int]]) -> None:
    height, width, how = case
    result = geometry.crop(positions(height, width, 3), how)
    side = min(height, width)
    margins = (width - side) // 2, (height - side) // 2
    named = {"none": (0, 0, width, height), "square": (*margins, margins[0] + side, margins[1] + side), **CELEBA_CROPS}
    left, top, right, bottom = named[how] if isinstance(how, str) else how
    assert position_of(result[0, 0]) == (top, left)
    assert position_of(result[-1, -1]) == (bottom - 1, right - 1)


@patiently
@given(
    crops(),
    st.sampled_from([1, 3, 4]),
    st.sampled_from(SIZES),
    st.sampled_from(["resize", "pad"]),
    st.sampled_from(FILTERS),
)
def test_any_image_crop_and_filter_give_the_requested_size(
    case: tuple[int, int, str | list[int]], channels: int, size: Size, how: str, resample: str
) -> None:
    height, width, box = case
    image = geometry.to_channels(positions(height, width, min(channels, 3)), channels)
    result = geometry.fit(geometry.crop(image, box), size, how, resample, (1, 2, 3))
    assert result.shape == (*sizes.sides(size), channels)
    assert result.dtype == np.uint8


@patiently
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 255), st.sampled_from(FILTERS))
def test_one_colour_stays_that_colour(height: int, width: int, value: int, resample: str) -> None:
    image = np.full((height, width, 3), (value, 255 - value, 7), np.uint8)
    assert (geometry.fit(image, (28, 48), "resize", resample) == [value, 255 - value, 7]).all()


@patiently
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(SIZES), st.sampled_from(FILTERS))
def test_padding_centres_the_shrunk_image_on_the_background(height: int, width: int, size: Size, resample: str) -> None:
    result = geometry.fit(np.full((height, width, 3), 200, np.uint8), size, "pad", resample, (10, 20, 30))
    rows, columns = sizes.sides(size)
    shrink = max(1.0, height / rows, width / columns)
    inside = (result == 200).all(axis=2)
    assert (inside | (result == [10, 20, 30]).all(axis=2)).all(), "either image or background, nothing in between"
    for axis, side, whole in ((1, height, rows), (0, width, columns)):
        filled = np.flatnonzero(inside.any(axis=axis))
        assert len(filled) == pytest.approx(max(1, side / shrink), abs=0.5)
        assert filled[0] == (whole - len(filled)) // 2, "an odd pixel goes to the right or the bottom"
    assert inside.sum() == inside.any(axis=0).sum() * inside.any(axis=1).sum()


@pytest.mark.parametrize(("channels", "expected"), [(3, [10, 100, 200]), (1, [84])])
def test_padding_has_the_background_in_the_channels_of_the_image(channels: int, expected: list[int]) -> None:
    result = geometry.fit(np.zeros((8, 8, channels), np.uint8), 16, "pad", "area", (10, 100, 200))
    assert result[0, 0].tolist() == expected


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("how", ["resize", "pad"])
def test_no_filter_changes_an_image_of_the_right_size(how: str, resample: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(geometry.fit(image, 32, how, resample), image)


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width", "size"), [(256, 256, 64), (218, 178, 64), (150, 131, 32), (300, 299, 16)])
def test_a_fine_checkerboard_becomes_uniform_gray(
    height: int, width: int, size: int, channels: int, resample: str
) -> None:
    y, x = np.mgrid[:height, :width]
    image = np.repeat(((y + x) % 2 * 255).astype(np.uint8)[..., None], channels, axis=2)
    result = geometry.fit(image, size, "resize", resample)
    # At the edges, a filter's window is cut, so it may differ. A filter that picks points would give 0 and 255.
    assert abs(result.astype(int) - 127.5).max() < 32
    assert abs(result[2:-2, 2:-2].astype(int) - 127.5).max() < 10


@pytest.mark.parametrize("resample", FILTERS)
def test_fine_stripes_do_not_become_coarse_ones(resample: str) -> None:
    x = np.arange(300)
    image = np.tile((127.5 + 127.5 * np.cos(np.pi * 0.93 * x)).astype(np.uint8), (300, 1))[..., None]
    # Every fifth point alone would be a wave of the same strength.
    assert image[:, 2::5].std() > 80
    assert geometry.fit(image, 64, "resize", resample)[4:-4, 4:-4].std() < 9


@patiently
@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from([1, 3]), st.integers(0, 99))
def test_area_is_the_mean_of_each_block(down: int, across: int, channels: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (16 * down, 16 * across, channels), np.uint8)
    means = image.reshape(16, down, 16, across, channels).mean(axis=(1, 3))
    assert abs(geometry.fit(image, 16, "resize", "area") - means).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize(("height", "width"), [(218, 178), (90, 200), (20, 24), (200, 20)])
def test_a_resized_image_is_not_shifted(height: int, width: int, resample: str) -> None:
    y, x = np.mgrid[:height, :width]
    image = np.stack([y * 255 / (height - 1), x * 255 / (width - 1), 0 * y], axis=-1).round().astype(np.uint8)
    result = geometry.fit(image, 64, "resize", resample).astype(int)
    centres = (np.arange(64) + 0.5) / 64
    for axis, side in ((0, height), (1, width)):
        expected = (centres * side - 0.5) * 255 / (side - 1)
        values = result[:, 32, 0] if axis == 0 else result[32, :, 1]
        assert abs(values - expected)[4:-4].max() < 1.5, "a shift of half a pixel would be larger"


@pytest.mark.parametrize("name", CELEBA_CROPS)
def test_a_crop_of_celeba_is_a_square_inside_its_images(name: str) -> None:
    left, top, right, bottom = CELEBA_CROPS[name]
    assert 0 <= left < right <= 178
    assert 0 <= top < bottom <= 218
    assert right - left == bottom - top == int(name.removeprefix("celeba_"))


@pytest.mark.parametrize("name", CELEBA_CROPS)
@pytest.mark.parametrize("cut", [(1, 0), (0, 1)])
def test_a_crop_of_celeba_is_outside_a_smaller_image(name: str, cut: tuple[int, int]) -> None:
    _, _, right, bottom = CELEBA_CROPS[name]
    assert geometry.crop(positions(bottom, right, 1), name).shape[0] == int(name.removeprefix("celeba_"))
    with pytest.raises(geometry.OutsideImageError):
        geometry.crop(positions(bottom - cut[0], right - cut[1], 1), name)


HASH = """
import hashlib, sys
from pathlib import Path
import cv2
from stages.prepare.decode import decode
from stages.prepare.settings import Settings
from stages.prepare.shards import prepare_image
print(cv2.getCPUFeaturesLine(), "IPP" if cv2.ipp.useIPP() else "no IPP", sep=", ")
files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
for resample in ("area", "bilinear", "bicubic", "lanczos"):
    for crop in ("none", "square", "celeba_108", [3, 5, 170, 200]):
        for size, channels, fit in ((32, 1, "resize"), (64, 3, "resize"), (128, 3, "pad"), ((96, 160), 4, "resize")):
            settings = Settings(crop=crop, size=size, channels=channels, fit=fit, resample=resample)
            digest = hashlib.sha256()
            for data in files:
                digest.update(prepare_image(decode(data, settings), settings).tobytes())
            print(resample, crop, size, channels, fit, digest.hexdigest())
"""


def test_the_bytes_do_not_depend_on_the_processor(tmp_path: Path) -> None:
    for seed in range(6):
        (tmp_path / f"{seed}.jpg").write_bytes(photo(seed))
    with Image.open(tmp_path / "0.jpg") as picture:
        picture.putalpha(picture.convert("L").rotate(90, expand=True).resize(picture.size))
        picture.save(tmp_path / "alpha.png")
    optional = re.findall(r"\*([\w.-]+)", cv2.getCPUFeaturesLine())  # OpenCV's code for particular processors
    disabled = {"OPENCV_IPP": "disabled", "OPENCV_CPU_DISABLE": ",".join([*optional, "FMA3"]), "JSIMD_FORCENONE": "1"}
    outputs = []
    for variables in ({}, disabled):
        result = subprocess.run(
            [sys.executable, "-c", HASH, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(result.stdout.splitlines())
    with_all, without = outputs[0].pop(0), outputs[1].pop(0)
    assert re.findall(r"\*([\w.-]+)(?= |,)", without) == [], "a disabled feature has a question mark after it"
    assert without.endswith(", no IPP")
    assert with_all != without or not optional, "the first run used more"
    assert len(outputs[0]) == 64
    assert outputs[0] == outputs[1]
