"""The user's own pictures from fsspec's stores, in memory and on disk."""

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from stages import transfer
from stages.download import packing
from stages.errors import StageError
from tests.conftest import Project
from tests.own_pictures import (
    BY_HAND,
    PICTURES,
    TABLE,
    Get,
    archive_of,
    content_of,
    facts_of,
    names_in,
    write,
    write_params,
    zip_of_folder,
)
from tests.servers import CONTENT, PACKED

pytest_plugins = ["tests.own_pictures"]  # its fixtures


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """fsspec's store in memory, empty."""
    MemoryFileSystem.store.clear()
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()


def fill(memory: MemoryFileSystem, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        memory.pipe_file(f"/pets/{name}", content)


def flaky(monkeypatch: pytest.MonkeyPatch, breaks: int, error: Exception, after: int = 2500) -> list[int]:
    """Make the store's first `breaks` reads fail after some bytes. Returns a list: where each reader started."""
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


def test_an_archive_in_a_store_is_kept_unchanged(get: Get, memory: MemoryFileSystem, tmp_path: Path) -> None:
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
def test_a_folder_in_a_store_gives_the_same_zip_as_on_disk(
    get: Get, memory: MemoryFileSystem, tmp_path: Path, address: str
) -> None:
    files = {**PICTURES, "naïve/日本\n🌸.png": b"a flower"}
    fill(memory, {**files, "README.md": b"pets", ".gitattributes": b"", "__MACOSX/1.png": b""})
    get(source=address)
    there = (tmp_path / "out" / "pictures.zip").read_bytes()
    assert content_of(tmp_path / "out" / "pictures.zip") == files
    assert zip_of_folder(get, write(tmp_path / "pets", files)) == there


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["a.parquet"], ["a.parquet"]),
        (["data/train-0.parquet", "data/test-0.parquet"], ["test-0.parquet", "train-0.parquet"]),
        (["pets/train/0.parquet", "pets/test/0.parquet", "1.png"], ["test-0.parquet", "train-0.parquet"]),
        (["train/0.parquet", "README.md", ".cache/0.parquet"], ["0.parquet"]),
    ],
)
def test_tables_in_a_store_keep_the_names_of_their_splits(
    get: Get, memory: MemoryFileSystem, tmp_path: Path, files: list[str], kept: list[str]
) -> None:
    fill(memory, dict.fromkeys(files, TABLE))
    facts = get(source="memory://pets")
    assert facts["format"] == "parquet"
    assert [file["name"] for file in facts["files"]] == kept == names_in(tmp_path / "out")


def test_archives_in_a_stores_folder_are_kept_unchanged(get: Get, memory: MemoryFileSystem, tmp_path: Path) -> None:
    fill(memory, {"data/train.zip": archive_of(PICTURES, "zip"), "data/test.tgz": PACKED, "README.md": b"pets"})
    facts = get(source="memory://pets")
    assert [file["name"] for file in facts["files"]] == ["test.tgz", "train.zip"] == names_in(tmp_path / "out")
    assert facts["format"] == "archive"


