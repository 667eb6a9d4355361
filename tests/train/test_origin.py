"""Training from another model: where its networks are found, and which ones fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stages.artifacts import sha256
from stages.errors import StageError
from stages.networks import saving
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.train import origin
from stages.train.settings import Settings
from stages.train.trainer import Trainer
from tests.conftest import Project, git

SETTINGS = Settings(generator=GeneratorSettings(channels=4), discriminator=DiscriminatorSettings(channels=4))

pytestmark = pytest.mark.slow  # a project in which every stage has run


@pytest.fixture
def project(versioned: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose models are in DVC's cache; a temporary workspace has no models and no revisions."""
    monkeypatch.setenv("DVC_ROOT", str(versioned))
    return versioned


@pytest.mark.parametrize("revision", ["v1", "other", "lively-fox", "other~1"])
def test_a_revisions_networks_come_from_dvc(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    monkeypatch.chdir(tmp_path)
    start = origin.load(revision)
    named = {"lively-fox": git(project, "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/lively-fox")}
    commit = named.get(revision) or git(project, "rev-parse", f"{revision}^{{commit}}")
    assert (start.origin.start_from, start.origin.commit) == (revision, commit)
    assert start.origin.data_manifest_sha256 == sha256(project / "data/prepared/manifest.json")
    assert start.origin.data_title == "Tiny shapes"


@pytest.mark.parametrize("name", ["models", "models/generator.keras"])
def test_a_folder_and_a_generators_file_name_the_same_model(project: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(project / "models", tmp_path / "models")
    start = origin.load(str(tmp_path / name))
    hashes = [sha256(project / f"models/{network}.keras") for network in ("generator", "discriminator")]
    assert [start.origin.generator_sha256, start.origin.discriminator_sha256] == hashes
    assert start.origin.commit == ""
    trainer = Trainer(SETTINGS, (16, 16), 1)
    trainer.start_from(start)
    expected = saving.load(project / "models/generator.keras").get_weights()
    for network in (trainer.generator, trainer.average):
        assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), expected, strict=True))
    assert all(not np.any(v) for name, v in trainer.state().items() if "_optimizer" in name and v.ndim > 1)


@pytest.mark.parametrize(
    ("settings", "size", "message"),
    [
        (SETTINGS, (32, 32), r"its generator has output \(16, 16, 1\) instead of \(32, 32, 1\)"),
        ({"generator": GeneratorSettings(channels=4, latent_dim=50)}, (16, 16), r"input \(100,\) instead of \(50,\)"),
        ({"generator": GeneratorSettings(channels=8)}, (16, 16), "its generator has filters 8 instead of 16 in the"),
        (
            {"discriminator": DiscriminatorSettings(channels=4, activation="elu")},
            (16, 16),
            r"its discriminator has .* instead of .*; set train\.discriminator and the prepared images",
        ),
    ],
)
def test_networks_that_are_built_differently_are_rejected_by_their_first_difference(
    project: Path, tmp_path: Path, settings: dict | Settings, size: tuple[int, int], message: str
) -> None:
    other = settings if isinstance(settings, Settings) else Settings(**{"generator": SETTINGS.generator, **settings})
    with pytest.raises(StageError, match=message):
        Trainer(other, size, 1).start_from(origin.load(str(project / "models")))


def test_a_model_that_does_not_exist_is_named(project: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"'nothing': no such folder, \.keras file or Git revision"):
        origin.load("nothing")
    with pytest.raises(StageError, match=r"'early': there is no models/generator\.keras"):
        origin.load("early")
    shutil.copy(project / "models/generator.keras", tmp_path)
    with pytest.raises(StageError, match=r"there is no .*/discriminator\.keras"):
        origin.load(str(tmp_path / "generator.keras"))


def test_the_facts_of_an_origin_are_plain_json(project: Path) -> None:
    facts = origin.load(str(project / "models")).origin.facts()
    assert json.loads(json.dumps(facts)) == facts


def test_the_stage_records_the_model_that_it_started_from_and_trains_it_further(tiny_copy: Project) -> None:
    (tiny_copy.folder / "models").rename(tiny_copy.folder / "first")
    (tiny_copy.folder / "models").mkdir()
    shutil.copytree(tiny_copy.folder / "first/features", tiny_copy.folder / "models/features")
    params = tiny_copy.folder / "params.yaml"
    for old, new in (("images: 640", "start_from: first, images: 320"), ("images: 320,", "images: 640,")):
        params.write_text(params.read_text().replace(old, new))
        result = tiny_copy.run_process("train")
        assert result.returncode == 0, result.stderr
        assert "train: starting from the model first\n" in result.stderr
    assert "train: continuing the finished training of 320 images" in result.stderr
    facts = json.loads((tiny_copy.folder / "models/model.json").read_text())["start_from"]
    assert facts["generator_sha256"] == sha256(tiny_copy.folder / "first/generator.keras")
    assert facts["data_title"] == "Tiny shapes"
