"""Official splits and classes, by the names of folders and files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.prepare.sources.index import NO_LABEL, NO_SPLIT, path_parts

# Names of folders and files => our names of the splits.
SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLIT_NAMES |= {"val": "val", "valid": "val", "validation": "val", "dev": "val"}


@dataclass(frozen=True)
class Folders:
    """Splits and classes of N pictures, by their folders.

    `split` and `label`, (N,), are indices of `splits` and `classes`, −1 for none. `loose` holds the indices of the
    pictures outside every class folder, if without them the folders would be classes.
    """

    splits: tuple[str, ...]
    split: np.ndarray
    classes: tuple[str, ...]
    label: np.ndarray
    loose: np.ndarray


def official_splits(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """The splits among `words` (train, val, test), and the index of each word's split.

    A single held-out split is the test split, even if it is called val.
    """
    names = [name for name in ("train", "val", "test") if name in words]
    indices = [names.index(word) for word in words]
    return ["test" if name == "val" and "test" not in words else name for name in names], indices


def read_folders(names: Iterable[str]) -> Folders:
    """The splits and classes of pictures with these paths.

    Folders that contain everything are ignored. If the next level consists of split folders (train, test, val and the
    like, with train among them), these are the official splits. The level below holds the classes, if every picture is
    in such a folder and there are at least two.
    """
    numbers: dict[str, int] = {}
    folder_of = np.fromiter((numbers.setdefault(name.rpartition("/")[0], len(numbers)) for name in names), np.int64)
    paths = [path_parts(folder) for folder in numbers]
    depth = _common_depth(paths)
    splits, split = _splits(_level(paths, depth))
    classes, label, is_loose = _classes(_level(paths, depth + bool(splits)))
    return Folders(
        tuple(splits), split[folder_of], tuple(classes), label[folder_of], np.flatnonzero(is_loose[folder_of])
    )


def _level(paths: Sequence[Sequence[str]], depth: int) -> list[str]:
    """The part of each path at this depth; empty if the path is shorter."""
    return [path[depth] if len(path) > depth else "" for path in paths]


def _common_depth(paths: Sequence[Sequence[str]]) -> int:
    """How many folders at the beginning all paths share."""
    depth = 0
    while paths and len(paths[0]) > depth and len(set(_level(paths, depth))) == 1:
        depth += 1
    return depth


def _splits(folders: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The official splits and the index of each folder's split, if every folder is named after a split."""
    words = [SPLIT_NAMES.get(name.lower(), "") for name in folders]
    if "" in words or not set(words) > {"train"}:
        return [], np.full(len(folders), NO_SPLIT)
    names, indices = official_splits(words)
    return names, np.array(indices)


def _classes(folders: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The classes, the index of each folder's class, and which folders lie outside the classes ("")."""
    classes = sorted(set(folders))
    if len(classes) < 2 or "" in classes:
        is_loose = np.array([name == "" and len(classes) > 2 for name in folders], bool)
        return [], np.full(len(folders), NO_LABEL), is_loose
    return classes, np.array([classes.index(name) for name in folders]), np.zeros(len(folders), bool)
