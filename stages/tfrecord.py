"""The TFRecord format, written without TensorFlow: a shard is made wherever Python, NumPy and OpenCV are.

A file is a row of records, each its length (8 bytes, little endian), the length's masked CRC-32C, the data and the
data's masked CRC-32C (tensorflow/core/lib/io/record_writer.h). The data is a tf.train.Example with the features `image`
(bytes: the pixels in C order, height × width × channels), `key` (bytes: UTF-8, where the picture came from) and, where
it is known, `label` (int64).
"""

import functools
import hashlib
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import google_crc32c
import numpy as np

_LOOKUP = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)


def lookup() -> np.ndarray:
    """What each byte is normalised to: float32 (256,)."""
    return _LOOKUP.copy()


def normalise(image: np.ndarray) -> np.ndarray:
    """uint8 [0,255] => float32 [-1,1], any shape: x/127.5 − 1 in float32, by a table so that every reader agrees."""
    return _LOOKUP[image]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _entry(name: bytes, feature: bytes) -> bytes:
    """One entry of the Features' map."""
    return _field(1, _field(1, name) + _field(2, feature))


@functools.lru_cache(maxsize=16)
def _before_image(size: int) -> bytes:
    """What stands before an image of so many bytes, within the features."""
    pixels = b"\x0a" + _varint(size)
    value = b"\x0a" + _varint(len(pixels) + size)
    head = _field(1, b"image") + b"\x12" + _varint(len(value) + len(pixels) + size)
    return b"\x0a" + _varint(len(head) + len(value) + len(pixels) + size) + head + value + pixels


@functools.lru_cache(maxsize=4096)
def _label(label: int | None) -> bytes:
    return b"" if label is None else _entry(b"label", _field(3, _field(1, _varint(label))))


def encode(image: np.ndarray, label: int | None, key: str) -> bytes:
    """One record: `image` is (height, width, channels), uint8 or normalised float32; `label` is from 0 up or None.

    The bytes are those of TensorFlow's own deterministic serialisation: the map's entries in the order of their names,
    no default left out.
    """
    before = _before_image(image.nbytes)
    after = _entry(b"key", _field(1, _field(1, key.encode("utf-8", "backslashreplace")))) + _label(label)
    return b"".join((b"\x0a", _varint(len(before) + image.nbytes + len(after)), before, image.tobytes(), after))


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class Writer:
    """Writes a shard and hashes it on the way. Use it as a context manager; `sha256` is known at its end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 20)
        self._digest = hashlib.sha256()
        self.sha256 = ""

    def __enter__(self) -> Self:
        """Start writing."""
        return self

    def write(self, record: bytes) -> None:
        """Append one record."""
        length = struct.pack("<Q", len(record))
        framed = b"".join((length, _masked_crc(length), record, _masked_crc(record)))
        self._digest.update(framed)
        self._file.write(framed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()
        self.sha256 = self._digest.hexdigest()
