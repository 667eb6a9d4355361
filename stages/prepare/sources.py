"""Read a downloaded data set as it lies in data/raw: its splits, with images, labels and keys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages import artifacts
from stages.errors import StageError


@dataclass(frozen=True)
class SourceSplit:
    """One official split: images uint8 (N, H, W, C), labels int64 (N,) and where each record came from."""

    images: np.ndarray
    labels: np.ndarray
    file: str

    def key(self, index: int) -> str:
        """The source path of a record: the file and the place in it."""
        return f"{self.file}#{index}"


@dataclass(frozen=True)
class Source:
    """A data set to prepare: its facts, as the download stage wrote them, and its splits."""

    facts: dict[str, Any]
    splits: dict[str, SourceSplit]


_FACTS = ("name", "title", "homepage", "licence", "citation", "format", "classes", "files")
# The idx format's splits: our name, the file's prefix.
_IDX_SPLITS = {"train": "train", "test": "t10k"}


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx file of unsigned bytes with so many dimensions, mapped and not loaded.

    The format is LeCun's (THE MNIST DATABASE, "FILE FORMATS"): 0, 0, 8 for unsigned bytes, the number of dimensions,
    each as a big-endian 32-bit number, the bytes in C order. Raises StageError naming the file where it is not that.
    """
    header = 4 + 4 * dimensions
    with path.open("rb") as file:
        head = file.read(header)
    if len(head) < header or head[:4] != bytes([0, 0, 8, dimensions]):
        raise StageError(f"{path}: not an idx file of bytes in {dimensions} dimensions; delete it and download again")
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", offset=4))
    expected, size = header + int(np.prod(shape)), path.stat().st_size
    if size != expected:
        raise StageError(f"{path}: {size:,} bytes, its header says {expected:,}; delete it and download again")
    return np.memmap(path, np.uint8, "r", offset=header, shape=shape)


def open_source(folder: Path) -> Source:
    """The data set in `folder`, each file held against the SHA-256 that source.json states.

    Raises StageError naming the file that is missing, damaged or of an unknown format.
    """
    facts = artifacts.read_json(folder / "source.json", *_FACTS)
    for file in facts["files"]:
        path = folder / file["name"]
        if not path.is_file() or artifacts.sha256(path) != file["sha256"]:
            raise StageError(f"{path}: missing or damaged; delete {folder} and run the download stage again")
    if facts["format"] != "idx":
        raise StageError(f"{folder / 'source.json'}: unknown format {facts['format']!r}; known: idx")
    splits = {}
    for split, prefix in _IDX_SPLITS.items():
        name = f"{prefix}-images-idx3-ubyte"
        images = read_idx(folder / name, 3)[..., None]
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte", 1).astype(np.int64)
        if len(images) != len(labels):
            raise StageError(f"{folder / name}: {len(images)} images, but {len(labels)} labels beside it")
        if len(labels) and labels.max() >= len(facts["classes"]):
            raise StageError(f"{folder}: a label is {labels.max()}, but there are {len(facts['classes'])} classes")
        splits[split] = SourceSplit(images, labels, name)
    return Source(facts, splits)
