"""The chunks of a PNG that its pixels need. Pillow reads all of them and rejects a file for a fault in any."""

import struct
from collections.abc import Iterator

_HEAD = struct.Struct(">I4s")  # the length of the content, the kind; a checksum follows the content
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The kinds that start with a small letter and that change the pixels: transparency and animation.
_PIXELS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")


def without_extras(data: bytes, *, keep_orientation: bool) -> bytes:
    """A PNG without the chunks that decoders may skip, or with only those that hold its orientation.

    Texts, colour profiles and unknown chunks can be large or damaged, although the pixels are intact.
    """
    return b"".join(_needed(memoryview(data), keep_orientation))


def _needed(data: memoryview, keep_orientation: bool) -> Iterator[memoryview]:
    """The parts of a PNG to keep. Whatever follows a malformed chunk is kept as it is."""
    yield data[: len(_SIGNATURE)]
    at = len(_SIGNATURE)
    while at + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length + 4
        if end > len(data) or not kind.isalpha() or kind == b"IEND":
            break
        content = data[at + _HEAD.size :]
        turns = kind == b"eXIf" or any(content[: len(name)] == name for name in _ORIENTATION)
        if kind[:1].isupper() or kind in _PIXELS or (turns and keep_orientation):
            yield data[at:end]
        at = end
    yield data[at:]
