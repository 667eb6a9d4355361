"""A folder of the user's own pictures: which files the zip contains, and errors."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest

from stages import artifacts
from stages.download import disk
from stages.errors import StageError
from tests.conftest import Project
from tests.own_pictures import (
    PICTURES,
    Get,
    content_of,
    error_line,
    facts_of,
    write,
    write_params,
    zip_of_folder,
)
from tests.servers import CONTENT, PACKED

pytest_plugins = ["tests.own_pictures"]  # its fixtures


def raw_hashes(project: Project) -> dict[str, str]:
    """The hash of each file in data/raw."""
    return {path.name: artifacts.sha256(path) for path in (project.folder / "data" / "raw").iterdir()}


def test_a_folder_becomes_one_zip_and_source_json_describes_it(project: Project) -> None:
    write(project.folder / "data" / "own", PICTURES)
    write_params(project, source="own", title="Pets", licence="CC0")
    result = project.run("download")
    assert result.returncode == 0, result.stderr
    archive = project.folder / "data" / "raw" / "pictures.zip"
    assert content_of(archive) == PICTURES
    assert facts_of(project) == {
        "name": "own",
        "title": "Pets",
        "homepage": "",
        "licence": "CC0",
        "citation": "",
        "format": "archive",
        "classes": [],
        "files": [{"name": "pictures.zip", "bytes": archive.stat().st_size, "sha256": artifacts.sha256(archive)}],
    }
    assert "Pets from data/own" in result.stderr
    assert "licence: CC0; dvc.lock records the hashes" in result.stderr


def test_no_output_contains_a_path_of_this_machine(project: Project, tmp_path: Path) -> None:
    folder = write(tmp_path / "elsewhere" / "pets", PICTURES)
    write_params(project, source="own", own=str(folder))
    assert project.run("download").returncode == 0
    for path in (project.folder / "data" / "raw").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    assert facts_of(project)["title"] == "pets"


def test_the_title_defaults_to_the_folders_name_and_the_licence_to_not_stated(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", PICTURES)
    facts = get(source="own", own="pets/")
    assert (facts["title"], facts["licence"]) == ("pets", "not stated")
    write(tmp_path / "data/own", PICTURES)
    assert get(source="own", own="data/own")["title"] == "own pictures"


def test_the_same_folder_gives_the_same_facts_and_bytes_twice(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", PICTURES)
    facts, content = get(source="own", own="pets"), (tmp_path / "out" / "pictures.zip").read_bytes()
    assert get(source="own", own="pets") == facts
    assert (tmp_path / "out" / "pictures.zip").read_bytes() == content


def test_one_more_picture_changes_the_data_set(project: Project) -> None:
    write(project.folder / "data" / "own", PICTURES)
    write_params(project, source="own")
    assert project.run("download").returncode == 0
    before = raw_hashes(project)
    write(project.folder / "data" / "own", {"dogs/2.png": b"one more"})
    assert project.run("download").returncode == 0
    after = raw_hashes(project)
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


def test_a_folders_zip_has_the_same_bytes_on_every_machine(get: Get, tmp_path: Path) -> None:
    folder = write(tmp_path / "pets", {"b/ü.jpg": b"two" * 1000, "a/1.png": b"one"})
    digest = hashlib.sha256(zip_of_folder(get, folder)).hexdigest()
    assert digest == "f8ceaa998d9218fb991b99ecf7fc4545890999ea526d54cf76eeefbfc0035132"


def test_dates_and_permissions_of_the_files_do_not_change_the_zip(get: Get, tmp_path: Path) -> None:
    before = zip_of_folder(get, write(tmp_path / "pets", PICTURES))
    for i, path in enumerate((tmp_path / "pets").rglob("*.*")):
        path.chmod(0o700 if i % 2 else 0o444)
        os.utime(path, (i * 1e8, i * 1e8))
    assert zip_of_folder(get, tmp_path / "pets") == before


def test_the_order_in_which_a_folder_is_listed_does_not_change_the_zip(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "pets", PICTURES)
    before = zip_of_folder(get, folder)
    paths = list(disk._files_below(folder.resolve()))
    monkeypatch.setattr(disk, "_files_below", lambda folder: reversed(paths))
    assert zip_of_folder(get, folder) == before


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "a/b/c/d/e/f.png",
        "with space.jpg",
        "naïve/日本 🌸.png",
        "e\u0301.png",
        "two\nlines.png",
        "CAPITALS.JPEG",
        "no extension",
        "a.b.c.tiff",
        "-rf.png",
        "back\\slash.png",
        '"quotes" & <b>.gif',
        "drawing.svg",
    ],
)
def test_a_picture_keeps_its_name_and_bytes(get: Get, tmp_path: Path, name: str) -> None:
    zip_of_folder(get, write(tmp_path / "pets", {name: CONTENT[:2500]}))
    assert content_of(tmp_path / "out" / "pictures.zip") == {name: CONTENT[:2500]}


def test_a_name_that_is_not_utf8_is_escaped(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {os.fsdecode(b"caf\xe9.png"): b"coffee"})
    zip_of_folder(get, tmp_path / "pets")
    assert content_of(tmp_path / "out" / "pictures.zip") == {"caf%E9.png": b"coffee"}


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.png",
        ".cache/1.png",
        "a/.thumbnails/1.png",
        ".DS_Store",
        "a/.DS_Store",
        "__MACOSX/1.png",
        "__MACOSX/a/._1.png",
        "Thumbs.db",
        "desktop.ini",
        "readme.txt",
        "movie.mp4",
        "more.zip",
    ],
)
def test_hidden_files_and_other_file_types_are_skipped(get: Get, tmp_path: Path, name: str) -> None:
    zip_of_folder(get, write(tmp_path / "pets", {"1.png": b"a cat", name: b"something"}))
    assert list(content_of(tmp_path / "out" / "pictures.zip")) == ["1.png"]


@pytest.mark.parametrize("name", ["labels.csv", "a/metadata.jsonl", "dataset.json", "a.TSV", "1.cls"])
def test_files_that_may_contain_labels_are_packed_with_the_pictures(
    get: Get, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    zip_of_folder(get, write(tmp_path / "pets", {"1.png": b"a cat", name: b"something"}))
    assert content_of(tmp_path / "out" / "pictures.zip") == {"1.png": b"a cat", name: b"something"}
    assert "left out" not in capsys.readouterr().err


def test_a_folder_of_archives_and_a_table_of_labels_has_no_pictures_to_pack(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"a.tar.gz": PACKED, "labels.csv": b"name,label"})
    assert [file["name"] for file in get(source="own", own="pets")["files"]] == ["a.tar.gz"]


def test_every_file_that_is_left_out_is_counted_by_reason(
    get: Get, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "pets", {"1.png": b"a cat"})
    assert "left_out" not in get(source="own", own="pets")
    assert capsys.readouterr().err == ""
    write(folder, {".gitignore": b"*", "@eaDir/1.png/SYNOPHOTO_THUMB_M.png": b"", "a/.DS_Store": b""})
    write(folder, {"notes.txt": b"hello", "cats/movie\x1b[31m.mp4": b"", "more.zip": b""})
    (folder / "2.png").symlink_to("nowhere.png")
    (folder / "up").symlink_to(".")
    os.mkfifo(folder / "3.png")
    counts = {"hidden": 1, "link": 2, "other_type": 3, "program": 2, "special": 1}
    assert get(source="own", own="pets")["left_out"] == counts
    assert capsys.readouterr().err == (
        "left out: 1 hidden (first: .gitignore), 2 link (first: 2.png), 3 other_type (first: cats/movie\\x1b[31m.mp4), "
        "2 program (first: @eaDir/1.png/SYNOPHOTO_THUMB_M.png), 1 special (first: 3.png)\n"
    )


def test_a_link_to_a_picture_is_packed_as_the_picture(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"cat.png": b"a cat"})
    write(tmp_path / "pets", {"1.png": b"one"})
    (tmp_path / "pets" / "2.png").symlink_to(tmp_path / "elsewhere" / "cat.png")
    zip_of_folder(get, tmp_path / "pets")
    assert content_of(tmp_path / "out" / "pictures.zip") == {"1.png": b"one", "2.png": b"a cat"}


def test_a_broken_link_is_skipped(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"1.png": b"one"})
    (tmp_path / "pets" / "2.png").symlink_to("nowhere.png")
    (tmp_path / "pets" / "3.png").symlink_to("3.png")
    zip_of_folder(get, tmp_path / "pets")
    assert list(content_of(tmp_path / "out" / "pictures.zip")) == ["1.png"]


@pytest.mark.timeout(20)
def test_links_that_form_a_cycle_are_not_followed(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"a/1.png": b"one", "b/2.png": b"two"})
    (tmp_path / "pets" / "a" / "up").symlink_to(tmp_path / "pets")
    (tmp_path / "pets" / "b" / "across").symlink_to(tmp_path / "pets" / "a")
    zip_of_folder(get, tmp_path / "pets")
    assert list(content_of(tmp_path / "out" / "pictures.zip")) == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize("target", ["elsewhere", ".", "elsewhere/empty"])
@pytest.mark.parametrize("files", [{"cats/1.png": b"one"}, {"set.zip": PACKED}], ids=["pictures", "an archive"])
def test_a_link_to_a_folder_outside_is_an_error_because_dvc_would_not_notice_a_change(
    get: Get, tmp_path: Path, target: str, files: dict[str, bytes]
) -> None:
    write(tmp_path / "elsewhere" / "empty", {})
    write(tmp_path / "pets", {"sub/2.txt": b"", **files})
    (tmp_path / "pets" / "sub" / "dogs").symlink_to(tmp_path / target)
    with pytest.raises(StageError, match=r"^dataset\.own: pets: sub/dogs: a link to a folder, .* set dataset\.own to"):
        get(source="own", own="pets")


def test_a_hidden_link_to_a_folder_is_skipped(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"2.png": b"two"})
    write(tmp_path / "pets" / ".cache", {"x": b""})
    write(tmp_path / "pets", {"1.png": b"one"})
    for name in (".link", ".cache/link"):
        (tmp_path / "pets" / name).symlink_to(tmp_path / "elsewhere")
    zip_of_folder(get, tmp_path / "pets")
    assert content_of(tmp_path / "out" / "pictures.zip") == {"1.png": b"one"}


@pytest.mark.timeout(20)
def test_a_named_pipe_is_skipped(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"1.png": b"one"})
    os.mkfifo(tmp_path / "pets" / "2.png")
    zip_of_folder(get, tmp_path / "pets")
    assert list(content_of(tmp_path / "out" / "pictures.zip")) == ["1.png"]


def test_the_folder_itself_can_be_a_link(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "large disk" / "2024", PICTURES)
    (tmp_path / "pets").symlink_to(tmp_path / "large disk" / "2024")
    assert get(source="own", own="pets")["name"] == "pets"
    assert content_of(tmp_path / "out" / "pictures.zip") == PICTURES


def test_a_path_with_a_tilde_is_rejected_because_dvc_does_not_expand_it(project: Project) -> None:
    write_params(project, source="own", own="~/pets")
    result = project.run("download")
    assert result.returncode == 2
    assert "dataset.own: DVC watches this path and does not expand ~; write the full path" in result.stderr


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ("data/none", "no such folder or archive"),
        ("data/own", "no pictures ("),
        ("notes.txt", "not a folder, and neither a zip nor a tar"),
    ],
    ids=["missing", "empty", "a text file"],
)
def test_a_source_without_pictures_is_reported_in_one_line(project: Project, own: str, reason: str) -> None:
    (project.folder / "data" / "own").mkdir(parents=True)
    write(project.folder, {"notes.txt": b"hello"})
    write_params(project, source="own", own=own)
    error_line(project, f"dataset.own: {own}: {reason}")


@pytest.mark.parametrize(
    ("files", "own", "reason"),
    [
        (
            {"readme.txt": b"hello", ".DS_Store": b"", ".1.png": b""},
            "pets",
            r"no pictures \(\.jpg, .*\) and no archives, only other files \(first: readme\.txt\); copy pictures there",
        ),
        ({"._set.zip": b"", ".cache/set.zip": PACKED}, "pets", "no pictures"),
        ({"empty.zip": b""}, "pets/empty.zip", "not a folder, and neither a zip nor a tar"),
        ({"1.png": b"one"}, "pets/1.png", "not a folder, and neither a zip nor a tar"),
        ({"set.zip": b"<html>no archive</html>"}, "pets", r"set\.zip: neither a zip nor a tar"),
    ],
    ids=["other files", "hidden archives", "an empty file", "a picture", "no archive"],
)
def test_a_source_without_usable_files_is_reported_with_the_reason(
    get: Get, tmp_path: Path, files: dict[str, bytes], own: str, reason: str
) -> None:
    write(tmp_path / "pets", files)
    with pytest.raises(StageError, match=rf"^dataset\.own: {own}: {reason}"):
        get(source="own", own=own)
    assert not list((tmp_path / "out").iterdir())


def test_a_file_that_cannot_be_read_is_reported_in_one_line(project: Project) -> None:
    write(project.folder / "data" / "own", PICTURES)
    (project.folder / "data" / "own" / "bad.png").symlink_to("/proc/self/mem")  # nobody can read its first bytes
    write_params(project, source="own")
    error_line(project, "dataset.own: data/own: bad.png: [Errno 5]")


@pytest.mark.parametrize("refused", ["scandir", "stat", "open"])
def test_a_file_or_folder_without_read_permission_is_an_error(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    write(tmp_path / "pets", {"1.png": b"one", "private/2.png": b"two"})
    where = {"scandir": os, "stat": Path, "open": Path}[refused]
    usual = getattr(where, refused)

    def refuse(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        if "private" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *arguments, **options)

    monkeypatch.setattr(where, refused, refuse)
    with pytest.raises(StageError, match=r"^dataset\.own: pets: .*Permission denied: '.*private"):
        get(source="own", own="pets")


def test_a_picture_that_shrinks_while_it_is_read_is_an_error(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "pets", {"1.png": b"one"})
    monkeypatch.setattr(Path, "open", lambda path, *mode: io.BytesIO(b"o"))
    with pytest.raises(StageError, match=r"dataset\.own: pets: 1\.png: got 1 of 3 bytes"):
        get(source="own", own="pets")
