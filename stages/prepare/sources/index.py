"""The index of a data set: where each picture is, with its key, its label and its official split."""

import dataclasses
import itertools
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from stages import image_names, shell
from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member, Reader

NO_LABEL, NO_SPLIT = -1, -1


@dataclass(frozen=True)
class Pixels:
    """The layout of raw pixels in a file: (height, width, channels); `planar` stores one channel after the other."""

    shape: tuple[int, int, int]
    planar: bool

    def image(self, data: bytes) -> np.ndarray:
        """Raw pixels => uint8 (height, width, channels)."""
        height, width, channels = self.shape
        if self.planar:
            planes = np.frombuffer(data, np.uint8).reshape(channels, height, width)
            return np.ascontiguousarray(planes.transpose(1, 2, 0))
        return np.frombuffer(data, np.uint8).reshape(height, width, channels)


class Names:
    """Many strings in one block of memory. A list of three million would take half a gigabyte."""

    def __init__(self) -> None:
        self._block, self._ends = bytearray(), array("q", [0])

    def append(self, name: str) -> None:
        """Add a name at the end."""
        self._block += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._block))

    @staticmethod
    def hash(name: str) -> int:
        """The XXH3 hash of a name, as in `hashes`."""
        return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogateescape"))

    def hashes(self) -> np.ndarray:
        """The XXH3 hash of each name, uint64 (N,)."""
        block, ends = memoryview(self._block), self._ends
        pairs = itertools.pairwise(ends)
        return np.fromiter((xxhash.xxh3_64_intdigest(block[a:b]) for a, b in pairs), np.uint64, len(self))

    def __len__(self) -> int:
        """The number of names."""
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        """Each name in turn."""
        pairs = itertools.pairwise(self._ends)
        return (self._block[start:end].decode("utf-8", "surrogateescape") for start, end in pairs)

    def __getitem__(self, index: int) -> str:
        """The name with this index."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._block[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Index:
    """Where each picture is, in columns.

    `file` is its file's number in `Source.files`. `offset`, `length`, `size` and `kind` are those of its `Member`.
    `label` and `split` are the numbers of its class and split, −1 for none. `names` are the keys, each unique.
    `left_out` counts the files of the archives that are not among the pictures, by the reason.
    """

    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    size: np.ndarray
    kind: np.ndarray
    label: np.ndarray
    split: np.ndarray
    names: Names
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.names)

    def member(self, at: int) -> Member:
        """Where one picture is."""
        numbers = (int(column[at]) for column in (self.offset, self.length, self.size, self.kind))
        return Member(self.names[at], *numbers)

    def select(self, keep: np.ndarray, reason: image_names.LeftOut) -> "Index":
        """The pictures for which `keep`, (N,), is true. The others are left out for this reason."""
        names = Names()
        for at in np.flatnonzero(keep).tolist():
            names.append(self.names[at])
        columns = ("file", "offset", "length", "size", "kind", "label", "split")
        kept = {name: getattr(self, name)[keep] for name in columns}
        left_out = {**self.left_out, reason: int(np.count_nonzero(~keep))}
        return dataclasses.replace(self, names=names, left_out=left_out, **kept)


@dataclass(frozen=True)
class Source:
    """A data set to prepare: its facts from source.json and the index of its pictures.

    `classes` and `splits` name the classes and the official splits; either may be empty. `pixels` is set if the
    members are raw pixels instead of image files. Workers read a member with `read`, a module-level function that can
    be pickled.
    """

    facts: dict[str, Any]
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    files: tuple[str, ...]
    index: Index
    pixels: Pixels | None = None
    read: Reader = archives.read


def path_parts(name: str) -> list[str]:
    """The parts of a path in an archive, without those that could lead out of it."""
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def key_of(name: str) -> str:
    """The key of a file with this path, as people read it: relative, composed letters, escaped control characters."""
    return shell.printable(unicodedata.normalize("NFC", "/".join(path_parts(name))))


def check_labels(place: Path, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raise StageError, naming `place`, if a label has no class."""
    if len(labels) and labels.max() >= len(classes):
        raise StageError(f"{place}: a label is {labels.max()}, but there are {len(classes)} classes")


def _left_out(member: Member) -> image_names.LeftOut | None:
    """Why a file of an archive is not among the pictures; None if it is."""
    if reason := image_names.left_out(member.name.replace("\\", "/")):
        return reason
    return {archives.LINK: "link", archives.SPECIAL: "special"}.get(member.kind)  # type: ignore[return-value]


class IndexBuilder:
    """Builds an index picture by picture. It stores columns, not objects: there may be millions."""

    def __init__(self) -> None:
        self._rows = array("q")  # file, offset, length, size and kind of each picture, one after the other
        self.names = Names()
        self._left_out: Counter[str] = Counter()
        self.first_other = ""  # the name of the first file that is no picture

    def __len__(self) -> int:
        """The number of pictures so far."""
        return len(self.names)

    def add(self, file: int, member: Member) -> None:
        """Add a picture of the file with this number. Its key is its path within the archive, as people read it.

        One name has one key: Unicode's composed form, with control characters escaped.
        """
        name, offset, length, size, kind = member
        self._rows.extend((file, offset, length, size, kind))
        plain = "\\" not in name and "//" not in name and "./" not in name and name[:1] != "/" and name[-1:] != "."
        is_plain = plain and name.isascii() and name.isprintable()  # the usual case, fast
        self.names.append((name if is_plain else key_of(name)) or "unnamed")

    def add_archive(self, file: int, path: Path, origin: Path, tables: "IndexBuilder | None" = None) -> None:
        """Add every picture of an archive, unpacked from `origin`, and count the other files by the reason.

        Files that may contain labels are added to `tables`.
        """
        for member in archives.members(path, origin):
            self.add_member(file, member, tables)

    def add_member(self, file: int, member: Member, tables: "IndexBuilder | None" = None) -> None:
        """Add a member of an archive if it is a picture, or else count it as `add_archive` does."""
        if reason := _left_out(member):
            self._left_out[reason] += 1
            self.first_other = self.first_other or key_of(member.name)
            if reason == "labels" and tables is not None:
                tables.add(file, member)
        else:
            self.add(file, member)

    def _unique_names(self) -> Names:
        """The names. One that repeats an earlier name gets a number (`a.png#2`) that makes it unique."""
        hashes = self.names.hashes()
        values, counts = np.unique(hashes, return_counts=True)
        if not (counts > 1).any():
            return self.names
        is_repeated = np.isin(hashes, values[counts > 1])
        taken = set(values.tolist())
        uses: Counter[str] = Counter()
        unique = Names()
        for name, repeated in zip(self.names, is_repeated, strict=True):
            uses[name] += int(repeated)
            key = name
            while uses[name] > 1 and Names.hash(key := f"{name}#{uses[name]}") in taken:
                uses[name] += 1
            if key != name:
                taken.add(Names.hash(key))
            unique.append(key)
        return unique

    def index(self, labels: np.ndarray | None = None, splits: np.ndarray | None = None) -> Index:
        """The index, with the labels and splits of the pictures in the order they were added."""
        file, offset, length, size, kind = np.frombuffer(self._rows, np.int64).reshape(-1, 5).T
        return Index(
            file.astype(np.int32),
            offset.copy(),
            length.copy(),
            size.copy(),
            kind.astype(np.int8),
            np.full(len(self), NO_LABEL, np.int32) if labels is None else labels.astype(np.int32),
            np.full(len(self), NO_SPLIT, np.int8) if splits is None else splits.astype(np.int8),
            self._unique_names(),
            dict(self._left_out),
        )
