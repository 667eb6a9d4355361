"""Arrays of pictures: .npz, .npy, HDF5 and idx files."""

import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stages.errors import StageError
from stages.prepare.settings import Settings
from stages.prepare.sources import array_files
from tests.archive_files import Files, classes_of, decoded, open_data_set, splits_of
from tests.conftest import write_idx
from tests.prepare.test_mutations import mutated

GRAY = np.random.default_rng(1).integers(0, 256, (8, 6, 5), np.uint8)
COLOUR = np.random.default_rng(2).integers(0, 256, (8, 6, 5, 3), np.uint8)
LABELS = np.array([1, 0, 2, 1, 0, 2, 2, 1])
CLASSES = [str(label) for label in LABELS]


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, allow_pickle=True, **arrays)
    return out.getvalue()


def compressed_npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def hdf5(**arrays: object) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name.replace("__", "/"), data=array)
    return out.getvalue()


def idx(array: np.ndarray, folder: Path, packed: bool = True) -> bytes:
    write_idx(folder / "array.idx", array.astype(np.uint8))
    data = (folder / "array.idx").read_bytes()
    return gzip.compress(data) if packed else data


def pictures(folder: Path, files: Files) -> np.ndarray:
    """The decoded pictures of a data set, in its order."""
    source = open_data_set(folder, "arrays", files)
    images = decoded(source, Settings())
    return np.stack([images[key] for key in source.index.names])


KINDS: dict[str, Callable[[Path], Files]] = {
    "npz": lambda folder: {"a.npz": npz(images=COLOUR, labels=LABELS)},
    "compressed npz": lambda folder: {"a.npz": compressed_npz(images=COLOUR, labels=LABELS)},
    "npz without an extension": lambda folder: {"a": npz(images=COLOUR, labels=LABELS)},
    "npz of two files": lambda folder: {
        "a0.npz": npz(images=COLOUR[:4], labels=LABELS[:4]),
        "a1.npz": npz(images=COLOUR[4:], labels=LABELS[4:]),
    },
    "npy": lambda folder: {"images.npy": npy(COLOUR), "labels.npy": npy(LABELS)},
    "npy in Fortran's order": lambda folder: {"x.npy": npy(np.asfortranarray(COLOUR)), "y.npy": npy(LABELS)},
    "npz in Fortran's order": lambda folder: {"a.npz": npz(x=np.asfortranarray(COLOUR), y=LABELS)},
    "channels first": lambda folder: {"a.npz": npz(x=COLOUR.transpose(0, 3, 1, 2), y=LABELS)},
    "hdf5": lambda folder: {"a.h5": hdf5(images=COLOUR, labels=LABELS)},
    "hdf5 in groups": lambda folder: {"a.h5": hdf5(data__images=COLOUR, data__labels=LABELS)},
    "idx": lambda folder: {"pics-idx4-ubyte": idx(COLOUR, folder, False), "labels": idx(LABELS, folder, False)},
    "idx.gz": lambda folder: {"pics-idx4-ubyte.gz": idx(COLOUR, folder), "labels-idx1-ubyte.gz": idx(LABELS, folder)},
    "floats from 0 to 1": lambda folder: {"a.npz": npz(x=COLOUR.astype(np.float32) / 255, y=LABELS)},
    "floats from -1 to 1": lambda folder: {"a.npz": npz(x=COLOUR / 127.5 - 1, y=LABELS)},
    "half floats from 0 to 255": lambda folder: {"a.npz": npz(x=COLOUR.astype(np.float16), y=LABELS)},
    "64-bit whole numbers": lambda folder: {"a.npz": npz(x=COLOUR.astype(np.int64), y=LABELS.astype(np.float32))},
    "labels N×1": lambda folder: {"a.npz": npz(x=COLOUR, y=LABELS[:, None])},
    "one-hot labels": lambda folder: {"a.npz": npz(x=COLOUR, y=np.eye(3)[LABELS])},
    "labels without the name": lambda folder: {"a.npz": npz(x=COLOUR, kind=LABELS, number=np.arange(8))},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_array_gives_the_same_pixels_and_labels(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files, "_CHUNK", 200)  # two pictures at a time
    source = open_data_set(tmp_path, "arrays", KINDS[kind](tmp_path))
    images = decoded(source, Settings())
    assert np.array_equal(np.stack([images[key] for key in source.index.names]), COLOUR)
    assert list(classes_of(source).values()) == CLASSES


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GRAY, GRAY),
        (GRAY[..., None], GRAY),
        (GRAY > 99, np.where(GRAY > 99, 255, 0)),
        ((GRAY > 99).astype(np.int32), np.where(GRAY > 99, 255, 0)),
    ],
    ids=["N×H×W", "N×H×W×1", "true and false", "zeros and ones"],
)
def test_gray_pictures_are_read(tmp_path: Path, values: np.ndarray, expected: np.ndarray) -> None:
    assert np.array_equal(pictures(tmp_path, {"a.npy": npy(values)})[..., 0], expected)