@pytest.mark.parametrize("error", [OSError("reset by peer"), RuntimeError("a library's own")], ids=["OSError", "other"])
@pytest.mark.parametrize("files", [["set.tgz"], ["only.png"]], ids=["archive", "folder"])
def test_a_broken_read_from_a_store_resumes_where_it_stopped(
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


def test_each_retry_of_a_store_is_printed(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(memory, {"set.tgz": PACKED})
    flaky(monkeypatch, 1, OSError("reset by peer"))
    get(source="memory://pets/set.tgz")
    assert "/pets/set.tgz: reset by peer; trying again in 1 s\n" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["set.tgz", "only.png"])
def test_the_stage_gives_up_on_a_store_that_always_breaks_off_and_names_the_reason(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(memory, {name: PACKED, "readme.txt": b""})
    flaky(monkeypatch, 99, OSError("reset by peer"))
    with pytest.raises(StageError, match=rf"^memory://pets: .*{name}: reset by peer \(tries: 4\)\nTo place") as caught:
        get(source="memory://pets")
    assert BY_HAND in str(caught.value)


def test_the_next_run_resumes_a_stores_file_where_the_last_one_stopped(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(memory, {"set.tgz": PACKED})
    starts = flaky(monkeypatch, 4, OSError("reset by peer"))
    with pytest.raises(StageError):
        get(source="memory://pets/set.tgz")
    get(source="memory://pets/set.tgz")
    assert starts[-1] == 4 * 2500
    assert (tmp_path / "out" / "set.tgz").read_bytes() == PACKED


def test_a_complete_table_of_an_earlier_run_is_not_downloaded_again(
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


def test_a_stores_file_that_changed_between_two_runs_is_downloaded_from_the_beginning(
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
def test_a_file_shorter_than_the_store_says_is_an_error(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(memory, {name: PACKED})
    monkeypatch.setattr(MemoryFileSystem, "_open", lambda *arguments, **options: io.BytesIO(PACKED[:5000]))
    with pytest.raises(StageError, match=rf"{name}: got 5,000 of {len(PACKED):,} bytes \(tries: 4\)"):
        get(source="memory://pets")


def test_a_store_that_does_not_know_a_files_size_works(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(memory, {"set.tgz": PACKED})
    usual = MemoryFileSystem.info
    monkeypatch.setattr(MemoryFileSystem, "info", lambda system, path, **options: usual(system, path) | {"size": None})
    get(source="memory://pets/set.tgz")
    assert (tmp_path / "out" / "set.tgz").read_bytes() == PACKED


@pytest.mark.parametrize(
    ("source", "files", "reason"),
    [
        ("memory://none", {}, "no files there"),
        ("memory://pets/none.zip", {"1.png": b"one"}, "no files there"),
        ("memory://pets", {"readme.txt": b"hello"}, "no pictures, archives, parquet tables or arrays there"),
        ("memory://pets", {"a.parquet": b"<html>"}, "a.parquet: neither a zip nor a tar"),
        ("memory://pets/readme.txt", {"readme.txt": b"hello"}, "readme.txt: neither a zip nor a tar"),
        ("memory://pets", {"a/b-c.zip": PACKED, "a-b/c.zip": PACKED}, "two of these files would get the same name"),
    ],
)
def test_a_store_without_pictures_is_reported_with_manual_instructions(
    get: Get, memory: MemoryFileSystem, tmp_path: Path, source: str, files: dict[str, bytes], reason: str
) -> None:
    fill(memory, files)
    with pytest.raises(StageError) as caught:
        get(source=source)
    assert str(caught.value).startswith(f"{source}: {reason}")
    assert BY_HAND in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("method", ["find", "info"])
def test_any_exception_of_a_store_is_reported(
    get: Get, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    fill(memory, {"1.parquet": TABLE})

    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(MemoryFileSystem, method, fail)
    with pytest.raises(StageError, match="RuntimeError: no credentials"):
        get(source="memory://pets")


def test_an_unknown_scheme_is_reported(project: Project) -> None:
    write_params(project, source="carrier-pigeon://loft/pets")
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
def test_a_missing_library_is_reported_with_the_extra_to_install(
    get: Get, monkeypatch: pytest.MonkeyPatch, source: str, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # importing it then fails
    monkeypatch.delitem(_registry, extra, raising=False)
    with pytest.raises(StageError, match=rf"{library}.*; \.venv/bin/pip install -e '\.\[{extra}\]'"):
        get(source=source)


def test_the_stage_packs_the_folder_of_a_file_address(project: Project, tmp_path: Path) -> None:
    folder = write(tmp_path / "a folder", {**PICTURES, os.fsdecode(b"caf\xe9.png"): b"coffee"})
    write_params(project, source=f"file://{folder}")
    result = project.run("download")
    assert result.returncode == 0, result.stderr
    archive = project.folder / "data" / "raw" / "pictures.zip"
    assert content_of(archive) == {**PICTURES, "caf%E9.png": b"coffee"}
    assert str(tmp_path) not in json.dumps(facts_of(project))


def test_an_archive_of_a_file_address_is_copied_unchanged(get: Get, tmp_path: Path) -> None:
    write(tmp_path, {"pets.tar.xz": archive_of(PICTURES, "tar.xz")})
    get(source=f"file://{tmp_path}/pets.tar.xz")
    assert (tmp_path / "out" / "pets.tar.xz").read_bytes() == archive_of(PICTURES, "tar.xz")


def test_a_file_of_the_same_length_and_another_date_is_downloaded_again(
    get: Get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path, {"pets.zip": b"PK\x03\x04" + CONTENT})
    source = f"file://{tmp_path}/pets.zip"
    usual = packing.read_chunks

    def first_bytes(*arguments: Any) -> Iterator[bytes]:
        yield next(usual(*arguments))
        raise transfer.SourceError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(packing, "read_chunks", first_bytes)
        with pytest.raises(StageError, match="broken off"):
            get(source=source)
    write(tmp_path, {"pets.zip": b"PK\x03\x04" + CONTENT[::-1]})
    os.utime(tmp_path / "pets.zip", (1e9, 1e9))
    get(source=source)
    assert (tmp_path / "out" / "pets.zip").read_bytes() == b"PK\x03\x04" + CONTENT[::-1]
