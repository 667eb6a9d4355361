"""Arrays of pictures: NumPy's .npz and .npy, HDF5, and idx files of one's own.

An array of pictures is N×H×W or N×H×W×C (C is 1 or 3; N×C×H×W is turned). Whole numbers from 0 to 255 are the pixels;
for floats, black and white follow from the range of all values. An array of labels beside it has N values. The words
train, val and test in names are the official splits.
"""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages import shell
from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.archives.packed import check_expansion
from stages.prepare.settings import Settings
from stages.prepare.sources.array_files import Array, arrays_of
from stages.prepare.sources.folders import SPLIT_NAMES, official_splits, shortened
from stages.prepare.sources.index import IndexBuilder, Pixels, Source

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LABEL_WORDS = frozenset(("y", "label", "labels", "class", "classes", "target", "targets"))
_NAME_WORDS = frozenset(("name", "names", "list"))
# The ranges of values that can be told apart, as (black, white). Files of other ranges do not say what is white.
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_SMALLEST_WHITE = 0.25  # of the range: values from 0 to 16 are not 0 to 255
_TOLERANCE = 1e-3  # of a range: rounding in the program that scaled the values


class _Pictures(NamedTuple):
    """An array of pictures, the word of its split (empty if none), and its labels, one each, if there are any."""

    array: Array
    split: str
    labels: Array | None


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """All arrays of pictures as one data set. The pictures are copied once, as bytes, to a temporary file."""
    arrays = [array for file in facts["files"] for array in arrays_of(folder / file["name"], scratch)]
    pictures = _pictures(folder, arrays)
    names_of_classes = [array for array in arrays if _words(array) & _NAME_WORDS and len(array.shape) == 1]
    labels, classes = _labels(pictures, names_of_classes)
    copy, builder = scratch / "pixels.bytes", IndexBuilder()
    _report(pictures, arrays, classes, _copy([part.array for part in pictures], copy))
    height, width, channels = _pixel_shape(pictures[0].array)
    step = height * width * channels
    for part in pictures:
        name = (
            part.array.name if part.array.name == part.array.file.name else f"{part.array.file.name}/{part.array.name}"
        )
        for row in range(part.array.shape[0]):
            builder.add(0, Member(f"{name}#{row}", len(builder) * step, step, step, archives.PLAIN))
    words = [part.split for part in pictures]
    splits, numbers = official_splits(words) if {"train"} < set(words) and "" not in words else ([], [])
    split = np.repeat(numbers, [part.array.shape[0] for part in pictures]) if splits else None
    pixels = Pixels((height, width, channels), planar=False)
    return Source(facts, classes, tuple(splits), (str(copy),), builder.index(labels, split), pixels)


def _words(array: Array) -> frozenset[str]:
    """The words of an array's name, in lower case: "trainX_2" => train, x."""
    return frozenset(word.lower() for word in _WORD.findall(array.name.replace("t10k", "test")))


def _split_word(array: Array) -> str:
    """The split that an array's name contains, or else its file's; empty if there is none."""
    words = [*sorted(_words(array)), *(word.lower() for word in _WORD.findall(array.file.name))]
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")


def _pixel_shape(array: Array) -> tuple[int, int, int]:
    """The height, width and channels of each picture; zeros if the array holds no pictures."""
    shape = array.shape
    if array.dtype.kind not in "buif" or len(shape) not in (3, 4) or min(shape[1:]) < 1:
        return 0, 0, 0
    if len(shape) == 3:  # H×W×3 is one picture
        return (*shape[1:], 1) if min(shape[1:]) > 4 else (0, 0, 0)
    if shape[3] in (1, 3):
        return shape[1], shape[2], shape[3]
    return (shape[2], shape[3], shape[1]) if shape[1] in (1, 3) else (0, 0, 0)


def _pictures(folder: Path, arrays: Sequence[Array]) -> list[_Pictures]:
    """The arrays of pictures, with train before test. Raises StageError unless they are of one kind and one size."""
    pictures = [array for array in arrays if any(_pixel_shape(array)) and array.shape[0]]
    if not pictures:
        raise StageError(
            f"{folder}: no array of pictures, N×H×W or N×H×W×C with 1 or 3 channels; it has "
            f"{_listed(arrays, '; ') or 'no arrays'}{_hint(arrays)}"
        )
    # The words of a name besides its split and those of every name: "x" of x_train and x_test.
    kinds = {frozenset(_words(array) - set(SPLIT_NAMES)): array for array in pictures}
    if len(kinds) > 1:
        raise StageError(f"{folder}: several arrays of pictures: {_listed(kinds.values())}; keep one kind of them")
    shapes = {_pixel_shape(array): array for array in pictures}
    if len(shapes) > 1:
        raise StageError(f"{folder}: arrays of pictures of several sizes: {_listed(shapes.values())}; keep one size")
    parts = [_Pictures(array, _split_word(array), _labels_of(array, arrays)) for array in pictures]
    return sorted(parts, key=lambda part: ("train", "val", "test", "").index(part.split))


def _listed(arrays: Iterable[Array], comma: str = ", ") -> str:
    return shortened([*map(str, arrays)], comma)


