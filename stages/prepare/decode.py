"""From the bytes of an image file to pixels, or to the reason why not. Files may come from anyone.

The policy, one for every format: the orientation is applied (EXIF's, or XMP's where EXIF has none); transparency is
composited on the background; palettes are resolved; CMYK becomes RGB by Pillow's formula and embedded colour profiles
are not applied; 16-bit gray becomes 8 by rounding, 16-bit colour by its upper byte; 1 bit becomes 0 and 255; of several
frames the first is taken, or the file rejected. A file is told by its content, whatever its name. Plain JPEGs are
decoded by libjpeg-turbo with its exact transform, strictly (a file that the library would mend with a warning is
rejected); all else by Pillow.
"""

import io
import struct
import threading
from typing import Literal, get_args

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from stages.prepare.settings import Settings

# What Pillow may open: formats of pictures, none that runs a program (EPS) or refers to other files.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
Reason = Literal[
    "empty", "not_an_image", "corrupt", "truncated", "too_small", "too_large", "animated", "unsupported", "outside_crop"
]
REASONS: tuple[str, ...] = get_args(Reason)

Image.MAX_IMAGE_PIXELS = None  # `max_pixels` is checked before anything is decoded, and not doubled on the quiet
_IN_TURN = threading.Lock()  # for Pillow: that limit, which a GIF needs, is one for all threads
# As JPEG and GIF have it. Pillow puts the pieces of a row together in a time that grows with its square.
_LONGEST_SIDE = 65_535
_EXIF_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0112, 0x0102, 0x0106, 0
_SEGMENT, _RST0, _EOI, _SOS = struct.Struct(">2BH"), 0xD0, 0xD9, 0xDA  # of a JPEG


