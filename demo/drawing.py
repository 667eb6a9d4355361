"""Pictures as HTML with the PNG inside: no file is written, and so none can be asked for."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

from demo.convolutions import Worked
from stages import pixels
from stages import png as png_files

_SHOWN_CHANNELS = 16
_SIDE = 320  # pixels that a single picture has at least, when it is downloaded


def png(picture: np.ndarray, scale: int = 1, facts: Mapping[str, str] | None = None) -> str:
    """uint8 (H, W, C) as the address of a PNG that is written out in it."""
    file = io.BytesIO()
    png_files.save_png(picture, file, scale, facts or {})
    return _address(file)


def apng(frames: Sequence[np.ndarray], facts: Mapping[str, str], milliseconds: int) -> str:
    """uint8 pictures (H, W, C) as the address of an animated PNG that is written out in it."""
    file = io.BytesIO()
    png_files.save_animation(frames, file, _scale(frames[0]), facts, [milliseconds] * len(frames))
    return _address(file)


def _address(file: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _scale(picture: np.ndarray) -> int:
    return max(1, _SIDE // max(picture.shape[:2]))


def image(address: str, alt: str) -> str:
    """A picture whose pixels stay squares, however large it is shown."""
    return f'<img src="{address}" alt="{escape(alt)}">'


def figure(content: str, caption: str = "", *, large: bool = False) -> str:
    """A picture with what is said below it."""
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    kind = ' class="large"' if large else ""
    return f"<figure{kind}>{content}{told}</figure>"


def single(picture: np.ndarray, alt: str, facts: Mapping[str, str], name: str, download: str) -> str:
    """One float32 image (H, W, C) in [-1,1], large, with a link that saves it with its facts."""
    drawn = pixels.to_uint8(picture)
    address = png(drawn, _scale(drawn), facts)
    return figure(image(address, alt) + saved(address, name, download), large=True)


def saved(address: str, name: str, text: str) -> str:
    """A link that saves a picture."""
    return f'<a class="save" download="{escape(name)}" href="{address}">{escape(text)}</a>'


def row(pictures: np.ndarray, alts: Sequence[str], captions: Sequence[str] | None = None) -> str:
    """float32 images (N, H, W, C) in [-1,1] beside each other."""
    drawn = zip(pixels.to_uint8(pictures), alts, captions or [""] * len(alts), strict=True)
    cells = [figure(image(png(picture), alt), caption) for picture, alt, caption in drawn]
    return f'<div class="pictures">{"".join(cells)}</div>'


def choices(pictures: np.ndarray, alts: Sequence[str], *, kind: str = "cells") -> str:
    """float32 images (N, H, W, C) in [-1,1], each a button whose number is what its click tells."""
    cells = [
        f'<button type="button" data-index="{index}" title="{escape(alt)}">{image(png(picture), alt)}</button>'
        for index, (picture, alt) in enumerate(zip(pixels.to_uint8(pictures), alts, strict=True))
    ]
    return f'<div class="{kind}">{"".join(cells)}</div>'


def message(text: str) -> str:
    """Something that the person should know."""
    return f'<p class="message" role="status">{escape(text)}</p>'


def paragraphs(*texts: str) -> str:
    """Plain text."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def heading(text: str) -> str:
    """What the following is about."""
    return f"<h4>{escape(text)}</h4>"


def strip(figures: Sequence[str]) -> str:
    """Figures one after the other."""
    return f'<div class="strip">{"".join(figures)}</div>'


def pair(sections: Sequence[tuple[str, str]]) -> str:
    """Sections (heading, HTML) beside each other; the heading is left out where there is one."""
    if len(sections) == 1:
        return sections[0][1]
    parts = "".join(f"<section><h3>{escape(name)}</h3>{body}</section>" for name, body in sections)
    return f'<div class="pair">{parts}</div>'


def channels(output: np.ndarray, name: str, caption: Callable[[int, int], str]) -> str:
    """What a layer gives, (H, W, C): its first 16 channels as tiles, each from its least to its greatest value."""
    maps = np.moveaxis(output[..., :_SHOWN_CHANNELS], -1, 0)
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    tiles = ((maps - low) / np.maximum(high - low, 1e-12) * 2 - 1)[..., None]
    told = f"{name} ({caption(len(maps), output.shape[-1])})"
    return figure(image(png(png_files.grid(tiles, 4, gap=1)), told), told)


def numbers(z: np.ndarray, caption: str) -> str:
    """z (dimensions,) as a strip of squares, gray at 0, black at −3, white at 3."""
    columns = int(np.ceil(np.sqrt(len(z))))
    squares = np.full(-(-len(z) // columns) * columns, 3, np.float32)
    squares[: len(z)] = z
    drawn = pixels.to_uint8(np.clip(squares / 3, -1, 1).reshape(-1, columns, 1))
    return figure(image(png(drawn), caption), caption)


def _table(caption: str, rows: Sequence[Sequence[str]]) -> str:
    lines = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<table><caption>{escape(caption)}</caption>{lines}</table>"


def convolution(worked: Worked, at: int, words: Mapping[str, str]) -> str:
    """A worked convolution as three tables; `at` is the place of the result whose window is marked."""
    window = worked.window(at)
    marks = np.where(worked.own, "own", "zero").astype(object)
    marks[window] += " seen"
    field = [
        [f'<td class="{mark}">{value:g}</td>' for mark, value in zip(line, values, strict=True)]
        for line, values in zip(marks, worked.field, strict=True)
    ]
    kernel = [[f"<td>{value:g}</td>" for value in values] for values in worked.kernel]
    buttons = [
        f'<td><button type="button" data-index="{i}" aria-pressed="{str(i == at).lower()}">{value:g}</button></td>'
        for i, value in enumerate(worked.result.ravel())
    ]
    columns = worked.result.shape[1]
    result = [buttons[i : i + columns] for i in range(0, len(buttons), columns)]
    tables = [_table(words["slides_over"], field), _table(words["kernel"], kernel), _table(words["result"], result)]
    pairs = zip(worked.field[window].ravel(), worked.kernel.ravel(), strict=True)
    terms = " + ".join(f"{a:g}·{b:g}" for a, b in pairs if a and b)
    total = f"{terms or 0} = {worked.result.ravel()[at]:g}"
    return f'<div class="convolution">{"".join(tables)}</div><p class="sum">{escape(total)}</p>'
