"""Parquet tables as on the Hugging Face Hub: a column of pictures and an optional column of labels."""

import json
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.settings import Settings
from stages.prepare.sources.folders import SPLIT_NAMES, official_splits
from stages.prepare.sources.index import NO_LABEL, IndexBuilder, Source, check_labels

_LABEL_COLUMNS = ("label", "labels", "class", "fine_label")


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """All tables as one data set. The split is in a file's name (`train-00000-of-00002.parquet`).

    The pictures are copied to a temporary file once. Otherwise each picture would unpack its whole row group again.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / "pictures.unpacked"
    builder, labels, split_names = IndexBuilder(), array("q"), []
    classes: list[str] = []
    with copy.open("wb") as out:
        for file in facts["files"]:
            table = _Table(folder / file["name"])
            classes = table.classes or classes
            split_name = SPLIT_NAMES.get(re.split(r"[-._]", file["name"].rpartition("/")[2])[0].lower(), "")
            for row, (data, label) in enumerate(table.rows()):
                builder.add(0, Member(f"{file['name']}#{row}", out.tell(), len(data), len(data), archives.PLAIN))
                labels.append(NO_LABEL if label is None else label)
                split_names.append(split_name)
                out.write(data)
    splits, split = (
        official_splits(split_names) if {"train"} < set(split_names) and "" not in split_names else ([], None)
    )
    label_column, classes = _complete_labels(folder, np.array(labels, np.int64), classes)
    index = builder.index(label_column, None if split is None else np.array(split))
    return Source(facts, tuple(classes), tuple(splits), (str(copy),), index)


def _complete_labels(folder: Path, labels: np.ndarray, classes: list[str]) -> tuple[np.ndarray | None, list[str]]:
    """The labels and the names of the classes (numbers if there are none); no labels if a picture has none."""
    if not len(labels) or labels.min() < 0:
        return None, []
    classes = classes or [str(i) for i in range(int(labels.max()) + 1)]
    check_labels(folder, labels, classes)
    return labels, classes


class _Table:
    """A parquet file and its columns of pictures and labels. Raises StageError if it is damaged or has no pictures."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa  # here: it is an extra, and no other format needs it
            import pyarrow.parquet as pq
        except ImportError:
            raise StageError("parquet files need pyarrow: .venv/bin/pip install -e '.[hf]'") from None
        self._path = path
        self._errors = (pa.ArrowException, OSError)
        try:
            self._file = pq.ParquetFile(path)
        except self._errors as error:
            raise StageError(f"{path}: not a parquet file ({error}); delete it and download it again") from None
        schema = self._file.schema_arrow
        images = [f for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
        images = images or [f for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
        if not images:
            raise StageError(f"{path}: no column of pictures; it has {', '.join(schema.names)}")
        label = next((name for name in _LABEL_COLUMNS if name in schema.names), None)
        self._image = images[0].name
        self._label = label if label is not None and pa.types.is_integer(schema.field(label).type) else None
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        self.classes: list[str] = metadata.get("info", {}).get("features", {}).get(self._label, {}).get("names", [])

    def rows(self) -> Iterator[tuple[bytes, int | None]]:
        """The bytes and the label of each picture."""
        columns = [self._image] + ([self._label] if self._label else [])
        try:
            for batch in self._file.iter_batches(256, columns=columns):
                labels = batch.column(1).to_pylist() if self._label else [None] * len(batch)
                for value, label in zip(batch.column(0).to_pylist(), labels, strict=True):
                    yield (value["bytes"] if isinstance(value, dict) else value) or b"", label
        except self._errors as error:
            raise StageError(f"{self._path}: damaged ({error}); delete it and download it again") from None