@pytest.mark.parametrize(
    "files",
    [
        {"mnist.npz": npz(x_train=GRAY[:5], y_train=LABELS[:5], x_test=GRAY[5:], y_test=LABELS[5:])},  # Keras
        {
            "med.npz": npz(
                train_images=GRAY[:5], train_labels=LABELS[:5, None], test_images=GRAY[5:], test_labels=LABELS[5:]
            )
        },
        {"a.npz": npz(testX=GRAY[5:], trainX=GRAY[:5], testY=LABELS[5:], trainY=LABELS[:5])},
        {"train.npz": npz(x=GRAY[:5], y=LABELS[:5]), "test.npz": npz(x=GRAY[5:], y=LABELS[5:])},
        {"a.h5": hdf5(train__x=GRAY[:5], train__y=LABELS[:5], val__x=GRAY[5:], val__y=LABELS[5:])},
    ],
    ids=["Keras", "MedMNIST", "camel case", "in file names", "groups"],
)
def test_names_with_train_and_test_are_the_official_splits(tmp_path: Path, files: Files) -> None:
    source = open_data_set(tmp_path, "arrays", files)
    assert list(splits_of(source).values()) == ["train"] * 5 + ["test"] * 3
    assert list(classes_of(source).values()) == CLASSES


def test_idx_files_of_ones_own_with_mnists_names_need_no_class_names(tmp_path: Path) -> None:
    names = {"images-idx3-ubyte.gz": GRAY, "labels-idx1-ubyte.gz": LABELS}
    files = {f"train-{name}": idx(array[:5], tmp_path) for name, array in names.items()}
    files |= {f"t10k-{name}": idx(array[5:], tmp_path) for name, array in names.items()}
    source = open_data_set(tmp_path, "arrays", files)
    assert list(splits_of(source).values()) == ["train"] * 5 + ["test"] * 3
    assert list(classes_of(source).values()) == CLASSES


@pytest.mark.parametrize(
    ("arrays", "classes"),
    [
        ({"y": LABELS, "class_names": np.array(["ant", "bee", "cat"])}, ["bee", "ant", "cat"]),
        ({"labels": np.array(["b", "ä", "b", "ä"] * 2)}, ["b", "ä", "b"]),
        ({"labels": np.array([True, False] * 4)}, ["True", "False", "True"]),
        ({"labels": np.array([7, -3, 7, 5] * 2) + 3}, ["10", "0", "10"]),
    ],
    ids=["names of classes", "words", "true and false", "not from 0"],
)
def test_labels_become_classes(tmp_path: Path, arrays: dict[str, np.ndarray], classes: list[str]) -> None:
    source = open_data_set(tmp_path, "arrays", {"a.npz": npz(images=GRAY, **arrays)})
    assert list(classes_of(source).values())[:3] == classes


def test_words_as_labels_in_hdf5_become_classes(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "arrays", {"a.h5": hdf5(images=GRAY, labels=["cat", "dög"] * 4)})
    assert source.classes == ("cat", "dög")


