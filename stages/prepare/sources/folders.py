"""Official splits and classes, by the names of folders and files."""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stages import shell
from stages.errors import StageError
from stages.prepare.sources.index import NO_LABEL, NO_SPLIT

# Names of folders and files => our names of the splits.
SPLIT_NAMES = {"train": "train", "training": "train", "trainval": "train", "test": "test", "testing": "test"}
SPLIT_NAMES |= {"val": "val", "valid": "val", "validation": "val", "dev": "val", "eval": "val"}
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+")  # testSet => test, Set
_SPLIT_WORD = re.compile(rf"(?:images?|imgs?|data)?({'|'.join(SPLIT_NAMES)})(?:set|data|images?|imgs?)?")
# Shards, and the folders of cameras (100CANON; JEITA CP-3461, DCF: three digits and five letters, digits or _).
_PART = re.compile(
    r"(?i:(?:data_?)?(?:part|shard|chunk|batch|fold|subset|images?|imgs?)[-_ ]?\d+)|\d{3}[A-Z][A-Z0-9_]{4}"
)
_SIMILAR = 0.9  # the smallest shard has at least this share of the largest one's pictures; MNIST's digits have 0.8

_SHOWN = 10  # names in a message


@dataclass(frozen=True)
class Folders:
    """Splits and classes of N pictures, by their folders.

    `split` and `label`, (N,), are indices of `splits` and `classes`, −1 for none. `split_folders` names the folders of
    each split. The class folders are below `depth` others. `are_shards`: they are parts of the data set, not classes.
    """

    splits: tuple[str, ...]
    split_folders: tuple[str, ...]
    split: np.ndarray
    classes: tuple[str, ...]
    label: np.ndarray
    depth: int
    are_shards: bool


def shortened(names: Sequence[str], comma: str = ", ") -> str:
    """The first names of a list, and how many others there are."""
    more = f" and {len(names) - _SHOWN:,} others" if len(names) > _SHOWN else ""
    return comma.join(map(shell.printable, names[:_SHOWN])) + more


@functools.lru_cache
def split_of(name: str) -> str:
    """The split that a folder or file is named after, else an empty text: `train2017`, `images_val`, `test-set`.

    If the name contains several splits, only one at its beginning counts: `train-of-test` => train.
    """
    words = [_SPLIT_WORD.fullmatch(word.lower()) for word in _WORD.findall(name)]
    splits = [SPLIT_NAMES[word[1]] for word in words if word]
    return splits[0] if splits and (words[0] or len(set(splits)) == 1) else ""


