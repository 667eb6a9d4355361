"""A PNG is kept whatever its texts, profiles and unknown chunks contain. Its own pixels must be intact."""

import numpy as np
import pytest
from PIL import ImageOps
from PIL.PngImagePlugin import PngInfo

from stages.prepare.decode import decode
from stages.prepare.settings import Settings
from tests.image_files import COLOUR, PLAIN, SEVERAL, chunk, file, image, opened, rejection, with_exif

PNG = file(image(COLOUR), "PNG")
AFTER_HEAD, BEFORE_END = 33, len(PNG) - 12
BOMB = bytes(9_000_000)


def texts(add: str, *arguments: str) -> bytes:
    """A PNG with a compressed text, which PngInfo adds by its method `add`."""
    info = PngInfo()
    getattr(info, add)(*arguments, zip=True)
    return file(image(COLOUR), "PNG", pnginfo=info)


def damaged(whole: bytes) -> bytes:
    """A chunk with a wrong checksum."""
    return whole[:-1] + bytes([whole[-1] ^ 1])


LARGE = {
    "text": texts("add_text", "x", "a" * 1_100_000),
    "international text": texts("add_itxt", "x", "a" * 1_100_000),
    "xmp": texts("add_itxt", "XML:com.adobe.xmp", "a" * 1_100_000),
    "huge xmp": texts("add_itxt", "XML:com.adobe.xmp", "a" * 20_000_000),
    "huge exif in text": texts("add_text", "Raw profile type exif", "a" * 20_000_000),
    "colour profile": file(image(COLOUR), "PNG", icc_profile=BOMB),
}
FAULTS = {
    "a text with a wrong checksum": damaged(chunk(b"tEXt", b"a\0b")),
    "exif with a wrong checksum": damaged(chunk(b"eXIf", b"MM\0*")),
    "large exif": chunk(b"eXIf", BOMB),
    "many texts": chunk(b"tEXt", b"a\0" + BOMB) * 9,
    "a text of an unknown compression": chunk(b"zTXt", b"a\0\5"),
    "a profile without content": chunk(b"iCCP", b"x"),
    "a profile of an unknown compression": chunk(b"iCCP", b"x\0\7zz"),
    "no rendering intent": chunk(b"sRGB", b""),
    "half a resolution": chunk(b"pHYs", b"12"),
    "half a gamma": chunk(b"gAMA", b"1"),
    "a private chunk": chunk(b"caBX", BOMB),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_png_with_a_large_text_or_profile_keeps_its_pixels(name: str) -> None:
    assert len(LARGE[name]) < 40_000
    assert np.array_equal(decode(LARGE[name], PLAIN), COLOUR)


@pytest.mark.parametrize("at", [AFTER_HEAD, BEFORE_END])
@pytest.mark.parametrize("name", FAULTS)
def test_a_png_with_a_faulty_extra_chunk_keeps_its_pixels(name: str, at: int) -> None:
    assert np.array_equal(decode(PNG[:at] + FAULTS[name] + PNG[at:], PLAIN), COLOUR)


@pytest.mark.parametrize("kind", ["exif", "long xmp"])
@pytest.mark.parametrize("name", FAULTS)
def test_the_orientation_of_a_png_with_a_faulty_extra_chunk_is_applied(name: str, kind: str) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", " " * 2_000_000 + '<rdf:Description tiff:Orientation="6"/>', zip=True)
    turned = with_exif(COLOUR, "PNG", 6) if kind == "exif" else file(image(COLOUR), "PNG", pnginfo=info)
    expected = np.asarray(ImageOps.exif_transpose(opened(with_exif(COLOUR, "PNG", 6))))
    if "exif" not in name:
        assert np.array_equal(decode(turned[:AFTER_HEAD] + FAULTS[name] + turned[AFTER_HEAD:], PLAIN), expected)


@pytest.mark.parametrize("name", ["apng", "apng with another default"])
def test_an_animation_stays_one(name: str) -> None:
    data = SEVERAL[name]
    data = data[:AFTER_HEAD] + damaged(chunk(b"tEXt", b"a\0b")) + data[AFTER_HEAD:]
    assert (decode(data, PLAIN) == [255, 0, 0]).all()
    assert rejection(data, Settings(animated="reject")) == ("animated", 9, 7)


@pytest.mark.parametrize("name", FAULTS)
def test_a_truncated_png_with_a_faulty_chunk_is_truncated(name: str) -> None:
    data = PNG[:AFTER_HEAD] + FAULTS[name] + PNG[AFTER_HEAD:]
    assert rejection(data[:-300], PLAIN) == ("truncated", 34, 21)


@pytest.mark.parametrize("name", FAULTS)
def test_damaged_pixels_beside_a_faulty_chunk_are_corrupt(name: str) -> None:
    data = bytearray(PNG[:AFTER_HEAD] + FAULTS[name] + PNG[AFTER_HEAD:])
    data[-600] ^= 0xFF
    assert rejection(bytes(data), PLAIN)[0] == "corrupt"


def test_a_wrong_checksum_of_the_header_is_corrupt() -> None:
    assert rejection(PNG[: AFTER_HEAD - 1] + b"?" + PNG[AFTER_HEAD:], PLAIN) == ("corrupt", 0, 0)
