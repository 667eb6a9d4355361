"""Parquet tables as on the Hugging Face Hub."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stages.errors import StageError
from tests.archive_files import classes_of, contents, open_data_set, overwrite


def parquet_file(
    data: Sequence[bytes | None], labels: Sequence[int | None] | None, names: Sequence[str] = (), first: str = "image"
) -> bytes:
    """A parquet table as on the Hugging Face Hub: a struct of bytes and path, and a label."""
    pa = pytest.importorskip("pyarrow", reason="parquet needs the extra [hf]")
    import pyarrow.parquet as pq

    columns = {"image": pa.array([{"bytes": d, "path": f"{i}.png"} for i, d in enumerate(data)])}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.int64())
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    table = pa.table({first: columns[first], **columns})
    if names:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


@pytest.mark.parametrize("first", ["image", "label"])
def test_a_table_has_pictures_labels_and_class_names(tmp_path: Path, first: str) -> None:
    data = parquet_file([b"1", b"22", None], [1, 0, 1], ["cat", "dog"], first)
    source = open_data_set(tmp_path, "parquet", {"a.parquet": data})
    assert contents(source) == {"a.parquet#0": b"1", "a.parquet#1": b"22", "a.parquet#2": b""}
    assert list(classes_of(source).values()) == ["dog", "cat", "dog"]
    assert source.splits == ()


def test_a_table_of_several_batches_keeps_all_rows(tmp_path: Path) -> None:
    data = [b"%d" % i for i in range(700)]
    source = open_data_set(tmp_path, "parquet", {"a.parquet": parquet_file(data, None)})
    assert list(contents(source).values()) == data
    assert source.classes == ()


@pytest.mark.parametrize(
    ("names", "splits", "expected"),
    [
        (["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"], ("train", "test"), [0, 0, 1]),
        (["train-0", "validation-0", "test-0"], ("train", "val", "test"), [0, 1, 2]),
        (["train", "validation"], ("train", "test"), [0, 1]),
        (["Train_0", "valid.0"], ("train", "test"), [0, 1]),
        (["train-0", "extra-0"], (), [-1, -1]),
        (["train-0", "train-1"], (), [-1, -1]),
    ],
)
def test_file_names_decide_the_splits(
    tmp_path: Path, names: list[str], splits: tuple[str, ...], expected: list[int]
) -> None:
    source = open_data_set(tmp_path, "parquet", {f"{name}.parquet": parquet_file([b"1"], [0]) for name in names})
    assert source.splits == splits
    assert source.index.split.tolist() == expected


def test_classes_without_names_are_named_by_number(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "parquet", {"a.parquet": parquet_file([b"1", b"2"], [0, 2])})
    assert source.classes == ("0", "1", "2")


@pytest.mark.parametrize("label", [-1, None])
def test_a_row_without_a_label_removes_all_classes(tmp_path: Path, label: int | None) -> None:
    source = open_data_set(tmp_path, "parquet", {"a.parquet": parquet_file([b"1", b"2"], [0, label], ["cat", "dog"])})
    assert source.classes == ()
    assert source.index.label.tolist() == [-1, -1]


def test_a_label_without_a_class_name_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="a label is 2, but there are 2 classes"):
        open_data_set(tmp_path, "parquet", {"a.parquet": parquet_file([b"1"], [2], ["cat", "dog"])})


def test_the_error_for_a_table_without_pictures_names_its_columns(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="parquet needs the extra [hf]")
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), out)
    with pytest.raises(StageError, match=r"a\.parquet: no column of pictures; it has text, label"):
        open_data_set(tmp_path, "parquet", {"a.parquet": out.getvalue()})


@pytest.mark.parametrize("kind", ["binary", "large_binary"])
def test_pictures_in_a_plain_binary_column_are_read(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow", reason="parquet needs the extra [hf]")
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"jpg": pa.array([b"1"], getattr(pa, kind)())}), out)
    assert contents(open_data_set(tmp_path, "parquet", {"a.parquet": out.getvalue()})) == {"a.parquet#0": b"1"}


@pytest.mark.parametrize("damage", [lambda d: d[:-10], lambda d: overwrite(d, 4, b"\xff\xff\xff"), lambda d: b"PAR1"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StageError, match=r"a\.parquet: "):
        open_data_set(tmp_path, "parquet", {"a.parquet": damage(parquet_file([b"1", b"2"], [0, 1]))})