@pytest.mark.parametrize(
    "arrays",
    [
        {"ids": np.arange(8)},
        {"labels": LABELS - 1},
        {"labels": np.ones((8, 4))},
        {"labels": LABELS + 0.5},
        {"labels": LABELS[:7]},
        {"labels": LABELS, "other_labels": LABELS},
        {"labels": np.array([{}] * 8)},
    ],
    ids=["numbers", "-1", "several per picture", "fractions", "too few", "two arrays", "pickles"],
)
def test_what_is_not_one_label_per_picture_is_reported_as_not_used(
    tmp_path: Path, arrays: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    source = open_data_set(tmp_path, "arrays", {"a.npz": npz(images=GRAY, **arrays)})
    assert (source.classes, len(source.index)) == ((), 8)
    message = capsys.readouterr().err
    assert message.startswith("pictures: a.npz: images (8×6×5 uint8), black 0, white 255; labels: none; not used: ")
    assert all(f"a.npz: {name} (" in message for name in arrays)


DANGEROUS = np.empty((8, 6, 5), object)
REFUSED: dict[str, tuple[Files, str]] = {
    "pickles": (
        {"a.npz": npz(images=DANGEROUS)},
        r"no array of pictures.* images \(8×6×5 pickled objects\)\. Pickled objects can run",
    ),
    "pickles in npy": ({"a.npy": npy(DANGEROUS)}, r"no array of pictures.*a\.npy: \(8×6×5 pickled objects\)"),
    "flattened": ({"a.npy": npy(GRAY[:, 0, 0][:, None].repeat(784, 1))}, r"save a\.npy with reshape\(-1, 28, 28\)"),
    "flattened colour": ({"a.npz": npz(x=np.zeros((2, 3072)))}, r"save x with reshape\(-1, 32, 32, 3\)"),
    "one picture": ({"a.npy": npy(COLOUR[0])}, r"no array of pictures.*\(6×5×3 uint8\)"),
    "no pictures": ({"a.npz": npz(x=GRAY[:0], y=LABELS)}, "no array of pictures"),
    "no arrays": ({"a.h5": hdf5()}, "it has no arrays"),
    "four channels": ({"a.npy": npy(np.zeros((8, 6, 5, 4)))}, "with 1 or 3 channels"),
    "two arrays of pictures": (
        {"a.npz": npz(images=COLOUR, masks=GRAY)},
        "several arrays of pictures: .*images.*masks",
    ),
    "classes as files": (
        {"cat.npy": npy(GRAY), "dog.npy": npy(GRAY)},
        r"several arrays of pictures: cat\.npy.*dog\.npy",
    ),
    "two sizes": ({"a.npz": npz(x_train=GRAY, x_test=GRAY[:, :5])}, "of several sizes: .*x_train.*x_test"),
    "standardised": ({"a.npy": npy(GRAY / 60 - 2)}, "values from -2 to .* scale them to 0 to 255, 0 to 1 or -1 to 1"),
    "12 bits": ({"a.npy": npy(GRAY.astype(np.uint16) * 16)}, "values from .* to 4080 do not say what is black"),
    "not finite": ({"a.npy": npy(np.full((8, 6, 5), np.nan))}, "NaN: some values are missing"),
    "not finite in a later file": (
        {"1.npz": npz(x=GRAY), "2.npz": npz(x=np.where(GRAY > 99, np.nan, 255))},
        "NaN: some values are missing",
    ),
    "16 levels": ({"a.npy": npy(GRAY // 16)}, "values from 0 to 15 do not say what is black"),
    "a file for each picture": ({f"{i}.npy": npy(COLOUR[i % 8]) for i in range(30)}, "and 20 others.*numpy.stack"),
    "truncated npy": ({"a.npy": npy(GRAY)[:-1]}, r"a\.npy: truncated or damaged"),
    "truncated npz": ({"a.npz": npz(x=GRAY)[:-40]}, r"a\.npz: truncated or damaged"),
    "truncated hdf5": ({"a.h5": hdf5(x=GRAY)[:-40]}, r"a\.h5: truncated or damaged"),
    "truncated idx": ({"a-ubyte": b"\0\0\x08\3" + b"\0\0\0\2" * 3 + b"123"}, r"truncated.*19 bytes, but .* 24"),
    "a false shape": ({"a.npy": npy(GRAY).replace(b"(8, 6, 5)", b"(9, 6, 5)")}, r"a\.npy: truncated or damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_that_cannot_be_used_are_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    files, reason = REFUSED[name]
    with pytest.raises(StageError, match=re.compile(reason, re.DOTALL)):
        open_data_set(tmp_path, "arrays", files)


def test_mutated_arrays_are_read_or_refused_with_the_name_of_the_file(tmp_path: Path) -> None:
    whole = [npz(x=COLOUR, y=LABELS), compressed_npz(x=GRAY, y=LABELS), npy(COLOUR), hdf5(x=COLOUR, y=["a", "b"])]
    outcomes = set()
    for number in range(200):
        data = mutated([*whole, idx(GRAY, tmp_path), idx(GRAY, tmp_path, False)], np.random.default_rng(number))
        try:
            open_data_set(tmp_path / str(number), "arrays", {"file": data})
            outcomes.add("read")
        except StageError as error:
            assert "file" in str(error) or "no array of pictures" in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_hdf5_does_not_read_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(GRAY.tobytes())
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.create_dataset("raw", GRAY.shape, np.uint8, external=[(str(secret), 0, GRAY.nbytes)])
        file["link"] = h5py.ExternalLink(str(secret), "x")
        layout = h5py.VirtualLayout(GRAY.shape, np.uint8)
        layout[:] = h5py.VirtualSource(str(secret), "x", GRAY.shape)
        file.create_virtual_dataset("virtual", layout)
    with pytest.raises(StageError, match="it has no arrays"):
        open_data_set(tmp_path, "arrays", {"a.h5": out.getvalue()})
