"""MNIST's idx files."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.errors import StageError
from stages.prepare.settings import Settings
from stages.prepare.sources.idx import read_idx
from tests.archive_files import Files, decoded, open_data_set, splits_of
from tests.conftest import write_idx

IMAGES = np.random.default_rng(1).integers(0, 256, (7, 5, 4), np.uint8)
LABELS = np.array([1, 0, 2, 1, 0, 2, 2], np.uint8)


def idx_files(tmp_path: Path, images: np.ndarray, labels: np.ndarray, packed: bool = False) -> Files:
    """Idx files: five training pictures, and the rest for testing."""
    files = {}
    for prefix, part in (("train", slice(5)), ("t10k", slice(5, None))):
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            write_idx(tmp_path / "idx", array[part])
            data = (tmp_path / "idx").read_bytes()
            files[f"{prefix}-{name}{'.gz' * packed}"] = gzip.compress(data) if packed else data
    return files


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_have_pixels_labels_and_splits(tmp_path: Path, packed: bool) -> None:
    source = open_data_set(tmp_path, "idx", idx_files(tmp_path, IMAGES, LABELS, packed), classes=["x", "y", "z"])
    keys = [f"train-images-idx3-ubyte#{i}" for i in range(5)] + [f"t10k-images-idx3-ubyte#{i}" for i in range(2)]
    assert list(source.index.names) == keys
    assert source.index.label.tolist() == LABELS.tolist()
    assert list(splits_of(source).values()) == ["train"] * 5 + ["test"] * 2
    images = decoded(source, Settings())
    assert all(np.array_equal(images[key][..., 0], image) for key, image in zip(keys, IMAGES, strict=True))


IDX_DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "truncated": ("train-images-idx3-ubyte", lambda data: data[:-1], "115 bytes, but its header says 116"),
    "without a header": ("t10k-images-idx3-ubyte", lambda data: data[:3], "not an idx file of bytes in 3 dimensions"),
    "with values that are not bytes": (
        "train-labels-idx1-ubyte",
        lambda data: b"\0\0\x0d" + data[3:],
        "not an idx file of bytes in 1",
    ),
    "with too large dimensions": (
        "train-images-idx3-ubyte",
        lambda data: data[:4] + b"\x80\0\0\0" * 3 + data[16:],
        "but its header says 9,903,520,314,283,042,199,192,993,808",
    ),
    "with fewer labels": ("train-labels-idx1-ubyte", lambda d: d[:7] + b"\x04" + d[8:-1], "5 images, but 4 labels"),
    "with an unknown label": ("train-labels-idx1-ubyte", lambda d: d[:-1] + b"\x09", "a label is 9, but there are 3"),
    "with images of another size": (
        "t10k-images-idx3-ubyte",
        lambda d: d[:8] + b"\0\0\0\x04\0\0\0\x05" + d[16:],
        r"images of \(4, 5\), but \(5, 4\)",
    ),
}


@pytest.mark.parametrize("name", IDX_DAMAGE)
def test_a_damaged_idx_file_is_named(tmp_path: Path, name: str) -> None:
    file, damage, complaint = IDX_DAMAGE[name]
    files = idx_files(tmp_path, IMAGES, LABELS)
    with pytest.raises(StageError, match=complaint):
        open_data_set(tmp_path, "idx", {**files, file: damage(files[file])}, classes=["x", "y", "z"])


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    files = idx_files(tmp_path, IMAGES, LABELS)
    del files["t10k-labels-idx1-ubyte"]
    with pytest.raises(StageError, match="expected one file …t10k-labels-idx1-ubyte, found 0"):
        open_data_set(tmp_path, "idx", files, classes=["x", "y", "z"])


def test_a_file_that_is_not_idx_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello, this is not an idx file")
    with pytest.raises(StageError, match="file: not an idx file of bytes in 3 dimensions"):
        read_idx(path, 3)
    write_idx(path, np.zeros((2, 3, 4), np.uint8))
    assert read_idx(path, 3).shape == (2, 3, 4)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StageError, match="39 bytes, but its header says 40"):
        read_idx(path, 3)
