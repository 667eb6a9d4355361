"""JPEGs with faults that cost no pixel are kept. Truncated and damaged ones are not."""

import contextlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ImageOps

from benchmarks.photos import photo
from stages.prepare import jpeg
from stages.prepare.decode import decode
from tests.image_files import COLOUR, PLAIN, by_opencv, file, image, opened, rejection, with_exif

PHOTO = photo(0)
SOI, APP0, DQT, SOF0, DHT, SOS, EOI = (b"\xff" + bytes([code]) for code in (0xD8, 0xE0, 0xDB, 0xC0, 0xC4, 0xDA, 0xD9))
NOISE = np.random.default_rng(0).integers(0, 255, 60, np.uint8).tobytes()  # no byte is FF


def before(marker: bytes, extra: bytes, data: bytes = PHOTO) -> bytes:
    """A JPEG with more bytes before the first marker of a kind; before EOI, before the last."""
    at = data.rfind(marker) if marker == EOI else data.find(marker)
    return data[:at] + extra + data[at:]


def changed(offset: int, value: int, after: bytes, data: bytes = PHOTO) -> bytes:
    """A JPEG with another byte at this offset from the first bytes `after`."""
    at = data.find(after) + offset
    return data[:at] + bytes([value]) + data[at + 1 :]


def segment(code: int, content: bytes, length: int | None = None) -> bytes:
    """A segment, which may state a wrong length."""
    return bytes([0xFF, code]) + (len(content) + 2 if length is None else length).to_bytes(2, "big") + content


ADOBE = b"Adobe\0\x64\0\0\0\0"
HARMLESS = {
    "an SOS with another end of the spectrum": changed(5 + 2 * 3 + 1, 0, SOS),
    "an SOS with a start of the spectrum": changed(5 + 2 * 3, 1, SOS),
    "an SOS with an approximation": changed(5 + 2 * 3 + 2, 0x11, SOS),
    "JFIF version 2": changed(5, 2, b"JFIF\0"),
    "an unknown transform of Adobe": before(DQT, segment(0xEE, ADOBE + b"\7"), PHOTO.replace(PHOTO[2:20], b"")),
    "a comment that is longer than it states": before(DQT, segment(0xFE, b"more than eight bytes", 8)),
    "a comment of length 0": before(DQT, segment(0xFE, b"", 0)),
    "EXIF that is longer than it states": before(DQT, segment(0xE1, b"Exif\0\0MM\0*" + bytes(40), 12)),
    "the second half of a colour profile": before(DQT, segment(0xE2, b"ICC_PROFILE\0\2\2" + bytes(99))),
    "a restart marker before the first scan": before(SOF0, b"\xff\xd3"),
    "two faults": changed(5, 2, b"JFIF\0", before(SOS, b"\0\0")),
    **{f"stray bytes before {marker.hex()}": before(marker, NOISE) for marker in (APP0, DQT, SOF0, DHT, SOS, EOI)},
    **{f"zeros before {marker.hex()}": before(marker, bytes(30)) for marker in (APP0, DQT, SOF0, DHT, SOS, EOI)},
    "fill bytes before EOI": before(EOI, b"\xff" * 30),
    "a file after the picture": PHOTO + b"trailer" * 9,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_fault_that_costs_no_pixel_is_no_damage(name: str) -> None:
    assert np.array_equal(decode(HARMLESS[name], PLAIN), decode(PHOTO, PLAIN))


# Pillow and OpenCV do not recognise a file with stray bytes before its first marker.
@pytest.mark.parametrize("name", [name for name in HARMLESS if HARMLESS[name][2] == 0xFF])
def test_such_a_jpeg_has_the_pixels_of_opencv_and_of_pillow(name: str) -> None:
    result = decode(HARMLESS[name], PLAIN)
    assert np.array_equal(result, by_opencv(HARMLESS[name], cv2.IMREAD_COLOR)[..., ::-1])
    assert np.array_equal(result, np.asarray(opened(HARMLESS[name])))


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_rows": 1}, {"subsampling": 0}])
def test_stray_bytes_after_the_scan_of_any_photo_are_skipped(options: dict[str, Any]) -> None:
    for seed in range(20):
        intact = file(opened(photo(seed)), "JPEG", **options)
        assert np.array_equal(decode(before(EOI, NOISE, intact), PLAIN), decode(intact, PLAIN)), seed


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_cmyk_jpegs_may_have_stray_bytes(mode: str) -> None:
    intact = file(image(COLOUR).convert(mode), "JPEG")
    for marker in (DQT, SOS, EOI):
        assert np.array_equal(decode(before(marker, NOISE, intact), PLAIN), decode(intact, PLAIN)), marker


@pytest.mark.parametrize("marker", [DQT, SOS, EOI])
def test_the_orientation_of_a_jpeg_with_stray_bytes_is_applied(marker: bytes) -> None:
    data = before(marker, NOISE, with_exif(COLOUR, "JPEG", 6))
    assert np.array_equal(decode(data, PLAIN), np.asarray(ImageOps.exif_transpose(opened(data))))


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("end", [-2, -200, -3000])
def test_a_truncated_jpeg_with_a_harmless_fault_is_truncated(name: str, end: int) -> None:
    data = HARMLESS[name]
    assert rejection(data[: data.rfind(EOI) + 2 + end], PLAIN)[0] == "truncated" or "before ffd9" in name


@pytest.mark.parametrize("name", HARMLESS)
def test_a_damaged_jpeg_with_a_harmless_fault_is_rejected(name: str) -> None:
    data = bytearray(HARMLESS[name])
    at = data.find(SOS) + 2000
    data[at : at + 400] = bytes(400)
    assert rejection(bytes(data), PLAIN)[0] in ("corrupt", "truncated")


def test_picture_data_left_behind_by_damage_is_not_taken_for_stray_bytes() -> None:
    generator, rejected, left_behind = np.random.default_rng(5), 0, 0
    for number in range(500):
        data = bytearray(photo(number % 20))
        data[generator.integers(data.find(SOS) + 14, len(data) - 2)] ^= 1 << int(generator.integers(8))
        if jpeg._decoded(bytes(data[:-2]), "RGB") is None:
            left_behind += 1
            with contextlib.suppress(ValueError):
                jpeg.decode(bytes(data), "RGB")
                rejected -= 1
            rejected += 1
    assert left_behind > 20
    assert rejected > 0.6 * left_behind
