"""Image files for the tests, by Pillow or by hand, and what decoding them gives."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from stages.prepare.decode import REASONS, RejectedError, decode
from stages.prepare.settings import Settings

COLOUR = np.random.default_rng(0).integers(0, 256, (21, 34, 3), np.uint8)
GRAY = COLOUR[..., :1]


def image(pixels: np.ndarray) -> Image.Image:
    """Pillow's image of uint8 (H, W, 1 or more)."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def file(picture: Image.Image, format: str, **options: Any) -> bytes:
    """A picture as a file in memory."""
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """A file as Pillow opens it."""
    return Image.open(io.BytesIO(data))


def by_opencv(data: bytes, flags: int) -> np.ndarray:
    """A file as OpenCV decodes it."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by hand: `rows` with their filter bytes, `colour` 0 gray, 2 RGB, 4 and 6 with alpha."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", head, *extra, chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND", b"")))


def tiff(order: str, width: int, bits: int, samples: bytes, white: int = 1, *extra: tuple[int, int, int, int]) -> bytes:
    """A gray TIFF of one row, by hand. `order`: < or >; `white`: 0 if it is zero, else 1; `extra`: more tags."""
    tags = [(256, 4, 1, width), (257, 4, 1, 1), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, white), (273, 4, 1, 8)]
    tags = sorted([*tags, (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, len(samples)), *extra])
    samples += bytes(len(samples) % 2)
    # A value of two bytes is at the start of its four.
    values = [struct.pack(f"{order}I" if tag[1] == 4 else f"{order}H2x", tag[3]) for tag in tags]
    entries = b"".join(struct.pack(f"{order}HHI", *tag[:3]) + value for tag, value in zip(tags, values, strict=True))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(samples))
    return head + samples + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF by hand. Its one frame is cleared after display, which makes Pillow fill it when it opens the file."""
    return b"".join(
        (
            b"GIF89a" + struct.pack("<HH", *screen) + b"\xf0\0\0" + b"\0\0\0\xff\xff\xff",
            b"!\xf9\x04\x09\0\0\x01\0",
            b"," + struct.pack("<4H", 0, 0, *frame) + b"\0",
            b"\x02\x02\x4c\x01\0;",
        )
    )


def canvas_of_webp(width: int, height: int) -> bytes:
    """A WebP with a large canvas and a single frame of 16 × 16."""

    def u24(value: int) -> bytes:
        return struct.pack("<I", value)[:3]

    def block(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("<I", len(content)) + content

    inner = file(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    frame = u24(0) + u24(0) + u24(15) + u24(15) + u24(100) + b"\0" + inner
    canvas = bytes([2, 0, 0, 0]) + u24(width - 1) + u24(height - 1)
    return block(b"RIFF", b"WEBP" + block(b"VP8X", canvas) + block(b"ANIM", bytes(6)) + block(b"ANMF", frame))


def rejection(data: bytes, settings: Settings) -> tuple[str, int, int]:
    """The reason, width and height of a rejected file."""
    with pytest.raises(RejectedError) as caught:
        decode(data, settings)
    assert caught.value.reason in REASONS
    return caught.value.reason, caught.value.width, caught.value.height


PLAIN = Settings()
# A different value in each channel, to notice swapped channels.
BACKGROUND = (10, 100, 200)
ON_COLOUR = Settings(background=BACKGROUND)


def with_exif(pixels: np.ndarray, format: str, orientation: object, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file(image(pixels), format, exif=exif, **options)


def frames(format: str, **options: Any) -> bytes:
    """Two frames: one red, one blue."""
    red, blue = Image.new("RGB", (9, 7), (255, 0, 0)), Image.new("RGB", (9, 7), (0, 0, 255))
    return file(red, format, save_all=True, append_images=[blue], **options)


SEVERAL = {
    "gif": frames("GIF"),
    "apng": frames("PNG"),
    "apng with another default": frames("PNG", default_image=True),
    "webp": frames("WEBP", lossless=True),
    "tiff": frames("TIFF"),
}
