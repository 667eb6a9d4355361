"""Labels of pictures in archives: from tables, from files beside pictures, or from folders."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.errors import StageError
from stages.prepare.settings import LabelColumn, Settings
from stages.prepare.sources import archive
from stages.prepare.sources.index import Source
from stages.prepare.sources.labels import choose_column, read_classes
from tests.archive_files import Files, classes_of, make_tar, make_zip, open_data_set, splits_of
from tests.own_pictures import write

COUNT = 24
LABELS = ["pug" if i % 3 else "beagle" for i in range(COUNT)]
NAMES = [f"{i:03d}.jpg" for i in range(COUNT)]
BY_NAME = dict(zip(NAMES, LABELS, strict=True))


def open_zip(folder: Path, files: dict[str, str], settings: Settings | None = None) -> Source:
    """A data set of one zip."""
    content = make_zip([(name, text.encode()) for name, text in files.items()])
    return open_data_set(folder, "archive", {"a.zip": content}, settings)


def pictures(folder: str = "") -> dict[str, str]:
    """Files with image names. Only their names matter here."""
    return {folder + name: "" for name in NAMES}


def table(*columns: list[Any], comma: str = ",") -> str:
    """A CSV. The first value of each column is its name."""
    return "\r\n".join(comma.join(str(value) for value in row) for row in zip(*columns, strict=True))


FILE_NAMES = ["file_name", *NAMES]
BREEDS = ["breed", *LABELS]
TABLES: dict[str, dict[str, str]] = {
    "Kaggle's labels.csv, with names without an extension": {
        **pictures("train/"),
        "labels.csv": table(["id", *(name.removesuffix(".jpg") for name in NAMES)], BREEDS),
    },
    "ImageFolder's metadata.csv": {**pictures(), "metadata.csv": table(FILE_NAMES, ["label", *LABELS])},
    "a table with captions": {
        **pictures(),
        "metadata.csv": table(FILE_NAMES, ["text", *(f"dog {i}" for i in range(COUNT))], BREEDS),
    },
    "ImageFolder's metadata.jsonl": {
        **pictures(),
        "metadata.jsonl": "\n".join(json.dumps({"file_name": name, "label": label}) for name, label in BY_NAME.items()),
    },
    "a table in another folder": {**pictures("a/b/"), "x/y.csv": table(["path", *(f"b/{n}" for n in NAMES)], BREEDS)},
    "paths of another machine": {
        **pictures("a/"),
        "x.csv": table(BREEDS, ["path", *(f"/home/me/a/{n}" for n in NAMES)]),
    },
    "semicolons": {**pictures(), "x.csv": table(FILE_NAMES, BREEDS, comma=";")},
    "tabs": {**pictures(), "x.tsv": table(FILE_NAMES, BREEDS, comma="\t")},
    "no header": {**pictures(), "x.csv": table(NAMES, LABELS)},
    "an index before the names": {
        **pictures(),
        "x.csv": table(["", *range(COUNT)], ["file", *NAMES[::-1]], ["label", *LABELS[::-1]]),
    },
    "names with another extension": {
        **pictures(),
        "x.csv": table(["a", *(n.replace("jpg", "PNG") for n in NAMES)], BREEDS),
    },
    "a byte order mark": {**pictures(), "x.csv": "\ufeff" + table(FILE_NAMES, BREEDS)},
    "StyleGAN's dataset.json": {
        **pictures("00000/"),
        "dataset.json": json.dumps({"labels": [[f"00000/{n}", label] for n, label in BY_NAME.items()]}),
    },
    "labels by name": {**pictures(), "labels.json": json.dumps(BY_NAME)},
    "a list of objects": {
        **pictures(),
        "metadata.json": json.dumps([{"image": n, "class": label} for n, label in BY_NAME.items()]),
    },
    "webdataset's .cls": pictures() | {n.replace("jpg", "cls"): label for n, label in BY_NAME.items()},
    "webdataset's .json": pictures()
    | {n.replace("jpg", "json"): json.dumps({"label": label, "width": 3}) for n, label in BY_NAME.items()},
    "folders": {f"{label}/{name}": "" for name, label in BY_NAME.items()},
    "folders, with a table of something else": {
        **{f"{label}/{name}": "" for name, label in BY_NAME.items()},
        "sizes.csv": "a,b\n1,2\n",
    },
    "folders, with a table of a few labels": {
        **{f"{label}/{name}": "" for name, label in BY_NAME.items()},
        "few.csv": table(FILE_NAMES[:9], ["label", *("xyxyxyxy")]),
    },
    "folders, with a table of sizes": {
        **{f"{label}/{name}": "" for name, label in BY_NAME.items()},
        "sizes.csv": table(FILE_NAMES, ["width", *([64, 128] * 12)]),
    },
    "a table instead of folders of shards": {
        **{f"{i // 8:05d}/{name}": "" for i, name in enumerate(NAMES)},
        "labels.csv": table(FILE_NAMES, BREEDS),
    },
}


@pytest.mark.parametrize("name", TABLES)
def test_labels_are_read_from_tables_files_beside_pictures_and_folders(tmp_path: Path, name: str) -> None:
    source = open_zip(tmp_path, TABLES[name])
    assert {Path(key).name: label for key, label in classes_of(source).items()} == BY_NAME
    assert source.splits == ()


@pytest.mark.parametrize("name", TABLES)
def test_a_folder_is_read_in_place_with_the_labels_that_its_archive_has(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = open_zip(tmp_path, TABLES[name])
    printed = capsys.readouterr().err
    folder = write(tmp_path / "folder", {path: text.encode() for path, text in TABLES[name].items()})
    source = archive.open_folder({"title": "folder"}, folder, list(TABLES[name]), Settings())
    assert (classes_of(source), source.splits) == (classes_of(packed), packed.splits)
    assert capsys.readouterr().err == printed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_tables_of_spreadsheets_keep_their_letters(tmp_path: Path, encoding: str) -> None:
    text = table(FILE_NAMES, ["label", *(["café", "thé"] * (COUNT // 2))])
    files = [*((name, b"") for name in NAMES), ("labels.csv", text.encode(encoding))]
    assert open_data_set(tmp_path, "archive", {"a.zip": make_zip(files)}).classes == ("café", "thé")


def test_a_column_with_several_values_for_one_picture_holds_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = table(["image", *NAMES, *NAMES], ["class", *LABELS, *LABELS[:-1], "other"], ["site", *("xy" * COUNT)])
    source = open_zip(tmp_path / "1", {**pictures(), "train.csv": text})
    assert list(classes_of(source).values()) == [*("xy" * (COUNT // 2))]
    text = table(["image", *NAMES, *NAMES], ["class", *LABELS, *LABELS[:-1], "other"])
    assert open_zip(tmp_path / "2", {**pictures(), "train.csv": text}).classes == ()
    assert "no labels: some pictures have several values of class\n" in capsys.readouterr().err
    with pytest.raises(
        StageError, match=r"class' of train\.csv has several values for one picture \(first: 023\.jpg\)"
    ):
        open_zip(tmp_path / "3", {**pictures(), "train.csv": text}, Settings(labels=LabelColumn("class")))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([i % 3 for i in range(COUNT)], ("0", "1", "2")),
        ([[float(i % 3 == k) for k in range(3)] for i in range(COUNT)], ("0", "1", "2")),
        (None, ()),
        ([[0.1, 0.7] for _ in range(COUNT)], ()),
        (["a"] * COUNT, ()),
    ],
)
def test_dataset_json_has_numbers_or_vectors_or_nothing(
    tmp_path: Path, labels: list[Any] | None, classes: tuple[str, ...]
) -> None:
    pairs = None if labels is None else [list(pair) for pair in zip(NAMES, labels, strict=True)]
    assert open_zip(tmp_path, {**pictures(), "dataset.json": json.dumps({"labels": pairs})}).classes == classes


@pytest.mark.parametrize("name", ["labels.csv", "metadata.jsonl", "dataset.json", "000.json", "000.cls"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "[1, 2",
        "[" * 100_000,
        '{"labels": [["000.jpg", ["a", null]], ["001.jpg", [[1], 0]], [2]]}',
        '{"labels": {"000.jpg": {}}}',
        '[{"file_name": ["000.jpg"], "label": {}}, 7, {"file_name": "001.jpg"}]',
        '{"file_name": "000.jpg", "label": NaN}',
        "file_name,label\n000.jpg," + "x" * 200_000,
        "file_name\n000.jpg,too,many\n\n",
        "\ud800",
    ],
)
def test_odd_tables_are_no_labels_and_no_crash(tmp_path: Path, name: str, text: str) -> None:
    data = make_zip([*((n, b"") for n in NAMES), (name, text.encode("utf-8", "surrogatepass"))])
    assert open_data_set(tmp_path, "archive", {"a.zip": data}).classes == ()


@pytest.mark.parametrize("extension", ["cls", "json"])
def test_a_file_beside_a_picture_that_cannot_be_read_is_a_missing_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extension: str
) -> None:
    files = pictures() | {
        f"{i:03d}.{extension}": json.dumps({"label": i % 2}) if extension == "json" else str(i % 2)
        for i in range(COUNT)
    }
    assert open_zip(tmp_path, {**files, f"023.{extension}": " " * (1 << 21)}).classes == ()
    assert (
        f"1 of 24 pictures have no label in column '{'cls' if extension == 'cls' else 'label'}'"
        in capsys.readouterr().err
    )


SHARDS = {f"{i // 8:05d}/{name}": "" for i, name in enumerate(NAMES)}
FOLDERS = {f"{label}/{name}": "" for name, label in BY_NAME.items()}
UNUSED: dict[str, tuple[dict[str, str], str]] = {
    "StyleGAN's shards": (
        {**SHARDS, "dataset.json": '{"labels": null}'},
        "folders 00000, 00001, 00002 look like numbered parts of a data set",
    ),
    "img2dataset's shards": (
        SHARDS | {name.replace("jpg", "json"): '{"caption": "x", "status": "success"}' for name in SHARDS},
        "folders 00000, 00001, 00002 look like numbered parts of a data set",
    ),
    "captions": (
        {**FOLDERS, "metadata.csv": table(["file_name", *FOLDERS], ["text", *(f"dog {i}" for i in range(COUNT))])},
        "folders beagle, pug are beside metadata.csv; .*{column: …} can name text",
    ),
    "a broken table": ({**FOLDERS, "metadata.jsonl": "{"}, "beside metadata.jsonl; .*cannot be read"),
    "a table of other pictures": ({**FOLDERS, "train.csv": "id,label\nx,1"}, "beside train.csv; .*names no picture"),
    "two possible columns": (
        {**pictures(), "x.csv": table(FILE_NAMES, BREEDS, ["colour", *LABELS])},
        "{column: …} can name breed, colour",
    ),
}


@pytest.mark.parametrize("name", UNUSED)
def test_what_is_no_label_is_not_used_and_a_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    files, message = UNUSED[name]
    source = open_zip(tmp_path, files)
    assert source.classes == ()
    assert (source.index.label == -1).all()
    line = capsys.readouterr().err
    assert line.startswith("no labels: ")
    assert line.count("\n") == 1
    assert np.all([part in line for part in message.split(".*")]), line
    if "/" in next(iter(files)):
        assert "prepare.labels: folders makes them classes" in line
        assert len(open_zip(tmp_path, files, Settings(labels="folders")).classes) > 1


def test_a_line_says_what_was_read_and_what_was_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_zip(tmp_path, {**FOLDERS, "labels.csv": table(FILE_NAMES, BREEDS, ["x", *range(COUNT)]), "other.csv": "a\nx"})
    assert capsys.readouterr().err == (
        "labels: column 'breed' of labels.csv; ignored: column 'x', other.csv, 2 folders\n"
    )
    open_zip(tmp_path, {**FOLDERS, "other.csv": "a\nx"})
    assert capsys.readouterr().err == "labels: 2 folders; ignored: other.csv names no picture\n"
    open_zip(tmp_path, pictures())
    assert capsys.readouterr().err == ""


CELEBA = {
    **pictures("img_align_celeba/img_align_celeba/"),
    "list_attr_celeba.csv": table(["image_id", *NAMES], ["Bald", *([1, -1] * 12)], ["Male", *([-1, -1, 1] * 8)]),
    "list_eval_partition.csv": table(["image_id", *NAMES], ["partition", *([0, 1, 2] * 8)]),
}


def test_the_params_can_name_a_file_and_a_column(tmp_path: Path) -> None:
    assert open_zip(tmp_path, CELEBA).classes == ()
    source = open_zip(tmp_path, CELEBA, Settings(labels=LabelColumn("Male", "list_attr_celeba.csv")))
    assert list(classes_of(source).values()) == ["not Male", "not Male", "Male"] * 8
    files = {**pictures(), "x.json": json.dumps([{"n": name, "a": "q", "b": i % 2} for i, name in enumerate(NAMES)])}
    assert open_zip(tmp_path, files).classes == ()
    assert open_zip(tmp_path, files, Settings(labels=LabelColumn("b", "x.json"))).classes == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (LabelColumn("Smile", "list_attr_celeba.csv"), "no column 'Smile', but Bald, Male; tables"),
        (LabelColumn("Smile"), "no column 'Smile', but Bald, Male, partition"),
        (LabelColumn("Male", "attributes.csv"), "file: attributes.csv: no such table; tables .*, list_eval"),
        ("folders", "the pictures are not in two or more folders"),
    ],
)
def test_labels_that_the_params_name_must_exist(tmp_path: Path, labels: str | LabelColumn, complaint: str) -> None:
    with pytest.raises(StageError, match=f"prepare.labels: .*{complaint}"):
        open_zip(tmp_path, CELEBA, Settings(labels=labels))


def test_a_picture_without_a_label_removes_all_classes_or_stops_if_the_params_name_the_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {**pictures(), "labels.csv": table(FILE_NAMES[:-1], BREEDS[:-1])}
    assert open_zip(tmp_path, files).classes == ()
    problem = r"1 of 24 pictures have no label in column 'breed' of labels.csv \(first: 023.jpg\); add them"
    capsys.readouterr()
    with pytest.raises(StageError, match=problem):
        open_zip(tmp_path, files, Settings(labels=LabelColumn("breed")))


DIFFERENT: dict[str, tuple[dict[str, str], str]] = {
    "an unknown class": (
        {"train/cats/1.png": "", "train/dogs/1.png": "", "test/unknown/1.png": ""},
        "train: cats, dogs; test: unknown. Correct them, or set prepare.labels: folders",
    ),
    "other letters": (
        {f"{path}/1.png": "" for path in ("train/Cats", "train/Dogs", "val/cats", "val/Dogs")},
        "train: Cats, Dogs; test: Dogs, cats. Correct",
    ),
    "one class less": (
        {f"{path}/1.png": "" for path in ("train/a", "train/b", "train/c", "test/a", "test/b")},
        "train: a, b, c; test: a, b. Correct",
    ),
    "cities": (
        {f"{path}/1.png": "" for path in ("train/aachen", "train/bochum", "val/lindau", "test/bonn")},
        "train: aachen, bochum; val: lindau. Correct",
    ),
    "in a table": (
        {**pictures("train/"), "test/x.jpg": "", "labels.csv": table([*FILE_NAMES, "x.jpg"], [*BREEDS, "?"])},
        "train: beagle, pug; test: ?. Correct them, or set prepare.labels: {column: breed}",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_splits_with_different_classes_stop_until_the_params_decide(tmp_path: Path, name: str) -> None:
    files, lists = DIFFERENT[name]
    with pytest.raises(StageError) as caught:
        open_zip(tmp_path, files)
    assert f"prepare.labels: the splits have different classes; {lists}" in str(caught.value)
    assert open_zip(tmp_path, files, Settings(labels="none")).classes == ()
    decision = LabelColumn("breed") if name == "in a table" else "folders"
    assert len(open_zip(tmp_path, files, Settings(labels=decision)).classes) >= 3


UNLABELLED: dict[str, dict[str, str]] = {
    "no folders": {"train/cats/1.png": "", "train/dogs/1.png": "", "test1/1.png": ""},
    "train.csv and test.csv with the same names": {
        **pictures("train/"),
        **pictures("test/"),
        "train.csv": table(FILE_NAMES, BREEDS),
        "test.csv": "file_name\n000.jpg",
    },
    "a sample submission": {
        **pictures("train/"),
        "test/x.jpg": "",
        "train.csv": table(FILE_NAMES, BREEDS),
        "sample_submission.csv": "file_name,breed\nx.jpg,pug",
    },
    "minus one": {
        **pictures("train/"),
        "test/x.jpg": "",
        "x.csv": table([*FILE_NAMES, "x.jpg"], ["label", *([0, 1] * 12), -1]),
    },
}


@pytest.mark.parametrize("name", UNLABELLED)
def test_a_test_split_without_labels_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    source = open_zip(tmp_path, UNLABELLED[name])
    assert all(key.startswith("train/") for key in classes_of(source))
    assert (len(source.classes), source.splits) == (2, ())
    assert (source.index.split == -1).all()
    assert "of test without labels; prepare.labels: none keeps them" in capsys.readouterr().err
    assert open_zip(tmp_path, UNLABELLED[name], Settings(labels="none")).splits == ("train", "test")


def test_names_of_webdatasets_shards_are_splits_and_keys_may_repeat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files: Files = {}
    for split, shard in (("train", 0), ("train", 1), ("val", 0)):
        members = [(f"{i:04d}.jpg", b"x") for i in range(4)] + [
            (f"{i:04d}.cls", b"%d" % (shard * 2 + i % 2)) for i in range(4)
        ]
        files[f"dogs-{split}-{shard:06d}.tar"] = make_tar(members)
    source = open_data_set(tmp_path, "archive", files, Settings(labels=LabelColumn("cls")))
    assert list(splits_of(source).values()) == ["train"] * 8 + ["test"] * 4
    assert list(classes_of(source).values()) == [*"01012323", *"0101"]
    assert "splits: train from dogs-train-000000.tar, dogs-train-000001.tar; test from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "classes", "label"),
    [
        (["10", "9", "-1", ""], ("9", "10"), [1, 0, -1, -1]),
        ([1.0, float("nan"), 0.0], ("0", "1"), [1, -1, 0]),
        (["True", "False", "True"], ("not x", "x"), [1, 0, 1]),
        ([-1, 1, None], ("not x", "x"), [0, 1, -1]),
        ([0, 1, -1], ("0", "1"), [0, 1, -1]),
        ([" b", "a", "b "], ("a", "b"), [1, 0, 1]),
        ([[0, 1], [1, 0], []], ("0", "1"), [1, 0, -1]),
        ([], (), []),
    ],
)
def test_values_become_classes(values: list[Any], classes: tuple[str, ...], label: list[int]) -> None:
    names, numbers = read_classes("x", values)
    assert (names, numbers.tolist()) == (classes, label)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"a": "xyxy", "Label": "pqqp"}, "Label"),
        ({"category": "xyxy", "label": "pqqp"}, "label"),
        ({"a": "xyxy", "b": "pppp"}, "a"),
        ({"a": "xyxy", "b": "pqqp"}, None),
        ({"label": range(50)}, None),
        ({"label": range(50), "class": [0, 1] * 25}, "class"),
        ({"name": "xyxy", "split": ["train", "test"] * 2}, "name"),
        ({}, None),
    ],
)
def test_a_column_of_labels_has_few_values_and_a_usual_name_or_no_rival(
    columns: dict[str, Any], expected: str | None
) -> None:
    assert choose_column(list(columns), lambda name: list(columns[name])) == expected


@pytest.mark.parametrize("name", ["cafe\u0301.png", "caf\u00e9.png", "red \x1b[31m.png", "./a//b.png"])
def test_a_table_and_an_archive_may_write_one_name_in_two_forms(tmp_path: Path, name: str) -> None:
    table = f"file_name,label\n{unicodedata.normalize('NFD', name)},x\nb/c.png,y\n".encode()
    data = make_zip([(name, b"1"), ("b/c.png", b"2"), ("labels.csv", table)])
    source = open_data_set(tmp_path, "archive", {"a.zip": data})
    assert list(classes_of(source).values()) == ["x", "y"]
