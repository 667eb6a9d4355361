"""Write TFRecord files without TensorFlow, so that preparing data does not load it.

A file is a sequence of records: the length of the data (8 bytes, little endian), the masked CRC-32C of the length, the
data, and the masked CRC-32C of the data (tensorflow/core/lib/io/record_writer.h). The data is a tf.train.Example with
the features `image` (bytes: the pixels in C order, height × width × channels), `key` (bytes: the source path in UTF-8)
and, for labelled images, `label` (int64).
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
    """A variable-length integer of a protocol buffer."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


@functools.lru_cache(maxsize=1024)
def _feature_header(name: bytes, size: int) -> bytes:
    """The bytes before the value of a bytes feature, for a value of `size` bytes."""
    content = b"\x0a" + _varint(size)
    value = b"\x0a" + _varint(len(content) + size)
    head = _field(1, name) + b"\x12" + _varint(len(value) + len(content) + size)
    return b"\x0a" + _varint(len(head) + len(value) + len(content) + size) + head + value + content


@functools.lru_cache(maxsize=4096)
def _label_feature(label: int | None) -> bytes:
    """The whole feature of a label; empty for None."""
    return b"" if label is None else _field(1, _field(1, b"label") + _field(2, _field(3, _field(1, _varint(label)))))


def encode(image: np.ndarray, label: int | None, key: str) -> bytes:
    """One record: `image` is (height, width, channels), uint8 or normalised float32; `label` is 0 or more, or None.

    The bytes equal TensorFlow's deterministic serialisation: features sorted by name, default values included.
    """
    pixels, name = image.tobytes(), key.encode("utf-8", "backslashreplace")
    image_header, key_header = _feature_header(b"image", len(pixels)), _feature_header(b"key", len(name))
    features = (image_header, pixels, key_header, name, _label_feature(label))
    return b"".join((b"\x0a", _varint(sum(map(len, features))), *features))


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class Writer:
    """Writes a shard and computes its hash. Use it as a context manager; `sha256` is set when it closes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 20)
        self._digest = hashlib.sha256()
        self.sha256 = ""

    def __enter__(self) -> Self:
        """Return the open writer."""
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
        """Close the file and set `sha256`."""
        self._file.close()
        self.sha256 = self._digest.hexdigest()
