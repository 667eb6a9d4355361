"""Crop, fit and channels: shapes for any input, places where the definition puts them."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.prepare import geometry

sides = st.integers(1, 80)


def ramp(height: int, width: int, channels: int) -> np.ndarray:
    """A picture in which every pixel tells its place: (row, column) in the first two channels, or their mix."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, y + x], axis=-1)[..., :channels].astype(np.uint8)


@given(sides, sides, st.sampled_from([1, 3]), st.sampled_from([16, 32, 64]), st.sampled_from(["resize", "pad"]))
def test_fit_gives_the_square_that_was_asked_for(height: int, width: int, channels: int, size: int, how: str) -> None:
    result = geometry.fit(ramp(height, width, channels), size, how)
    assert result.shape == (size, size, channels)
    assert result.dtype == np.uint8


@given(sides, sides)
def test_the_square_crop_is_the_largest_and_centred(height: int, width: int) -> None:
    result = geometry.crop(ramp(height, width, 3), "square")
    side = min(height, width)
    assert result.shape == (side, side, 3)
    before = result[0, 0, 0], result[0, 0, 1]  # rows and columns cut off before it
    assert tuple(before) == ((height - side) // 2, (width - side) // 2)


def test_a_box_is_left_top_right_bottom_and_exclusive() -> None:
    result = geometry.crop(ramp(20, 30, 3), [4, 2, 10, 7])
    assert result.shape == (5, 6, 3)
    assert result[0, 0].tolist() == [2, 4, 6]
    assert result[-1, -1].tolist() == [6, 9, 15]


def test_a_box_beyond_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="does not lie within an image of 28×28"):
        geometry.crop(ramp(28, 28, 1), [0, 0, 29, 10])


def test_no_crop_and_the_same_size_change_nothing() -> None:
    image = ramp(32, 32, 1)
    assert np.array_equal(geometry.fit(geometry.crop(image, "none"), 32, "resize"), image)


def test_pad_keeps_the_pixels_and_centres_them() -> None:
    image = np.full((28, 20, 1), 200, np.uint8)
    result = geometry.fit(image, 32, "pad")
    assert np.array_equal(result[2:30, 6:26], image)
    assert result.sum() == image.sum(), "the rest is black"


def test_pad_shrinks_what_is_larger_and_keeps_its_proportions() -> None:
    result = geometry.fit(np.full((64, 128, 1), 200, np.uint8), 32, "pad")
    assert (result > 0).any(axis=1).sum() == 16
    assert (result > 0).any(axis=0).sum() == 32


def test_an_axis_that_shrinks_is_averaged_though_the_other_grows() -> None:
    image = np.zeros((128, 16, 1), np.uint8)
    image[::4] = 200  # a quarter of the rows
    assert (geometry.fit(image, 32, "resize") == 50).all()


def test_shrinking_averages_over_the_area() -> None:
    image = np.zeros((64, 64, 1), np.uint8)
    image[::2, ::2] = 200  # a pattern that point sampling would see as all or nothing
    assert (geometry.fit(image, 32, "resize") == 50).all()


@pytest.mark.parametrize(("height", "width", "size"), [(28, 28, 32), (108, 108, 64), (20, 70, 32)])
def test_the_filters_do_not_depend_on_the_processors_fast_paths(height: int, width: int, size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    fast = geometry.fit(image, size, "resize")
    cv2.setUseOptimized(False)
    try:
        plain = geometry.fit(image, size, "resize")
    finally:
        cv2.setUseOptimized(True)
    assert np.array_equal(fast, plain)


def test_channels_by_repeating_and_by_luma() -> None:
    gray = np.array([[[10], [200]]], np.uint8)
    assert geometry.to_channels(gray, 3).tolist() == [[[10] * 3, [200] * 3]]
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [7, 7, 7]]], np.uint8)
    assert geometry.to_channels(colours, 1)[0, :, 0].tolist() == [76, 150, 29, 7]
