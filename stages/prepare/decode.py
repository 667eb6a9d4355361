"""Decode image files from any source, or reject them with a reason.

The policy is the same for every format:

- The content decides the format, not the name.
- The orientation is applied: EXIF's, else XMP's.
- Transparent pixels are composited on the background, or keep their alpha if there are 4 channels. Palettes become
  colours.
- CMYK becomes RGB by Pillow's formula. Embedded colour profiles are ignored.
- 16-bit gray becomes 8-bit by rounding, 16-bit colour by its upper byte, and 1-bit values become 0 and 255. If
  `prepare.white` is not 65535, the 16-bit values of PNGs and TIFFs are divided by it and rounded, colours too.
- If there are several frames, the first is used or the file is rejected.
- What the pixels do not need (texts, profiles) is skipped. It may be large or damaged.

libjpeg-turbo decodes plain JPEGs with its exact transform, and strictly (`jpeg`). Pillow decodes everything else.
"""

import functools
import importlib.util
import io
import struct
import threading
import warnings
from typing import Any, Literal, get_args

import cv2
import numpy as np
from PIL import AvifImagePlugin, Image, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError, features

from stages.prepare import jpeg, png_chunks, signatures
from stages.prepare.settings import Settings

# The formats that Pillow may open. None of them runs a program (EPS) or refers to other files.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
_ENDS = ("truncated", "Truncated data", "end of file")  # in the errors of Pillow, libavif and libheif
_TIFF, _JPEG_2000 = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", *_TIFF, *_JPEG_2000)
_HEIF_EXTRA = "HEIC, which needs the extra heif: .venv/bin/pip install -e '.[heif]' && dvc repro -f -s prepare"
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

# A person cannot see which picture Pillow's warnings are about, and the pixels are intact.
warnings.filterwarnings("ignore", module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # we check `max_pixels` before decoding; Pillow would allow twice its limit
_PILLOW_LOCK = threading.Lock()  # opening a GIF sets that limit, which all threads share
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 23  # programs write long XMP blocks, which may contain the orientation
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the stage has a process for each processor
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))  # Pillow has only b"II"
# The limit of JPEG and GIF. Pillow's time for a row of tiles grows with the square of its length.
_MAX_SIDE = 65_535
# Tags of EXIF and TIFF, and a value of _PHOTOMETRIC.
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0112, 0x0102, 0x0106, 0
_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 0x00FE, 0x014A, 0xC612


