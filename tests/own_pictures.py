"""Fixtures and helpers for the tests of the user's own data (test_own_*.py)."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from stages import transfer
from stages.download import own, packing
from stages.download.settings import Settings
from tests.conftest import Project
from tests.servers import Server

BY_HAND = "put the archive or the pictures into data/own (or set dataset.own to their path), set dataset.source: own"
# The download stage does not read pictures, so any bytes will do.
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
    """Runs the stage's work in this process: writes the files to tmp_path/out and returns their facts."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(packing, "_CHUNK", 1000)

    def fetch(**settings: str) -> dict[str, Any]:
        for file in (tmp_path / "out").glob("*"):
            file.unlink()  # the stage removes the output of a run that failed
        (tmp_path / "out").mkdir(exist_ok=True)
        return own.fetch(Settings(**settings), tmp_path / "out").as_dict()

    return fetch


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server."""
    serving = Server()
    yield serving
    serving.close()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Create a folder with these files, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_params(project: Project, **dataset: str) -> None:
    """Write params.yaml with these settings of the stage."""
    (project.folder / "params.yaml").write_text(json.dumps({"dataset": dataset}))


def content_of(archive: Path) -> dict[str, bytes]:
    """The files in a zip."""
    with zipfile.ZipFile(archive) as archive_file:
        return {name: archive_file.read(name) for name in archive_file.namelist()}


def names_in(folder: Path) -> list[str]:
    """The names of a folder's files, sorted."""
    return sorted(path.name for path in folder.iterdir())


def facts_of(project: Project) -> dict[str, Any]:
    """The content of source.json."""
    return json.loads((project.folder / "data" / "raw" / "source.json").read_text(encoding="utf-8"))


def archive_of(files: dict[str, bytes], kind: str) -> bytes:
    """An archive of these files: zip, or tar with a compression."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return out.getvalue()
    compression = kind.partition(".")[2]
    with tarfile.open(fileobj=out, mode="w:" + ("" if compression == "zst" else compression)) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return zstandard.compress(out.getvalue()) if compression == "zst" else out.getvalue()


def zip_of_folder(get: Get, folder: Path) -> bytes:
    """The zip that the stage makes of a folder."""
    get(source="own", own=str(folder))
    return (folder.parent / "out" / "pictures.zip").read_bytes()


def error_line(project: Project, start: str) -> str:
    """Run the stage, check that it fails with one line beginning with `start` and leaves no file; return the line."""
    result = project.run("download")
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {start}"), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert not (project.folder / "data" / "raw").exists()
    assert not list((project.folder / ".state" / "staging").glob("*"))
    return result.stderr
