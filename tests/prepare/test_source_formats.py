"""Opening a data set: its facts, its format and the labels that the settings want."""

import re
from pathlib import Path

import pytest

from stages.errors import StageError
from stages.prepare.settings import LabelColumn, Settings
from stages.prepare.sources.facts import read_facts
from tests.archive_files import ZIP, make_zip, open_data_set, write_source


def test_a_file_with_another_hash_than_in_source_json_is_named(tmp_path: Path) -> None:
    write_source(tmp_path, "archive", {"a.zip": ZIP})
    (tmp_path / "a.zip").write_bytes(ZIP[:-1])
    with pytest.raises(StageError, match=r"a\.zip: missing or damaged"):
        read_facts(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_source(tmp_path, "archive", {"a.zip": ZIP})
    (tmp_path / "a.zip").unlink()
    with pytest.raises(StageError, match=r"a\.zip: missing or damaged"):
        read_facts(tmp_path)


def test_an_unknown_format_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"source\.json: unknown format 'tarball'; expected one of idx, .*celeba"):
        open_data_set(tmp_path, "tarball", {"a.zip": ZIP})


def test_the_error_for_an_archive_without_pictures_counts_the_other_files(tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match=r"no pictures in Own \(2 other files, first: in\.tar\)\. Archives in archives"
    ):
        open_data_set(tmp_path, "archive", {"a.zip": make_zip([("in.tar", b"1"), ("b.txt", b"2")])})


def test_labels_none_removes_labels_and_classes(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "archive", {"a.zip": ZIP}, Settings(labels="none"))
    assert source.classes == ()
    assert (source.index.label == -1).all()


@pytest.mark.parametrize(
    ("format", "labels", "expected"),
    [
        ("archive", ("Male",), "auto, none, {file: …, column: …}, folders; got ('Male',)"),
        ("parquet", "folders", "auto, none, {column: …}; got 'folders'"),
        ("celeba", LabelColumn("Male"), "auto, none, a list of attributes; got {column: Male}"),
        ("idx", LabelColumn("a", "b.csv"), "auto, none; got {file: b.csv, column: a}"),
    ],
)
def test_labels_that_a_format_does_not_have_are_rejected(
    tmp_path: Path, format: str, labels: str | tuple[str, ...] | LabelColumn, expected: str
) -> None:
    with pytest.raises(StageError, match=re.escape(f"prepare.labels: for Own expected one of {expected}")):
        open_data_set(tmp_path, format, {"a.zip": ZIP}, Settings(labels=labels))


def test_max_images_chooses_by_name_whatever_the_order_and_keeps_the_choice_of_a_smaller_number(tmp_path: Path) -> None:
    files = [(f"{split}/{i % 2}/a picture {i}.png", b"x") for split in ("train", "test") for i in range(200)]

    def chosen(name: str, order: list[tuple[str, bytes]], count: int) -> set[tuple[str, int, int]]:
        source = open_data_set(tmp_path / name, "archive", {"a.zip": make_zip(order)}, Settings(max_images=count))
        index = source.index
        return set(zip(index.names, index.split.tolist(), index.label.tolist(), strict=True))

    everything = chosen("all", files, 0)
    assert len(everything) == 400
    assert chosen("more", files, 500) == everything
    hundred = chosen("hundred", files, 100)
    assert len(hundred) == 100
    assert chosen("reversed", files[::-1], 100) == hundred
    assert chosen("fewer", files, 30) < hundred < everything
    assert 20 < sum(split == 0 for _, split, _ in hundred) < 80, "each split keeps about its share"


def test_a_thinned_class_keeps_its_share_of_the_pictures_and_the_others_keep_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [(f"{split}/{name}/{i}.png", b"x") for split in ("train", "test") for name in "ab" for i in range(100)]

    def chosen(name: str, share: float) -> list[set[str]]:
        source = open_data_set(tmp_path / name, "archive", {"a.zip": make_zip(files)}, Settings(thin={"b": share}))
        names, labels = list(source.index.names), source.index.label.tolist()
        return [{key for key, label in zip(names, labels, strict=True) if label == index} for index in range(2)]

    a, b = chosen("some", 0.2)
    assert (len(a), len(b)) == (200, 40)
    assert "prepare.thin: 40 of the 200 pictures of b, chosen by a hash of their names" in capsys.readouterr().err
    assert chosen("fewer", 0.1)[1] < b
    with pytest.raises(StageError, match=r"prepare\.thin: no class 'Bb'; did you mean 'b'"):
        open_data_set(tmp_path / "bad", "archive", {"a.zip": make_zip(files)}, Settings(thin={"Bb": 0.1}))
