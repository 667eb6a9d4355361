"""The user's own archives and parquet tables."""

import hashlib
from pathlib import Path

import pytest

from stages.errors import StageError
from tests.conftest import Project
from tests.own_pictures import (
    PICTURES,
    TABLE,
    Get,
    archive_of,
    names_in,
    write,
    write_params,
)

pytest_plugins = ["tests.own_pictures"]  # its fixtures


KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_copied_unchanged(get: Get, tmp_path: Path, kind: str) -> None:
    content = archive_of(PICTURES, kind)
    write(tmp_path / "somewhere", {f"my set.{kind}": content})
    facts = get(source="own", own=f"somewhere/my set.{kind}")
    assert (tmp_path / "out" / f"my set.{kind}").read_bytes() == content
    digest = hashlib.sha256(content).hexdigest()
    assert facts["files"] == [{"name": f"my set.{kind}", "bytes": len(content), "sha256": digest}]
    assert (facts["name"], facts["format"]) == (f"my set.{kind}", "archive")


@pytest.mark.parametrize("name", ["set.parquet", "table"])
def test_a_parquet_table_is_detected_by_its_content(get: Get, tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: TABLE})
    assert get(source="own", own=name)["format"] == "parquet"


def test_the_hash_of_a_users_own_archive_can_be_checked(project: Project) -> None:
    content = archive_of(PICTURES, "tar.zst")
    write(project.folder, {"photos.tar.zst": content})
    write_params(project, source="own", own="photos.tar.zst", sha256=hashlib.sha256(content).hexdigest())
    result = project.run("download")
    assert result.returncode == 0, result.stderr
    assert (project.folder / "data" / "raw" / "photos.tar.zst").read_bytes() == content
    assert "every file has the expected hash" in result.stderr


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["photos.zip"], ["photos.zip"]),
        (["photos.zip", "readme.txt", "._photos.zip", "__MACOSX/x.zip"], ["photos.zip"]),
        (["all/cats.tar.gz", "all/dogs.zip"], ["cats.tar.gz", "dogs.zip"]),
        (["cats/1.zip", "dogs/1.zip"], ["cats-1.zip", "dogs-1.zip"]),
    ],
)
def test_archives_in_a_folder_without_pictures_are_copied_unchanged(
    get: Get, tmp_path: Path, files: list[str], kept: list[str]
) -> None:
    write(tmp_path / "pets", {name: archive_of({"1.png": name.encode()}, "zip") for name in files})
    facts = get(source="own", own="pets")
    assert [file["name"] for file in facts["files"]] == kept == names_in(tmp_path / "out")


def test_two_archives_that_would_get_the_same_name_are_an_error(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", dict.fromkeys(["a/b-c.zip", "a-b/c.zip"], archive_of(PICTURES, "zip")))
    with pytest.raises(StageError, match=r"dataset\.own: pets: two of these files would get the same name"):
        get(source="own", own="pets")


def test_tables_in_a_folder_keep_the_names_of_their_splits(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"data/train-0.parquet": TABLE, "data/test-0.parquet": TABLE})
    facts = get(source="own", own="pets")
    assert facts["format"] == "parquet"
    assert [file["name"] for file in facts["files"]] == ["test-0.parquet", "train-0.parquet"]
