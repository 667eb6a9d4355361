"""The pixels of intact files: the policy for each format."""

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.photos import photo
from stages.prepare.decode import decode
from stages.prepare.settings import Settings
from tests.image_files import (
    BACKGROUND,
    COLOUR,
    GRAY,
    ON_COLOUR,
    PLAIN,
    SEVERAL,
    by_opencv,
    chunk,
    file,
    image,
    opened,
    png,
    rejection,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about damaged EXIF blocks and large sizes


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 97}, {"optimize": True}])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(178, 218), (33, 17), (1, 1), (8, 300)])
def test_a_colour_jpeg_has_the_pixels_of_opencv_and_of_pillow(
    size: tuple[int, int], subsampling: int, options: dict[str, Any]
) -> None:
    data = file(opened(photo(1)).resize(size), "JPEG", subsampling=subsampling, **options)
    result = decode(data, PLAIN)
    assert np.array_equal(result, np.asarray(opened(data)))
    assert np.array_equal(result, by_opencv(data, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_gray_jpeg_has_one_channel_and_the_pixels_of_opencv_and_of_pillow(options: dict[str, Any]) -> None:
    data = file(opened(photo(2)).convert("L"), "JPEG", **options)
    result = decode(data, PLAIN)
    assert result.shape == (218, 178, 1)
    assert np.array_equal(result[..., 0], np.asarray(opened(data)))
    assert np.array_equal(result[..., 0], by_opencv(data, cv2.IMREAD_GRAYSCALE))


def test_a_jpeg_stored_as_rgb_keeps_its_colours() -> None:
    data = file(Image.new("RGB", (16, 16), (200, 30, 90)), "JPEG", keep_rgb=True, quality=100, subsampling=0)
    assert np.ptp(decode(data, PLAIN), axis=(0, 1)).tolist() == [0, 0, 0]
    assert decode(data, PLAIN)[0, 0] == pytest.approx([200, 30, 90], abs=1)


def test_a_cmyk_jpeg_becomes_rgb_as_pillow_does_it() -> None:
    data = file(image(COLOUR).convert("CMYK"), "JPEG")
    assert opened(data).mode == "CMYK"
    assert np.array_equal(decode(data, PLAIN), np.asarray(opened(data).convert("RGB")))


def test_cmyk_becomes_rgb_by_the_product_of_the_missing_inks() -> None:
    cmyk = Image.new("CMYK", (1, 1), (51, 102, 153, 85))
    left = [(255 - ink) * (255 - 85) / 255 for ink in (51, 102, 153)]
    assert decode(file(cmyk, "TIFF"), PLAIN)[0, 0] == pytest.approx(left, abs=1)


@pytest.mark.parametrize("pixels", [COLOUR, GRAY], ids=["colour", "gray"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM"])
def test_a_lossless_file_keeps_its_pixels(format: str, pixels: np.ndarray) -> None:
    result = decode(file(image(pixels), format), PLAIN)
    assert result.dtype == np.uint8
    assert np.array_equal(result, pixels)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_tiff_keeps_its_pixels(compression: str) -> None:
    assert np.array_equal(decode(file(image(COLOUR), "TIFF", compression=compression), PLAIN), COLOUR)


def test_a_lossless_webp_keeps_its_pixels() -> None:
    assert np.array_equal(decode(file(image(COLOUR), "WEBP", lossless=True), PLAIN), COLOUR)


def test_a_lossy_webp_has_the_pixels_of_pillow() -> None:
    data = file(image(COLOUR), "WEBP")
    assert np.array_equal(decode(data, PLAIN), np.asarray(opened(data)))


def test_a_gif_keeps_its_colours_if_they_are_few() -> None:
    few = np.array([[[1, 2, 3], [250, 0, 9]], [[0, 0, 255], [1, 2, 3]]], np.uint8)
    assert np.array_equal(decode(file(image(few), "GIF"), PLAIN), few)


def test_a_palette_is_resolved() -> None:
    paletted = image(COLOUR).quantize(16)
    assert np.array_equal(decode(file(paletted, "PNG"), PLAIN), np.asarray(paletted.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_is_the_background(format: str) -> None:
    paletted = Image.new("P", (2, 1))
    paletted.putpalette([255, 0, 0, 0, 0, 255])
    paletted.putpixel((1, 0), 1)
    result = decode(file(paletted, format, transparency=1), ON_COLOUR)
    assert result.tolist() == [[[255, 0, 0], list(BACKGROUND)]]


def test_a_palette_with_half_transparent_colours_is_composited() -> None:
    paletted = Image.new("P", (1, 1))
    paletted.putpalette([110, 200, 0])
    result = decode(file(paletted, "PNG", transparency=bytes([128])), ON_COLOUR)
    assert result[0, 0] == pytest.approx([60, 150, 100], abs=1)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("alpha", "expected"), [(0, BACKGROUND), (255, (250, 60, 20)), (128, (130, 80, 110))])
def test_rgba_is_composited_on_the_background(alpha: int, expected: tuple[int, ...], format: str) -> None:
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    data = file(Image.new("RGBA", (3, 2), (250, 60, 20, alpha)), format, **options)
    result = decode(data, ON_COLOUR)
    assert result.shape == (2, 3, 3)
    assert result[1, 2] == pytest.approx(list(expected), abs=1)


TRANSPARENT = {
    "rgba": (file(Image.new("RGBA", (3, 2), (250, 60, 20, 128)), "PNG"), [250, 60, 20, 128]),
    "rgba, nothing visible": (file(Image.new("RGBA", (3, 2), (250, 60, 20, 0)), "PNG"), [250, 60, 20, 0]),
    "webp": (file(Image.new("RGBA", (3, 2), (9, 60, 20, 7)), "WEBP", lossless=True, exact=True), [9, 60, 20, 7]),
    "tiff": (file(Image.new("RGBA", (3, 2), (250, 60, 20, 128)), "TIFF"), [250, 60, 20, 128]),
    "gray and alpha": (file(Image.new("LA", (3, 2), (250, 128)), "PNG"), [250, 250, 250, 128]),
    "gif": (file(Image.new("P", (3, 2)), "GIF", transparency=0), [0, 0, 0, 0]),
    "palette": (file(Image.new("P", (3, 2)), "PNG", transparency=bytes([99])), [0, 0, 0, 99]),
    "transparent gray": (png(1, 1, 16, 0, b"\0\1\7", chunk(b"tRNS", b"\1\7")), [1, 1, 1, 0]),
    "transparent colour": (png(1, 1, 8, 2, b"\0\4\5\6", chunk(b"tRNS", struct.pack(">3H", 4, 5, 6))), [4, 5, 6, 0]),
    "wide rgba": (png(1, 1, 16, 6, b"\0" + bytes([1, 2, 3, 4, 5, 6, 128, 255])), [1, 3, 5, 128]),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_with_4_channels_a_picture_keeps_its_alpha_and_no_background_is_applied(name: str) -> None:
    data, expected = TRANSPARENT[name]
    result = decode(data, Settings(channels=4, background=BACKGROUND))
    assert result.shape[2] == 4
    assert result[-1, -1].tolist() == expected


@pytest.mark.parametrize("picture", [image(COLOUR), image(GRAY), image(COLOUR).convert("CMYK")], ids=lambda p: p.mode)
def test_with_4_channels_an_opaque_picture_is_decoded_as_with_3(picture: Image.Image) -> None:
    for format in ("JPEG", "TIFF"):
        data = file(picture, format)
        assert np.array_equal(decode(data, Settings(channels=4)), decode(data, Settings(channels=3)))


def test_the_background_is_black_by_default() -> None:
    assert not decode(file(Image.new("RGBA", (3, 2), (250, 60, 20, 0)), "PNG"), PLAIN).any()


def test_gray_with_alpha_stays_gray_on_a_gray_background() -> None:
    result = decode(file(Image.new("LA", (3, 2), (250, 128)), "PNG"), Settings(background=(50, 50, 50)))
    assert result.shape == (2, 3, 1)
    assert result[0, 0, 0] == pytest.approx(150, abs=1)


def test_gray_with_alpha_becomes_colour_on_a_coloured_background() -> None:
    result = decode(file(Image.new("LA", (3, 2), (250, 128)), "PNG"), ON_COLOUR)
    assert result[0, 0] == pytest.approx([130, 175, 225], abs=1)


@pytest.mark.parametrize("name", SEVERAL)
def test_the_first_of_several_frames_is_used(name: str) -> None:
    result = decode(SEVERAL[name], PLAIN)
    assert result.shape == (7, 9, 3)
    assert (result == [255, 0, 0]).all()


@pytest.mark.parametrize("name", ["gif", "apng", "webp", "tiff"])
def test_a_file_with_several_frames_is_rejected_if_the_setting_says_so(name: str) -> None:
    assert rejection(SEVERAL[name], Settings(animated="reject")) == ("animated", 9, 7)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "JPEG"])
def test_a_file_with_one_frame_is_not_animated(format: str) -> None:
    assert decode(file(image(COLOUR), format), Settings(animated="reject")).shape == (21, 34, 3)
