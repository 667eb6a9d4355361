"""The user's own archives and parquet tables."""

import gzip
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
        (["PHOTOS.ZIP", "b.Zip"], ["PHOTOS.ZIP", "b.Zip"]),
        (["comic.cbz", ".hidden.cbz"], ["comic.cbz"]),
    ],
)
def test_archives_in_a_folder_without_pictures_are_copied_unchanged(
    get: Get, tmp_path: Path, files: list[str], kept: list[str]
) -> None:
    write(tmp_path / "pets", {name: archive_of({"1.png": name.encode()}, "zip") for name in files})
    facts = get(source="own", own="pets")
    assert [file["name"] for file in facts["files"]] == kept == names_in(tmp_path / "out")


@pytest.mark.parametrize("where", ["pets", "pets/{}"], ids=["in a folder", "as the source"])
@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (
            "a.7z",
            b"7z\xbc\xaf\x27\x1c" + bytes(99),
            "a 7-Zip archive, which is not read; unpack it with 7z x, then set",
        ),
        ("a.rar", b"Rar!\x1a\x07\x01\x00" + bytes(99), "a RAR archive, which is not read; unpack it with unrar x"),
        ("a.mat", b"MATLAB 5.0 MAT-file" + bytes(99), "a MATLAB file, which is not read; save its arrays with scipy"),
        ("a.z01", b"PK\x07\x08" + bytes(99), "a part of a split zip; join its parts first: zip -s 0"),
        ("a.zip.001", archive_of(PICTURES, "zip"), "a piece of a larger file; join the pieces first: cat"),
        ("a.pkl", b"\x80\x04" + bytes(99), "a Python pickle, which can run a program"),
        ("data.mdb", bytes(16) + b"\xde\xc0\xef\xbe" + bytes(99), "an LMDB database, which is only read for LSUN"),
        ("a.zip", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
    ],
    ids=["7z", "rar", "mat", "z01", "zip.001", "pickle", "LMDB", "Git LFS"],
)
def test_a_container_that_is_not_read_is_named_with_what_to_do(
    get: Get, tmp_path: Path, where: str, name: str, data: bytes, reason: str
) -> None:
    write(tmp_path / "pets", {name: data})
    with pytest.raises(StageError) as caught:
        get(source="own", own=where.format(name))
    assert reason in str(caught.value)
    assert name in str(caught.value)


def test_a_part_of_a_split_zip_is_named_before_its_last_part_is_read(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"a.z01": b"PK\x07\x08", "a.zip": archive_of(PICTURES, "zip")})
    with pytest.raises(StageError, match=r"a\.z01: a part of a split zip"):
        get(source="own", own="pets")


def test_a_self_extracting_zip_is_an_archive(get: Get, tmp_path: Path) -> None:
    write(tmp_path, {"set.exe": b"MZ" * 100 + archive_of(PICTURES, "zip")})
    assert get(source="own", own="set.exe")["format"] == "archive"


def test_the_tars_of_img2dataset_are_read_and_its_tables_of_addresses_are_left_out(
    get: Get, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = {f"{i:05d}": archive_of({f"{i}.jpg": b"picture", f"{i}.json": b"{}"}, "tar") for i in range(2)}
    files = {f"{name}.tar": data for name, data in shards.items()} | {f"{name}.parquet": TABLE for name in shards}
    facts = get(source="own", own=write(tmp_path / "laion", {**files, "00000_stats.json": b"{}"}).name)
    assert [file["name"] for file in facts["files"]] == ["00000.tar", "00001.tar"]
    assert (facts["format"], facts["left_out"]) == ("archive", {"labels": 1, "other_type": 2})
    assert capsys.readouterr().err == (
        "left out: 1 labels (first: 00000_stats.json), 2 other_type (first: 00000.parquet)\n"
    )


@pytest.mark.parametrize(
    "files",
    [
        {"a.npy": b"\x93NUMPY"},
        {"train-images-idx3-ubyte": b"\0\0\x08\3", "train-labels-idx1-ubyte": b"\0\0\x08\1"},
        {"train-images-idx3-ubyte.gz": gzip.compress(b"\0\0\x08\3")},
        {"a.h5": b"\x89HDF\r\n\x1a\n", "b.hdf5": b"\x89HDF\r\n\x1a\n"},
        {"a.npz": archive_of({"x.npy": b"\x93NUMPY"}, "zip")},
        {"images.gz": gzip.compress(b"\0\0\x08\3"), "labels.gz": gzip.compress(b"\0\0\x08\1")},
    ],
    ids=["npy", "idx", "idx.gz", "hdf5", "npz", "idx.gz of another name"],
)
def test_files_of_arrays_in_a_folder_are_copied_unchanged(get: Get, tmp_path: Path, files: dict[str, bytes]) -> None:
    facts = get(source="own", own=write(tmp_path / "arrays", {**files, "readme.txt": b""}).name)
    assert facts["format"] == "arrays"
    assert {file["name"]: (tmp_path / "out" / file["name"]).read_bytes() for file in facts["files"]} == files


def test_two_archives_that_would_get_the_same_name_are_an_error(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", dict.fromkeys(["a/b-c.zip", "a-b/c.zip"], archive_of(PICTURES, "zip")))
    with pytest.raises(StageError, match=r"dataset\.own: pets: two of these files would get the same name"):
        get(source="own", own="pets")


def test_tables_in_a_folder_keep_the_names_of_their_splits(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"data/train-0.parquet": TABLE, "data/test-0.parquet": TABLE})
    facts = get(source="own", own="pets")
    assert facts["format"] == "parquet"
    assert [file["name"] for file in facts["files"]] == ["test-0.parquet", "train-0.parquet"]
