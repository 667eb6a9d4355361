"""CIFAR-10's binary files."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from stages.errors import StageError
from stages.prepare.settings import Settings
from tests.archive_files import Files, classes_of, decoded, make_tar, open_data_set, splits_of


def cifar_archive(batches: dict[str, bytes]) -> Files:
    members = {f"cifar-10-batches-bin/{name}": data for name, data in batches.items()}
    return {"cifar-10-binary.tar.gz": gzip.compress(make_tar({**members, "cifar-10-batches-bin/readme": b"x"}.items()))}


def cifar_records(labels: Sequence[int], first: int) -> tuple[bytes, np.ndarray]:
    """Records of these labels, and their pixels (N, 32, 32, 3)."""
    pixels = np.random.default_rng(first).integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(labels), -1)
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, planes, strict=True)), pixels


def test_cifar_has_planar_pixels_labels_and_splits(tmp_path: Path) -> None:
    first, first_pixels = cifar_records([3, 1], 1)
    second, second_pixels = cifar_records([0], 2)
    test, test_pixels = cifar_records([2, 2], 3)
    batches = {"test_batch.bin": test, "data_batch_2.bin": second, "data_batch_1.bin": first}
    source = open_data_set(tmp_path, "cifar", cifar_archive(batches), classes=["a", "b", "c", "d"])
    places = ["data_batch_1.bin#0", "data_batch_1.bin#1", "data_batch_2.bin#0", "test_batch.bin#0", "test_batch.bin#1"]
    keys = [f"cifar-10-batches-bin/{place}" for place in places]
    assert classes_of(source) == dict(zip(keys, "dbacc", strict=True))
    assert list(splits_of(source).values()) == ["train"] * 3 + ["test"] * 2
    images = decoded(source, Settings())
    expected = np.concatenate([first_pixels, second_pixels, test_pixels])
    assert np.array_equal(np.stack([images[key] for key in keys]), expected)


@pytest.mark.parametrize(
    ("batches", "complaint"),
    [
        ({"data_batch_1.bin": bytes(3072)}, "data_batch_1.bin: 3,072 bytes, not a multiple of 3,073"),
        ({"data_batch_1.bin": b"\x07" + bytes(3072)}, "a label is 7, but there are 2 classes"),
        ({"data_batch_1.txt": b""}, "no .bin files in it"),
    ],
)
def test_an_archive_that_is_not_cifar_is_named(tmp_path: Path, batches: dict[str, bytes], complaint: str) -> None:
    with pytest.raises(StageError, match=rf"cifar-10-binary\.tar\.gz: (cifar-10-batches-bin/)?{complaint}"):
        open_data_set(tmp_path, "cifar", cifar_archive(batches), classes=["a", "b"])
