"""Pictures as HTML. Each PNG is part of the HTML, so the server has no picture files that a request could name."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

from demo.convolutions import Convolution
from stages import pixels
from stages import png as png_files

_SHOWN_CHANNELS = 16
_SIDE = 320  # pixels: the least side of a large picture that is downloaded


def png(picture: np.ndarray, scale: int = 1, provenance: png_files.Provenance | None = None) -> str:
    """uint8 (H, W, C) as the data URL of a PNG."""
    file = io.BytesIO()
    png_files.save_png(picture, file, scale, provenance)
    return _address(file)


def apng(frames: Sequence[np.ndarray], provenance: png_files.Provenance, milliseconds: int) -> str:
    """uint8 pictures (H, W, C) as the data URL of an animated PNG."""
    file = io.BytesIO()
    png_files.save_animation(frames, file, _scale(frames[0]), [milliseconds] * len(frames), provenance)
    return _address(file)


def _address(file: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _scale(picture: np.ndarray) -> int:
    return max(1, _SIDE // max(picture.shape[:2]))


def image(address: str, alt: str) -> str:
    """A picture. The style sheet keeps its pixels square at any size."""
    return f'<img src="{address}" alt="{escape(alt)}">'


def figure(content: str, caption: str = "", *, large: bool = False) -> str:
    """A picture with a caption below it."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    kind = ' class="large"' if large else ""
    return f"<figure{kind}>{content}{below}</figure>"


def single(picture: np.ndarray, alt: str, provenance: png_files.Provenance, name: str, download: str) -> str:
    """One float32 image (H, W, C) in [-1,1], large, with a link that saves it with its provenance."""
    drawn = pixels.to_uint8(picture)
    address = png(drawn, _scale(drawn), provenance)
    return figure(image(address, alt) + saved(address, name, download), large=True)


def saved(address: str, name: str, text: str) -> str:
    """A link that saves a picture."""
    return f'<a class="save" download="{escape(name)}" href="{address}">{escape(text)}</a>'


def row(pictures: np.ndarray, alts: Sequence[str], captions: Sequence[str] | None = None) -> str:
    """float32 images (N, H, W, C) in [-1,1] in a row."""
    drawn = zip(pixels.to_uint8(pictures), alts, captions or [""] * len(alts), strict=True)
    cells = [figure(image(png(picture), alt), caption) for picture, alt, caption in drawn]
    return f'<div class="pictures">{"".join(cells)}</div>'


def choices(pictures: np.ndarray, alts: Sequence[str], *, kind: str = "cells") -> str:
    """float32 images (N, H, W, C) in [-1,1] as buttons. A click on one sends its number."""
    cells = [
        f'<button type="button" data-index="{index}" title="{escape(alt)}">{image(png(picture), alt)}</button>'
        for index, (picture, alt) in enumerate(zip(pixels.to_uint8(pictures), alts, strict=True))
    ]
    return f'<div class="{kind}">{"".join(cells)}</div>'


def message(text: str) -> str:
    """A message to the user."""
    return f'<p class="message" role="status">{escape(text)}</p>'


def paragraphs(*texts: str) -> str:
    """Plain text."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def heading(text: str) -> str:
    """A heading."""
    return f"<h4>{escape(text)}</h4>"


def strip(figures: Sequence[str]) -> str:
    """Figures in a row."""
    return f'<div class="strip">{"".join(figures)}</div>'


def pair(sections: Sequence[tuple[str, str]]) -> str:
    """Sections (heading, HTML) side by side; a single section without its heading."""
    if len(sections) == 1:
        return sections[0][1]
    parts = "".join(f"<section><h3>{escape(name)}</h3>{body}</section>" for name, body in sections)
    return f'<div class="pair">{parts}</div>'


def channels(output: np.ndarray, name: str, caption: Callable[[int, int], str]) -> str:
    """The first 16 channels of a layer's output (H, W, C) as tiles, each stretched from its minimum to its maximum."""
    maps = np.moveaxis(output[..., :_SHOWN_CHANNELS], -1, 0)
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    tiles = ((maps - low) / np.maximum(high - low, 1e-12) * 2 - 1)[..., None]
    text = f"{name} ({caption(len(maps), output.shape[-1])})"
    return figure(image(png(png_files.grid(tiles, 4, gap=1)), text), text)


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


def convolution(computed: Convolution, number: int, words: Mapping[str, str]) -> str:
    """A convolution as three tables, with the window and the sum that give one number of the result."""
    window = computed.window(number)
    marks = np.where(computed.own, "own", "zero").astype(object)
    marks[window] += " seen"
    field = [
        [f'<td class="{mark}">{value:g}</td>' for mark, value in zip(line, values, strict=True)]
        for line, values in zip(marks, computed.field, strict=True)
    ]
    kernel = [[f"<td>{value:g}</td>" for value in values] for values in computed.kernel]
    buttons = [
        f'<td><button type="button" data-index="{i}" aria-pressed="{str(i == number).lower()}">{value:g}</button></td>'
        for i, value in enumerate(computed.result.ravel())
    ]
    columns = computed.result.shape[1]
    result = [buttons[i : i + columns] for i in range(0, len(buttons), columns)]
    tables = [_table(words["field"], field), _table(words["kernel"], kernel), _table(words["result"], result)]
    pairs = zip(computed.field[window].ravel(), computed.kernel.ravel(), strict=True)
    terms = " + ".join(f"{a:g}·{b:g}" for a, b in pairs if a and b)
    total = f"{terms or 0} = {computed.result.ravel()[number]:g}"
    return f'<div class="convolution">{"".join(tables)}</div><p class="sum">{escape(total)}</p>'