def official_splits(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """The splits among `words` (train, val, test), and the index of each word's split.

    A single held-out split is the test split, even if it is called val.
    """
    names = [name for name in ("train", "val", "test") if name in words]
    indices = [names.index(word) for word in words]
    return ["test" if name == "val" and "test" not in words else name for name in names], indices


def file_splits(names: Sequence[str]) -> list[str]:
    """The split of each file, by its name; no splits unless every name has one and train is among them."""
    words = [split_of(name) for name in names]
    return words if "" not in words and set(words) > {"train"} else []


def read_folders(names: Iterable[str], are_classes: bool = False) -> Folders:
    """The splits and classes of pictures with these paths.

    Folders that contain everything are ignored. If the next level consists of split folders (train, test, val and the
    like), these are the official splits, with train among them. The level below holds the classes, if there are at
    least two. The split folders can also be below the class folders.

    Raises StageError if there are split folders and pictures outside them, unless the folders `are_classes`.
    """
    numbers: dict[str, int] = {}
    folder_of = np.fromiter((numbers.setdefault(name.rpartition("/")[0], len(numbers)) for name in names), np.int64)
    paths = [[part for part in folder.split("/") if part] for folder in numbers]
    start = _common_depth(paths)
    at = _split_level(paths, start, are_classes)
    inside = _without_split_folders(paths, start, at)
    inner = _common_depth(inside)
    splits, split_folders, split = _splits(_level(paths, at) if at is not None else [""] * len(paths))
    classes, label = _classes(_level(inside, inner))
    counts = np.bincount(label[folder_of] + 1, minlength=len(classes) + 1)[1:]
    depth = start + (at is not None) + inner
    shards = are_shards(classes, counts.tolist())
    return Folders(splits, split_folders, split[folder_of], classes, label[folder_of], depth, shards)


def _level(paths: Sequence[Sequence[str]], depth: int) -> list[str]:
    """The part of each path at this depth; empty if the path is shorter."""
    return [path[depth] if len(path) > depth else "" for path in paths]


def _common_depth(paths: Sequence[Sequence[str]]) -> int:
    """How many folders at the beginning all paths share."""
    depth = 0
    while paths and len(paths[0]) > depth and len(set(_level(paths, depth))) == 1:
        depth += 1
    return depth


def _split_level(paths: Sequence[Sequence[str]], start: int, are_classes: bool) -> int | None:
    """The depth at which every folder is named after a split: `start`, or the next one below classes; None if neither.

    Raises StageError if some folders at `start` are splits with train among them, and the others are no splits.
    """
    for depth in (start, start + 1):
        words = {split_of(name) for name in _level(paths, depth)}
        if words and "" not in words and not (are_classes and len(words) == 1):
            return depth
    folders = _level(paths, start)
    if not are_classes and {split_of(name) for name in folders} > {"", "train"}:
        splits = ", ".join(sorted({name for name in folders if split_of(name)}))
        other = next("/".join(path) for path in paths if not split_of("".join(path[start : start + 1])))
        raise StageError(
            f"the folders {splits} are splits, but some pictures are outside them (in {other or 'no folder'}); move "
            "these pictures into one of the folders or out of the data, or set prepare.labels: folders if every folder "
            "is a class"
        )
    return None


def _without_split_folders(paths: Sequence[list[str]], start: int, at: int | None) -> list[list[str]]:
    """The folders of each path from `start` on, without its split folder and one repetition of it (train/train)."""
    if at is None:
        return [path[start:] for path in paths]
    words = [split_of(path[at]) for path in paths]
    unrepeated = {word for word, below in zip(words, _level(paths, at + 1), strict=True) if split_of(below) != word}
    return [path[start:at] + path[at + 1 + (word not in unrepeated) :] for path, word in zip(paths, words, strict=True)]


def _splits(folders: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """The official splits, the folders of each, and the index of each folder's split.

    Folders of one split, or without train, make no splits. Their names are then a single text.
    """
    words = [split_of(name) for name in folders]
    if not set(words) > {"train"}:
        return (), (shortened(sorted(set(folders))),) if any(words) else (), np.full(len(folders), NO_SPLIT)
    names, indices = official_splits(words)
    members = [sorted({f for f, i in zip(folders, indices, strict=True) if i == n}) for n in range(len(names))]
    return tuple(names), tuple(map(shortened, members)), np.array(indices)


def _classes(folders: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes, if there are at least two, and the index of each folder's class, −1 for a picture outside ("")."""
    classes = sorted(set(folders) - {""})
    numbers = {name: number for number, name in enumerate(classes)} if len(classes) > 1 else {}
    return tuple(numbers), np.array([numbers.get(name, NO_LABEL) for name in folders], np.int64)


def are_shards(folders: Sequence[str], counts: Sequence[int]) -> bool:
    """Whether folders are parts of a data set: all names are a word for parts and a number (part-0001, images_002).

    Names that are only numbers are those of parts if the folders have about as many pictures each; the last may have
    fewer.
    """
    if folders and all(map(_PART.fullmatch, folders)):
        return True
    if not folders or not all(name.isascii() and name.isdigit() for name in folders):
        return False
    is_padded = len(folders[0]) > 2 and len(set(map(len, folders))) == 1  # 00000, 00001: two shards are enough
    full = counts[:-1] if is_padded or len(folders) > 2 else counts
    return min(full) >= _SIMILAR * max(full) and counts[-1] <= max(full)
