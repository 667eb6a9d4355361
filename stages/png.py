"""PNG files of image grids: drawn and written with the same bytes every time, and read with their provenance."""

import base64
import dataclasses
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages.artifacts import damaged, missing
from stages.errors import StageError
from stages.pixels import checkerboard, over, to_uint8

# In a larger picture, each pixel becomes a block smaller than `scale` × `scale`.
_MAX_ENLARGED_PIXELS = 40_000_000
# Pillow warns when it opens a larger picture; browsers have similar limits.
_MAX_OPENED_PIXELS = 89_478_485


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from, as text inside the PNG. Empty fields are not written.

    People read `description` and `source`; programs read the other fields and never the captions. `params` are the
    settings it was drawn with. `stage` is the stage that drew it, or `demo`. `seeds` (as `--seeds` takes them) and
    `grid` (rows x columns, 8x8) are set only if the picture shows exactly the samples of these seeds, row by row. With
    `classes`, it shows the samples of all seeds for the first class, then those for the next, and so on.
    `scale` is the side of a pixel's block; `save_png` and `save_animation` set it.
    """

    description: str = ""
    source: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""
    seeds: str = ""
    generator_sha256: str = ""
    manifest_sha256: str = ""
    grid: str = ""
    classes: tuple[str, ...] = ()
    scale: int = 0


KEYWORDS = {
    "description": "Description",
    "source": "Source",
    "params": "Params",
    "stage": "Stage",
    "seeds": "Seeds",
    "generator_sha256": "Generator-SHA256",
    "manifest_sha256": "Manifest-SHA256",
    "grid": "Grid",
    "classes": "Classes",
    "scale": "Scale",
}
"""The keyword in the PNG for each field of `Provenance`."""
_JSON = ("params", "classes")  # fields whose text is JSON


@dataclass(frozen=True)
class Picture:
    """A PNG file: its bytes, its size in pixels and its provenance."""

    content: bytes = field(repr=False)
    width: int
    height: int
    provenance: Provenance

    @property
    def address(self) -> str:
        """A `data:` address that holds the whole file."""
        return f"data:image/png;base64,{base64.b64encode(self.content).decode()}"


def grid(images: np.ndarray, columns: int, gap: int = 2, rows: int = 0) -> np.ndarray:
    """float32 NHWC [-1,1] => one uint8 picture (H, W, C), row by row, `gap` white pixels between the images.

    With `rows`, the grid has exactly that many rows of `columns` images, and empty places are white. Without, it has
    as many rows as the images need, and no more columns than images. Images with alpha are shown on a checkerboard.
    """
    count, height, width = images.shape[:3]
    drawn = over(to_uint8(images), checkerboard(height, width))
    columns = columns if rows else min(columns, count)
    rows = rows or -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, drawn.shape[3]), 255, np.uint8)
    for index, image in enumerate(drawn):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def grid_layout(count: int, columns: int) -> str:
    """The layout that `grid` gives `count` images, as rows x columns: 64 images in 8 columns are 8x8."""
    columns = min(columns, count)
    return f"{-(-count // columns)}x{columns}"


def max_rows(shape: tuple[int, int, int], columns: int, gap: int = 2) -> int:
    """The largest number of rows of images (H, W, C) in a picture that most programs can open; at least 1."""
    height, width, _ = shape
    return max(1, (_MAX_OPENED_PIXELS // (columns * (width + gap) - gap) + gap) // (height + gap))


def _block_side(picture: np.ndarray, scale: int) -> int:
    """`scale`, or less if the enlarged picture would have more than 40 megapixels."""
    height, width, _ = picture.shape
    if height * width > _MAX_OPENED_PIXELS:
        raise StageError(
            f"a picture of {width:,} × {height:,} pixels is larger than most programs can open; draw fewer images"
        )
    return max(1, min(scale, math.isqrt(_MAX_ENLARGED_PIXELS // (height * width))))


def _enlarge(picture: np.ndarray, side: int) -> Image.Image:
    """uint8 (H, W, C) with each pixel as a block of `side` × `side`."""
    picture = picture.repeat(side, 0).repeat(side, 1)
    return Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)


def _text(provenance: Provenance) -> PngInfo:
    text = PngInfo()
    for name, keyword in KEYWORDS.items():
        value = getattr(provenance, name)
        if value:
            text.add_itxt(keyword, json.dumps(value) if name in _JSON else str(value))
    return text


def save_png(picture: np.ndarray, path: Path | IO[bytes], scale: int, provenance: Provenance | None = None) -> None:
    """Write uint8 (H, W, C) as a PNG in which each pixel is a block of `scale` × `scale`.

    `path` can be an open file. Blocks are smaller if the PNG would have more than 40 megapixels. The provenance is
    text inside the file, so it survives copying and renaming. Raises StageError for more than 89 megapixels.
    """
    side = _block_side(picture, scale)
    info = _text(dataclasses.replace(provenance, scale=side)) if provenance else None
    _enlarge(picture, side).save(path, format="PNG", optimize=True, pnginfo=info)


def save_animation(
    frames: Sequence[np.ndarray],
    path: Path | IO[bytes],
    scale: int,
    milliseconds: Sequence[int],
    provenance: Provenance | None = None,
) -> None:
    """Write uint8 pictures (H, W, C) as one animated PNG that loops, with a duration for each frame.

    An animated PNG is lossless, and a program that cannot animate it shows the first frame. `scale` and `provenance`
    are those of `save_png`.
    """
    side = _block_side(frames[0], scale)
    first, *others = (_enlarge(frame, side) for frame in frames)
    info = _text(dataclasses.replace(provenance, scale=side)) if provenance else None
    durations = list(milliseconds) if others else milliseconds[0]
    first.save(path, format="PNG", save_all=True, append_images=others, duration=durations, loop=0, pnginfo=info)


def decode(content: bytes) -> Picture:
    """The picture in a PNG file's bytes. Raises ValueError if they are not a complete PNG."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()  # text can follow the pixels
            (width, height), info = image.size, dict(image.info)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a PNG: {error}") from None
    return Picture(content, width, height, _provenance(info))


def _provenance(info: Mapping[Any, Any]) -> Provenance:
    """The provenance in a PNG's text. Anybody can write a PNG, so malformed values are ignored."""
    text = {name: info[keyword] for name, keyword in KEYWORDS.items() if isinstance(info.get(keyword), str)}
    forms = {"generator_sha256": "[0-9a-f]{64}", "manifest_sha256": "[0-9a-f]{64}", "scale": "[0-9]{1,3}"}
    text = {name: value for name, value in text.items() if re.fullmatch(forms.get(name, "(?s:.*)"), value)}
    params, classes = (_parsed(text.pop(name, "")) for name in _JSON)
    return Provenance(
        **text | {"scale": int(text.get("scale", 0))},
        params=params if isinstance(params, dict) else {},
        classes=tuple(map(str, classes)) if isinstance(classes, list) else (),
    )


def _parsed(text: str) -> Any:
    """The JSON value in a PNG's text; None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def read(path: Path) -> Picture:
    """Read a PNG file. Raises StageError, naming the file, if it is missing or damaged."""
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None
