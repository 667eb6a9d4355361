"""Parquet tables as on the Hugging Face Hub."""

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stages.errors import StageError
from stages.prepare.settings import LabelColumn, Settings
from tests.archive_files import classes_of, contents, open_data_set, overwrite, splits_of


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


def write_table(columns: dict[str, Any], classes: dict[str, list[str]] | None = None) -> bytes:
    """A parquet table of these columns. `classes` lists those of some (ClassLabel)."""
    pa = pytest.importorskip("pyarrow", reason="parquet needs the extra [hf]")
    import pyarrow.parquet as pq

    features = {name: {"names": names, "_type": "ClassLabel"} for name, names in (classes or {}).items()}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def pictures(count: int) -> list[dict[str, Any]]:
    """A column of pictures as on the Hugging Face Hub."""
    return [{"bytes": b"%d" % i, "path": f"{i}.png"} for i in range(count)]


COLUMNS: dict[str, tuple[dict[str, list[Any]], dict[str, list[str]], list[str]]] = {
    "numbers": ({"label": [7, 0, 7]}, {}, ["7", "0", "7"]),
    "texts": ({"label": ["pug", "beagle", "pug"]}, {}, ["pug", "beagle", "pug"]),
    "true and false": ({"label": [True, False, True]}, {}, ["label", "not label", "label"]),
    "fractions that are whole": ({"label": [1.0, 0.0, 1.0]}, {}, ["1", "0", "1"]),
    "lists of one value": ({"label": [[5], [3], [5]]}, {}, ["5", "3", "5"]),
    "one-hot lists": ({"labels": [[0, 1], [1, 0], [0, 1]]}, {}, ["1", "0", "1"]),
    "a column with another name": ({"breed": ["pug", "beagle", "pug"]}, {}, ["pug", "beagle", "pug"]),
    "listed classes with another name": (
        {"breed": [1, 0, 1], "age": [3, 4, 5]},
        {"breed": ["a", "b"]},
        ["b", "a", "b"],
    ),
    "fine and coarse classes": (
        {"coarse_label": [0, 0, 1], "fine_label": [2, 1, 0]},
        {"coarse_label": ["x", "y"], "fine_label": ["a", "b", "c"]},
        ["c", "b", "a"],
    ),
    "a label beside captions": ({"text": ["a dog", "the dog", "dogs"], "label": [1, 0, 1]}, {}, ["1", "0", "1"]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_column_of_labels_is_known_by_its_name_its_classes_or_as_the_only_one(tmp_path: Path, name: str) -> None:
    columns, listed, expected = COLUMNS[name]
    source = open_data_set(tmp_path, "parquet", {"a.parquet": write_table({"image": pictures(3), **columns}, listed)})
    assert list(classes_of(source).values()) == expected


def test_texts_in_a_dictionary_are_labels(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="parquet needs the extra [hf]")
    breeds = pa.array(["pug", "beagle"]).dictionary_encode()
    source = open_data_set(tmp_path, "parquet", {"a.parquet": write_table({"image": pictures(2), "breed": breeds})})
    assert list(classes_of(source).values()) == ["pug", "beagle"]


def test_a_line_says_which_column_was_read_and_which_were_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_table({"image": pictures(2), "label": [0, 1], "width": [3, 4]})
    open_data_set(tmp_path / "1", "parquet", {"a.parquet": data})
    assert capsys.readouterr().err == "labels: column 'label' of the tables; ignored: column 'width'\n"
    data = write_table({"image": pictures(2), "height": [3, 5], "width": [3, 4]})
    open_data_set(tmp_path / "2", "parquet", {"a.parquet": data})
    assert capsys.readouterr().err == "no labels: prepare.labels: {column: …} can name height, width\n"


def test_the_params_can_name_the_column(tmp_path: Path) -> None:
    data = write_table({"image": pictures(2), "label": [0, 1], "mood": ["sad", "glad"]})
    source = open_data_set(tmp_path, "parquet", {"a.parquet": data}, Settings(labels=LabelColumn("mood")))
    assert list(classes_of(source).values()) == ["sad", "glad"]
    with pytest.raises(StageError, match="no column 'moods', but label, mood"):
        open_data_set(tmp_path, "parquet", {"a.parquet": data}, Settings(labels=LabelColumn("moods")))


def test_a_test_split_without_labels_is_left_out_and_the_rest_keeps_its_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {"train": [0, 1, 0], "validation": [1, 0], "test": [-1, -1]}
    files = {
        f"{name}-00000-of-00001.parquet": write_table(
            {"image": pictures(len(labels)), "label": labels}, {"label": ["a", "b"]}
        )
        for name, labels in splits.items()
    }
    source = open_data_set(tmp_path, "parquet", files)
    assert list(classes_of(source).values()) == ["a", "b", "a", "b", "a"]
    assert list(splits_of(source).values()) == ["train"] * 3 + ["test"] * 2
    assert list(contents(source)) == [f"train-00000-of-00001.parquet#{i}" for i in range(3)] + [
        f"validation-00000-of-00001.parquet#{i}" for i in range(2)
    ]
    assert "left out: 2 pictures of test without labels; prepare.labels: none keeps them\n" in capsys.readouterr().err
    source = open_data_set(tmp_path, "parquet", files, Settings(labels="none"))
    assert (source.splits, len(source.index)) == (("train", "val", "test"), 7)


@pytest.mark.parametrize("label", [-1, None])
def test_a_row_without_a_label_removes_all_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], label: int | None
) -> None:
    source = open_data_set(tmp_path, "parquet", {"a.parquet": parquet_file([b"1", b"2"], [0, label], ["cat", "dog"])})
    assert source.classes == ()
    assert source.index.label.tolist() == [-1, -1]
    assert "1 of 2 pictures have no label in column 'label'" in capsys.readouterr().err


