"""Files of labels in archives: tables (CSV, JSON, JSON lines) that name pictures, and a file beside each picture.

Tables are those of Hugging Face's ImageFolder (metadata.csv, metadata.jsonl), of StyleGAN (dataset.json) and any CSV
with a column of file names. A file beside each picture (0001.jpg, 0001.cls or 0001.json) is as in webdataset's shards.
"""

import codecs
import contextlib
import csv
import functools
import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.image_names import EXTENSIONS
from stages.prepare import archives
from stages.prepare.decode import RejectedError
from stages.prepare.sources.folders import split_of
from stages.prepare.sources.index import IndexBuilder, Names, key_of
from stages.prepare.sources.labels import LABEL_COLUMNS

# Beside folders, these say that the labels are not the folders' names.
INSTEAD_OF_FOLDERS = ("dataset.json", "metadata.csv", "metadata.jsonl", "labels.csv", "train.csv")
_JSON_TABLES = ("dataset.json", "metadata.json", "labels.json", "train.json")  # others are too often something else
_TABLE_LIMIT, _LINE_LIMIT = 1 << 27, 1 << 20  # bytes of a table, and of a file beside a picture
_SAMPLE_FILES = 10  # files beside pictures in which labels are searched before all are read
_SAMPLE = 1000  # rows in which the column of file names is searched
Rows = list[dict[str, Any]]


