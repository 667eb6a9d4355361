"""Labels: which column holds them, which classes its values are, and whether they fit the pictures and their splits."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stages import shell
from stages.errors import StageError
from stages.prepare.sources.folders import official_splits, shortened, split_of
from stages.prepare.sources.index import NO_LABEL, NO_SPLIT, Source

LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "fine_label", "cls")
_FEW = 20  # so many classes are plausible for any number of pictures


@dataclasses.dataclass(frozen=True)
class Labels:
    """The classes of N pictures. `label` (N,) are indices of `classes`, −1 for none.

    `origin` says where they are from, and `key` how the params name them. `missing` and `remedy` say what a picture
    without a label lacks, and what to do.
    `are_wanted`: the params name them. `are_listed`: the data set lists its classes. In both cases the splits may have
    different classes.
    """

    classes: tuple[str, ...]
    label: np.ndarray
    origin: str
    key: str
    missing: str
    remedy: str
    are_wanted: bool
    are_listed: bool = False


def _text(value: Any) -> str:
    """A value as text; empty if it is missing. A one-hot list becomes its index, a list of one value that value."""
    if isinstance(value, list) and len(value) == 1:
        return _text(value[0])
    if isinstance(value, list) and value.count(1) == 1 and value.count(0) == len(value) - 1:
        return str(value.index(1))
    if value is None or value != value or isinstance(value, list | dict):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def read_classes(column: str, values: Sequence[Any]) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes of a column's values, and the class of each value, (N,).

    A column of true and false, or of 1 and −1, has two classes: the column's name with and without "not". Otherwise
    each value is a class. Empty values and negative numbers are no label, −1.
    """
    texts = [_text(value) for value in values]
    distinct = set(texts) - {""}
    for no, yes in (("false", "true"), ("-1", "1")):
        if {text.lower() for text in distinct} == {no, yes}:
            label = [("", no, yes).index(text.lower()) - 1 for text in texts]
            return (f"not {column}", column), np.array(label, np.int64)
    if all(re.fullmatch(r"-?\d{1,18}", text) for text in distinct):
        classes = sorted((text for text in distinct if not text.startswith("-")), key=int)
    else:
        classes = sorted(distinct)
    numbers = {name: number for number, name in enumerate(classes)}
    return tuple(classes), np.array([numbers.get(text, NO_LABEL) for text in texts], np.int64)


def _may_be_label(column: str, values: Sequence[Any]) -> bool:
    """Whether a column's values are few enough to be classes and not, for example, captions, and are no splits."""
    classes, label = read_classes(column, values)
    if all(map(split_of, classes)):
        return False
    return 2 <= len(classes) <= max(_FEW, np.count_nonzero(label != NO_LABEL) / 2)


def choose_column(
    columns: Sequence[str], values: Callable[[str], Sequence[Any]], listed: Sequence[str] = ()
) -> str | None:
    """The column that holds the labels: one with a usual name, the only one whose classes are `listed`, or the only one
    whose values can be classes.
    """
    for name in LABEL_COLUMNS:
        for column in columns:
            if column.lower() == name and (column in listed or _may_be_label(column, values(column))):
                return column
    if len(listed) == 1:
        return listed[0]
    possible = (column for column in columns if _may_be_label(column, values(column)))
    first_two = list(itertools.islice(possible, 2))
    return first_two[0] if len(first_two) == 1 else None


def column_labels(
    column: str, values: Sequence[Any], place: str, ignored: Sequence[str], are_wanted: bool = False
) -> Labels:
    """The labels of a column in `place`. The message lists what was `ignored`.

    Raises StageError if they `are_wanted` and there are fewer than two classes.
    """
    classes, label = read_classes(column, values)
    if are_wanted and len(classes) < 2:
        raise StageError(
            f"prepare.labels: expected two or more values in column {column!r} of {place}, got {classes!r}"
        )
    origin = f"column {column!r} of {place}" + (f"; ignored: {shortened(ignored)}" if ignored else "")
    remedy = "add them, or set prepare.labels: none if this is intended"
    missing = f"have no label in column {column!r} of {place}"
    return Labels(classes, label, origin, f"{{column: {column}}}", missing, remedy, are_wanted)


def with_labels(source: Source, labels: Labels | None) -> Source:
    """The source with these labels. Prints what was read. Leaves out held-out splits without any label.

    If other pictures have no label, there are no classes; StageError is raised instead if the labels `are_wanted`. Also
    raises StageError if the splits have different classes, unless the labels `are_wanted` or `are_listed`.
    """
    if labels is None or len(labels.classes) < 2:
        return source
    source.index.label[:] = labels.label
    labelled, left_out = _without_unlabelled_splits(source)
    missing = np.flatnonzero(labelled.index.label == NO_LABEL)
    if len(missing):
        first = labelled.index.names[int(missing[0])]
        problem = f"{len(missing):,} of {len(labelled.index):,} pictures {labels.missing} (first: {first})"
        if labels.are_wanted:
            raise StageError(f"prepare.labels: {problem}; {labels.remedy}")
        shell.say(f"no classes, so the judge will learn from the pictures alone: {problem}; {labels.remedy}")
        source.index.label[:] = NO_LABEL
        return source
    shell.say(f"labels: {labels.origin}")
    if left_out:
        count = len(source.index) - len(labelled.index)
        shell.say(f"left out: {count:,} pictures of {left_out} without labels; prepare.labels: none keeps them")
    if not (labels.are_wanted or labels.are_listed):
        _check_splits(labelled, labels)
    return dataclasses.replace(labelled, classes=labels.classes)


def _without_unlabelled_splits(source: Source) -> tuple[Source, str]:
    """The source without the held-out splits that have no label at all, and the names of these splits."""
    index = source.index
    is_labelled = np.array([(index.label[index.split == n] != NO_LABEL).any() for n in range(len(source.splits))], bool)
    if is_labelled.all() or not is_labelled[0]:
        return source, ""
    kept = index.select(is_labelled[index.split], "unlabelled")
    splits, numbers = official_splits([source.splits[n] for n in np.flatnonzero(is_labelled)])
    splits = splits if len(splits) > 1 else []
    new_numbers = np.full(len(source.splits), NO_SPLIT)
    new_numbers[is_labelled] = numbers
    kept.split[:] = new_numbers[kept.split] if splits else NO_SPLIT
    left_out = " and ".join(source.splits[n] for n in np.flatnonzero(~is_labelled))
    return dataclasses.replace(source, splits=tuple(splits), index=kept), left_out


def _check_splits(source: Source, labels: Labels) -> None:
    """Raise StageError if a held-out split has other classes than the training split."""
    index = source.index
    lists = [[labels.classes[i] for i in np.unique(index.label[index.split == n])] for n in range(len(source.splits))]
    for name, classes in zip(source.splits, lists, strict=True):
        if classes != lists[0]:
            raise StageError(
                f"prepare.labels: the splits have different classes; {source.splits[0]}: {shortened(lists[0])}; "
                f"{name}: {shortened(classes)}. Correct them, or set prepare.labels: {labels.key} to keep all of "
                "these classes (none: no classes)"
            )
