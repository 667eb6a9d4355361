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


@functools.lru_cache(maxsize=1024)
def _before(name: bytes, size: int) -> bytes:
    """What stands before so many bytes that are the value of the feature of this name."""
    content = b"\x0a" + _varint(size)
    value = b"\x0a" + _varint(len(content) + size)
    head = _field(1, name) + b"\x12" + _varint(len(value) + len(content) + size)
    return b"\x0a" + _varint(len(head) + len(value) + len(content) + size) + head + value + content


@functools.lru_cache(maxsize=4096)
def _label(label: int | None) -> bytes:
    """The whole feature of a label; nothing where there is none."""
    return b"" if label is None else _field(1, _field(1, b"label") + _field(2, _field(3, _field(1, _varint(label)))))


def encode(image: np.ndarray, label: int | None, key: str) -> bytes:
    """One record: `image` is (height, width, channels), uint8 or normalised float32; `label` is from 0 up or None.

    The bytes are those of TensorFlow's own deterministic serialisation: the map's entries in the order of their names,
    no default left out.
    """
    pixels, name = image.tobytes(), key.encode("utf-8", "backslashreplace")
    features = (_before(b"image", len(pixels)), pixels, _before(b"key", len(name)), name, _label(label))
    return b"".join((b"\x0a", _varint(sum(map(len, features))), *features))


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
