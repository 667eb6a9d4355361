"""Pictures with 1 to 16 bits become 8-bit."""

import struct

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
    ON_COLOUR,
    PLAIN,
    chunk,
    file,
    image,
    png,
    rejection,
    tiff,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about damaged EXIF blocks and large sizes


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


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("bits", "code"), [(8, "B"), (16, "H")])
def test_a_tiff_whose_white_is_zero_is_inverted_in_either_byte_order(order: str, bits: int, code: str) -> None:
    samples = struct.pack(f"{order}3{code}", 0, 1 << (bits - 2), (1 << bits) - 1)
    black_is_zero, white_is_zero = (decode(tiff(order, 3, bits, samples, kind), PLAIN) for kind in (1, 0))
    assert black_is_zero[0, :, 0].tolist() == [0, 64, 255]
    assert white_is_zero[0, :, 0].tolist() == [255, 191, 0]


@pytest.mark.parametrize("colour", [2, 6], ids=["RGB", "RGBA"])
def test_16_bit_colour_becomes_8_bit_by_its_upper_byte(colour: int) -> None:
    samples = (0x0001, 0x7FFF, 0xABCD, 0xFFFF)[: 3 if colour == 2 else 4]
    data = png(1, 1, 16, colour, b"\0" + struct.pack(f">{len(samples)}H", *samples))
    assert decode(data, PLAIN).tolist() == [[[0x00, 0x7F, 0xAB]]]


UNSUPPORTED: dict[str, tuple[bytes, int, int]] = {
    "float tiff": (file(Image.new("F", (5, 4), 0.5), "TIFF"), 5, 4),
    "32-bit tiff": (file(Image.new("I", (5, 4), 1 << 20), "TIFF"), 5, 4),
    "12-bit tiff": (tiff("<", 2, 12, b"\xff\xff\xff"), 2, 1),
    "float pfm": (file(Image.new("F", (5, 4), 0.5), "PPM"), 5, 4),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_format_whose_white_is_unknown_is_unsupported(name: str) -> None:
    data, width, height = UNSUPPORTED[name]
    assert rejection(data, PLAIN) == ("unsupported", width, height)


# Values 0, 1000, 4095 of 12 bits in 16, and 8-bit values where white is 4095.
WIDE, NARROW = (0, 1000, 4095), [0, 62, 255]
WHITE = Settings(white=4095, background=BACKGROUND)
TRANSPARENT = chunk(b"tRNS", struct.pack(">3H", 4095, 1000, 0))
OF_12_BITS: dict[str, tuple[bytes, list[list[int]]]] = {
    "gray png": (png(3, 1, 16, 0, b"\0" + struct.pack(">3H", *WIDE)), [[value] for value in NARROW]),
    "gray tiff": (tiff("<", 3, 16, struct.pack("<3H", *WIDE)), [[value] for value in NARROW]),
    "big-endian tiff": (tiff(">", 3, 16, struct.pack(">3H", *WIDE)), [[value] for value in NARROW]),
    "tiff whose white is zero": (tiff(">", 3, 16, struct.pack(">3H", *WIDE), 0), [[255], [193], [0]]),
    "rgb png": (png(1, 1, 16, 2, b"\0" + struct.pack(">3H", *WIDE)), [NARROW]),
    "rgb tiff": (cv2.imencode(".tiff", np.array([[WIDE[::-1]]], np.uint16))[1].tobytes(), [NARROW]),
    "opaque rgba png": (png(1, 1, 16, 6, b"\0" + struct.pack(">4H", *WIDE, 65535)), [NARROW]),
    "transparent rgba png": (png(1, 1, 16, 6, b"\0" + struct.pack(">4H", *WIDE, 0)), [list(BACKGROUND)]),
    "gray png with alpha": (png(1, 1, 16, 4, b"\0" + struct.pack(">2H", 1000, 65535)), [[62] * 3]),
    "rgb png with a transparent colour": (
        png(2, 1, 16, 2, b"\0" + struct.pack(">6H", *WIDE, *WIDE[::-1]), TRANSPARENT),
        [NARROW, list(BACKGROUND)],
    ),
}


@pytest.mark.parametrize("name", OF_12_BITS)
def test_white_is_the_16_bit_value_that_becomes_255(name: str) -> None:
    data, expected = OF_12_BITS[name]
    assert decode(data, WHITE)[0].tolist() == expected


def test_values_above_white_are_white() -> None:
    assert decode(png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 256, 65535)), Settings(white=255)).tolist() == [
        [[255], [255]]
    ]


WHITE_OF_ITS_OWN = {
    "8-bit png": file(image(COLOUR), "PNG"),
    "pgm that states its white": b"P5 2 1 4095\n" + struct.pack(">2H", 1000, 4095),
    "16-bit jpeg 2000": file(Image.fromarray(np.array([[0, 30000, 65535]], np.uint16)), "JPEG2000"),
    "jpeg": photo(0),
}


@pytest.mark.parametrize("name", WHITE_OF_ITS_OWN)
def test_white_does_not_change_files_that_state_theirs(name: str) -> None:
    depths: list[int] = []
    data = WHITE_OF_ITS_OWN[name]
    assert np.array_equal(decode(data, Settings(white=4095), depths), decode(data, PLAIN))
    assert depths == []


@pytest.mark.parametrize("name", OF_12_BITS)
def test_the_bits_of_the_largest_16_bit_value_are_reported(name: str) -> None:
    depths: list[int] = []
    decode(OF_12_BITS[name][0], PLAIN, depths)
    assert depths in ([12], [10]), "10: the colour 1000 alone"