def test_many_tables_are_not_open_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_table({"image": pictures(1), "label": [0]})
    import pyarrow.parquet as pq

    counts = []
    open_table = pq.ParquetFile

    def counted(path: Path) -> Any:
        counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
        return open_table(path)

    monkeypatch.setattr(pq, "ParquetFile", counted)
    open_data_set(tmp_path, "parquet", {f"{i}.parquet": data for i in range(20)})
    assert max(counts) - min(counts) < 5


PNG = b"\x89PNG\r\n"


@pytest.mark.parametrize(
    "columns",
    [
        {"image": [{"bytes": PNG}], "mask": [{"bytes": PNG}]},
        {"image": [{"bytes": PNG}], "mask": [{"bytes": PNG}], "label": [0]},
        {"image": [PNG], "mask": [b"\xff\xd8"]},
        {"first": [b"1"], "second": [b"2"]},
    ],
)
def test_the_error_for_two_columns_of_pictures_names_them(tmp_path: Path, columns: dict[str, Any]) -> None:
    first, second = list(columns)[:2]
    with pytest.raises(
        StageError, match=rf"a\.parquet: several columns of pictures \({first}, {second}\); keep only one"
    ):
        open_data_set(tmp_path, "parquet", {"a.parquet": write_table(columns)})


@pytest.mark.parametrize("other", [{"sound": [{"bytes": b"RIFF1234WAVE"}]}, {"vector": [b"1234"]}])
def test_other_bytes_beside_pictures_are_no_pictures(tmp_path: Path, other: dict[str, Any]) -> None:
    image = {"image": [PNG if isinstance(next(iter(other.values()))[0], bytes) else {"bytes": PNG}]}
    source = open_data_set(tmp_path, "parquet", {"a.parquet": write_table({**other, **image})})
    assert list(contents(source).values()) == [PNG]


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


def test_the_message_names_columns_that_cannot_be_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_table({"image": pictures(2), "tags": [["a"], ["b", "c"]], "box": [{"x": 1}, {"x": 2}]})
    open_data_set(tmp_path / "1", "parquet", {"a.parquet": data})
    assert capsys.readouterr().err == "no labels: tags, box cannot be labels\n"
    data = write_table({"image": pictures(2), "label": [0, 1], "box": [{"x": 1}, {"x": 2}]})
    open_data_set(tmp_path / "2", "parquet", {"a.parquet": data})
    assert capsys.readouterr().err == "labels: column 'label' of the tables; ignored: column 'box'\n"
