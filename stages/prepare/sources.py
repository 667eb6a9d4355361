"""Read a downloaded data set as it lies in data/raw: an index of its pictures, with labels, official splits and keys.

One function per format, and each gives the same thing: where in which file every picture is.
"""

import dataclasses
import itertools
import json
import math
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from stages import artifacts, image_names, shell
from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.settings import Settings

_FACTS = ("name", "title", "homepage", "licence", "citation", "format", "classes", "files")
# The official splits that folders and files are named after => ours.
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= {"val": "val", "valid": "val", "validation": "val", "dev": "val"}
NO_LABEL, NO_SPLIT = -1, -1


@dataclass(frozen=True)
class Pixels:
    """How raw pixels lie in a file: height, width, channels; `planar` where each channel lies for itself."""

    shape: tuple[int, int, int]
    planar: bool


class Names:
    """Many strings in one block of memory: a list of three million would take half a gigabyte."""

    def __init__(self) -> None:
        self._block, self._ends = bytearray(), array("q", [0])

    def append(self, name: str) -> None:
        """Add a name at the end."""
        self._block += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._block))

    @staticmethod
    def hash(name: str) -> int:
        """XXH3 of a name, as `hashes` gives it."""
        return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogateescape"))

    def hashes(self) -> np.ndarray:
        """XXH3 of each, uint64 (N,): equal names have equal ones."""
        block, ends = memoryview(self._block), self._ends
        pairs = itertools.pairwise(ends)
        return np.fromiter((xxhash.xxh3_64_intdigest(block[a:b]) for a, b in pairs), np.uint64, len(self))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        """Each in turn."""
        pairs = itertools.pairwise(self._ends)
        return (self._block[start:end].decode("utf-8", "surrogateescape") for start, end in pairs)

    def __getitem__(self, index: int) -> str:
        """The name in this place."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._block[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Index:
    """Where each picture is, as columns: `file` (which of the source's files), `offset`, `length` and `size` (bytes
    there, and unpacked), `kind` (of archives), `label` and `split` (−1 for none), and its name within the archive."""

    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    size: np.ndarray
    kind: np.ndarray
    label: np.ndarray
    split: np.ndarray
    names: Names

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.names)


@dataclass(frozen=True)
class Source:
    """A data set to prepare: its facts, as the download stage wrote them, and the index of its pictures.

    `splits` names the official splits, none where there are none. `pixels` is given where pictures are raw pixels and
    not image files; `lmdb` says that the files are LMDB environments with the names as keys. `ignored` counts what lies
    beside the pictures. `loose` are the pictures beside folders that would be classes without them.
    """

    facts: dict[str, Any]
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    files: tuple[str, ...]
    index: Index
    pixels: Pixels | None = None
    lmdb: bool = False
    ignored: int = 0
    loose: np.ndarray | None = None


def _parts(name: str) -> list[str]:
    """The parts of a path in an archive; what would lead out of it is left out."""
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


class _Builder:
    """Grows an index, a picture at a time, in columns and not in objects: there may be millions."""

    def __init__(self) -> None:
        self._rows = array("q")  # file, offset, length, size and kind of each, one after the other
        self.names = Names()

    def __len__(self) -> int:
        return len(self.names)

    def add(self, file: int, member: Member) -> None:
        """Add a picture of the file with this number. Its key is its path, within the archive."""
        name, offset, length, size, kind = member
        self._rows.extend((file, offset, length, size, kind))
        plain = "\\" not in name and "//" not in name and "./" not in name and name[:1] != "/" and name[-1:] != "."
        self.names.append(name if plain and name else "/".join(_parts(name)) or "unnamed")

    def add_all(self, file: int, path: Path, origin: Path) -> int:
        """Add every picture of an archive, unpacked from `origin`; returns how many other files it holds."""
        others = 0
        for member in archives.members(path, origin):
            if image_names.is_image_name(member.name.replace("\\", "/")):
                self.add(file, member)
            else:
                others += 1
        return others

    def _unique(self) -> Names:
        """The names, and where one is like an earlier one a number besides that makes it like no other."""
        hashes = self.names.hashes()
        values, counts = np.unique(hashes, return_counts=True)
        if not (counts > 1).any():
            return self.names
        again = np.isin(hashes, values[counts > 1])
        taken = set(values.tolist())
        seen: Counter[str] = Counter()
        unique = Names()
        for name, repeated in zip(self.names, again, strict=True):
            seen[name] += int(repeated)
            key = name
            while seen[name] > 1 and Names.hash(key := f"{name}#{seen[name]}") in taken:
                seen[name] += 1
            if key != name:
                taken.add(Names.hash(key))
            unique.append(key)
        return unique

    def index(self, labels: np.ndarray | None = None, splits: np.ndarray | None = None) -> Index:
        """The index, with the labels and splits of the pictures in the order in which they were added."""
        file, offset, length, size, kind = np.frombuffer(self._rows, np.int64).reshape(-1, 5).T
        return Index(
            file.astype(np.int32),
            offset.copy(),
            length.copy(),
            size.copy(),
            kind.astype(np.int8),
            np.full(len(self), NO_LABEL, np.int32) if labels is None else labels.astype(np.int32),
            np.full(len(self), NO_SPLIT, np.int8) if splits is None else splits.astype(np.int8),
            self._unique(),
        )


def _official(of: Sequence[str]) -> tuple[list[str], list[int]]:
    """The names of the splits that occur, and the number of each one given. What is held out once is the test split."""
    names = [name for name in ("train", "val", "test") if name in of]
    numbers = [names.index(name) for name in of]
    return ["test" if name == "val" and "test" not in of else name for name in names], numbers


def from_folders(names: Iterable[str]) -> tuple[list[str], np.ndarray, list[str], np.ndarray, np.ndarray]:
    """Splits and classes as folders tell them: (split names, split of each, class names, class of each), −1 for none.

    The fifth are the places of loose pictures: those beside folders that without them would be classes.
    Folders that hold everything say nothing. What then comes first is a split where all of it is called train, test or
    val (and the like); what comes next is a class where every picture is in such a folder and there are at least two.
    """
    numbers: dict[str, int] = {}
    which = np.fromiter((numbers.setdefault(name.rpartition("/")[0], len(numbers)) for name in names), np.int64)
    paths = [_parts(folder) for folder in numbers]
    none = np.full(len(which), -1)
    depth = 0
    while paths and len({path[depth] if len(path) > depth else None for path in paths}) == 1 and len(paths[0]) > depth:
        depth += 1
    first = [path[depth].lower() if len(path) > depth else "" for path in paths]
    splits: list[str] = []
    split = none
    if {_SPLITS.get(name) for name in first} > {"train"} and all(name in _SPLITS for name in first):
        splits, numbers_of = _official([_SPLITS[name] for name in first])
        split = np.array(numbers_of)[which]
        depth += 1
    folders = [path[depth] if len(path) > depth else "" for path in paths]
    classes = sorted(set(folders))
    if len(classes) < 2 or "" in classes:
        bare = [number for number, name in enumerate(folders) if name == ""] if len(classes) > 2 else []
        return splits, split, [], none, np.flatnonzero(np.isin(which, bare))
    return splits, split, classes, np.array([classes.index(name) for name in folders])[which], np.array([], int)


def read_idx(path: Path, dimensions: int, origin: Path | None = None) -> np.ndarray:
    """An idx file of unsigned bytes with so many dimensions, mapped and not loaded.

    The format is LeCun's (THE MNIST DATABASE, "FILE FORMATS"): 0, 0, 8 for unsigned bytes, the number of dimensions,
    each as a big-endian 32-bit number, the bytes in C order. Raises StageError naming the file (`origin`, where it was
    unpacked from that one) where it is not that.
    """
    origin = origin or path
    header = 4 + 4 * dimensions
    with path.open("rb") as file:
        head = file.read(header)
    if len(head) < header or head[:4] != bytes([0, 0, 8, dimensions]):
        raise StageError(f"{origin}: not an idx file of bytes in {dimensions} dimensions; delete it and download again")
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", offset=4))
    expected, size = header + math.prod(shape), path.stat().st_size
    if size != expected:
        raise StageError(f"{origin}: {size:,} bytes, its header says {expected:,}; delete it and download again")
    return np.memmap(path, np.uint8, "r", offset=header, shape=shape)


def _known(facts: dict[str, Any], folder: Path, ending: str) -> Path:
    """The data set's one file whose name ends so. Raises StageError where there is none."""
    found = [folder / file["name"] for file in facts["files"] if file["name"].endswith(ending)]
    if len(found) != 1:
        raise StageError(f"{folder / 'source.json'}: expected one file …{ending}, found {len(found)}")
    return found[0]


