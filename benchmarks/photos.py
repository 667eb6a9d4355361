"""A zip of photo-like JPEGs. Pure noise and flat colours take a different time to decode.

    python -m benchmarks.photos OUT.zip COUNT [DISTINCT]

Each picture is a sum of smooth noise over octaves. The amplitudes fall as in natural images (about 1/f: Field 1987).
Pictures have 178 × 218 pixels and quality 85: 7.3 KB on average, like CelebA's (7.1 KB). The same arguments give the
same pictures.
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
    """The JPEG of this seed."""
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
    """The JPEGs of the seeds from 0 to `count` − 1, made on all cores."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(photo, range(count), chunksize=256))


def write(path: Path, count: int, photos: Sequence[bytes]) -> None:
    """Write a zip of `count` stored pictures, which repeats `photos`."""
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as archive:
        for i in range(count):
            archive.writestr(zipfile.ZipInfo(f"photos/{i:07d}.jpg"), photos[i % len(photos)])
    part.rename(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), make(int((sys.argv + sys.argv[2:3])[3])))