class RejectedError(Exception):
    """A file is rejected: `reason` is one of REASONS; `width` and `height` are in pixels, 0 if unknown.

    `detail` says what is unsupported, and what to install for it; empty if there is nothing to add.
    """

    def __init__(self, reason: Reason, width: int = 0, height: int = 0, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.width, self.height, self.detail = reason, width, height, detail


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
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # the block may contain anything, and the pixels are intact
        return 1


def _jpeg_orientation(data: bytes) -> int:
    """The orientation of a JPEG. Most have none, and are not opened with Pillow, which takes as long as decoding."""
    end = jpeg.scan_offset(data)
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
        height, width, space = jpeg.header(data)
    except ValueError:
        return None
    if space not in ("Gray", "YCbCr"):
        return None
    _check_size(width, height, settings)
    try:
        image = jpeg.decode(data, "GRAY" if space == "Gray" else "RGB")
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


def _narrow(wide: np.ndarray, white: int) -> np.ndarray:
    """16-bit values => uint8, rounded: `white` and more become 255."""
    return ((np.clip(wide.astype(np.int64), 0, white) * 255 + white // 2) // white).astype(np.uint8)


def _is_deep(picture: Image.Image, data: bytes) -> bool:
    """Whether the samples of a PNG or TIFF have 16 bits. Other formats state their white, and Pillow applies it."""
    if not picture.mode.startswith(("I;16", "RGB")):
        return False
    bits = data[24:25] if picture.format == "PNG" else getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    return 16 in bits


def _peak(picture: Image.Image) -> int:
    """The largest value of a 16-bit picture, without its alpha; of colour, the most that its upper bytes allow."""
    if picture.mode.startswith("I;16"):
        return int(np.asarray(picture).max())
    return int(np.asarray(picture)[..., :3].max()) * 256 + 255


def _scaled_colour(data: bytes, picture: Image.Image, white: int) -> Image.Image:
    """A 16-bit PNG or TIFF in colour, with `white` as 255. Pillow reads only the upper bytes."""
    wide = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # uint16 (H, W, 3 or 4), BGR or BGRA
    if wide is None or wide.dtype != np.uint16 or wide.ndim != 3 or wide.shape[1::-1] != picture.size:
        raise RejectedError("unsupported", *picture.size, "16-bit colours of this kind with prepare.white")
    colours = Image.fromarray(_narrow(wide[..., 2::-1], white))
    if picture.has_transparency_data:
        colours.putalpha(picture.convert("RGBA").getchannel("A"))
    return colours


def _background(settings: Settings) -> tuple[int, int, int] | None:
    """What is behind transparent pixels; None if they keep their alpha."""
    return None if settings.channels == 4 else settings.background


def _flatten_deep(picture: Image.Image, settings: Settings) -> np.ndarray:
    """A gray picture with 16 bits => uint8 (H, W, 1), (H, W, 3) on a coloured background, or (H, W, 4) with alpha."""
    wide = np.asarray(picture).astype(np.int64)[..., None]
    white = settings.white if picture.format in ("PNG", "TIFF") else 65535
    is_inverted = getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO  # Pillow inverts up to 8 bits
    narrow = _narrow(white - wide if is_inverted else wide, white)
    if "transparency" not in picture.info:
        return narrow
    background = _background(settings)
    if background is None:
        alpha = np.where(wide == picture.info["transparency"], 0, 255).astype(np.uint8)
        return np.concatenate([narrow, narrow, narrow, alpha], axis=2)
    behind = np.array(background[: 1 if len(set(background)) == 1 else 3], np.uint8)
    return np.where(wide == picture.info["transparency"], behind, narrow)


def _flatten(picture: Image.Image, background: tuple[int, int, int] | None) -> np.ndarray:
    """A picture in any of Pillow's modes with 8 bits => uint8 (H, W, 1) if it is gray, else (H, W, 3).

    Without a background, a picture with transparent pixels is (H, W, 4) and keeps its alpha.
    """
    mode = picture.mode
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    if picture.mode == "RGBA":
        if background is None:
            return np.asarray(picture)
        canvas = Image.new("RGBA", picture.size, (*background, 255))
        flat = np.asarray(Image.alpha_composite(canvas, picture).convert("RGB"))
        gray = mode in ("LA", "La", "L", "1") and len(set(background)) == 1
        return flat[..., :1] if gray else flat
    if mode in ("1", "L"):
        return np.asarray(picture.convert("L"))[..., None]
    if mode in ("P", "RGB", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        return np.asarray(picture.convert("RGB"))
    raise RejectedError("unsupported", *picture.size)


def _check_content(picture: Image.Image, data: bytes, settings: Settings) -> None:
    """Reject an animation, if the setting says so, camera raw, and a TIFF whose value of white is unknown."""
    if settings.animated == "reject" and getattr(picture, "is_animated", False):
        raise RejectedError("animated", *picture.size)
    if picture.format != "TIFF":
        return
    tags: Any = getattr(picture, "tag_v2", {})
    # Camera raw (DNG, Canon CR2, Nikon, Sony, …): the first picture of the TIFF is only a preview.
    is_preview = tags.get(_SUBFILE_TYPE) == 1 and _SUB_IFDS in tags
    if _DNG_VERSION in tags or data.startswith(b"CR\2", 8) or is_preview:
        raise RejectedError("unsupported", *picture.size, "camera raw")
    if picture.mode in ("I", "F") or 12 in tags.get(_BITS_PER_SAMPLE, ()):
        raise RejectedError("unsupported", *picture.size, "TIFF with other values than 8 or 16 bits")


@functools.cache
def _read_heif() -> bool:
    """Let Pillow read HEIC, if the extra is installed."""
    try:
        import pillow_heif  # here: only few data sets need it
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return True


def extras() -> tuple[str, ...]:
    """The installed extras that read more formats."""
    return ("heif",) if importlib.util.find_spec("pillow_heif") else ()


def _unidentified(data: bytes) -> RejectedError:
    """Why Pillow does not recognise a file: an image file that ends inside its header is corrupt."""
    if signatures.is_heic(data):
        return RejectedError("corrupt") if _read_heif() else RejectedError("unsupported", detail=_HEIF_EXTRA)
    if signatures.is_avif(data):
        return RejectedError("corrupt") if features.check("avif") else RejectedError("unsupported", detail="AVIF")
    if name := signatures.name_of(data):
        return RejectedError("unsupported", detail=name)
    if data.startswith(_TIFF) and _is_tiff_of_other_kind(data):
        return RejectedError("unsupported", detail="TIFF with values of another kind")
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return RejectedError("corrupt" if webp or data.startswith(_MAGIC) else "not_an_image")


def _is_tiff_of_other_kind(data: bytes) -> bool:
    """Whether a file is a TIFF with samples that Pillow has no mode for."""
    try:
        TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except Exception as error:  # a file may contain anything
        return "unknown pixel mode" in str(error)
    return False


def _pixels(picture: Image.Image, data: bytes, settings: Settings, depths: list[int]) -> np.ndarray:
    """The upright pixels of an open picture. Appends to `depths` if the picture has 16-bit values."""
    picture.load()
    if picture.format == "PNG":
        _scale_transparency(picture, data[24])
    if _is_deep(picture, data):
        depths.append(_peak(picture).bit_length())
    if picture.mode.startswith("I;16") or picture.mode == "I":
        image = _flatten_deep(picture, settings)
    elif settings.white != 65535 and _is_deep(picture, data):
        image = _flatten(_scaled_colour(data, picture, settings.white), _background(settings))
    else:
        image = _flatten(picture, _background(settings))
    return _orient(image, _orientation(picture))


def _pillow(data: bytes, settings: Settings, depths: list[int]) -> np.ndarray:
    """The pixels of a file that Pillow opens. Raises RejectedError for anything else."""
    width = height = 0
    if data.startswith(b"GIF8"):  # Pillow fills the first frame before it reports the size, so Pillow has to check
        Image.MAX_IMAGE_PIXELS = settings.max_pixels
    try:
        formats = (*FORMATS, "HEIF") if signatures.is_heic(data) and _read_heif() else FORMATS
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            width, height = picture.size
            _check_size(width, height, settings)
            _check_content(picture, data, settings)
            return _pixels(picture, data, settings, depths)
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        width, height = struct.unpack_from("<HH", data, 6)
        if width * height <= settings.max_pixels:  # a frame is larger than the screen
            width = height = 0
        raise RejectedError("too_large", width, height) from None
    except RejectedError:
        raise
    except Exception as error:  # a file may contain anything, and decoders raise many kinds of errors
        reason: Reason = "truncated" if any(text in str(error) for text in _ENDS) else "corrupt"
        raise RejectedError(reason, width, height) from None
    finally:
        Image.MAX_IMAGE_PIXELS = None


def _png(data: bytes, settings: Settings, depths: list[int]) -> np.ndarray:
    """The pixels of a PNG. If a text with its orientation is damaged, it has none."""
    with_orientation = png_chunks.without_extras(data, keep_orientation=True)
    try:
        return _pillow(with_orientation, settings, depths)
    except RejectedError as error:
        without = png_chunks.without_extras(data, keep_orientation=False)
        if error.reason != "corrupt" or len(without) == len(with_orientation):
            raise
    return _pillow(without, settings, depths)


def decode(data: bytes, settings: Settings, depths: list[int] | None = None) -> np.ndarray:
    """The pixels of an image file, upright and opaque: uint8 (height, width, 1) if it is gray, else (height, width, 3).

    With `channels: 4` a picture with transparent pixels has its alpha as the fourth channel. If the file is a PNG or
    TIFF with 16-bit values, `depths` gets the number of bits of its largest value. Raises RejectedError, with the
    reason, for any other file.
    """
    if not data:
        raise RejectedError("empty")
    if data.startswith(b"\xff\xd8"):
        data = jpeg.without_first_stray(data)
        image = _jpeg(data, settings)
        if image is not None:
            return image
    depths = [] if depths is None else depths
    with _PILLOW_LOCK:
        read = _png if data.startswith(b"\x89PNG\r\n") else _pillow
        return read(data, settings, depths)
