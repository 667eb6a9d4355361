"""MNIST and data sets like it: images and labels in idx files, with or without gzip."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.settings import Settings
from stages.prepare.sources.facts import file_with_ending
from stages.prepare.sources.index import IndexBuilder, Pixels, Source, check_labels

# The types of idx values by the third byte of a file.
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def values(path: Path) -> np.ndarray:
    """The values of an idx file, as a memory map.

    The format (LeCun, THE MNIST DATABASE, "FILE FORMATS"): the bytes 0 and 0, the type of the values, the number of
    dimensions, each dimension as a big-endian 32-bit number, then the values in C order. Raises ValueError for a file
    of another length than its header says.
    """
    with path.open("rb") as file:
        _, _, code, dimensions = file.read(4)
        shape = tuple(int(n) for n in np.frombuffer(file.read(4 * dimensions), ">u4"))
    dtype, header = np.dtype(_TYPES[code]), 4 + 4 * dimensions
    expected, size = header + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if size != expected:
        raise ValueError(f"{size:,} bytes, but its header says {expected:,}")
    return np.memmap(path, dtype, "r", header, shape)


def read_idx(path: Path, dimensions: int, origin: Path | None = None) -> np.ndarray:
    """The unsigned bytes of an idx file, as a memory map with this number of dimensions.

    Raises StageError for any other file; the message names `origin`, the file that `path` was unpacked from.
    """
    origin = origin or path
    header = 4 + 4 * dimensions
    with path.open("rb") as file:
        head = file.read(header)
    if len(head) < header or head[:4] != bytes([0, 0, 8, dimensions]):
        raise StageError(
            f"{origin}: not an idx file of bytes in {dimensions} dimensions; delete it and download it again"
        )
    try:
        return values(path)
    except ValueError as error:
        raise StageError(f"{origin}: {error}; delete it and download it again") from None


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """Idx files named like MNIST's: `train` files are the training split, `t10k` files the test split."""
    builder, files, labels, splits = IndexBuilder(), [], [], []
    shape: tuple[int, ...] = ()
    for number, prefix in enumerate(("train", "t10k")):
        ending = ".gz" if facts["files"][0]["name"].endswith(".gz") else ""
        path = file_with_ending(facts, folder, f"{prefix}-images-idx3-ubyte{ending}")
        labels_path = file_with_ending(facts, folder, f"{prefix}-labels-idx1-ubyte{ending}")
        plain = archives.unpacked(path, scratch)
        images = read_idx(plain, 3, path)
        split_labels = read_idx(archives.unpacked(labels_path, scratch), 1, labels_path)
        if len(images) != len(split_labels):
            raise StageError(f"{path}: {len(images)} images, but {len(split_labels)} labels in {labels_path.name}")
        check_labels(folder, split_labels, facts["classes"])
        if shape and images.shape[1:] != shape:
            raise StageError(f"{path}: images of {images.shape[1:]}, but {shape} in the training split")
        shape = images.shape[1:]
        step = math.prod(shape)
        name = path.name.removesuffix(".gz")
        for i in range(len(images)):
            builder.add(number, Member(f"{name}#{i}", 16 + i * step, step, step, archives.PLAIN))
        files.append(str(plain))
        labels.append(split_labels)
        splits.append(np.full(len(images), number))
    index = builder.index(np.concatenate(labels), np.concatenate(splits))
    pixels = Pixels((shape[0], shape[1], 1), planar=False)
    return Source(facts, tuple(facts["classes"]), ("train", "test"), tuple(files), index, pixels)
