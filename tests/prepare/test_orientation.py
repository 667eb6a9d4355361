"""Pictures are turned upright."""

from typing import Any

import numpy as np
import pytest
from PIL import ImageOps
from PIL.PngImagePlugin import PngInfo

from stages.prepare.decode import decode
from tests.image_files import (
    COLOUR,
    GRAY,
    PLAIN,
    file,
    image,
    opened,
    with_exif,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about damaged EXIF blocks and large sizes


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
