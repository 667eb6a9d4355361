"""Pictures of pictures: grids, strips and animations as PNG, with the same bytes every time."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages.artifacts import damaged, missing
from stages.errors import StageError
from stages.pixels import to_uint8

_MAX_PIXELS = 40_000_000
# What Pillow opens again without a warning; browsers have limits of the like.
_MOST_PIXELS = 89_478_485


def grid(images: np.ndarray, columns: int, gap: int = 2, rows: int = 0) -> np.ndarray:
    """float32 NHWC [-1,1] => one uint8 picture (H, W, C), row by row, `gap` white pixels between.

    With `rows` it has so many rows of so many columns, white where there are fewer images; else as many as it takes.
    """
    count, height, width, channels = images.shape
    columns = columns if rows else min(columns, count)
    rows = rows or -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for index, image in enumerate(to_uint8(images)):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def most_rows(shape: tuple[int, int, int], columns: int, gap: int = 2) -> int:
    """How many rows of so many images of a shape (H, W, C) a picture may have that programs are to open, 1 or more."""
    height, width, _ = shape
    return max(1, (_MOST_PIXELS // (columns * (width + gap) - gap) + gap) // (height + gap))


def _enlarged(picture: np.ndarray, scale: int) -> Image.Image:
    """uint8 (H, W, C) with each pixel as a block of `scale` × `scale`, smaller where it would pass 40 megapixels."""
    height, width, _ = picture.shape
    if height * width > _MOST_PIXELS:
        raise StageError(
            f"a picture of {width:,} × {height:,} pixels is more than programs open; put fewer images into it"
        )
    scale = max(1, min(scale, math.isqrt(_MAX_PIXELS // (picture.shape[0] * picture.shape[1]))))
    picture = picture.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)


def _text(facts: Mapping[str, str]) -> PngInfo:
    text = PngInfo()
    for name, value in facts.items():
        text.add_itxt(name, value)
    return text


def save_png(picture: np.ndarray, path: Path | IO[bytes], scale: int, facts: Mapping[str, str]) -> None:
    """Write uint8 (H, W, C) as PNG, each pixel a block of `scale` × `scale`, with `facts` as text inside the file.

    `path` may be an open file. A picture that would have more than 40 megapixels gets smaller blocks. The facts say how
    the picture came about, and stay with it when it is copied elsewhere. Raises StageError for more than 89 megapixels.
    """
    _enlarged(picture, scale).save(path, format="PNG", optimize=True, pnginfo=_text(facts))


def save_animation(
    frames: Sequence[np.ndarray],
    path: Path | IO[bytes],
    scale: int,
    facts: Mapping[str, str],
    milliseconds: Sequence[int],
) -> None:
    """Write uint8 pictures (H, W, C) as one animated PNG that begins anew after its last, each shown for so long.

    An animated PNG loses nothing, and what cannot show one shows its first frame. `scale` and `facts` as in `save_png`.
    """
    first, *others = (_enlarged(frame, scale) for frame in frames)
    durations = list(milliseconds) if others else milliseconds[0]
    first.save(
        path, format="PNG", save_all=True, append_images=others, duration=durations, loop=0, pnginfo=_text(facts)
    )


def read_facts(path: Path) -> dict[str, str]:
    """The text that `save_png` put into a PNG. Raises StageError naming the file that is missing or damaged."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            info = dict(picture.info)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise damaged(path, error) from None
    return {name: str(value) for name, value in info.items() if isinstance(name, str) and isinstance(value, str)}
