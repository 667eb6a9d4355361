"""make publish: the exports go to a folder, an address or the Hugging Face Hub (a stand-in on loopback)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from stages.artifacts import sha256
from stages.errors import StageError
from tests.conftest import ROOT
from tests.servers import ModelHub
from tools.export.publish import publish

TOKEN = "hf_of_ada"  # noqa: S105 - of the stand-in


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """A folder that looks like exports, and the model that it was made from."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/generator.keras").write_bytes(b"a generator")
    folder = tmp_path / "exports"
    (folder / "saved_model/variables").mkdir(parents=True)
    facts = {"title": "DCGAN · Pets", "generator_sha256": sha256(tmp_path / "models/generator.keras")}
    (folder / "metadata.json").write_text(json.dumps(facts))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# DCGAN · Pets\n")
    (folder / "generator.onnx").write_bytes(b"an ONNX file")
    (folder / "saved_model/variables/variables.index").write_bytes(b"an index")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_gets_all_files_and_keeps_its_own(exports: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine.txt").write_bytes(b"mine")
    assert publish(exports, str(tmp_path / "there"), tmp_path / "models") == str(tmp_path / "there")
    assert content(tmp_path / "there") == {**content(exports), "mine.txt": b"mine"}


def test_an_address_gets_all_files(exports: Path, tmp_path: Path) -> None:
    publish(exports, "memory://shared/dcgan", tmp_path / "models")
    store = fsspec.filesystem("memory")
    found = {path.removeprefix("/shared/dcgan/"): store.cat(path) for path in store.find("/shared/dcgan")}
    assert found == content(exports)


def test_an_upload_that_fails_leaves_no_facts_there(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fsspec.filesystem("memory")
    usual = type(store).put_file

    def put_file(self: object, path: str, target: str) -> None:
        if path.endswith(".index"):
            raise PermissionError("not allowed")
        usual(self, path, target)

    monkeypatch.setattr(type(store), "put_file", put_file)
    with pytest.raises(StageError, match="TO: memory://half: not allowed; check the address and your rights"):
        publish(exports, "memory://half", tmp_path / "models")
    assert not store.exists("/half/metadata.json")


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    """A stand-in for the Hugging Face Hub."""
    serving = ModelHub("ada/pets", TOKEN)
    yield serving
    serving.close()


def run(exports: Path, to: str, hub: ModelHub, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, because the Hub's library reads its environment at import."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    switches = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_UPDATE_CHECK")
    environment = {"HF_ENDPOINT": hub.address, "HF_TOKEN": token, "HF_HOME": str(exports.parent / "hf")}
    return subprocess.run(
        [sys.executable, "-m", "tools.export.publish", to],
        cwd=exports.parent,
        env={**kept, **environment, **dict.fromkeys(switches, "1"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_hub_gets_all_files_in_one_commit(exports: Path, hub: ModelHub) -> None:
    pytest.importorskip("huggingface_hub", reason="the extra .[export] is not installed")
    result = run(exports, "hf://ada/pets", hub)
    assert result.returncode == 0, result.stderr
    assert f"published: {hub.address}/ada/pets\n" in result.stderr
    assert hub.files == content(exports)
    assert hub.summary == "DCGAN · Pets"


def test_a_token_that_the_hub_rejects_is_reported_with_a_remedy(exports: Path, hub: ModelHub) -> None:
    pytest.importorskip("huggingface_hub", reason="the extra .[export] is not installed")
    result = run(exports, "hf://ada/pets", hub, token="hf_of_bob")  # noqa: S106
    assert result.returncode == 1
    assert result.stderr.startswith("error: TO: hf://ada/pets: ")
    assert "run `hf auth login` with a token that may write" in result.stderr
    assert "Traceback" not in result.stderr
    assert not hub.files


@pytest.mark.parametrize("to", ["hf://pets", "hf://datasets/ada/pets", "hf://spaces/ada/pets", "hf://"])
def test_an_address_of_the_hub_that_is_no_model_is_rejected(exports: Path, tmp_path: Path, to: str) -> None:
    with pytest.raises(StageError, match=f"TO: {to}: expected a model on the Hub: hf://user/name"):
        publish(exports, to, tmp_path / "models")


def test_the_exports_of_another_model_are_not_published(exports: Path, tmp_path: Path) -> None:
    (tmp_path / "models/generator.keras").write_bytes(b"a newer generator")
    with pytest.raises(StageError, match=r"made from another model than .*; run `make export`"):
        publish(exports, str(tmp_path / "there"), tmp_path / "models")
    assert not (tmp_path / "there").exists()


def test_a_place_and_exports_must_be_there(exports: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="TO: name a place: make publish TO=hf://user/name"):
        publish(exports, "", tmp_path / "models")
    with pytest.raises(StageError, match=r"nothing/metadata\.json: missing; run `make export`"):
        publish(tmp_path / "nothing", "there", tmp_path / "models")
    with pytest.raises(StageError, match="TO: none://x: Protocol not known: none"):
        publish(exports, "none://x", tmp_path / "models")
