"""Any bytes give an image or a reason, and never another error."""

import itertools
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from PIL import Image

from benchmarks.photos import photo
from stages.prepare.decode import REASONS, RejectedError, decode
from stages.prepare.settings import Settings
from tests.image_files import (
    COLOUR,
    GRAY,
    SEVERAL,
    chunk,
    file,
    image,
    opened,
    png,
)
from tests.prepare.test_signatures import ALIEN, UNREAD

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about damaged EXIF blocks and large sizes


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
    files += [data for data, _ in UNREAD.values()]
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
    assert set(outcomes) == {"kept", *REASONS} - {"outside_crop", "encrypted"}, (
        "every reason that a file can have occurs"
    )
    assert max(longest for _, longest in results) < 20, "seconds"
