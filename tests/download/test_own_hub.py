"""The user's own pictures from the Hugging Face Hub: its library talks to a stand-in on loopback."""

import importlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

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
    write,
    write_params,
)
from tests.servers import CONTENT, Hub

pytest_plugins = ["tests.own_pictures"]  # its fixtures


# A sitecustomize.py: a look-up of another machine fails and leaves the file `reached`.
LOOPBACK_ONLY = """
import pathlib, socket
usual = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    if host not in ("127.0.0.1", "localhost", None):
        pathlib.Path(__file__).with_name("reached").write_text(str(host))
        raise OSError(f"{host} is not this machine")
    return usual(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
"""
PETS = {f"data/{split}-00000-of-00001.parquet": TABLE + split.encode() for split in ("train", "test")}
BESIDE = {"README.md": b"# Pets", ".gitattributes": b"*.parquet filter=lfs"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in for the hub. The library in this process connects to it instead of the real one."""
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


def test_the_hubs_tables_are_kept_unchanged(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    write_params(project, source="hf://datasets/me/pets", licence="CC0")
    result = project.run_process("download", first_on_path=guard)
    serving.close()
    assert result.returncode == 0, result.stderr
    assert not (guard / "reached").exists(), "the stage connected to another machine"
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
def test_the_hubs_archive_is_kept_unchanged(get: Get, hub: Hub, tmp_path: Path, path: str) -> None:
    hub.revisions["main"] = {"data/all.zip": archive_of(PICTURES, "zip")} | BESIDE
    get(source=f"hf://datasets/me/pets{path}")
    assert (tmp_path / "out" / "all.zip").read_bytes() == hub.revisions["main"]["data/all.zip"]


@pytest.mark.parametrize("revision", ["refs/convert/parquet", "refs%2Fconvert%2Fparquet"])
def test_an_address_can_name_a_revision_and_a_folder_of_the_hub(get: Get, hub: Hub, revision: str) -> None:
    tables = {"default/train/0000.parquet": TABLE, "default/test/0000.parquet": TABLE, "other/train/0000.parquet": b""}
    hub.revisions = {"main": {"1.png": b"another"}, "refs/convert/parquet": tables}
    facts = get(source=f"hf://datasets/me/pets@{revision}/default")
    assert [file["name"] for file in facts["files"]] == ["test-0000.parquet", "train-0000.parquet"]
    assert any("/resolve/refs%2Fconvert%2Fparquet/default/train/0000.parquet" in path for path in hub.paths)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("hf://datasets/me/none", "datasets/me/none (repository not found)"),
        ("hf://datasets/me/pets@none", "datasets/me/pets@none (revision not found)"),
        ("hf://datasets/me/pets/none", "no files there"),
        ("hf://datasets/me/pets/none.zip", "no files there"),
        ("hf://pets", "Repository id must be 'namespace/name'"),
    ],
)
def test_a_data_set_that_the_hub_does_not_have_is_reported_with_manual_instructions(
    get: Get, hub: Hub, source: str, reason: str
) -> None:
    hub.revisions["main"] = {"1.png": b"one"} | BESIDE
    with pytest.raises(StageError) as caught:
        get(source=source)
    message = str(caught.value)
    assert message.startswith(f"{source}: ")
    assert reason in message
    assert BY_HAND in message