def _hint(arrays: Sequence[Array]) -> str:
    """What to do about pickled objects, single pictures, and N×D values, where D is a square or three times one."""
    if any(array.dtype.hasobject for array in arrays):
        return ". Pickled objects can run a program and are not read: save the pictures as one array of numbers"
    if len(arrays) > 1 and all(len(array.shape) in (2, 3) and array.shape[1] > 4 for array in arrays):
        return ". If each file is one picture, save them as one array with numpy.stack"
    for array in arrays:
        for channels in (1, 3):
            values = array.shape[1] if len(array.shape) == 2 else 0
            side = round((values / channels) ** 0.5)
            if side >= 8 and side * side * channels == values:
                shape = f"-1, {side}, {side}" + (f", {channels}" if channels > 1 else "")
                return f". These may be flattened pictures: save {array.name} with reshape({shape})"
    return ""


def _labels_of(pictures: Array, arrays: Sequence[Array]) -> Array | None:
    """The array of labels of an array of pictures: as long, of the same split; None unless there is exactly one.

    It is in the same file, unless each file holds one array. Among several, a name with a word like "labels" decides.
    """
    is_single = pictures.name == pictures.file.name
    fitting = [
        array
        for array in arrays
        if len(array.shape) in (1, 2)
        and array.shape[0] == pictures.shape[0]
        and (is_single or array.file == pictures.file)
        and _split_word(array) == _split_word(pictures)
        and array.dtype.kind in "buifSU"
    ]
    named = [array for array in fitting if _words(array) & _LABEL_WORDS and not _words(array) & _NAME_WORDS]
    if not named:
        named = [array for array in fitting if array.shape[1:] in ((), (1,)) and _has_classes(array)]
    return named[0] if len(named) == 1 else None


def _has_classes(array: Array) -> bool:
    """Whether each value stands at least twice on average, as a class does and the number of a picture does not."""
    return 2 * len(np.unique(array.values())) <= array.shape[0]


def _class_values(labels: Array) -> np.ndarray | None:
    """One value per picture: of N, N×1 or one-hot N×K values; None for several per picture, and for fractions."""
    values = labels.values()
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "backslashreplace")
    if values.ndim == 2 and values.shape[1] > 1:
        if values.dtype.kind in "SU" or not np.array_equal(values.max(axis=1), values.sum(axis=1)):
            return None
        values = values.argmax(axis=1)
    values = values.reshape(len(values))
    if values.dtype.kind != "f":
        return values
    return values.astype(np.int64) if np.array_equal(values, np.rint(values)) else None


def _labels(
    pictures: Sequence[_Pictures], names_of_classes: Sequence[Array]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The label of each picture and the names of the classes; none if some pictures have no label, or one below 0."""
    columns = [_class_values(part.labels) for part in pictures if part.labels]
    complete = [column for column in columns if column is not None]
    if len(complete) < len(pictures):
        return None, ()
    values, labels = np.unique(np.concatenate(complete), return_inverse=True)
    if values.dtype.kind in "if" and values[0] < 0:
        return None, ()
    names = [array for array in names_of_classes if array.shape[0] == len(values) and array.dtype.kind in "SU"]
    shown = _class_values(names[0]) if names else None
    return labels, tuple(str(value) for value in (values if shown is None else shown).tolist())


def _range(arrays: Sequence[Array]) -> tuple[float, float]:
    """The values of black and white. Raises StageError if the values do not say it."""
    ends = np.array([(chunk.min(), chunk.max()) for array in arrays for chunk in array.chunks()], np.float64)
    lowest, highest = float(ends[:, 0].min()), float(ends[:, 1].max())  # NaN if any value is
    is_whole = all(array.dtype.kind in "bui" for array in arrays)
    for low, high in _RANGES:
        slack = 0 if is_whole else _TOLERANCE * (high - low)
        if low - slack <= lowest and highest <= high + slack and highest >= _SMALLEST_WHITE * high:
            return low, high
    has_none = " (NaN: some values are missing)" if math.isnan(highest) else ""
    raise StageError(
        f"{arrays[0].file}: {arrays[0].name}: values from {lowest:g} to {highest:g}{has_none} do not say what is black "
        "and what is white; scale them to 0 to 255, 0 to 1 or -1 to 1"
    )


def _copy(arrays: Sequence[Array], copy: Path) -> tuple[float, float]:
    """Write the pixels of all pictures as bytes (N, H, W, C) to a file. Returns the values of black and white."""
    black, white = _range(arrays)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with copy.open("wb") as out:
        for array in arrays:
            for chunk in array.chunks():
                if chunk.ndim == 4 and chunk.shape[3] not in (1, 3):
                    chunk = chunk.transpose(0, 2, 3, 1)  # NCHW => NHWC
                if chunk.dtype != np.uint8 or (black, white) != (0, 255):
                    scaled = (chunk.astype(np.float64) - black) * (255 / (white - black))
                    chunk = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
                out.write(np.ascontiguousarray(chunk).tobytes())
                check_expansion(array.file, out.tell())
    return black, white


def _report(
    pictures: Sequence[_Pictures], arrays: Sequence[Array], classes: Sequence[str], levels: tuple[float, float]
) -> None:
    """Print which arrays are the pictures and the labels, which values are black and white, and what is not used."""
    labels = [part.labels for part in pictures if part.labels and classes]
    used = {id(array) for array in [*(part.array for part in pictures), *labels]}
    others = [array for array in arrays if id(array) not in used]
    shell.say(
        f"pictures: {_listed(part.array for part in pictures)}, black {levels[0]:g}, white {levels[1]:g}; labels: "
        f"{_listed(labels) or 'none'}; not used: {_listed(others) or 'nothing'}"
    )
