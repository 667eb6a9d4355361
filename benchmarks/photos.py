"""Photo-like JPEGs in a zip: pure noise or flat colour would decode unlike a photo.

    python -m benchmarks.photos OUT.zip COUNT [DISTINCT]

Each picture is a sum of smooth noise over octaves with amplitudes falling as in natural images (about 1/f: Field 1987),
178 × 218 pixels at quality 85: 7.3 KB on average, as CelebA's (7.1 KB). The same arguments, the same pictures.
"""

import io
import sys
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 178, 218


def photo(seed: int) -> bytes:
    """The JPEG of a seed."""
    generator = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for octave in range(2, 8):
        cells = 2**octave
        noise = generator.normal(size=(cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) / cells**0.9
    image = (image - image.mean()) / image.std() * 50 + 120
    out = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def make(count: int) -> list[bytes]:
    """The JPEGs of the seeds from 0, on all cores."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(photo, range(count), chunksize=256))


def write(path: Path, count: int, photos: Sequence[bytes]) -> None:
    """A zip of `count` pictures, stored: `photos` over and over."""
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as archive:
        for i in range(count):
            archive.writestr(zipfile.ZipInfo(f"photos/{i:07d}.jpg"), photos[i % len(photos)])
    part.rename(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), make(int((sys.argv + sys.argv[2:3])[3])))
