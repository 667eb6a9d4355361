"""Formats that are not read are unsupported, by their names. AVIF, JPEG 2000 and HEIC are read."""

import io
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from benchmarks.photos import photo
from stages.prepare import decode as module
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings
from tests.image_files import COLOUR, GRAY, PLAIN, file, frames, image, opened, rejection, tiff, with_exif

ALIEN = {
    "text": b"hello",
    "a page": b"<!DOCTYPE html><html><body>404</body></html>",
    "a page with a drawing": b"<html><body><svg width='1' height='1'/></body></html>",
    "other xml": b"<?xml version='1.0'?><annotation/>",
    "zip": b"PK\x05\x06" + bytes(18),
    "zeros": bytes(1000),
    "a JPEG after a blank": b" " + photo(0),
    "a video": b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
}


@pytest.mark.parametrize("name", ALIEN)
def test_a_file_of_an_unknown_format_is_not_an_image(name: str) -> None:
    assert rejection(ALIEN[name], PLAIN) == ("not_an_image", 0, 0)


UNREAD: dict[str, tuple[bytes, str]] = {
    "TGA": (file(Image.new("RGB", (30, 20)), "TGA"), "TGA"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>", "SVG"),
    "svg with a prologue": (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a -->\n<!DOCTYPE svg>\n<svg/>", "SVG"),
    "eps": (file(image(COLOUR), "EPS"), "EPS"),
    "pdf": (file(image(COLOUR), "PDF"), "PDF"),
    "ico": (file(image(COLOUR), "ICO"), "ICO"),
    "icns": (file(image(COLOUR).resize((64, 64)), "ICNS"), "ICNS"),
    "dds": (file(image(COLOUR), "DDS"), "DDS"),
    "qoi": (file(image(COLOUR), "QOI"), "QOI"),
    "psd": (b"8BPS\0\1" + bytes(40), "PSD"),
    "xcf": (b"gimp xcf v011\0" + bytes(40), "XCF"),
    "jpeg xl": (b"\xff\x0a\xfa\x7f", "JPEG XL"),
    "jpeg xl in a container": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
    "dicom": (bytes(128) + b"DICM" + bytes(40), "DICOM"),
    "openexr": (b"v/1\1\2\0\0\0", "OpenEXR"),
    "cr3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "camera raw"),
    "raf": (b"FUJIFILMCCD-RAW 0201", "camera raw"),
    "orf": (b"IIRO\x08\0\0\0", "camera raw"),
    "rw2": (b"IIU\0\x18\0\0\0", "camera raw"),
    "dng": (tiff("<", 2, 8, b"\1\2", 1, (0xC612, 1, 1, 1)), "camera raw"),
    "nef": (tiff(">", 2, 8, b"\1\2", 1, (0x00FE, 4, 1, 1), (0x014A, 4, 1, 8)), "camera raw"),
    "cr2": (tiff("<", 4, 8, b"CR\2\0"), "camera raw"),
    "tiff of complex numbers": (tiff("<", 1, 64, bytes(8)), "TIFF with values of another kind"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_an_image_that_is_not_read_is_unsupported_by_the_name_of_its_format(name: str) -> None:
    data, detail = UNREAD[name]
    with pytest.raises(RejectedError) as caught:
        decode(data, PLAIN)
    assert (caught.value.reason, caught.value.detail) == ("unsupported", detail)


def test_a_tiff_with_other_resolutions_is_no_camera_raw() -> None:
    data = tiff("<", 2, 8, b"\1\2", 1, (0x014A, 4, 1, 8))
    assert decode(data, PLAIN).tolist() == [[[1], [2]]]


READ: dict[str, bytes] = {
    "avif": file(image(COLOUR), "AVIF"),
    "avif with alpha": file(Image.fromarray(np.dstack([COLOUR, GRAY])), "AVIF"),
    "several avif frames": frames("AVIF"),
    "jpeg 2000": file(image(COLOUR), "JPEG2000"),
    "gray jpeg 2000": file(image(GRAY), "JPEG2000"),
    "a jpeg 2000 codestream": file(image(COLOUR), "JPEG2000", no_jp2=True),
    "lossy jpeg 2000": file(image(COLOUR), "JPEG2000", irreversible=True, quality_layers=[8]),
}


@pytest.mark.parametrize("name", READ)
def test_avif_and_jpeg_2000_have_the_pixels_of_pillow(name: str) -> None:
    data = READ[name]
    expected = opened(data)
    if expected.mode == "RGBA":
        expected = Image.alpha_composite(Image.new("RGBA", expected.size, (0, 0, 0, 255)), expected).convert("RGB")
    assert np.array_equal(decode(data, PLAIN).squeeze(), np.asarray(expected))


@pytest.mark.parametrize("pixels", [COLOUR, GRAY], ids=["colour", "gray"])
@pytest.mark.parametrize("no_jp2", [False, True])
def test_a_lossless_jpeg_2000_keeps_its_pixels(no_jp2: bool, pixels: np.ndarray) -> None:
    assert np.array_equal(decode(file(image(pixels), "JPEG2000", no_jp2=no_jp2), PLAIN), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_an_avif_is_applied(orientation: int) -> None:
    # One bright corner, which is where the orientation puts it.
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:8, :8] = 255
    expected = decode(with_exif(pixels, "PNG", orientation), PLAIN)
    result = decode(with_exif(pixels, "AVIF", orientation), PLAIN)
    assert np.abs(result.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", READ)
def test_an_incomplete_avif_or_jpeg_2000_is_rejected(name: str, share: float) -> None:
    data = READ[name]
    assert rejection(data[: int(len(data) * share)], PLAIN)[0] in ("truncated", "corrupt")


@pytest.mark.parametrize("name", ["avif", "jpeg 2000"])
def test_a_large_avif_or_jpeg_2000_is_rejected_by_its_size(name: str) -> None:
    assert rejection(READ[name], Settings(max_pixels=34 * 21 - 1)) == ("too_large", 34, 21)


def test_several_avif_frames_are_an_animation() -> None:
    assert rejection(READ["several avif frames"], Settings(animated="reject")) == ("animated", 9, 7)


@pytest.fixture
def _no_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    module._read_heif.cache_clear()
    yield
    module._read_heif.cache_clear()


HEIC = {
    "phone": b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(40),
    "another main brand": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(40),
    "burst": b"\0\0\0\x18ftyphevc\0\0\0\0msf1hevc" + bytes(40),
}


@pytest.mark.parametrize("name", HEIC)
@pytest.mark.usefixtures("_no_heif")
def test_heic_without_its_extra_names_the_extra(name: str) -> None:
    with pytest.raises(RejectedError) as caught:
        decode(HEIC[name], PLAIN)
    assert caught.value.reason == "unsupported"
    command = ".venv/bin/pip install -e '.[heif]' && dvc repro -f -s prepare"
    assert caught.value.detail == f"HEIC, which needs the extra heif: {command}"


@pytest.mark.slow  # the extra is in requirements-slow.lock
def test_heic_with_its_extra_has_the_pixels_of_pillow() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    out = io.BytesIO()
    pixels = np.kron(COLOUR, np.ones((4, 4, 1), np.uint8))
    pillow_heif.from_pillow(image(pixels)).save(out, quality=90)
    data = out.getvalue()
    result = decode(data, PLAIN)
    assert np.abs(result.astype(int) - pixels).mean() < 20
    assert np.array_equal(result, np.asarray(opened(data)))
    assert rejection(data[:-100], PLAIN)[0] in ("truncated", "corrupt")
    assert rejection(data, Settings(max_pixels=1000))[0] == "too_large"


def test_a_damaged_avif_is_corrupt() -> None:
    assert rejection(READ["avif"][:200], PLAIN) == ("corrupt", 0, 0)
