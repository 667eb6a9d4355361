"""Oxford Flowers-102: JPEGs in a .tgz, labels and splits in MATLAB files."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.settings import Settings
from stages.prepare.sources.facts import file_with_ending
from stages.prepare.sources.index import IndexBuilder, Source


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """Flowers-102 with its official splits. Classes are named by number, since the files have no names."""
    from scipy.io.matlab import MatReadError  # here: it takes 50 ms, and no other format needs it

    origin = file_with_ending(facts, folder, ".tgz")
    path = archives.unpacked(origin, scratch)
    builder = IndexBuilder()
    builder.add_archive(0, path, origin)
    try:
        label_of, split_of = _labels_and_splits(facts, folder)
        numbers = _image_numbers(builder.names)
        if len(numbers) and (numbers.min() < 1 or split_of[numbers].min() < 0):
            raise ValueError("an image is in none of the splits")
        index = builder.index(label_of[numbers - 1], split_of[numbers])
    except (KeyError, IndexError, ValueError, TypeError, MatReadError, NotImplementedError, zlib.error) as error:
        raise StageError(
            f"{folder}: the labels do not fit the images ({error}); delete it and download again"
        ) from None
    classes = tuple(str(i + 1) for i in range(int(label_of.max()) + 1))
    return Source(facts, classes, ("train", "val", "test"), (str(path),), index)


def _image_numbers(names: Iterable[str]) -> np.ndarray:
    """The number in each name: image_00001.jpg => 1."""
    return np.array([int(name.rpartition("_")[2].partition(".")[0]) for name in names])


def _labels_and_splits(facts: dict[str, Any], folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The label (N,) of images 1 to N, and the split (N + 1,) of each image number, −1 for none."""
    from scipy.io import loadmat

    labels = loadmat(file_with_ending(facts, folder, "imagelabels.mat"))["labels"].ravel().astype(int) - 1
    numbers = loadmat(file_with_ending(facts, folder, "setid.mat"))
    split = np.full(len(labels) + 1, -1)
    for i, name in enumerate(("trnid", "valid", "tstid")):
        split[numbers[name].ravel()] = i
    return labels, split
