"""Opening a data set: its facts, its format and the labels that the settings want."""

from pathlib import Path

import pytest

from stages.errors import StageError
from stages.prepare.settings import Settings
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
    with pytest.raises(StageError, match=r"no pictures in Own \(2 other files\)"):
        open_data_set(tmp_path, "archive", {"a.zip": make_zip([("a.txt", b"1"), ("b.txt", b"2")])})


def test_labels_none_removes_labels_and_classes(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "archive", {"a.zip": ZIP}, Settings(labels="none"))
    assert source.classes == ()
    assert (source.index.label == -1).all()


def test_attributes_of_a_data_set_without_attributes_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"prepare\.labels: Own has no attributes; expected auto or none"):
        open_data_set(tmp_path, "archive", {"a.zip": ZIP}, Settings(labels=("Male",)))
