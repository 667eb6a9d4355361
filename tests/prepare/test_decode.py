"""The decoder's policy for each format. Any bytes give an image or a reason, and never another error."""

import io
import itertools
import multiprocessing
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from benchmarks.photos import photo
from stages.prepare.decode import REASONS, RejectedError, decode
from stages.prepare.settings import Settings
from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about damaged EXIF blocks and large sizes
COLOUR = np.random.default_rng(0).integers(0, 256, (21, 34, 3), np.uint8)
GRAY = COLOUR[..., :1]
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "BMP": {}, "PPM": {}}
Case = tuple[str, bytes]


def image(pixels: np.ndarray) -> Image.Image:
    """Pillow's image of uint8 (H, W, 1 or more)."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def file(picture: Image.Image, format: str, **options: Any) -> bytes:
    """A picture as a file in memory."""
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """A file as Pillow opens it."""
    return Image.open(io.BytesIO(data))


def by_opencv(data: bytes, flags: int) -> np.ndarray:
    """A file as OpenCV decodes it."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by hand: `rows` with their filter bytes, `colour` 0 gray, 2 RGB, 4 and 6 with alpha."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", head, *extra, chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND", b"")))


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF by hand. Its one frame is cleared after display, which makes Pillow fill it when it opens the file."""
    return b"".join(
        (
            b"GIF89a" + struct.pack("<HH", *screen) + b"\xf0\0\0" + b"\0\0\0\xff\xff\xff",
            b"!\xf9\x04\x09\0\0\x01\0",
            b"," + struct.pack("<4H", 0, 0, *frame) + b"\0",
            b"\x02\x02\x4c\x01\0;",
        )
    )


def canvas_of_webp(width: int, height: int) -> bytes:
    """A WebP with a large canvas and a single frame of 16 × 16."""

    def u24(value: int) -> bytes:
        return struct.pack("<I", value)[:3]

    def block(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("<I", len(content)) + content

    inner = file(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    frame = u24(0) + u24(0) + u24(15) + u24(15) + u24(100) + b"\0" + inner
    canvas = bytes([2, 0, 0, 0]) + u24(width - 1) + u24(height - 1)
    return block(b"RIFF", b"WEBP" + block(b"VP8X", canvas) + block(b"ANIM", bytes(6)) + block(b"ANMF", frame))


def rejection(data: bytes, settings: Settings) -> tuple[str, int, int]:
    """The reason, width and height of a rejected file."""
    with pytest.raises(RejectedError) as caught:
        decode(data, settings)
    assert caught.value.reason in REASONS
    return caught.value.reason, caught.value.width, caught.value.height


PLAIN = Settings()
# A different value in each channel, to notice swapped channels.
BACKGROUND = (10, 100, 200)
ON_COLOUR = Settings(background=BACKGROUND)


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


def with_exif(pixels: np.ndarray, format: str, orientation: object, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file(image(pixels), format, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [COLOUR, GRAY], ids=["colour", "gray"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_exif_orientation_is_applied(format: str, pixels: np.ndarray, orientation: int) -> None:
    data = with_exif(pixels, format, orientation, **({"lossless": True} if format == "WEBP" else {}))
    expected = np.asarray(ImageOps.exif_transpose(opened(data)))
    expected = expected.reshape(*expected.shape[:2], -1)
    assert expected.shape[:2] == ((21, 34) if orientation < 5 else (34, 21))
    result = decode(data, PLAIN)
    assert result.flags.c_contiguous
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_first_row_and_column_are_where_the_standard_puts_them(orientation: int) -> None:
    # EXIF 2.32, tag 0x0112: at which sides of the upright picture the file's row 0 and column 0 are.
    sides = ["top left", "top right", "bottom right", "bottom left", "left top", "right top", "right bottom"]
    row, column = [*sides, "left bottom"][orientation - 1].split()
    pixels = np.zeros((4, 6, 1), np.uint8)
    pixels[0] += 100
    pixels[:, 0] += 50
    upright = decode(with_exif(pixels, "PNG", orientation), PLAIN)[..., 0]
    edges = {"top": upright[0], "bottom": upright[-1], "left": upright[:, 0], "right": upright[:, -1]}
    assert (edges[row] >= 100).all()
    assert (edges[column] % 100 == 50).all()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_an_invalid_orientation_changes_nothing(format: str, orientation: int) -> None:
    plain = decode(file(image(COLOUR), format), PLAIN)
    assert np.array_equal(decode(with_exif(COLOUR, format, orientation), PLAIN), plain)


@pytest.mark.parametrize("exif", [b"garbage!" * 5, b"MM\0*\0\0", b"II*\0\xff\xff\xff\xff", b""])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_with_a_damaged_exif_block_is_kept(format: str, exif: bytes) -> None:
    block = {"PNG": exif, "WEBP": exif, "JPEG": b"Exif\0\0" + exif}[format]
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    plain = decode(file(image(COLOUR), format, **options), PLAIN)
    assert np.array_equal(decode(file(image(COLOUR), format, exif=block, **options), PLAIN), plain)


HEADS = {
    "a comment with the marker of a scan": b"\xff\xfe\x00\x06\xff\xda\x00\x02",
    "a comment with the word Exif": b"\xff\xfe\x00\x08Exif\x00\x00",
    "a fill byte": b"\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_orientation_is_found_after_any_segment(head: bytes, orientation: int) -> None:
    data = with_exif(COLOUR, "JPEG", orientation)
    data = data[:2] + head + data[2:]
    with opened(data) as picture:
        assert np.array_equal(decode(data, PLAIN), np.asarray(ImageOps.exif_transpose(picture)))


def test_an_orientation_after_the_picture_is_ignored() -> None:
    data = file(image(COLOUR), "JPEG")
    assert np.array_equal(decode(data + with_exif(COLOUR, "JPEG", 6), PLAIN), decode(data, PLAIN))


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_an_orientation_in_xmp_alone_is_applied(format: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    data = file(image(COLOUR), format, **({"xmp": xmp} if format == "JPEG" else {"pnginfo": info}))
    assert np.array_equal(decode(data, PLAIN), np.asarray(ImageOps.exif_transpose(opened(data))))
    assert decode(data, PLAIN).shape == (34, 21, 3)


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


def test_the_background_is_black_by_default() -> None:
    assert not decode(file(Image.new("RGBA", (3, 2), (250, 60, 20, 0)), "PNG"), PLAIN).any()


def test_gray_with_alpha_stays_gray_on_a_gray_background() -> None:
    result = decode(file(Image.new("LA", (3, 2), (250, 128)), "PNG"), Settings(background=(50, 50, 50)))
    assert result.shape == (2, 3, 1)
    assert result[0, 0, 0] == pytest.approx(150, abs=1)


def test_gray_with_alpha_becomes_colour_on_a_coloured_background() -> None:
    result = decode(file(Image.new("LA", (3, 2), (250, 128)), "PNG"), ON_COLOUR)
    assert result[0, 0] == pytest.approx([130, 175, 225], abs=1)


# Samples 0, 1, 2, 3 of each depth (0, 1, 0, 1 for one bit), and their values in 8 bits.
GRAYS = {
    1: (b"\0\x50", [0, 255, 0, 255]),
    2: (b"\0\x1b", [0, 85, 170, 255]),
    4: (b"\0\x01\x23", [0, 17, 34, 51]),
    8: (b"\0\0\1\2\3", [0, 1, 2, 3]),
    16: (b"\0" + struct.pack(">4H", 0, 1, 2, 3), [0, 0, 0, 0]),
}


@pytest.mark.parametrize("depth", GRAYS)
def test_a_gray_png_of_any_depth_becomes_8_bit(depth: int) -> None:
    rows, values = GRAYS[depth]
    assert decode(png(4, 1, depth, 0, rows), PLAIN)[0, :, 0].tolist() == values


@pytest.mark.parametrize("transparent", [0, 1])
@pytest.mark.parametrize("depth", GRAYS)
def test_the_transparent_gray_of_a_png_of_any_depth_is_the_background(depth: int, transparent: int) -> None:
    rows, values = GRAYS[depth]
    result = decode(png(4, 1, depth, 0, rows, chunk(b"tRNS", struct.pack(">H", transparent))), ON_COLOUR)
    is_transparent = [i % 2 == transparent if depth == 1 else i == transparent for i in range(4)]
    assert result[0].tolist() == [
        list(BACKGROUND) if t else [v] * 3 for t, v in zip(is_transparent, values, strict=True)
    ]


def test_a_transparent_16_bit_gray_stays_gray_on_a_gray_background() -> None:
    data = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 7, 65535), chunk(b"tRNS", struct.pack(">H", 7)))
    assert decode(data, Settings(background=(9, 9, 9))).tolist() == [[[9], [255]]]


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_of_a_png_is_the_background(depth: int) -> None:
    sample = ">3B" if depth == 8 else ">3H"
    rows = b"\0" + struct.pack(sample, 4, 5, 6) + struct.pack(sample, *[(1 << depth) - 1] * 3)
    result = decode(png(2, 1, depth, 2, rows, chunk(b"tRNS", struct.pack(">3H", 4, 5, 6))), ON_COLOUR)
    assert result.tolist() == [[list(BACKGROUND), [255] * 3]]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM"])
def test_one_bit_becomes_0_and_255(format: str) -> None:
    bits = np.random.default_rng(3).integers(0, 2, (5, 11)).astype(bool)
    assert np.array_equal(decode(file(Image.fromarray(bits), format), PLAIN)[..., 0], bits * 255)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_gray_becomes_8_bit_by_rounding(format: str) -> None:
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = (wide.astype(int) * 255 + 32767) // 65535
    assert np.array_equal(expected, np.rint(wide / 257)), "257 is odd: there are no ties"
    assert np.array_equal(decode(file(Image.fromarray(wide), format), PLAIN)[..., 0], expected)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_white_is_zero_is_inverted(dtype: type[np.unsignedinteger], compression: str) -> None:
    most = np.iinfo(dtype).max
    values = np.linspace(0, most, 12).astype(dtype).reshape(3, 4)
    data = file(Image.fromarray(values), "TIFF", compression=compression)
    black_is_zero, white_is_zero = (struct.pack("<HHIHH", 262, 3, 1, kind, 0) for kind in (1, 0))
    assert data.count(black_is_zero) == 1
    inverse = file(Image.fromarray(most - values), "TIFF", compression=compression)
    assert np.array_equal(decode(data.replace(black_is_zero, white_is_zero), PLAIN), decode(inverse, PLAIN))


@pytest.mark.parametrize("colour", [2, 6], ids=["RGB", "RGBA"])
def test_16_bit_colour_becomes_8_bit_by_its_upper_byte(colour: int) -> None:
    samples = (0x0001, 0x7FFF, 0xABCD, 0xFFFF)[: 3 if colour == 2 else 4]
    data = png(1, 1, 16, colour, b"\0" + struct.pack(f">{len(samples)}H", *samples))
    assert decode(data, PLAIN).tolist() == [[[0x00, 0x7F, 0xAB]]]


def frames(format: str, **options: Any) -> bytes:
    """Two frames: one red, one blue."""
    red, blue = Image.new("RGB", (9, 7), (255, 0, 0)), Image.new("RGB", (9, 7), (0, 0, 255))
    return file(red, format, save_all=True, append_images=[blue], **options)


SEVERAL = {
    "gif": frames("GIF"),
    "apng": frames("PNG"),
    "apng with another default": frames("PNG", default_image=True),
    "webp": frames("WEBP", lossless=True),
    "tiff": frames("TIFF"),
}


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


def test_a_file_without_bytes_is_empty() -> None:
    assert rejection(b"", PLAIN) == ("empty", 0, 0)


ALIEN = {
    "text": b"hello",
    "a page": b"<!DOCTYPE html><html><body>404</body></html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>",
    "eps": file(image(COLOUR), "EPS"),
    "pdf": file(image(COLOUR), "PDF"),
    "ico": file(image(COLOUR), "ICO"),
    "zip": b"PK\x05\x06" + bytes(18),
    "zeros": bytes(1000),
    "a JPEG after a blank": b" " + photo(0),
    "avif": file(image(COLOUR), "AVIF"),
}


@pytest.mark.parametrize("name", ALIEN)
def test_a_file_of_an_unknown_format_is_not_an_image(name: str) -> None:
    assert rejection(ALIEN[name], PLAIN) == ("not_an_image", 0, 0)


@pytest.mark.parametrize("at", [200, 3000, -300, -1])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_rejected(progressive: bool, at: int) -> None:
    data = file(opened(photo(0)), "JPEG", progressive=progressive)
    assert rejection(data[:at], PLAIN)[0] in ("truncated", "corrupt")


def test_a_jpeg_without_its_last_bytes_is_truncated_and_has_a_size() -> None:
    assert rejection(photo(0)[:-100], PLAIN) == ("truncated", 178, 218)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_half_a_file_is_truncated_and_has_a_size(format: str) -> None:
    data = file(image(COLOUR), format)
    assert rejection(data[: len(data) // 2], PLAIN) == ("truncated", 34, 21)


def test_a_gif_without_its_last_blocks_is_truncated() -> None:
    assert rejection(file(image(COLOUR), "GIF")[:-20], PLAIN) == ("truncated", 34, 21)


@pytest.mark.parametrize("cut", [14, 40, -10])
def test_a_truncated_webp_is_corrupt_and_not_of_an_unknown_format(cut: int) -> None:
    assert rejection(file(image(COLOUR), "WEBP")[:cut], PLAIN)[0] == "corrupt"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_a_file_that_ends_inside_its_header_is_corrupt(format: str) -> None:
    assert rejection(file(image(COLOUR), format)[:12], PLAIN) == ("corrupt", 0, 0)


def test_a_jpeg_that_the_library_would_repair_is_rejected() -> None:
    data = bytearray(photo(0))
    data[4000:4002] = b"\xff\xd5"  # a restart marker in the wrong place: nothing after it can be decoded
    assert opened(bytes(data)).convert("RGB").size == (178, 218), "Pillow makes the rest gray"
    assert rejection(bytes(data), PLAIN) == ("truncated", 178, 218)


def test_a_png_with_a_damaged_pixel_block_is_rejected() -> None:
    data = bytearray(file(image(COLOUR), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert rejection(bytes(data), PLAIN)[0] == "corrupt"


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "JPEG", "WEBP", "GIF", "PPM"])
def test_a_picture_with_a_side_below_the_minimum_is_too_small(format: str) -> None:
    data = file(image(COLOUR), format)
    assert decode(data, Settings(min_size=21)).shape == (21, 34, 3)
    assert rejection(data, Settings(min_size=22)) == ("too_small", 34, 21)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "JPEG", "WEBP", "GIF", "PPM"])
def test_a_picture_with_more_pixels_than_the_maximum_is_too_large(format: str) -> None:
    data = file(image(COLOUR), format)
    assert decode(data, Settings(max_pixels=34 * 21)).shape == (21, 34, 3)
    assert rejection(data, Settings(max_pixels=34 * 21 - 1)) == ("too_large", 34, 21)


def test_a_gif_does_not_change_the_limit_for_the_next_file() -> None:
    decode(file(image(COLOUR), "GIF"), Settings(max_pixels=34 * 21))
    assert Image.MAX_IMAGE_PIXELS is None


def test_another_thread_does_not_lift_the_limit_while_a_gif_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    other = threading.Thread(target=decode, args=(file(image(COLOUR), "PNG"), PLAIN))
    original_open, limits = Image.open, []

    def open_late(*arguments: Any, **options: Any) -> Image.Image:
        if threading.current_thread() is not other:
            other.start()
            other.join(0.5)
            limits.append(Image.MAX_IMAGE_PIXELS)
        return original_open(*arguments, **options)

    data = file(image(COLOUR), "GIF")
    monkeypatch.setattr(Image, "open", open_late)
    decode(data, Settings(max_pixels=34 * 21))
    other.join()
    assert limits == [34 * 21]


BOMBS: dict[str, tuple[Callable[[], bytes], tuple[str, int, int]]] = {
    "png": (lambda: png(30_000, 30_000, 1, 0, bytes(30_000 * 3751)), ("too_large", 30_000, 30_000)),
    "gif": (lambda: gif((65_535, 65_535), (65_535, 65_535)), ("too_large", 65_535, 65_535)),
    "gif with a frame larger than its screen": (lambda: gif((1, 1), (65_535, 65_535)), ("too_large", 0, 0)),
    "webp": (lambda: canvas_of_webp(16_383, 16_383), ("too_large", 16_383, 16_383)),
    "webp with one long row": (lambda: canvas_of_webp(5_000_000, 16), ("too_large", 5_000_000, 16)),
}


def test_a_bomb_is_rejected_before_it_takes_memory_or_time(tmp_path: Path) -> None:
    for name, (make, _) in BOMBS.items():
        (tmp_path / name).write_bytes(make())
    code = """
