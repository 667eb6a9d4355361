"""JPEGs: decode them strictly, but accept faults that cost no pixel.

libjpeg-turbo repairs what it can, with a warning. Most warnings mean lost pixels, so here a warning is an error. Some
files of common cameras have faults outside the picture data: stray bytes, wrong segment lengths, parameters that no
decoder uses. `decode` removes these faults. After that, the whole file must decode without a warning.

Section numbers are those of ITU-T T.81.
"""

import contextlib
import re
import struct
from typing import Literal

import numpy as np
import simplejpeg

Colours = Literal["GRAY", "RGB"]
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SEGMENT = struct.Struct(">2BH")
_TEM, _RST0, _RST7, _EOI_CODE, _SOS, _APP0, _APP14, _COM = 0x01, 0xD0, 0xD7, 0xD9, 0xDA, 0xE0, 0xEE, 0xFE
_NOT_SEQUENTIAL = (0xC2, 0xC3, 0xCA)  # the frames (progressive, lossless) whose scans have parameters of their own
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)  # B.1.1.2: fill bytes FF may precede it
_SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)  # restart markers are inside the scan
_STRAY = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_READ_AHEAD = 8  # libjpeg-turbo's bit buffer, in bytes: it does not count stray bytes that it has read into it


def without_first_stray(data: bytes) -> bytes:
    """A JPEG without the stray bytes before its first marker, which Pillow rejects."""
    marker = _MARKER.search(data, 2)
    return data if marker is None or marker.start() == 2 else _SOI + data[marker.start() :]


def scan_offset(data: bytes) -> int:
    """The offset of a JPEG's first scan; the length of `data` if the segments before it are malformed.

    B.1.1: a segment is FF, its marker and its length, whose two bytes count themselves. SOS begins a scan. The markers
    from RST0 to EOI have no length.
    """
    at = 2
    try:
        while True:
            prefix, marker, length = _SEGMENT.unpack_from(data, at)
            if prefix != 0xFF or not 0xC0 <= marker < 0xFF or _RST0 <= marker <= _EOI_CODE:
                return len(data)
            if marker == _SOS:
                return at
            at += 2 + length
    except struct.error:
        return len(data)


def header(data: bytes) -> tuple[int, int, str]:
    """The height, the width and the colour space, as simplejpeg names it. Raises ValueError if it is malformed."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        height, width, space, _ = simplejpeg.decode_jpeg_header(_essential(data))
    return height, width, space


def decode(data: bytes, colours: Colours) -> np.ndarray:
    """The pixels of a gray or YCbCr JPEG: uint8 (H, W, 1 or 3).

    Raises ValueError, with libjpeg's last warning, if pixels are missing or may be wrong.
    """
    try:
        return simplejpeg.decode_jpeg(data, colours)
    except ValueError as error:
        if "remature end" in str(error):
            raise
    essential = _essential(data)
    try:
        return simplejpeg.decode_jpeg(essential, colours)
    except ValueError as error:
        stray = _STRAY.search(str(error))
        if stray is None:
            raise
        image = _decode_before(essential[: -len(_EOI)], int(stray[1]), colours)
        if image is None:
            raise
        return image


def _essential(data: bytes) -> bytes:
    """A JPEG with only the segments that its pixels need, and with parameters that raise no warning."""
    parts, at, sequential = [_SOI], 2, True
    while (match := _MARKER.search(data, at)) is not None and (marker := match[1][0]) != _EOI_CODE:
        at = match.end()
        if marker == _TEM or _RST0 <= marker <= _RST7:
            continue
        length = max(2, int.from_bytes(data[at : at + 2], "big"))
        segment = data[at : at + length]
        at += length
        if marker == _COM or (_APP0 < marker < _APP0 + 16 and marker != _APP14):
            continue
        sequential = sequential and marker not in _NOT_SEQUENTIAL
        parts += [b"\xff", match[1], _plain(marker, segment, sequential)]
        if marker == _SOS:
            end = _SCAN_END.search(data, at)
            start, at = at, end.start() if end else len(data)
            parts.append(data[start:at])
    return b"".join([*parts, _EOI] if match else parts)


def _plain(marker: int, segment: bytes, sequential: bool) -> bytes:
    """A segment with the values that decoders assume when they warn about others."""
    if marker == _SOS and sequential and len(segment) > 2:
        at = 3 + 2 * segment[2]
        return segment[:at] + b"\0\x3f\0" + segment[at + 3 :]  # B.2.3: the whole block, at full precision
    if marker == _APP0 and segment[2:7] == b"JFIF\0":
        return segment[:7] + b"\1" + segment[8:]  # version 1
    if marker == _APP14 and segment[2:7] == b"Adobe" and segment[13:14] != b"\0":
        return segment[:13] + b"\1" + segment[14:]  # the colours are YCbCr
    return segment


def _decode_before(scan: bytes, stray: int, colours: Colours) -> np.ndarray | None:
    """The pixels of a JPEG without its EOI and its last `stray` bytes; None if those may be picture data.

    A damaged scan may end early and leave picture data behind. So the stray bytes must be fill (all equal), or the scan
    must end as encoders end it: F.1.2.3 fills its last byte with 1-bits. (Measured on 3,000 photos with a
    flipped bit: 8 % leave data behind, of which three quarters are rejected. 90 % have no warning at all.)
    """
    ends = range(len(scan) - stray - _READ_AHEAD, len(scan) - stray + 1)
    end, image = next(((end, image) for end in ends if (image := _decoded(scan[:end], colours)) is not None), (0, None))
    if image is None or len(set(scan[end:])) == 1 or scan[end - 2 : end] == b"\xff\0":
        return image
    # If the lowest 0-bit is picture data, all bits after it are 1. A change of picture data changes the pixels.
    flipped = scan[end - 1] | (scan[end - 1] + 1)
    changed = _decoded(scan[: end - 1] + (b"\xff\0" if flipped == 0xFF else bytes([flipped])), colours)
    return image if changed is None or not np.array_equal(changed, image) else None


def _decoded(scan: bytes, colours: Colours) -> np.ndarray | None:
    """The pixels of a JPEG without its EOI; None if libjpeg warns."""
    with contextlib.suppress(ValueError):
        return simplejpeg.decode_jpeg(scan + _EOI, colours)
    return None
