"""Empty, damaged and too large files are rejected with a reason, and before they take memory or time."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.photos import photo
from stages.prepare.decode import REASONS, decode
from stages.prepare.settings import Settings
from tests.conftest import ROOT
from tests.image_files import (
    COLOUR,
    PLAIN,
    canvas_of_webp,
    file,
    gif,
    image,
    opened,
    png,
    rejection,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about damaged EXIF blocks and large sizes


def test_a_file_without_bytes_is_empty() -> None:
    assert rejection(b"", PLAIN) == ("empty", 0, 0)


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


def test_the_reasons_are_the_documented_ones() -> None:
    expected = "empty not_an_image corrupt truncated too_small too_large animated unsupported encrypted outside_crop"
    assert expected.split() == list(REASONS)