import resource, sys, time
from pathlib import Path
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings
for name in sys.argv[2:]:
    data = (Path(sys.argv[1]) / name).read_bytes()
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        decode(data, Settings())
    except RejectedError as error:
        megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(error.reason, error.width, error.height, megabytes, time.perf_counter() - started)
"""
    command = [sys.executable, "-c", code, str(tmp_path), *BOMBS]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [(row[0], int(row[1]), int(row[2])) for row in rows] == [expected for _, expected in BOMBS.values()]
    assert max(float(row[3]) for row in rows) < 30, "megabytes"
    assert max(float(row[4]) for row in rows) < 1, "seconds"


def tiff_of_12_bits() -> bytes:
    """A 12-bit TIFF of one row of two pixels, by hand: Pillow does not write one."""
    tags = [(256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 3)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 12) + b"\xff\xff\xff\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


UNSUPPORTED: dict[str, tuple[bytes, int, int]] = {
    "float tiff": (file(Image.new("F", (5, 4), 0.5), "TIFF"), 5, 4),
    "32-bit tiff": (file(Image.new("I", (5, 4), 1 << 20), "TIFF"), 5, 4),
    "12-bit tiff": (tiff_of_12_bits(), 2, 1),
    "float pfm": (file(Image.new("F", (5, 4), 0.5), "PPM"), 5, 4),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_format_whose_white_is_unknown_is_unsupported(name: str) -> None:
    data, width, height = UNSUPPORTED[name]
    assert rejection(data, PLAIN) == ("unsupported", width, height)


def test_the_reasons_are_the_documented_ones() -> None:
    expected = "empty not_an_image corrupt truncated too_small too_large animated unsupported outside_crop"
    assert expected.split() == list(REASONS)


# --- mutated files ---


def seeds() -> list[bytes]:
    """Undamaged files of every format. They are small, so many mutations of each are quick."""
    colour, gray = image(COLOUR), image(GRAY)
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = Image.fromarray(np.dstack([COLOUR, GRAY]))
    files = [file(opened(photo(0)).resize((48, 40)), "JPEG", exif=exif)]
    files += [file(colour, "JPEG", progressive=True), file(gray, "JPEG"), file(colour.convert("CMYK"), "JPEG")]
    files += [file(colour, "PNG"), file(colour.quantize(9), "PNG", transparency=2), file(rgba, "PNG", exif=exif)]
    files += [png(4, 1, 2, 0, b"\0\x1b", chunk(b"tRNS", b"\0\1")), file(Image.new("I;16", (9, 9), 777), "PNG")]
    files += [file(colour, "GIF"), file(colour, "WEBP", exif=exif), file(rgba, "WEBP", lossless=True)]
    files += [file(colour, "BMP"), file(colour.quantize(4), "BMP"), file(gray.convert("1"), "BMP")]
    files += [file(colour, "TIFF", compression=c) for c in ("raw", "tiff_lzw", "jpeg", "packbits")]
    files += [file(gray.convert("1"), "TIFF", compression="group4"), file(gray.convert("F"), "TIFF")]
    files += [file(gray.convert("LA"), "TIFF", exif=exif), file(colour.convert("CMYK"), "TIFF")]
    files += [file(colour, "PPM"), file(gray.convert("1"), "PPM"), file(Image.new("I;16", (5, 4), 999), "PPM")]
    files += [file(colour, "AVIF", exif=exif), file(rgba, "AVIF", quality=50), file(colour, "JPEG2000")]
    files += [file(rgba, "JPEG2000", no_jp2=True), file(Image.new("I;16", (9, 9), 777), "JPEG2000")]
    files += [b"P3 2 2 255 " + b"9 " * 12, *SEVERAL.values(), *ALIEN.values()]
    return files


EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(whole: list[bytes], generator: np.random.Generator) -> bytes:
    """One of the files, damaged in one to three places."""
    data = bytearray(whole[generator.integers(len(whole))])

    def place(most: int) -> int:
        return int(generator.integers(max(1, min(most, len(data)))))

    for _ in range(generator.integers(1, 4)):
        where = place(1 << 30)
        kind = generator.integers(8)
        if kind == 0:
            for _ in range(generator.integers(1, 9)):
                if data:
                    data[place(1 << 30)] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            del data[where:]
        elif kind == 2:
            other = whole[generator.integers(len(whole))]
            data[where:] = other[int(generator.integers(len(other))) :]
        elif kind == 3:
            data[where:where] = data[place(1 << 30) :][: int(generator.integers(200))]
        elif kind == 4:
            del data[where : where + int(generator.integers(1, 200))]
        elif kind == 5 and data:
            data[place(64)] = int(generator.integers(256))
        else:  # a length or a size, in the header or anywhere
            width, order = int(generator.choice([2, 4])), "little" if generator.integers(2) else "big"
            edge = EDGES[generator.integers(len(EDGES))] & ((1 << 8 * width) - 1)
            where = where if generator.integers(2) else place(128)
            data[where : where + width] = edge.to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(data)


FUZZED = [
    Settings(max_pixels=1 << 20),
    Settings(max_pixels=1 << 20, animated="reject", background=(1, 2, 3)),
    Settings(max_pixels=1 << 12, min_size=4),
    Settings(),
]


def fuzz(numbers: Iterable[int]) -> tuple[Counter[str], float]:
    """Decode the mutations with these numbers. Returns the count of each outcome and the longest time."""
    whole, outcomes, longest = seeds(), Counter[str](), 0.0
    for number in numbers:
        data, settings = mutated(whole, np.random.default_rng(number)), FUZZED[number % len(FUZZED)]
        started = time.perf_counter()
        try:
            result = decode(data, settings)
            assert result.dtype == np.uint8, number
            assert result.ndim == 3, number
            assert result.shape[2] in (1, 3), number
            assert 0 < result.shape[0] * result.shape[1] <= settings.max_pixels, number
            outcomes["kept"] += 1
        except RejectedError as error:
            assert error.reason in REASONS, number
            outcomes[error.reason] += 1
        except Exception as error:
            raise AssertionError(f"mutation {number}: {error!r}") from error
        longest = max(longest, time.perf_counter() - started)
    return outcomes, longest


def test_a_mutated_file_is_kept_or_rejected_with_a_reason() -> None:
    outcomes, longest = fuzz(range(300))
    assert outcomes.total() == 300
    assert {"kept", "corrupt", "truncated", "not_an_image"} <= set(outcomes), (
        "the mutations are neither too small nor too large"
    )
    assert longest < 5, "seconds"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_sixty_thousand_mutated_files_are_kept_or_rejected_with_a_reason() -> None:
    count, step = 60_000, 2500
    ranges = list(itertools.starmap(range, ((i, i + step) for i in range(1000, 1000 + count, step))))
    # In separate processes: a crash in a library's C code breaks only the pool, not the test run.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(fuzz, ranges))
    outcomes = sum((counts for counts, _ in results), Counter[str]())
    assert outcomes.total() == count
    assert set(outcomes) == {"kept", *REASONS} - {"outside_crop"}, "every reason occurs"
    assert max(longest for _, longest in results) < 20, "seconds"