class RejectedError(Exception):
    """This file gives no image: `reason` is one of REASONS; `width` and `height` in pixels, 0 where unknown."""

    def __init__(self, reason: Reason, width: int = 0, height: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.width, self.height = reason, width, height


def _check_size(width: int, height: int, settings: Settings) -> None:
    if width * height > settings.max_pixels or max(width, height) > _LONGEST_SIDE:
        raise RejectedError("too_large", width, height)
    if min(width, height) < settings.min_size:
        raise RejectedError("too_small", width, height)


def _orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image as its EXIF orientation (1 to 8; EXIF 2.32, tag 0x0112) asks."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _orientation(picture: Image.Image) -> int:
    """The orientation that a picture states; 1 where it states none or its EXIF block is broken."""
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # the pixels are whole; what the block holds is anybody's
        return 1


def _scan_at(data: bytes) -> int:
    """Where a JPEG's first scan begins; its end, where the segments before it do not follow each other plainly.

    (ITU-T T.81, B.1.1: each is FF, its marker, its length in two bytes that count themselves. SOS begins a scan; those
    from RST0 to EOI have no length.)
    """
    at = 2
    try:
        while True:
            prefix, marker, length = _SEGMENT.unpack_from(data, at)
            if prefix != 0xFF or not 0xC0 <= marker < 0xFF or _RST0 <= marker <= _EOI:
                return len(data)
            if marker == _SOS:
                return at
            at += 2 + length
    except struct.error:
        return len(data)


def _jpeg_orientation(data: bytes) -> int:
    end = _scan_at(data)
    if data.find(b"Exif\x00\x00", 0, end) < 0 and data.find(b"tiff:Orientation", 0, end) < 0:
        return 1  # without Pillow, which takes as long as the decoding
    try:
        with _IN_TURN, Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            return _orientation(picture)
    except Exception:
        return 1


def _jpeg(data: bytes, settings: Settings) -> np.ndarray | None:
    """A gray or YCbCr JPEG; None where it is of another kind, or where only Pillow can say what is wrong with it."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if space not in ("Gray", "YCbCr"):
        return None
    _check_size(width, height, settings)
    try:
        image = simplejpeg.decode_jpeg(data, "GRAY" if space == "Gray" else "RGB")
    except ValueError as error:
        reason: Reason = "truncated" if "remature end" in str(error) else "corrupt"
        raise RejectedError(reason, width, height) from None
    orientation = _jpeg_orientation(data)
    return image if orientation == 1 else _orient(image, orientation)


def _scale_transparency(picture: Image.Image, depth: int) -> None:
    """State a PNG's transparent colour in 8 bits, as Pillow states the pixels."""
    value = picture.info.get("transparency")
    if picture.mode == "L" and isinstance(value, int) and depth < 8:
        picture.info["transparency"] = value * 255 // ((1 << depth) - 1)
    elif picture.mode == "RGB" and isinstance(value, tuple) and depth == 16:
        picture.info["transparency"] = tuple(part >> 8 for part in value)


def _flatten(picture: Image.Image, background: tuple[int, int, int]) -> np.ndarray:
    """Any mode of Pillow's to uint8 (H, W, 1) where it is gray or (H, W, 3) where it is not."""
    mode = picture.mode
    if picture.has_transparency_data and mode not in ("I;16", "I", "F"):
        picture = picture.convert("RGBA")
    if mode.startswith("I;16") or mode == "I":
        wide = np.asarray(picture).astype(np.int64)[..., None]
        if getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # a TIFF; up to 8 bits Pillow minds it
            wide = 65535 - wide
        narrow = ((np.clip(wide, 0, 65535) * 255 + 32767) // 65535).astype(np.uint8)
        if "transparency" not in picture.info:
            return narrow
        behind = np.array(background[: 1 if len(set(background)) == 1 else 3], np.uint8)
        return np.where(wide == picture.info["transparency"], behind, narrow)
    if picture.mode == "RGBA":
        canvas = Image.new("RGBA", picture.size, (*background, 255))
        flat = np.asarray(Image.alpha_composite(canvas, picture).convert("RGB"))
        gray = mode in ("LA", "La", "L", "1") and len(set(background)) == 1
        return flat[..., :1] if gray else flat
    if mode in ("1", "L"):
        return np.asarray(picture.convert("L"))[..., None]
    if mode in ("P", "RGB", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        return np.asarray(picture.convert("RGB"))
    raise RejectedError("unsupported", *picture.size)


def _pillow(data: bytes, settings: Settings) -> np.ndarray:
    width = height = 0
    if data.startswith(b"GIF8"):  # Pillow fills its first frame before it tells the size: it has to refuse by itself
        Image.MAX_IMAGE_PIXELS = settings.max_pixels
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            _check_size(width, height, settings)
            if settings.animated == "reject" and getattr(picture, "is_animated", False):
                raise RejectedError("animated", width, height)
            bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
            if picture.format == "TIFF" and (picture.mode == "I" or 12 in bits):
                raise RejectedError("unsupported", width, height)  # no telling which value is white
            picture.load()
            if picture.format == "PNG":
                _scale_transparency(picture, data[24])
            return _orient(_flatten(picture, settings.background), _orientation(picture))
    except UnidentifiedImageError:
        # Pillow says so too of a file that begins as an image does and then breaks off within its header.
        known = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
        webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
        raise RejectedError("corrupt" if webp or data.startswith(known) else "not_an_image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        width, height = struct.unpack_from("<HH", data, 6)
        known_size = width * height > settings.max_pixels  # else it is a frame that reaches beyond
        raise RejectedError("too_large", *((width, height) if known_size else ())) from None
    except RejectedError:
        raise
    except Exception as error:  # decoders raise whatever they stumble over, and a file may hold anything
        reason: Reason = "truncated" if "truncated" in str(error) else "corrupt"
        raise RejectedError(reason, width, height) from None
    finally:
        Image.MAX_IMAGE_PIXELS = None


def decode(data: bytes, settings: Settings) -> np.ndarray:
    """The pixels of an image file: uint8 (height, width, 1 where the file is gray, else 3), upright and opaque.

    Raises RejectedError with the reason where there are none.
    """
    if not data:
        raise RejectedError("empty")
    image = _jpeg(data, settings) if data.startswith(b"\xff\xd8\xff") else None
    if image is not None:
        return image
    with _IN_TURN:
        return _pillow(data, settings)
