"""Parquet tables as on the Hugging Face Hub: a column of pictures and optional columns of labels."""

import dataclasses
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages import shell
from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.settings import LabelColumn, Settings
from stages.prepare.sources.folders import file_splits, official_splits, shortened
from stages.prepare.sources.index import NO_LABEL, IndexBuilder, Source, check_labels
from stages.prepare.sources.labels import LABEL_COLUMNS, Labels, choose_column, column_labels, with_labels

# The first bytes of pictures. WebP has a word at byte 8, AVIF and HEIC have one at byte 4.
_PICTURE = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """All tables as one data set. The split is in a file's name (`train-00000-of-00002.parquet`).

    The pictures are copied to a temporary file once. Otherwise each picture would unpack its whole row group again.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / "pictures.unpacked"
    builder, rows = IndexBuilder(), array("q")
    tables = [_Table(folder / file["name"]) for file in facts["files"]]
    with copy.open("wb") as out:
        for file, table in zip(facts["files"], tables, strict=True):
            before = len(builder)
            for row, data in enumerate(table.pictures()):
                builder.add(0, Member(f"{file['name']}#{row}", out.tell(), len(data), len(data), archives.PLAIN))
                out.write(data)
            rows.append(len(builder) - before)
    splits, split = official_splits(file_splits([file["name"] for file in facts["files"]]))
    index = builder.index(None, np.repeat(split, rows) if splits else None)
    source = Source(facts, (), tuple(splits), (str(copy),), index)
    return source if settings.labels == "none" else with_labels(source, _labels(folder, tables, settings))


def _labels(folder: Path, tables: Sequence["_Table"], settings: Settings) -> Labels | None:
    """The labels in the column that the params name, else in one that clearly holds them. Prints if there are none."""
    columns = list(dict.fromkeys(name for table in tables for name in table.columns))
    others = list(dict.fromkeys(name for table in tables for name in table.others))
    classes = {name: names for table in tables for name, names in table.classes.items()}

    def values(column: str) -> list[Any]:
        return [value for table in tables for value in table.values(column)]

    wanted = settings.labels if isinstance(settings.labels, LabelColumn) else None
    if wanted and wanted.column not in columns:
        raise StageError(f"prepare.labels: {folder}: no column {wanted.column!r}, but {shortened(columns) or 'none'}")
    column = wanted.column if wanted else choose_column(columns, values, list(classes))
    if column is None:
        problems = [f"prepare.labels: {{column: …}} can name {shortened(columns)}"] if columns else []
        problems += [f"{shortened(others)} cannot be labels"] if others else []
        if problems:
            shell.say(f"no labels: {'; '.join(problems)}")
        return None
    ignored = [f"column {other!r}" for other in (*columns, *others) if other != column]
    labels = column_labels(column, values(column), "the tables", ignored, are_wanted=wanted is not None)
    if column not in classes:
        return labels
    label = np.array([NO_LABEL if value is None or value < 0 else value for value in values(column)], np.int64)
    check_labels(folder, label, classes[column])
    return dataclasses.replace(labels, classes=tuple(classes[column]), label=label, are_listed=True)


class _Table:
    """A parquet file and its columns of pictures and labels.

    `columns` are those that can hold labels, and `classes` lists the classes of some. `others` cannot hold labels.
    Raises StageError if it is damaged or does not have one column of pictures.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa  # here: it is an extra, and no other format needs it
            import pyarrow.parquet as pq
        except ImportError:
            raise StageError("parquet files need pyarrow: .venv/bin/pip install -e '.[hf]'") from None
        self._path = path
        self._errors = (pa.ArrowException, OSError)
        try:
            with pq.ParquetFile(path) as file:  # a data set can have more tables than a process may have open files
                schema, self._rows = file.schema_arrow, file.metadata.num_rows
        except self._errors as error:
            raise StageError(f"{path}: not a parquet file ({error}); delete it and download it again") from None
        self._image = self._picture_column(schema)
        self.columns = [field.name for field in schema if _may_hold_labels(field)]
        self.others = [name for name in schema.names if name not in (*self.columns, self._image)]
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = metadata.get("info", {}).get("features", {})
        numbers = [name for name in self.columns if pa.types.is_integer(schema.field(name).type)]
        self.classes = {name: names for name in numbers if (names := features.get(name, {}).get("names"))}

    def _picture_column(self, schema: Any) -> str:
        """The column of pictures: structs with their bytes, else plain bytes. Raises StageError if there is not one."""
        import pyarrow as pa

        names = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
        names = names or [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
        if len(names) > 1:
            names = [name for name in names if self._begins_like_pictures(name)] or names
        if len(names) > 1:
            raise StageError(
                f"{self._path}: several columns of pictures ({', '.join(names)}); keep only one in the table"
            )
        if not names:
            raise StageError(
                f"{self._path}: no column of pictures; it has {shortened(schema.names)}. If the pictures are in "
                "archives beside it, move this table elsewhere"
            )
        return names[0]

    def _begins_like_pictures(self, column: str) -> bool:
        """Whether the first value of a column is a picture."""
        first = next((data for data in self.pictures(column) if data), b"")
        return first.startswith(_PICTURE) or first[4:8] == b"ftyp" or first[8:12] == b"WEBP"

    def pictures(self, column: str = "") -> Iterator[bytes]:
        """The bytes of each picture."""
        for value in self._read(column or self._image):
            yield (value["bytes"] if isinstance(value, dict) else value) or b""

    def values(self, column: str) -> list[Any]:
        """The values of a column, None in each row if the table lacks it."""
        return list(self._read(column)) if column in self.columns else [None] * self._rows

    def _read(self, column: str) -> Iterator[Any]:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(256, columns=[column]):
                    yield from batch.column(0).to_pylist()
        except self._errors as error:
            raise StageError(f"{self._path}: damaged ({error}); delete it and download it again") from None


def _may_hold_labels(field: Any) -> bool:
    """Whether a column can hold labels. Lists are long to read, so they need a usual name: one-hot labels."""
    import pyarrow as pa

    is_list = pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
    kind = field.type.value_type if is_list and field.name.lower() in LABEL_COLUMNS else field.type
    return _is_plain(kind)


def _is_plain(kind: Any) -> bool:
    """Whether values of this type can be labels: numbers, texts, true and false, and dictionaries of these."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    types = pa.types
    tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_large_string)
    return any(test(kind) for test in tests)
