"""Pictures of one's own: a folder, an archive, an address. Servers and stores are on loopback, in memory or on disk."""

import hashlib
import http.server
import importlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from stages import artifacts, transfer
from stages.download import own
from stages.download.settings import Settings
from stages.errors import StageError
from tests.conftest import Project
from tests.test_download import CONTENT, PACKED, Server

BY_HAND = (
    "put the archive, or the pictures, into data/own (or name another place as dataset.own), set dataset.source: own"
)
# What a download stage must never do to a picture is look at it: any bytes will do.
PICTURES = {"cats/1.png": b"a cat", "cats/more/2.JPG": b"another", "dogs/1.webp": b"a dog" * 1000, "3.jpeg": b""}
TABLE = b"PAR1 and the rest PAR1"

Get = Callable[..., dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder to run the stage in."""
    (tmp_path / "project").mkdir()
    return Project(tmp_path / "project")


@pytest.fixture
def get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Get:
    """The stage's work without its process: facts of the data set that is asked for, its files in tmp_path/out."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(own, "_CHUNK", 1000)

    def fetch_own(**settings: str) -> dict[str, Any]:
        for left in (tmp_path / "out").glob("*"):
            left.unlink()  # as a stage that failed leaves nothing of its output
        (tmp_path / "out").mkdir(exist_ok=True)
        return own.fetch_own(Settings(**settings), tmp_path / "out")

    return fetch_own


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()
    yield serving
    serving.close()


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """fsspec's store in memory, empty."""
    MemoryFileSystem.store.clear()
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder of these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def ask(project: Project, **dataset: str) -> None:
    """Write params that ask for this."""
    (project.folder / "params.yaml").write_text(json.dumps({"dataset": dataset}))


def content_of(archive: Path) -> dict[str, bytes]:
    """What is in a zip."""
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def hashes_of(project: Project) -> dict[str, str]:
    """What data/raw hashes to, as DVC sees it: file by file."""
    return {path.name: artifacts.sha256(path) for path in (project.folder / "data" / "raw").iterdir()}


def names_in(folder: Path) -> list[str]:
    """The names of a folder's files, in order."""
    return sorted(path.name for path in folder.iterdir())


def facts_of(project: Project) -> dict[str, Any]:
    return json.loads((project.folder / "data" / "raw" / "source.json").read_text(encoding="utf-8"))


def archive_of(files: dict[str, bytes], kind: str) -> bytes:
    """An archive of these files: zip, or tar with a compression."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return out.getvalue()
    compression = kind.partition(".")[2]
    with tarfile.open(fileobj=out, mode="w:" + ("" if compression == "zst" else compression)) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return zstandard.compress(out.getvalue()) if compression == "zst" else out.getvalue()


def one_line(project: Project, start: str) -> str:
    """Run the stage, which is to fail in one line that begins so, and to leave nothing; returns that line."""
    result = project.run("download")
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {start}"), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert not (project.folder / "data" / "raw").exists()
    assert not list((project.folder / ".state" / "staging").glob("*"))
    return result.stderr


# A folder of one's own.


def test_a_folder_becomes_one_zip_with_facts_beside_it(project: Project) -> None:
    write(project.folder / "data" / "own", PICTURES)
    ask(project, source="own", title="Pets", licence="CC0")
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
    assert "licence: CC0; dvc.lock holds its hash from now on" in result.stderr


def test_no_output_names_a_path_of_the_machine(project: Project, tmp_path: Path) -> None:
    folder = write(tmp_path / "elsewhere" / "pets", PICTURES)
    ask(project, source="own", own=str(folder))
    assert project.run("download").returncode == 0
    for path in (project.folder / "data" / "raw").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    assert facts_of(project)["title"] == "pets"


def test_without_a_title_and_a_licence_the_folders_name_and_not_stated_will_do(get: Get, tmp_path: Path) -> None:
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


def test_one_more_picture_gives_another_data_set(project: Project) -> None:
    write(project.folder / "data" / "own", PICTURES)
    ask(project, source="own")
    assert project.run("download").returncode == 0
    before = hashes_of(project)
    write(project.folder / "data" / "own", {"dogs/2.png": b"one more"})
    assert project.run("download").returncode == 0
    after = hashes_of(project)
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


def packed(get: Get, folder: Path) -> bytes:
    """The zip that a folder becomes."""
    get(source="own", own=str(folder))
    return (folder.parent / "out" / "pictures.zip").read_bytes()


def test_the_bytes_of_a_folder_are_these_everywhere(get: Get, tmp_path: Path) -> None:
    folder = write(tmp_path / "pets", {"b/ü.jpg": b"two" * 1000, "a/1.png": b"one"})
    digest = hashlib.sha256(packed(get, folder)).hexdigest()
    assert digest == "9d062ce458db91e1475f893f080c160e1d67ca45cfc66aef695c89cb251566cb"


def test_the_files_dates_and_permissions_do_not_matter(get: Get, tmp_path: Path) -> None:
    before = packed(get, write(tmp_path / "pets", PICTURES))
    for i, path in enumerate((tmp_path / "pets").rglob("*.*")):
        path.chmod(0o700 if i % 2 else 0o444)
        os.utime(path, (i * 1e8, i * 1e8))
    assert packed(get, tmp_path / "pets") == before


def test_the_order_in_which_a_folder_is_listed_does_not_matter(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "pets", PICTURES)
    before = packed(get, folder)
    found = list(own._walk(folder.resolve()))
    monkeypatch.setattr(own, "_walk", lambda folder: reversed(found))
    assert packed(get, folder) == before


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
    packed(get, write(tmp_path / "pets", {name: CONTENT[:2500]}))
    assert content_of(tmp_path / "out" / "pictures.zip") == {name: CONTENT[:2500]}


def test_a_name_that_is_no_utf8_is_written_as_text(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {os.fsdecode(b"caf\xe9.png"): b"coffee"})
    packed(get, tmp_path / "pets")
    assert content_of(tmp_path / "out" / "pictures.zip") == {"caf\\xe9.png": b"coffee"}


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
        "a/labels.csv",
        "movie.mp4",
        "more.zip",
    ],
)
def test_what_is_no_picture_stays_out(get: Get, tmp_path: Path, name: str) -> None:
    packed(get, write(tmp_path / "pets", {"1.png": b"a cat", name: b"something"}))
    assert list(content_of(tmp_path / "out" / "pictures.zip")) == ["1.png"]


def test_how_many_files_stay_out_is_said(get: Get, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = {".gitignore": b"*", "__MACOSX/._1.png": b"", "cats/.DS_Store": b""}
    packed(get, write(tmp_path / "pets", {"1.png": b"a cat", **hidden}))
    assert capsys.readouterr().err == ""
    write(tmp_path / "pets", {"notes.txt": b"hello", "cats/movie.mp4": b"", "more.zip": b""})
    packed(get, tmp_path / "pets")
    assert capsys.readouterr().err == "left out, being no pictures by their names: 3 files (first: cats/movie.mp4)\n"


def test_a_link_to_a_picture_is_taken_for_the_picture(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"cat.png": b"a cat"})
    write(tmp_path / "pets", {"1.png": b"one"})
    (tmp_path / "pets" / "2.png").symlink_to(tmp_path / "elsewhere" / "cat.png")
    packed(get, tmp_path / "pets")
    assert content_of(tmp_path / "out" / "pictures.zip") == {"1.png": b"one", "2.png": b"a cat"}


def test_a_link_to_nothing_is_passed_over(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"1.png": b"one"})
    (tmp_path / "pets" / "2.png").symlink_to("nowhere.png")
    (tmp_path / "pets" / "3.png").symlink_to("3.png")
    packed(get, tmp_path / "pets")
    assert list(content_of(tmp_path / "out" / "pictures.zip")) == ["1.png"]


@pytest.mark.timeout(20)
def test_links_between_folders_that_go_in_circles_come_to_an_end(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"a/1.png": b"one", "b/2.png": b"two"})
    (tmp_path / "pets" / "a" / "up").symlink_to(tmp_path / "pets")
    (tmp_path / "pets" / "b" / "across").symlink_to(tmp_path / "pets" / "a")
    packed(get, tmp_path / "pets")
    assert list(content_of(tmp_path / "out" / "pictures.zip")) == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize("target", ["elsewhere", ".", "elsewhere/empty"])
@pytest.mark.parametrize("files", [{"cats/1.png": b"one"}, {"set.zip": PACKED}], ids=["pictures", "an archive"])
def test_a_link_to_a_folder_elsewhere_is_named_since_dvc_would_not_see_a_change_there(
    get: Get, tmp_path: Path, target: str, files: dict[str, bytes]
) -> None:
    write(tmp_path / "elsewhere" / "empty", {})
    write(tmp_path / "pets", {"sub/2.txt": b"", **files})
    (tmp_path / "pets" / "sub" / "dogs").symlink_to(tmp_path / target)
    with pytest.raises(StageError, match=r"^dataset\.own: pets: sub/dogs: a link to a folder, .* set dataset\.own to"):
        get(source="own", own="pets")


def test_a_hidden_link_to_a_folder_is_passed_over_as_what_is_hidden_is(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"2.png": b"two"})
    write(tmp_path / "pets" / ".cache", {"x": b""})
    write(tmp_path / "pets", {"1.png": b"one"})
    for name in (".link", ".cache/link"):
        (tmp_path / "pets" / name).symlink_to(tmp_path / "elsewhere")
    packed(get, tmp_path / "pets")
    assert content_of(tmp_path / "out" / "pictures.zip") == {"1.png": b"one"}


@pytest.mark.timeout(20)
def test_a_pipe_among_the_pictures_is_not_waited_for(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"1.png": b"one"})
    os.mkfifo(tmp_path / "pets" / "2.png")
    packed(get, tmp_path / "pets")
    assert list(content_of(tmp_path / "out" / "pictures.zip")) == ["1.png"]


def test_the_folder_itself_may_be_a_link(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "large disk" / "2024", PICTURES)
    (tmp_path / "pets").symlink_to(tmp_path / "large disk" / "2024")
    assert get(source="own", own="pets")["name"] == "pets"
    assert content_of(tmp_path / "out" / "pictures.zip") == PICTURES


def test_a_path_that_dvc_would_not_understand_is_refused(project: Project) -> None:
    ask(project, source="own", own="~/pets")
    result = project.run("download")
    assert result.returncode == 2
    assert "dataset.own: DVC, which watches it, does not know what ~ stands for: write it out" in result.stderr


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("data/none", "there is no such folder or archive"),
        ("data/own", "no pictures in it ("),
        ("notes.txt", "neither a folder nor an archive: "),
    ],
    ids=["missing", "empty", "a text file"],
)
def test_a_place_without_pictures_is_named_in_one_line(project: Project, asked: str, complaint: str) -> None:
    (project.folder / "data" / "own").mkdir(parents=True)
    write(project.folder, {"notes.txt": b"hello"})
    ask(project, source="own", own=asked)
    one_line(project, f"dataset.own: {asked}: {complaint}")


@pytest.mark.parametrize(
    ("files", "asked", "complaint"),
    [
        (
            {"readme.txt": b"hello", ".DS_Store": b"", ".1.png": b""},
            "pets",
            r"no pictures in it \(\.jpg, .*\), and no .*; copy pictures there, or set dataset\.own",
        ),
        ({"._set.zip": b"", ".cache/set.zip": PACKED}, "pets", "no pictures in it"),
        ({"empty.zip": b""}, "pets/empty.zip", "neither a folder nor an archive: "),
        ({"1.png": b"one"}, "pets/1.png", "neither a folder nor an archive: "),
        ({"set.zip": b"<html>no archive</html>"}, "pets", r"set\.zip: neither a zip nor a tar"),
    ],
    ids=["other files", "hidden archives", "an empty file", "a picture", "no archive"],
)
def test_what_holds_no_pictures_is_said(
    get: Get, tmp_path: Path, files: dict[str, bytes], asked: str, complaint: str
) -> None:
    write(tmp_path / "pets", files)
    with pytest.raises(StageError, match=rf"^dataset\.own: {asked}: {complaint}"):
        get(source="own", own=asked)
    assert not list((tmp_path / "out").iterdir())


def test_a_file_that_cannot_be_read_is_named_in_one_line(project: Project) -> None:
    write(project.folder / "data" / "own", PICTURES)
    (project.folder / "data" / "own" / "bad.png").symlink_to("/proc/self/mem")  # nobody can read its first bytes
    ask(project, source="own")
    one_line(project, "dataset.own: data/own: bad.png: [Errno 5]")


@pytest.mark.parametrize("refused", ["scandir", "stat", "open"])
def test_what_may_not_be_read_is_named_and_never_passed_over(
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


def test_a_picture_that_shrinks_while_it_is_read_is_named(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "pets", {"1.png": b"one"})
    monkeypatch.setattr(Path, "open", lambda path, *mode: io.BytesIO(b"o"))
    with pytest.raises(StageError, match=r"dataset\.own: pets: 1\.png: 1 of 3 bytes came"):
        get(source="own", own="pets")


# An archive of one's own.

KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_kept_as_it_is(get: Get, tmp_path: Path, kind: str) -> None:
    content = archive_of(PICTURES, kind)
    write(tmp_path / "somewhere", {f"my set.{kind}": content})
    facts = get(source="own", own=f"somewhere/my set.{kind}")
    assert (tmp_path / "out" / f"my set.{kind}").read_bytes() == content
    digest = hashlib.sha256(content).hexdigest()
    assert facts["files"] == [{"name": f"my set.{kind}", "bytes": len(content), "sha256": digest}]
    assert (facts["name"], facts["format"]) == (f"my set.{kind}", "archive")


@pytest.mark.parametrize("name", ["set.parquet", "table"])
def test_a_table_is_known_by_its_content(get: Get, tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: TABLE})
    assert get(source="own", own=name)["format"] == "parquet"


def test_an_archive_of_ones_own_can_be_held_against_its_hash(project: Project) -> None:
    content = archive_of(PICTURES, "tar.zst")
    write(project.folder, {"photos.tar.zst": content})
    ask(project, source="own", own="photos.tar.zst", sha256=hashlib.sha256(content).hexdigest())
    result = project.run("download")
    assert result.returncode == 0, result.stderr
    assert (project.folder / "data" / "raw" / "photos.tar.zst").read_bytes() == content
    assert "every file has its known hash" in result.stderr


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["photos.zip"], ["photos.zip"]),
        (["photos.zip", "readme.txt", "._photos.zip", "__MACOSX/x.zip"], ["photos.zip"]),
        (["all/cats.tar.gz", "all/dogs.zip"], ["cats.tar.gz", "dogs.zip"]),
        (["cats/1.zip", "dogs/1.zip"], ["cats-1.zip", "dogs-1.zip"]),
    ],
)
def test_archives_in_a_folder_without_pictures_are_kept_as_they_are(
    get: Get, tmp_path: Path, files: list[str], kept: list[str]
) -> None:
    write(tmp_path / "pets", {name: archive_of({"1.png": name.encode()}, "zip") for name in files})
    facts = get(source="own", own="pets")
    assert [file["name"] for file in facts["files"]] == kept == names_in(tmp_path / "out")


def test_two_archives_that_would_have_one_name_are_refused(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", dict.fromkeys(["a/b-c.zip", "a-b/c.zip"], archive_of(PICTURES, "zip")))
    with pytest.raises(StageError, match=r"dataset\.own: pets: two of these files would have the same name"):
        get(source="own", own="pets")


def test_tables_in_a_folder_keep_the_names_that_tell_the_splits(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "pets", {"data/train-0.parquet": TABLE, "data/test-0.parquet": TABLE})
    facts = get(source="own", own="pets")
    assert facts["format"] == "parquet"
    assert [file["name"] for file in facts["files"]] == ["test-0.parquet", "train-0.parquet"]


# An archive from a web server.


def test_an_archive_from_an_address_is_kept_as_it_is(project: Project, server: Server) -> None:
    server.body = archive_of(PICTURES, "zip")
    url = f"{server.address}/sets/my%20pets.zip?token=a%2Fb&x=1"
    ask(project, source=url, title="Pets", licence="CC BY 4.0")
    result = project.run("download")
    assert result.returncode == 0, result.stderr
    assert (project.folder / "data" / "raw" / "my%20pets.zip").read_bytes() == server.body
    assert server.paths == ["/sets/my%20pets.zip?token=a%2Fb&x=1"]
    digest = hashlib.sha256(server.body).hexdigest()
    facts = facts_of(project)
    assert facts["files"] == [{"name": "my%20pets.zip", "bytes": len(server.body), "sha256": digest}]
    assert (facts["title"], facts["licence"], facts["homepage"]) == ("Pets", "CC BY 4.0", url)
    assert not list((project.folder / ".state" / "download").iterdir())


def test_a_password_in_an_address_is_not_shown(project: Project, server: Server) -> None:
    server.body = archive_of(PICTURES, "zip")
    ask(project, source=server.address.replace("//", "//ada:s3cret@") + "/pets.zip")
    for server.behaviour, status in (("good", 0), ("missing", 1), ("busy once", 0)):
        result = project.run("download")
        assert result.returncode == status, result.stderr
        assert server.address.removeprefix("http://") in result.stderr
        assert "s3cret" not in result.stderr + (project.folder / "data/raw/source.json").read_text()


@pytest.mark.parametrize("behaviour", ["good", "redirect", "busy once", "breaks once", "no ranges", "no length"])
def test_the_archive_arrives_whole(get: Get, server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour = behaviour
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", "pictures"),
        ("/", "pictures"),
        ("?id=17&export=download", "pictures"),
        ("/download?file=pets.zip", "download"),
        ("/a/b/pets.tar.gz#part", "pets.tar.gz"),
        ("/tiere/größe 1.zip", "größe 1.zip"),
        ("/source.json", "pictures"),
        ("/a/..", "pictures"),
        ("/..%2f..%2fescape.zip", "..%2f..%2fescape.zip"),
    ],
)
def test_a_file_is_called_what_its_address_ends_in(
    get: Get, server: Server, tmp_path: Path, path: str, name: str
) -> None:
    assert [file["name"] for file in get(source=server.address + path)["files"]] == [name]
    assert names_in(tmp_path / "out") == [name]


def test_a_broken_transfer_goes_on_where_it_stopped(get: Get, server: Server, tmp_path: Path) -> None:
    server.headers = {"ETag": '"one"'}
    server.behaviour = "breaks once"
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED
    first, second = server.requests
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").removesuffix("-")) > len(PACKED) // 3
    assert server.conditions == [None, '"one"']


def broken_off(get: Get, server: Server) -> int:
    """Let a first run break off; how many bytes it left for the next one."""
    server.behaviour = "breaks"
    with pytest.raises(StageError, match="the connection failed or broke off"):
        get(source=f"{server.address}/pets.tgz")
    (part,) = Path(".state/download").glob("*/pets.tgz.part")
    server.behaviour, server.requests, server.conditions = "good", [], []
    return part.stat().st_size


def test_the_next_run_goes_on_where_the_last_one_stopped(get: Get, server: Server, tmp_path: Path) -> None:
    server.headers = {"ETag": '"one"'}
    have = broken_off(get, server)
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED
    assert (server.requests, server.conditions) == ([f"bytes={have}-"], ['"one"'])


@pytest.mark.parametrize(
    ("before", "after", "behaviour"),
    [
        ({"ETag": '"one"'}, {"ETag": '"two"'}, "good"),
        ({"ETag": '"one"'}, {"ETag": '"two"'}, "no conditions"),
        ({"ETag": '"one"'}, {"ETag": '"two"'}, "no ranges"),
        ({}, {}, "good"),
    ],
    ids=["another ETag", "no If-Range", "no ranges", "nothing tells"],
)
def test_an_archive_that_changed_on_the_server_between_two_runs_is_fetched_from_its_beginning(
    get: Get, server: Server, tmp_path: Path, before: dict[str, str], after: dict[str, str], behaviour: str
) -> None:
    server.headers = before
    assert broken_off(get, server)
    server.headers, server.behaviour, server.body = after, behaviour, b"\x1f\x8b" + CONTENT
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == server.body


def test_a_page_instead_of_an_archive_is_said_with_what_to_do_by_hand(project: Project, server: Server) -> None:
    server.behaviour = "page"
    url = f"{server.address}/download?id=17"
    ask(project, source=url)
    result = project.run("download")
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"error: {url}: a web page came instead of an archive (an error, a quota or a confirmation page?)\n"
    )
    assert BY_HAND in result.stderr
    assert not (project.folder / "data").exists()


@pytest.mark.parametrize(
    ("behaviour", "body", "complaint"),
    [
        ("page", b"", "a web page came instead of an archive"),
        ("good", b"\n <?xml version='1.0'?><Error/>", "a web page came instead of an archive"),
        ("good", b"GIF89a and so on", "what came is neither a zip nor a tar"),
        ("good", b"", "what came is neither a zip nor a tar"),
        ("missing", b"", "the server answered 404 Not Found (tries: 1)"),
        ("busy", b"", "the server answered 503 Service Unavailable (tries: 4)"),
    ],
)
def test_what_is_no_archive_is_said_and_not_kept_for_the_next_run(
    get: Get, server: Server, tmp_path: Path, behaviour: str, body: bytes, complaint: str
) -> None:
    server.behaviour, server.body = behaviour, body
    with pytest.raises(StageError) as caught:
        get(source=f"{server.address}/pets.zip")
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{server.address}/pets.zip: {complaint}")
    assert BY_HAND in second
    assert not list((tmp_path / "out").iterdir())
    server.behaviour, server.body = "good", PACKED
    get(source=f"{server.address}/pets.zip")
    assert (tmp_path / "out" / "pets.zip").read_bytes() == PACKED


def test_what_to_do_by_hand_works(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "data" / "own", {"pets.zip": archive_of(PICTURES, "zip")})
    get(source="own")
    assert content_of(tmp_path / "out" / "pets.zip") == PICTURES


@pytest.mark.parametrize("address", ["http://does-not-resolve.invalid/a.zip", "http://", "http://a..b/c.zip"])
def test_an_address_that_leads_nowhere_is_said_at_once(get: Get, address: str) -> None:
    with pytest.raises(StageError, match=r"(does not resolve|no address: ).*\(tries: 1\)"):
        get(source=address)


def test_an_archive_with_the_stated_hash_is_taken(get: Get, server: Server, tmp_path: Path) -> None:
    get(source=f"{server.address}/pets.tgz", sha256=hashlib.sha256(PACKED).hexdigest())
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED


def test_an_archive_with_another_hash_than_the_stated_one_is_refused(project: Project, server: Server) -> None:
    ask(project, source=f"{server.address}/pets.tgz", sha256="0" * 64)
    digest = hashlib.sha256(PACKED).hexdigest()
    line = one_line(project, f"dataset.sha256: expected {'0' * 64}, got ")
    assert line.endswith(f"got pets.tgz {digest}\n")


def test_an_archive_that_came_is_not_fetched_again_when_it_was_the_stated_hash_that_was_wrong(
    get: Get, server: Server, tmp_path: Path
) -> None:
    server.headers = {"ETag": '"one"'}
    with pytest.raises(StageError, match=r"dataset\.sha256: expected 0+, got pets\.tgz"):
        get(source=f"{server.address}/pets.tgz", sha256="0" * 64)
    get(source=f"{server.address}/pets.tgz", sha256=hashlib.sha256(PACKED).hexdigest())
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED
    assert server.requests == [None, f"bytes={len(PACKED)}-"], "of which nothing was left to send"


def test_what_came_damaged_is_not_held_on_to(get: Get, server: Server, tmp_path: Path) -> None:
    server.headers, server.body = {"ETag": '"one"'}, PACKED[:-1] + b"?"
    digest = hashlib.sha256(PACKED).hexdigest()
    with pytest.raises(StageError, match=f"expected {digest}, got pets"):
        get(source=f"{server.address}/pets.tgz", sha256=digest)
    server.body = PACKED
    with pytest.raises(StageError, match=r"expected .*, got pets.*\nEarlier runs .*: the next run gets all of it anew"):
        get(source=f"{server.address}/pets.tgz", sha256=digest)
    get(source=f"{server.address}/pets.tgz", sha256=digest)
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED
    assert server.requests == [None, f"bytes={len(PACKED)}-", None]


def test_what_is_longer_than_the_servers_file_is_fetched_anew(get: Get, server: Server, tmp_path: Path) -> None:
    server.headers = {"ETag": '"one"'}
    assert broken_off(get, server)
    (part,) = tmp_path.glob(".state/download/*/*.part")
    part.write_bytes(PACKED + b"and more")
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED


def test_two_downloads_of_one_address_at_a_time_give_the_archive_twice(project: Project, server: Server) -> None:
    ask(project, source=f"{server.address}/pets.tgz")
    server.behaviour, server.headers = "stalls", {"ETag": '"one"'}
    runs = []
    for _ in range(2):
        process = subprocess.Popen(
            project.command("download"),
            cwd=project.folder,
            env=project.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        runs.append(process)
        deadline = time.monotonic() + 30
        while len(runs) == 1 and not server.requests and time.monotonic() < deadline:
            time.sleep(0.01)
    assert runs[1].stderr is not None
    said = f"the same work is being done by process {runs[0].pid}; waiting for it"
    assert said in runs[1].stderr.readline()
    assert len(server.requests) == 1
    server.behaviour = "good"
    server.stalled.set()
    for process in runs:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    assert (project.folder / "data/raw/pets.tgz").read_bytes() == PACKED


def test_a_name_and_a_password_stay_out_of_the_data_set(get: Get, server: Server) -> None:
    facts = get(source=server.address.replace("//", "//me:secret@"))
    assert "secret" not in json.dumps(facts)
    assert facts["homepage"] == server.address


def test_a_table_from_an_address_is_known_by_its_content(get: Get, server: Server) -> None:
    server.body = TABLE
    assert get(source=f"{server.address}/download?file=a.parquet")["format"] == "parquet"


# Anything that fsspec knows.


def fill(memory: MemoryFileSystem, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        memory.pipe_file(f"/pets/{name}", content)


def flaky(monkeypatch: pytest.MonkeyPatch, breaks: int, error: Exception, after: int = 2500) -> list[int]:
    """Let the store in memory break off so many times, each time after so many bytes; where readers went on from."""
    starts: list[int] = []
    usual = MemoryFileSystem._open

    class Flaky(io.BytesIO):
        def __init__(self, content: bytes) -> None:
            super().__init__(content)
            starts.append(0)
            self.left = after if len(starts) <= breaks else len(content) + 1

        def seek(self, to: int, whence: int = 0) -> int:
            starts[-1] = to
            return super().seek(to, whence)

        def read(self, size: int | None = -1) -> bytes:
            if self.left <= 0:
                raise error
            chunk = super().read(min(self.left, size or 0))
            self.left -= len(chunk)
            return chunk

    def opened(system: MemoryFileSystem, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> Any:
        file = usual(system, path, mode, *arguments, **options)
        return Flaky(file.getvalue()) if mode == "rb" else file

    monkeypatch.setattr(MemoryFileSystem, "_open", opened)
    return starts


def test_an_archive_in_a_store_is_kept_as_it_is(get: Get, memory: MemoryFileSystem, tmp_path: Path) -> None:
    fill(memory, {"set.tgz": PACKED})
    facts = get(source="memory://pets/set.tgz", licence="CC0")
    assert (tmp_path / "out" / "set.tgz").read_bytes() == PACKED
    digest = hashlib.sha256(PACKED).hexdigest()
    assert facts == {
        "name": "set.tgz",
        "title": "set.tgz",
        "homepage": "",
        "licence": "CC0",
        "citation": "",
        "format": "archive",
        "classes": [],
        "files": [{"name": "set.tgz", "bytes": len(PACKED), "sha256": digest}],
    }
    assert not list((tmp_path / ".state" / "download").iterdir())


@pytest.mark.parametrize("address", ["memory://pets", "memory://pets/"])
def test_a_folder_in_a_store_becomes_the_zip_that_it_would_be_here(
    get: Get, memory: MemoryFileSystem, tmp_path: Path, address: str
) -> None:
    files = {**PICTURES, "naïve/日本\n🌸.png": b"a flower"}
    fill(memory, {**files, "README.md": b"pets", ".gitattributes": b"", "__MACOSX/1.png": b""})
    get(source=address)
    there = (tmp_path / "out" / "pictures.zip").read_bytes()
    assert content_of(tmp_path / "out" / "pictures.zip") == files
    assert packed(get, write(tmp_path / "pets", files)) == there


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["a.parquet"], ["a.parquet"]),
        (["data/train-0.parquet", "data/test-0.parquet"], ["test-0.parquet", "train-0.parquet"]),
        (["pets/train/0.parquet", "pets/test/0.parquet", "1.png"], ["test-0.parquet", "train-0.parquet"]),
        (["train/0.parquet", "README.md", ".cache/0.parquet"], ["0.parquet"]),
    ],
)
def test_tables_in_a_store_keep_the_names_that_tell_the_splits(
    get: Get, memory: MemoryFileSystem, tmp_path: Path, files: list[str], kept: list[str]
) -> None:
    fill(memory, dict.fromkeys(files, TABLE))
    facts = get(source="memory://pets")
    assert facts["format"] == "parquet"
    assert [file["name"] for file in facts["files"]] == kept == names_in(tmp_path / "out")


def test_archives_in_a_stores_folder_are_kept_as_they_are(get: Get, memory: MemoryFileSystem, tmp_path: Path) -> None:
    fill(memory, {"data/train.zip": archive_of(PICTURES, "zip"), "data/test.tgz": PACKED, "README.md": b"pets"})
    facts = get(source="memory://pets")
    assert [file["name"] for file in facts["files"]] == ["test.tgz", "train.zip"] == names_in(tmp_path / "out")
    assert facts["format"] == "archive"


@pytest.mark.parametrize("error", [OSError("reset by peer"), RuntimeError("a library's own")], ids=["OSError", "other"])
@pytest.mark.parametrize("files", [["set.tgz"], ["only.png"]], ids=["archive", "folder"])
def test_a_store_that_breaks_off_is_gone_on_with_where_it_stopped(
    get: Get,
    memory: MemoryFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files: list[str],
    error: Exception,
) -> None:
    fill(memory, dict.fromkeys(files, PACKED))
    starts = flaky(monkeypatch, 3, error)
    (file,) = get(source="memory://pets")["files"]
    path = tmp_path / "out" / file["name"]
    assert (path.read_bytes() if file["name"] == "set.tgz" else content_of(path)["only.png"]) == PACKED
    assert starts == [0, 2500, 5000, 7500]


def test_each_further_try_of_a_store_is_said(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(memory, {"set.tgz": PACKED})
    flaky(monkeypatch, 1, OSError("reset by peer"))
    get(source="memory://pets/set.tgz")
    assert "/pets/set.tgz: reset by peer; trying again in 1 s\n" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["set.tgz", "only.png"])
def test_a_store_that_always_breaks_off_is_given_up_with_its_reason(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(memory, {name: PACKED, "readme.txt": b""})
    flaky(monkeypatch, 99, OSError("reset by peer"))
    with pytest.raises(StageError, match=rf"^memory://pets: .*{name}: reset by peer \(tries: 4\)\nTo bring") as caught:
        get(source="memory://pets")
    assert BY_HAND in str(caught.value)


def test_the_next_run_goes_on_in_the_store_where_the_last_one_stopped(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(memory, {"set.tgz": PACKED})
    starts = flaky(monkeypatch, 4, OSError("reset by peer"))
    with pytest.raises(StageError):
        get(source="memory://pets/set.tgz")
    get(source="memory://pets/set.tgz")
    assert starts[-1] == 4 * 2500
    assert (tmp_path / "out" / "set.tgz").read_bytes() == PACKED


def test_a_whole_table_of_an_earlier_run_is_not_fetched_again(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = {f"{i}.parquet": TABLE + CONTENT[i : i + 4000] for i in range(2)}
    fill(memory, tables)
    flaky(monkeypatch, 99, PermissionError("not this one"), after=len(TABLE) + 4001)
    usual = MemoryFileSystem._open
    refused = True

    def refuse(system: MemoryFileSystem, path: str, *arguments: Any, **options: Any) -> Any:
        if path.endswith("1.parquet") and refused:
            raise PermissionError("not this one")
        return usual(system, path, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "_open", refuse)
    with pytest.raises(StageError, match="not this one"):
        get(source="memory://pets")
    refused = False
    starts = flaky(monkeypatch, 0, OSError())
    get(source="memory://pets")
    assert starts == [len(TABLE) + 4000, 0]
    assert {name: (tmp_path / "out" / name).read_bytes() for name in tables} == tables


def test_a_file_that_changed_in_the_store_between_two_runs_is_fetched_from_its_beginning(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(memory, {"set.tgz": PACKED})
    with monkeypatch.context() as patch:
        flaky(patch, 4, OSError("reset by peer"))
        with pytest.raises(StageError):
            get(source="memory://pets/set.tgz")
    fill(memory, {"set.tgz": b"\x1f\x8b" + CONTENT})
    get(source="memory://pets/set.tgz")
    assert (tmp_path / "out" / "set.tgz").read_bytes() == b"\x1f\x8b" + CONTENT


@pytest.mark.parametrize("name", ["set.tgz", "only.png"])
def test_a_store_that_gives_less_than_it_announces_is_not_believed(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(memory, {name: PACKED})
    monkeypatch.setattr(MemoryFileSystem, "_open", lambda *arguments, **options: io.BytesIO(PACKED[:5000]))
    with pytest.raises(StageError, match=rf"{name}: 5,000 of {len(PACKED):,} bytes came \(tries: 4\)"):
        get(source="memory://pets")


def test_a_store_that_does_not_know_how_long_a_file_is_will_do(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(memory, {"set.tgz": PACKED})
    usual = MemoryFileSystem.info
    monkeypatch.setattr(MemoryFileSystem, "info", lambda system, path, **options: usual(system, path) | {"size": None})
    get(source="memory://pets/set.tgz")
    assert (tmp_path / "out" / "set.tgz").read_bytes() == PACKED


@pytest.mark.parametrize(
    ("source", "files", "complaint"),
    [
        ("memory://none", {}, "nothing is there"),
        ("memory://pets/none.zip", {"1.png": b"one"}, "nothing is there"),
        ("memory://pets", {"readme.txt": b"hello"}, "no pictures, no archive and no parquet tables there"),
        ("memory://pets", {"a.parquet": b"<html>"}, "a.parquet: neither a zip nor a tar"),
        ("memory://pets/readme.txt", {"readme.txt": b"hello"}, "readme.txt: neither a zip nor a tar"),
        ("memory://pets", {"a/b-c.zip": PACKED, "a-b/c.zip": PACKED}, "two of these files would have the same name"),
    ],
)
def test_a_store_without_pictures_is_said_with_what_to_do_by_hand(
    get: Get, memory: MemoryFileSystem, tmp_path: Path, source: str, files: dict[str, bytes], complaint: str
) -> None:
    fill(memory, files)
    with pytest.raises(StageError) as caught:
        get(source=source)
    assert str(caught.value).startswith(f"{source}: {complaint}")
    assert BY_HAND in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("method", ["find", "info"])
def test_a_store_that_fails_in_its_own_way_is_said(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    fill(memory, {"1.parquet": TABLE})

    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(MemoryFileSystem, method, fail)
    with pytest.raises(StageError, match="RuntimeError: no credentials"):
        get(source="memory://pets")


def test_an_unknown_scheme_is_named(project: Project) -> None:
    ask(project, source="carrier-pigeon://loft/pets")
    result = project.run("download")
    assert result.returncode == 1
    assert result.stderr.startswith("error: carrier-pigeon://loft/pets: Protocol not known: carrier-pigeon\n")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("source", "library", "extra"),
    [
        ("s3://bucket/pets", "s3fs", "s3"),
        ("gs://bucket/pets", "gcsfs", "gs"),
        ("hf://datasets/me/pets", "huggingface_hub", "hf"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    get: Get, monkeypatch: pytest.MonkeyPatch, source: str, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not there
    monkeypatch.delitem(_registry, extra, raising=False)
    with pytest.raises(StageError, match=rf"{library}.*; \.venv/bin/pip install -e '\.\[{extra}\]'"):
        get(source=source)


def test_a_file_address_with_a_folder_works_as_users_see_it(project: Project, tmp_path: Path) -> None:
    folder = write(tmp_path / "a folder", {**PICTURES, os.fsdecode(b"caf\xe9.png"): b"coffee"})
    ask(project, source=f"file://{folder}")
    result = project.run("download")
    assert result.returncode == 0, result.stderr
    archive = project.folder / "data" / "raw" / "pictures.zip"
    assert content_of(archive) == {**PICTURES, "caf\\xe9.png": b"coffee"}
    assert str(tmp_path) not in json.dumps(facts_of(project))


def test_a_file_address_with_an_archive_works(get: Get, tmp_path: Path) -> None:
    write(tmp_path, {"pets.tar.xz": archive_of(PICTURES, "tar.xz")})
    get(source=f"file://{tmp_path}/pets.tar.xz")
    assert (tmp_path / "out" / "pets.tar.xz").read_bytes() == archive_of(PICTURES, "tar.xz")


def test_a_file_of_the_same_length_and_another_date_is_another_file(
    get: Get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path, {"pets.zip": b"PK\x03\x04" + CONTENT})
    source = f"file://{tmp_path}/pets.zip"
    usual = own._chunks

    def first_bytes(*arguments: Any) -> Iterator[bytes]:
        yield next(usual(*arguments))
        raise transfer.SourceError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(own, "_chunks", first_bytes)
        with pytest.raises(StageError, match="broken off"):
            get(source=source)
    write(tmp_path, {"pets.zip": b"PK\x03\x04" + CONTENT[::-1]})
    os.utime(tmp_path / "pets.zip", (1e9, 1e9))
    get(source=source)
    assert (tmp_path / "out" / "pets.zip").read_bytes() == b"PK\x03\x04" + CONTENT[::-1]


# The Hugging Face hub, or what says that it is.


class Hub:
    """The part of the hub's HTTP interface that its library asks for: one data set, me/pets, in several revisions."""

    def __init__(self) -> None:
        self.revisions: dict[str, dict[str, bytes]] = {}
        self.paths: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.paths.append(self.path)
                status, headers, body = outer.answer(self.path.partition("?")[0], self.headers.get("Range"))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str, asked: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if parts[:4] == ["datasets", "me", "pets", "resolve"] and parts[4] in self.revisions:
            return self._file(self.revisions[parts[4]].get("/".join(parts[5:])), asked)
        if parts[:4] != ["api", "datasets", "me", "pets"]:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        what, revision = [*parts[4:6], "main"][:2] if len(parts) > 4 else ("revision", "main")
        if revision not in self.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if what == "tree":
            return self._tree(self.revisions[revision], "/".join(parts[6:]))
        return 200, {}, json.dumps({"id": "me/pets", "sha": "0" * 40}).encode()

    def _file(self, content: bytes | None, asked: str | None) -> tuple[int, dict[str, str], bytes]:
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        if asked is None:
            return 200, {}, content
        start, _, end = asked.removeprefix("bytes=").partition("-")
        part = content[int(start) : int(end) + 1 if end else None]
        return 206, {"Content-Range": f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"}, part

    def _tree(self, files: dict[str, bytes], folder: str) -> tuple[int, dict[str, str], bytes]:
        start = f"{folder}/" if folder else ""
        rows: dict[str, dict[str, Any]] = {}
        for path, content in files.items():
            if path.startswith(start):
                oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
                rows[path] = {"type": "file", "path": path, "size": len(content), "oid": oid}
                for parent in [str(p) for p in Path(path).parents if str(p).startswith(start) and str(p) != "."]:
                    rows[parent] = {"type": "directory", "path": parent, "size": 0, "oid": "0" * 40}
        if not rows:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        return 200, {"Content-Type": "application/json"}, json.dumps(list(rows.values())).encode()


# Whoever asks for an address that is not of this machine leaves a note.
LOOPBACK_ONLY = """
import pathlib, socket
usual = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    if host not in ("127.0.0.1", "localhost", None):
        pathlib.Path(__file__).with_name("reached").write_text(str(host))
        raise OSError(f"{host} is not of this machine")
    return usual(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
"""
PETS = {f"data/{split}-00000-of-00001.parquet": TABLE + split.encode() for split in ("train", "test")}
BESIDE = {"README.md": b"# Pets", ".gitattributes": b"*.parquet filter=lfs"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of one's own, which the library in this process takes for the real one."""
    library = pytest.importorskip("huggingface_hub", reason="the extra .[hf] is not installed")
    serving = Hub()
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": serving.address, "token": False})
    constants = importlib.import_module("huggingface_hub.constants")
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_XET"):
        monkeypatch.setattr(constants, name, True)
    usual = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        assert host == "127.0.0.1"
        return usual(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield serving
    library.HfFileSystem.clear_instance_cache()
    serving.close()


def test_the_hubs_tables_are_kept_as_they_are(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub", reason="the extra .[hf] is not installed")
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_UPDATE_CHECK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    guard = write(tmp_path / "guard", {"sitecustomize.py": LOOPBACK_ONLY.encode()})
    serving = Hub()
    serving.revisions["main"] = PETS | BESIDE
    monkeypatch.setenv("HF_ENDPOINT", serving.address)
    ask(project, source="hf://datasets/me/pets", licence="CC0")
    result = project.run("download", first_on_path=guard)
    serving.close()
    assert result.returncode == 0, result.stderr
    assert not (guard / "reached").exists(), "the real hub was asked"
    facts = facts_of(project)
    assert (facts["name"], facts["format"], facts["licence"]) == ("pets", "parquet", "CC0")
    assert [file["name"].split("-")[0] for file in facts["files"]] == ["test", "train"]
    for file in facts["files"]:
        assert (project.folder / "data" / "raw" / file["name"]).read_bytes() == PETS[f"data/{file['name']}"]


def test_the_hubs_folder_of_pictures_becomes_one_zip(get: Get, hub: Hub, tmp_path: Path) -> None:
    files = {"train/cat/1 of 2.jpg": b"a cat", "train/dog/日本.png": CONTENT[:3000]}
    hub.revisions["main"] = files | BESIDE
    get(source="hf://datasets/me/pets")
    assert content_of(tmp_path / "out" / "pictures.zip") == files


@pytest.mark.parametrize("path", ["", "/", "/data", "/data/all.zip"])
def test_the_hubs_archive_is_kept_as_it_is(get: Get, hub: Hub, tmp_path: Path, path: str) -> None:
    hub.revisions["main"] = {"data/all.zip": archive_of(PICTURES, "zip")} | BESIDE
    get(source=f"hf://datasets/me/pets{path}")
    assert (tmp_path / "out" / "all.zip").read_bytes() == hub.revisions["main"]["data/all.zip"]


@pytest.mark.parametrize("revision", ["refs/convert/parquet", "refs%2Fconvert%2Fparquet"])
def test_a_revision_and_a_folder_of_the_hub_can_be_asked_for(get: Get, hub: Hub, revision: str) -> None:
    tables = {"default/train/0000.parquet": TABLE, "default/test/0000.parquet": TABLE, "other/train/0000.parquet": b""}
    hub.revisions = {"main": {"1.png": b"another"}, "refs/convert/parquet": tables}
    facts = get(source=f"hf://datasets/me/pets@{revision}/default")
    assert [file["name"] for file in facts["files"]] == ["test-0000.parquet", "train-0000.parquet"]
    assert any("/resolve/refs%2Fconvert%2Fparquet/default/train/0000.parquet" in path for path in hub.paths)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("hf://datasets/me/none", "datasets/me/none (repository not found)"),
        ("hf://datasets/me/pets@none", "datasets/me/pets@none (revision not found)"),
        ("hf://datasets/me/pets/none", "nothing is there"),
        ("hf://datasets/me/pets/none.zip", "nothing is there"),
        ("hf://pets", "Repository id must be 'namespace/name'"),
    ],
)
def test_what_the_hub_does_not_have_is_said_with_what_to_do_by_hand(
    get: Get, hub: Hub, source: str, complaint: str
) -> None:
    hub.revisions["main"] = {"1.png": b"one"} | BESIDE
    with pytest.raises(StageError) as caught:
        get(source=source)
    message = str(caught.value)
    assert message.startswith(f"{source}: ")
    assert complaint in message
    assert BY_HAND in message