def _base(name: str) -> str:
    """A path without its extensions: webdataset's key."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _csv_rows(text: str, is_picture: Callable[[str], bool]) -> Rows:
    """The rows of a CSV, by column. If the first line names a picture, it is no header and the columns are numbers."""
    first = text.partition("\n")[0]
    delimiter = max(",\t;|", key=first.count)
    lines = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True) if row]
    if not lines:
        return []
    header = [name.strip() for name in lines[0]]
    if any(map(is_picture, header)):
        lines, header = [[], *lines], [str(i + 1) for i in range(len(header))]
    return [dict(zip(header, row, strict=False)) for row in lines[1:]]


def _json_rows(content: Any) -> Rows:
    """The rows of a JSON file: objects, pairs of name and label (StyleGAN's), or labels by name."""
    if isinstance(content, dict):
        lists = [
            value for key, value in content.items() if key in ("labels", "images", "data") and isinstance(value, list)
        ]
        content = lists[0] if lists else list(content.items())
    if not isinstance(content, list):
        return []
    pairs = [
        {"file_name": row[0], "label": row[1]} for row in content if isinstance(row, list | tuple) and len(row) == 2
    ]
    return [row for row in content if isinstance(row, dict)] + pairs


def _decoded(data: bytes) -> str:
    """The text of a table: UTF-8, UTF-16 as Excel exports it, or else Windows-1252."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _rows(name: str, data: bytes, is_picture: Callable[[str], bool]) -> Rows:
    """The rows of a table. Raises ValueError if it is malformed."""
    text = _decoded(data)
    extension = name.lower().rpartition(".")[2]
    try:
        if extension in ("csv", "tsv"):
            return _csv_rows(text, is_picture)
        if extension == "json":
            return _json_rows(json.loads(text))
        return [row for line in text.splitlines() if line.strip() and isinstance(row := json.loads(line), dict)]
    except (csv.Error, RecursionError) as error:
        raise ValueError(str(error)) from None


class _Pictures:
    """Finds a picture by the name in a table: its path or the end of it, also without or with another extension."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def name(self, number: int) -> str:
        """The name of the picture with this number."""
        return self._names[number]

    @functools.cached_property
    def _paths(self) -> list[list[str]]:
        return [name.split("/") for name in self._names]

    @functools.cache  # noqa: B019 - it lives as long as a `LabelFiles`
    def _in_split(self, split: str) -> list[int]:
        """The pictures in folders of a split; all if the split is empty."""
        return [n for n, path in enumerate(self._paths) if not split or split in map(split_of, path[:-1])]

    @functools.cache  # noqa: B019 - it lives as long as a `LabelFiles`
    def _by_end(self, parts: int, has_extension: bool, split: str) -> dict[str, int]:
        """The number of the picture by the last parts of its path; −1 if several have the same."""
        numbers: dict[str, int] = {}
        for number in self._in_split(split):
            path = self._paths[number]
            if len(path) >= parts:
                end = "/".join(path[-parts:])
                end = end if has_extension else end.rpartition(".")[0]
                numbers[end] = -1 if end in numbers else number
        return numbers

    def find(self, value: Any, table: str) -> int:
        """The number of the picture that `value`, a name in a table, stands for; −1 if none or several.

        A name in train.csv is preferably that of a picture in a folder of the training split.
        """
        if not isinstance(value, str | int) or isinstance(value, bool) or not (key := key_of(str(value).strip())):
            return -1
        parts = key.split("/")
        *folder, name = table.split("/")
        ends = ["/".join([*folder, *parts]), *("/".join(parts[at:]) for at in range(len(parts)))]
        splits = dict.fromkeys((split_of(name), ""))
        for split, end in itertools.product(splits, ends):
            stem, _, extension = end.rpartition(".")
            texts = [(end, True), (end, False)] + [(stem, False)] * (f".{extension.lower()}" in EXTENSIONS)
            for text, has_extension in texts:
                number = self._by_end(end.count("/") + 1, has_extension, split).get(text, -1)
                if number >= 0:
                    return number
        return -1

    def name_column(self, rows: Rows, table: str) -> str | None:
        """The column of a table that names the most pictures. Numbers count half: a column may number the rows."""
        sample = rows[:: max(1, len(rows) // _SAMPLE)]
        columns = list(dict.fromkeys(itertools.chain.from_iterable(sample)))

        def hits(column: str) -> float:
            values = [row.get(column) for row in sample]
            count = len({self.find(value, table) for value in values} - {-1})
            return count / 2 if all(str(value).isdigit() for value in values) else count

        best = max(columns, key=hits, default=None)
        return best if best is not None and hits(best) else None


@dataclass
class Column:
    """A column of labels: the files that it is from, and the value of each of N pictures, None if there is none.

    `several` is the first picture that has more than one value; empty if there is none.
    """

    files: list[str]
    values: list[Any]
    several: str = ""


class LabelFiles:
    """The files of labels of a data set's archives: their columns, and the files that are of no use, with reasons."""

    def __init__(
        self, pictures: IndexBuilder, others: IndexBuilder, files: Sequence[str], are_archives: bool = True
    ) -> None:
        """The `others` of the archives `files`, for their `pictures`. Else `files` are those of one folder."""
        self.columns: dict[str, Column] = {}
        self.useless: dict[str, str] = {}
        self._pictures, self._count, self._files = _Pictures(pictures.names), len(pictures), files
        self._others, self._names = others.index(), others.names
        self._beside = self._files_beside(pictures, are_archives)
        self.tables = [name for at, name in enumerate(self._names) if at not in self._beside]

    @property
    def usable(self) -> list[str]:
        """The columns with at most one value for each picture."""
        return [name for name, column in self.columns.items() if not column.several]

    def _files_beside(self, pictures: IndexBuilder, are_archives: bool) -> dict[int, int]:
        """The number of each file that belongs to one picture => the number of the picture."""
        one_each = [at for at, name in enumerate(self._names) if name.lower().endswith((".cls", ".json"))]
        keys = zip(pictures.index().file.tolist(), map(_base, pictures.names), strict=True) if one_each else ()
        numbers = {(file * are_archives, base): number for number, (file, base) in enumerate(keys)}
        pairs = ((at, (int(self._others.file[at]) * are_archives, _base(self._names[at]))) for at in one_each)
        return {at: numbers[key] for at, key in pairs if key in numbers}

    def read(self, file: str = "", column: str = "") -> None:
        """Read the tables and the files beside pictures, or only the tables named `file`; `column` is wanted."""
        at_table = [at for at in range(len(self._others)) if at not in self._beside]
        for at in sorted(at_table, key=lambda at: self._names[at].rpartition("/")[2] not in INSTEAD_OF_FOLDERS):
            name = self._names[at]
            if f"/{name}".endswith(f"/{file}") if file else self._is_table(name):
                self._read_table(at)
        if not file:
            self._read_beside((*LABEL_COLUMNS, column))

    @staticmethod
    def _is_table(name: str) -> bool:
        """Whether a file that is not beside one picture is read without being named in the params."""
        base = name.rpartition("/")[2].lower()
        return base in _JSON_TABLES or not (base.endswith((".json", ".cls")) or "submission" in base)

    def _read_table(self, at: int) -> None:
        """Add the columns of a table. The first table with a value for a picture counts."""
        name = self._names[at]
        try:
            rows = _rows(name, self._content(at, _TABLE_LIMIT), lambda text: self._pictures.find(text, name) >= 0)
        except (RejectedError, ValueError) as error:
            self.useless[name] = f"cannot be read ({error})"
            return
        names = self._pictures.name_column(rows, name)
        if names is None:
            self.useless[name] = "names no picture" if rows else "has no rows"
            return
        seen: set[int] = set()
        for row in rows:
            number = self._pictures.find(row.get(names), name)
            for column, value in row.items() if number >= 0 else ():
                if column != names:
                    self._add(column, name, number, value, number in seen)
            seen.add(number)

    def _read_beside(self, wanted: Sequence[str]) -> None:
        """Add a column "cls" from the .cls files, and the `wanted` columns of the .json files."""
        jsons = [at for at in self._beside if self._names[at].lower().endswith(".json")]
        samples = [self._object(at) for at in jsons[:_SAMPLE_FILES]]
        has_labels = any(column in sample for sample in samples for column in wanted)
        for at, number in self._beside.items():
            name = self._names[at]
            if name.lower().endswith(".cls"):
                with contextlib.suppress(RejectedError):
                    text = self._content(at, _LINE_LIMIT).decode("utf-8", "replace")
                    self._add("cls", "the .cls files", number, text)
            elif has_labels:
                for column, value in self._object(at).items():
                    if column in wanted:
                        self._add(column, "the .json files", number, value)
        if jsons and not has_labels:
            self.useless["the .json files"] = f"have no {' or '.join(LABEL_COLUMNS[:3])}"

    def _object(self, at: int) -> dict[str, Any]:
        """The content of a small JSON file; empty if it is no object."""
        try:
            content = json.loads(self._content(at, _LINE_LIMIT))
        except (RejectedError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _content(self, at: int, limit: int) -> bytes:
        """The bytes of a file. Raises RejectedError."""
        return archives.read(self._files[int(self._others.file[at])], self._others.member(at), limit)

    def _add(self, column: str, file: str, number: int, value: Any, is_repeated: bool = False) -> None:
        """Set a picture's value in a column, unless it has one. `is_repeated`: the file has named it before."""
        if column not in self.columns:
            self.columns[column] = Column([], [None] * self._count)
        entry = self.columns[column]
        if file not in entry.files:
            entry.files.append(file)
        if is_repeated and entry.values[number] != value:
            entry.several = entry.several or self._pictures.name(number)
        if entry.values[number] is None:
            entry.values[number] = value