def _check_labels(place: Path, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raise StageError where a label is beyond the classes."""
    if len(labels) and labels.max() >= len(classes):
        raise StageError(f"{place}: a label is {labels.max()}, but there are {len(classes)} classes")


def _idx(facts: dict[str, Any], folder: Path, scratch: Path) -> Source:
    """MNIST and its kind: images and labels in idx files, packed or not."""
    builder, files, labels, splits = _Builder(), [], [], []
    shape: tuple[int, ...] = ()
    for number, prefix in enumerate(("train", "t10k")):
        ending = ".gz" if facts["files"][0]["name"].endswith(".gz") else ""
        path = _known(facts, folder, f"{prefix}-images-idx3-ubyte{ending}")
        labels_path = _known(facts, folder, f"{prefix}-labels-idx1-ubyte{ending}")
        plain = archives.unpacked(path, scratch)
        images, known = read_idx(plain, 3, path), read_idx(archives.unpacked(labels_path, scratch), 1, labels_path)
        if len(images) != len(known):
            raise StageError(f"{path}: {len(images)} images, but {len(known)} labels beside it")
        _check_labels(folder, known, facts["classes"])
        if shape and images.shape[1:] != shape:
            raise StageError(f"{path}: images of {images.shape[1:]}, but {shape} in the training split")
        shape = images.shape[1:]
        step = int(np.prod(shape))
        name = path.name.removesuffix(".gz")
        for i in range(len(known)):
            builder.add(number, Member(f"{name}#{i}", 16 + i * step, step, step, archives.PLAIN))
        files.append(str(plain))
        labels.append(known)
        splits.append(np.full(len(known), number))
    index = builder.index(np.concatenate(labels), np.concatenate(splits))
    pixels = Pixels((int(shape[0]), int(shape[1]), 1), planar=False)
    return Source(facts, tuple(facts["classes"]), ("train", "test"), tuple(files), index, pixels)


def _cifar(facts: dict[str, Any], folder: Path, scratch: Path) -> Source:
    """CIFAR-10's binary version: records of one label and 3 × 32 × 32 bytes, red, green, blue (its README)."""
    record, values = 3073, 3072
    origin = _known(facts, folder, ".tar.gz")
    path = archives.unpacked(origin, scratch)
    content = np.memmap(path, np.uint8, "r")
    builder, labels, splits = _Builder(), [], []
    for member in sorted(archives.members(path, origin), key=lambda m: m.name):
        if not member.name.endswith(".bin"):
            continue
        count, rest = divmod(member.length, record)
        if rest:
            raise StageError(f"{origin}: {member.name}: {member.length:,} bytes, no multiple of {record:,}")
        starts = member.offset + record * np.arange(count)
        for i, start in enumerate(starts.tolist()):
            builder.add(0, Member(f"{member.name}#{i}", start + 1, values, values, archives.PLAIN))
        labels.append(np.asarray(content[starts]))
        splits.append(np.full(count, 1 if "test" in member.name else 0))
    if not len(builder):
        raise StageError(f"{origin}: no .bin files within")
    known = np.concatenate(labels)
    _check_labels(origin, known, facts["classes"])
    index = builder.index(known, np.concatenate(splits))
    return Source(
        facts, tuple(facts["classes"]), ("train", "test"), (str(path),), index, Pixels((32, 32, 3), planar=True)
    )


def _archive(facts: dict[str, Any], folder: Path, scratch: Path) -> Source:
    """Any zip or tar of pictures (several where there are several); folders tell classes and splits."""
    builder, files, ignored = _Builder(), [], 0
    for number, file in enumerate(facts["files"]):
        origin = folder / file["name"]
        path = archives.unpacked(origin, scratch)
        ignored += builder.add_all(number, path, origin)
        files.append(str(path))
    splits, split, classes, label, loose = from_folders(builder.names)
    index = builder.index(label, split)
    return Source(facts, tuple(classes), tuple(splits), tuple(files), index, ignored=ignored, loose=loose)


def _table(path: Path, skip: int) -> list[list[str]]:
    """The rows of a text file of words, after so many lines. Raises StageError where it cannot be read as such."""
    try:
        return [line.split() for line in path.read_text(encoding="utf-8").splitlines()[skip:] if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{path}: cannot be read ({error}); delete it and download it again") from None


def _celeba(facts: dict[str, Any], folder: Path, scratch: Path, attributes: Sequence[str]) -> Source:
    """CelebA: aligned JPEGs in a zip, the official partition, and where asked for its attributes as classes."""
    path = _known(facts, folder, ".zip")
    builder = _Builder()
    others = builder.add_all(0, path, path)
    names = [name.rpartition("/")[2] for name in builder.names]
    text = _known(facts, folder, "list_eval_partition.txt")
    rows = _table(text, 0)
    if bad := [row for row in rows if len(row) != 2 or row[1] not in ("0", "1", "2")]:
        raise StageError(f"{text}: {' '.join(bad[0])!r} is no name and 0, 1 or 2; delete it and download it again")
    partition = {row[0]: int(row[1]) for row in rows}
    if missing := [name for name in names if name not in partition]:
        raise StageError(f"{path}: {missing[0]} is in no partition (and {len(missing) - 1} others)")
    classes, labels = [""], np.zeros(len(names), int)
    if attributes:
        text = _known(facts, folder, "list_attr_celeba.txt")
        header, *rows = _table(text, 1) or [[]]
        if bad := [row for row in rows if len(row) != 1 + len(header)]:
            raise StageError(f"{text}: {bad[0][0]} has no {len(header)} values; delete it and download it again")
        values = {row[0]: row[1:] for row in rows}
        for attribute in attributes:
            if attribute not in header:
                raise StageError(f"prepare.labels: CelebA has no attribute {attribute!r}; it has {', '.join(header)}")
            if missing := [name for name in names if name not in values]:
                raise StageError(f"{text}: no attributes of {missing[0]} (and {len(missing) - 1} others)")
            column = header.index(attribute)
            labels = 2 * labels + np.array([values[name][column] == "1" for name in names])
        words = itertools.product(*((f"not {attribute}", attribute) for attribute in attributes))
        classes = [", ".join(word) for word in words]
    index = builder.index(labels if attributes else None, np.array([partition[name] for name in names]))
    known = tuple(classes) if attributes else ()
    return Source(facts, known, ("train", "val", "test"), (str(path),), index, ignored=others)


def _flowers(facts: dict[str, Any], folder: Path, scratch: Path) -> Source:
    """Oxford Flowers-102: JPEGs in a .tgz, labels and splits as MATLAB files."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    origin = _known(facts, folder, ".tgz")
    path = archives.unpacked(origin, scratch)
    builder = _Builder()
    others = builder.add_all(0, path, origin)
    try:
        numbers = np.array(
            [int(name.rpartition("_")[2].partition(".")[0]) for name in builder.names]
        )  # image_00001.jpg
        labels = loadmat(_known(facts, folder, "imagelabels.mat"))["labels"].ravel().astype(int) - 1
        sets = loadmat(_known(facts, folder, "setid.mat"))
        split = np.full(len(labels) + 1, -1)
        for number, name in enumerate(("trnid", "valid", "tstid")):
            split[sets[name].ravel()] = number
        if len(numbers) and (numbers.min() < 1 or split[numbers].min() < 0):
            raise ValueError("an image is in none of the splits")
        index = builder.index(labels[numbers - 1], split[numbers])
    except (KeyError, IndexError, ValueError, TypeError, MatReadError, NotImplementedError, zlib.error) as error:
        raise StageError(
            f"{folder}: the labels do not fit the images ({error}); delete it and download again"
        ) from None
    classes = tuple(str(i + 1) for i in range(int(labels.max()) + 1))  # the files have numbers, no names
    return Source(facts, classes, ("train", "val", "test"), (str(path),), index, ignored=others)


def _lmdb(facts: dict[str, Any], folder: Path, scratch: Path) -> Source:
    """LSUN: image files in an LMDB within a zip, one for each split; no labels."""
    import lmdb

    names, splits = _official(
        [next((s for part, s in _SPLITS.items() if f"_{part}_" in f["name"]), "train") for f in facts["files"]]
    )
    builder, files, split = _Builder(), [], array("b")
    for number, file in enumerate(facts["files"]):
        path = archives.extract_one(folder / file["name"], "data.mdb", scratch)
        files.append(str(path))
        try:
            with (
                lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment,
                environment.begin() as db,
            ):
                for key in db.cursor().iternext(values=False):
                    builder.add(number, Member(key.decode("ascii", "replace"), 0, 0, 0, archives.PLAIN))
                    split.append(splits[number])
        except lmdb.Error as error:
            raise StageError(f"{folder / file['name']}: no LMDB within ({error}); download it again") from None
    official = tuple(names) if len(names) > 1 else ()
    index = builder.index(None, np.array(split) if official else None)
    return Source(facts, (), official, tuple(files), index, lmdb=True)


def _parquet(facts: dict[str, Any], folder: Path, scratch: Path) -> Source:
    """Parquet tables as the Hugging Face hub has them: a column of pictures, and one of labels where there is one.

    The pictures are copied once to a temporary file: a row group would have to be unpacked anew for every picture.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise StageError("parquet files need pyarrow: .venv/bin/pip install -e '.[hf]'") from None
    scratch.mkdir(parents=True, exist_ok=True)
    blob = scratch / "pictures.unpacked"

    def batches(path: Path, table: Any, columns: list[str]) -> Iterator[Any]:
        try:
            yield from table.iter_batches(256, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise StageError(f"{path}: damaged ({error}); delete it and download it again") from None

    builder, labels, splits = _Builder(), array("q"), []
    classes: list[str] = []
    with blob.open("wb") as out:
        for file in facts["files"]:
            path = folder / file["name"]
            try:
                table = pq.ParquetFile(path)
            except (pa.ArrowException, OSError) as error:
                raise StageError(f"{path}: no parquet file ({error}); delete it and download it again") from None
            schema = table.schema_arrow
            images = [f for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
            images = images or [f for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
            if not images:
                raise StageError(f"{path}: no column of pictures; it has {', '.join(schema.names)}")
            label = next((name for name in ("label", "labels", "class", "fine_label") if name in schema.names), None)
            if label is not None and not pa.types.is_integer(schema.field(label).type):
                label = None
            stated = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
            features = stated.get("info", {}).get("features", {})
            classes = features.get(label, {}).get("names", classes) if label else classes
            split = _SPLITS.get(re.split(r"[-._]", file["name"].rpartition("/")[2])[0].lower(), "")
            row = 0
            for batch in batches(path, table, [images[0].name] + ([label] if label else [])):
                known = batch.column(1).to_pylist() if label else [None] * len(batch)
                for value, number in zip(batch.column(0).to_pylist(), known, strict=True):
                    data = (value["bytes"] if isinstance(value, dict) else value) or b""
                    builder.add(0, Member(f"{file['name']}#{row}", out.tell(), len(data), len(data), archives.PLAIN))
                    labels.append(NO_LABEL if number is None else number)
                    splits.append(split)
                    out.write(data)
                    row += 1
    official, numbers = _official(splits) if {"train"} < set(splits) and "" not in splits else ([], [])
    known_labels = np.array(labels, np.int64)
    labelled = len(known_labels) > 0 and known_labels.min() >= 0
    if labelled and not classes:
        classes = [str(i) for i in range(int(known_labels.max()) + 1)]
    if labelled:
        _check_labels(folder, known_labels, classes)
    index = builder.index(
        known_labels if labelled else None,
        np.array(numbers) if official else None,
    )
    return Source(facts, tuple(classes) if labelled else (), tuple(official), (str(blob),), index)


_FORMATS: dict[str, Callable[[dict[str, Any], Path, Path], Source]] = {
    "idx": _idx,
    "cifar": _cifar,
    "archive": _archive,
    "flowers": _flowers,
    "lmdb": _lmdb,
    "parquet": _parquet,
}


def facts_of(folder: Path) -> dict[str, Any]:
    """What source.json says of the data set in `folder`, each file held against the SHA-256 that it states.

    Raises StageError naming the file that is missing or damaged.
    """
    facts = artifacts.read_json(folder / "source.json", *_FACTS)
    for file in facts["files"]:
        path = folder / file["name"]
        if not path.is_file() or artifacts.sha256(path) != file["sha256"]:
            raise StageError(f"{path}: missing or damaged; delete {folder} and run the download stage again")
    return facts


def open_source(folder: Path, facts: dict[str, Any], settings: Settings, scratch: Path) -> Source:
    """The index of the data set in `folder`; temporary files, where they are needed, go to `scratch`.

    Raises StageError where a file is not what it should be, and where labels are asked for that are not there.
    """
    attributes = settings.labels if isinstance(settings.labels, tuple) else ()
    if facts["format"] == "celeba":
        source = _celeba(facts, folder, scratch, attributes)
    elif attributes:
        raise StageError(f"prepare.labels: {facts['title']} has no attributes; expected auto or none")
    elif facts["format"] in _FORMATS:
        source = _FORMATS[facts["format"]](facts, folder, scratch)
    else:
        known = ", ".join([*_FORMATS, "celeba"])
        raise StageError(f"{folder / 'source.json'}: unknown format {facts['format']!r}; known: {known}")
    if not len(source.index):
        raise StageError(f"{folder}: no pictures in {facts['title']} ({source.ignored} other files)")
    if source.loose is not None and len(source.loose) and settings.labels == "auto":
        first = repr(source.index.names[int(source.loose[0])])[1:-1]
        shell.say(
            f"no classes, and so no judge and no FID in its features: {len(source.loose):,} of {len(source.index):,} "
            f"pictures lie beside the folders and in none of them (first: {first}); move them into a class's folder, "
            "or set prepare.labels: none to say that it is meant"
        )
    if settings.labels == "none":
        source.index.label[:] = NO_LABEL
        source = dataclasses.replace(source, classes=())
    return source
