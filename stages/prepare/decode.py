"""Decode image files from any source, or reject them with a reason.

The policy is the same for every format:

- The content decides the format, not the name.
- The orientation is applied: EXIF's, else XMP's.
- Transparent pixels are composited on the background, and palettes become colours.
- CMYK becomes RGB by Pillow's formula. Embedded colour profiles are ignored.
- 16-bit gray becomes 8-bit by rounding, 16-bit colour by its upper byte, and 1-bit values become 0 and 255.
- If there are several frames, the first is used or the file is rejected.

libjpeg-turbo decodes plain JPEGs with its exact transform, and strictly: a file that the library would repair with a
warning is rejected. Pillow decodes everything else.
"""

import io
import struct
import threading
from typing import Literal, get_args

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from stages.prepare.settings import Settings

# The formats that Pillow may open. None of them runs a program (EPS) or refers to other files.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
Reason = Literal[
    "empty",
    "not_an_image",
    "corrupt",
    "truncated",
    "too_small",
    "too_large",
    "animated",
    "unsupported",
    "encrypted",
    "outside_crop",
]
REASONS: tuple[str, ...] = get_args(Reason)

Image.MAX_IMAGE_PIXELS = None  # we check `max_pixels` before decoding; Pillow would allow twice its limit
_PILLOW_LOCK = threading.Lock()  # opening a GIF sets that limit, which all threads share
# The limit of JPEG and GIF. Pillow's time for a row of tiles grows with the square of its length.
_MAX_SIDE = 65_535
_EXIF_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0112, 0x0102, 0x0106, 0
_SEGMENT, _RST0, _EOI, _SOS = struct.Struct(">2BH"), 0xD0, 0xD9, 0xDA  # a JPEG's segments and markers


class RejectedError(Exception):
    """A file is rejected: `reason` is one of REASONS; `width` and `height` are in pixels, 0 if unknown."""

    def __init__(self, reason: Reason, width: int = 0, height: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.width, self.height = reason, width, height


def _check_size(width: int, height: int, settings: Settings) -> None:
    """Reject a picture that is too large or too small."""
    if width * height > settings.max_pixels or max(width, height) > _MAX_SIDE:
        raise RejectedError("too_large", width, height)
    if min(width, height) < settings.min_size:
        raise RejectedError("too_small", width, height)


def _orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image upright by its EXIF orientation (1 to 8; EXIF 2.32, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _orientation(picture: Image.Image) -> int:
    """The orientation of a picture; 1 if it has none or its EXIF block is damaged."""
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # the block may contain anything, and the pixels are intact
        return 1


def _scan_offset(data: bytes) -> int:
    """The offset of a JPEG's first scan; the length of `data` if the segments before it are malformed.

    ITU-T T.81, B.1.1: a segment is FF, its marker and its length, whose two bytes count themselves. SOS begins a scan.
    The markers from RST0 to EOI have no length.
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
    """The orientation of a JPEG. Most have none, and are not opened with Pillow, which takes as long as decoding."""
    end = _scan_offset(data)
    if data.find(b"Exif\x00\x00", 0, end) < 0 and data.find(b"tiff:Orientation", 0, end) < 0:
        return 1
    try:
        with _PILLOW_LOCK, Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            return _orientation(picture)
    except Exception:
        return 1


def _jpeg(data: bytes, settings: Settings) -> np.ndarray | None:
    """The pixels of a gray or YCbCr JPEG; None if Pillow must decode it or find out why it is damaged."""
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
    """Convert a PNG's transparent colour to 8 bits, like Pillow's pixels."""
    value = picture.info.get("transparency")
    if picture.mode == "L" and isinstance(value, int) and depth < 8:
        picture.info["transparency"] = value * 255 // ((1 << depth) - 1)
    elif picture.mode == "RGB" and isinstance(value, tuple) and depth == 16:
        picture.info["transparency"] = tuple(part >> 8 for part in value)


def _flatten(picture: Image.Image, background: tuple[int, int, int]) -> np.ndarray:
    """A picture in any of Pillow's modes => uint8 (H, W, 1) if it is gray, else (H, W, 3)."""
    mode = picture.mode
    if picture.has_transparency_data and mode not in ("I;16", "I", "F"):
        picture = picture.convert("RGBA")
    if mode.startswith("I;16") or mode == "I":
        wide = np.asarray(picture).astype(np.int64)[..., None]
        if (
            getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        ):  # a TIFF; Pillow inverts only up to 8 bits
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


def _check_content(picture: Image.Image, settings: Settings) -> None:
    """Reject an animation, if the setting says so, and a TIFF whose value of white is unknown."""
    if settings.animated == "reject" and getattr(picture, "is_animated", False):
        raise RejectedError("animated", *picture.size)
    bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    if picture.format == "TIFF" and (picture.mode == "I" or 12 in bits):
        raise RejectedError("unsupported", *picture.size)


def _unidentified(data: bytes) -> Reason:
    """Why Pillow does not recognise a file: an image file that ends inside its header is corrupt."""
    magic = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return "corrupt" if webp or data.startswith(magic) else "not_an_image"


def _pillow(data: bytes, settings: Settings) -> np.ndarray:
    """The pixels of a file that Pillow opens. Raises RejectedError for anything else."""
    width = height = 0
    if data.startswith(b"GIF8"):  # Pillow fills the first frame before it reports the size, so Pillow has to check
        Image.MAX_IMAGE_PIXELS = settings.max_pixels
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            _check_size(width, height, settings)
            _check_content(picture, settings)
            picture.load()
            if picture.format == "PNG":
                _scale_transparency(picture, data[24])
            return _orient(_flatten(picture, settings.background), _orientation(picture))
    except UnidentifiedImageError:
        raise RejectedError(_unidentified(data)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        width, height = struct.unpack_from("<HH", data, 6)
        if width * height <= settings.max_pixels:  # a frame is larger than the screen
            width = height = 0
        raise RejectedError("too_large", width, height) from None
    except RejectedError:
        raise
    except Exception as error:  # a file may contain anything, and decoders raise many kinds of errors
        reason: Reason = "truncated" if "truncated" in str(error) else "corrupt"
        raise RejectedError(reason, width, height) from None
    finally:
        Image.MAX_IMAGE_PIXELS = None


def decode(data: bytes, settings: Settings) -> np.ndarray:
    """The pixels of an image file, upright and opaque: uint8 (height, width, 1) if it is gray, else (height, width, 3).

    Raises RejectedError, with the reason, for any other file.
    """
    if not data:
        raise RejectedError("empty")
    image = _jpeg(data, settings) if data.startswith(b"\xff\xd8\xff") else None
    if image is not None:
        return image
    with _PILLOW_LOCK:
        return _pillow(data, settings)
