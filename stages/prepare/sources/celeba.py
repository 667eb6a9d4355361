"""CelebA: aligned JPEGs in a zip, the official partition, and attributes that can become classes."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages import shell
from stages.errors import StageError
from stages.prepare.settings import Settings
from stages.prepare.sources.facts import file_with_ending
from stages.prepare.sources.index import IndexBuilder, Source

_CSV_HEADER = "image_id"  # the first word of Kaggle's lists, which are CSV files


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """CelebA with its official splits. Each attribute in `settings.labels` doubles the number of classes."""
    path = file_with_ending(facts, folder, ".zip")
    builder = IndexBuilder()
    builder.add_archive(0, path, path)
    names = [name.rpartition("/")[2] for name in builder.names]
    split = _partition(file_with_ending(facts, folder, "list_eval_partition.txt"), path, names)
    classes: tuple[str, ...] = ()
    labels = None
    if settings.labels == "auto":
        shell.say("no labels: prepare.labels can list up to four attributes, each of which is a yes or no")
    if isinstance(settings.labels, tuple):
        classes = _classes(settings.labels)
        labels = _labels(file_with_ending(facts, folder, "list_attr_celeba.txt"), names, settings.labels)
    index = builder.index(labels, split)
    return Source(facts, classes, ("train", "val", "test"), (str(path),), index)


def _rows(path: Path) -> list[list[str]]:
    """The words of each line of a text file or a CSV. Raises StageError for any other file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").replace(",", " ").splitlines()
        return [line.split() for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{path}: cannot be read ({error}); delete it and download it again") from None


def _partition(path: Path, archive: Path, names: Sequence[str]) -> np.ndarray:
    """The split of each picture: 0 train, 1 val, 2 test. Raises StageError if one is missing."""
    rows = [row for row in _rows(path) if row[0] != _CSV_HEADER]
    if bad := [row for row in rows if len(row) != 2 or row[1] not in ("0", "1", "2")]:
        raise StageError(
            f"{path}: expected a name and 0, 1 or 2, got {' '.join(bad[0])!r}; delete it and download it again"
        )
    partition = {row[0]: int(row[1]) for row in rows}
    if missing := [name for name in names if name not in partition]:
        raise StageError(f"{archive}: {missing[0]} is not in {path.name} (and {len(missing) - 1} others)")
    return np.array([partition[name] for name in names])


def _labels(path: Path, names: Sequence[str], attributes: Sequence[str]) -> np.ndarray:
    """The class of each picture: its attributes as binary digits. Raises StageError for one that does not exist."""
    header, *rows = _rows(path) or [[""]]
    if header[0] == _CSV_HEADER:
        header = header[1:]
    else:  # the number of pictures
        header, *rows = rows or [[]]
    if bad := [row for row in rows if len(row) != 1 + len(header)]:
        raise StageError(
            f"{path}: expected {len(header)} values for {bad[0][0]}, got {len(bad[0]) - 1}; delete it and download it "
            "again"
        )
    if unknown := [attribute for attribute in attributes if attribute not in header]:
        raise StageError(f"prepare.labels: CelebA has no attribute {unknown[0]!r}; it has {', '.join(header)}")
    values = {row[0]: row[1:] for row in rows}
    if missing := [name for name in names if name not in values]:
        raise StageError(f"{path}: no attributes of {missing[0]} (and {len(missing) - 1} others)")
    labels = np.zeros(len(names), int)
    for column in map(header.index, attributes):
        labels = 2 * labels + np.array([values[name][column] == "1" for name in names])
    return labels


def _classes(attributes: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes: every combination of the attributes, each with or without "not"."""
    words = itertools.product(*((f"not {attribute}", attribute) for attribute in attributes))
    return tuple(", ".join(combination) for combination in words)
