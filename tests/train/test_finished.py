"""Which finished training a longer one continues, where its state is found, and what is said if it does not fit."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.train import finished
from stages.train.checkpoints import Checkpoints
from stages.train.settings import OptimizerSettings, ScoringSettings, Settings
from tests.conftest import dvc, git

# Steps of 10 images; the state is that after 20 steps.
SETTINGS = Settings(batch_size=10, images=300, scoring=ScoringSettings(every=100, patience=0))
ROWS = [{"images": images, "values": {"score": score}, "picture": True} for images, score in ((100, 5.0), (200, 7.0))]


PATIENT, IMPATIENT = (dataclasses.replace(SETTINGS.scoring, patience=patience) for patience in (100, 50))
OTHER = OptimizerSettings(beta_1=0.4)


def journal(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.frombuffer(json.dumps({"rows": rows}).encode(), np.uint8)


STATE = {"generator/000": np.arange(3.0), "journal": journal(ROWS), "step": np.array(20)}
FILE = "models/training_state.npz"


def trainer(settings: Settings) -> Any:
    steps = settings.images // settings.images_per_step
    rest = {
        "constant_rate_steps": int(steps * (1 - settings.optimizer.learning_rate_decay)),
        "state": lambda: {"a": np.zeros(1)},
    }
    return SimpleNamespace(steps=steps, **rest)


def finish(folder: Path, settings: Settings = SETTINGS, state: dict[str, np.ndarray] = STATE) -> None:
    """Write what a training with these settings leaves in a folder."""
    (folder / "models").mkdir(parents=True)
    checkpoints = Checkpoints(folder / "of the finished run")
    (folder / "of the finished run").mkdir()
    if state:
        checkpoints.final.save(20, state)
    finished.write(folder / FILE, "course", settings, checkpoints)


def continued(folder: Path, course: str = "course", **changes: Any) -> int:
    """The step from which a training with these changes begins, given the finished one in the folder."""
    settings = dataclasses.replace(SETTINGS, **changes)
    state = folder / "state"
    state.mkdir()
    finished.continue_from(folder, course, settings, trainer(settings), Checkpoints(state))
    return (Checkpoints(state).latest() or (0,))[0]


@pytest.mark.parametrize(
    "changes", [{"images": 400}, {"scoring": PATIENT}, {"images": 230}, {"images": 400, "scoring": PATIENT}]
)
def test_a_training_of_another_length_continues_from_the_state_if_it_has_passed_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict
) -> None:
    finish(tmp_path)
    assert continued(tmp_path, **changes) == 20
    said = "train: continuing the finished training of 300 images from its state after 200 images\n"
    assert capsys.readouterr().err == said
    state = Checkpoints(tmp_path / "state").must_load(20)
    assert {name: state[name].tolist() for name in STATE} == {name: STATE[name].tolist() for name in STATE}


@pytest.mark.parametrize("changes", [{}, {"optimizer": OTHER}, {"images": 200, "optimizer": OTHER}])
def test_the_same_training_again_and_one_with_other_settings_start_from_scratch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict
) -> None:
    finish(tmp_path)
    assert continued(tmp_path, **changes) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "state", "course", "reason"),
    [
        ({"images": 400, "optimizer": OTHER}, STATE, "course", "it had another train.optimizer.beta_1"),
        ({"images": 400}, STATE, "other", "the data, the code, a library or the model of train.start_from"),
        ({"images": 400}, {}, "course", "it shares no step with a longer one"),
        ({"images": 200}, STATE, "course", "its state is from after the end of this training"),
        (
            {"scoring": IMPATIENT},
            {**STATE, "journal": journal([*ROWS, *ROWS[1:]])},
            "course",
            "with this train.scoring.patience",
        ),
    ],
)
def test_a_longer_training_that_cannot_continue_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict, state: dict, course: str, reason: str
) -> None:
    finish(tmp_path, state=state)
    assert continued(tmp_path, course, **changes) == 0
    said = capsys.readouterr().err
    assert said.startswith("train: starting from scratch, and not from the finished training of 300 images: " + reason)


def test_a_training_under_way_is_not_replaced(tmp_path: Path) -> None:
    finish(tmp_path)
    (tmp_path / "state").mkdir()
    checkpoints = Checkpoints(tmp_path / "state")
    checkpoints.save(5, STATE)
    longer = dataclasses.replace(SETTINGS, images=400)
    finished.continue_from(tmp_path, "course", longer, trainer(longer), checkpoints)
    assert (checkpoints.latest() or (0,))[0] == 5


def test_a_damaged_state_is_no_state(tmp_path: Path) -> None:
    finish(tmp_path)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-100])
    assert continued(tmp_path, images=400) == 0


def test_under_dvc_the_state_comes_from_the_cache_or_the_remote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC has removed the stage's outputs when the stage runs, but not their entry in dvc.lock."""
    finish(tmp_path)
    git(tmp_path, "init", "-q")
    dvc(tmp_path, "init")
    dvc(tmp_path, "remote", "add", "-d", "shared", str(tmp_path / "remote"))
    (tmp_path / "params.yaml").write_text(json.dumps({"train": dataclasses.asdict(SETTINGS)}))
    (tmp_path / "dvc.yaml").write_text(
        f"stages: {{train: {{cmd: exit 1, params: [train], outs: [{FILE}]}}}}", encoding="utf-8"
    )
    dvc(tmp_path, "commit", "-f")
    (tmp_path / FILE).unlink()
    assert continued(tmp_path, images=400) == 20
    shutil.move(tmp_path / "state", tmp_path / "first")
    dvc_files = tmp_path / ".dvc/cache/files/md5"
    shutil.copytree(dvc_files, tmp_path / "remote/files/md5")
    shutil.rmtree(dvc_files)
    assert continued(tmp_path, images=400) == 20
    shutil.move(tmp_path / "state", tmp_path / "second")
    shutil.rmtree(tmp_path / "remote")
    shutil.rmtree(dvc_files, ignore_errors=True)
    capsys.readouterr()
    assert continued(tmp_path, images=400) == 0
    assert "is damaged, or in neither DVC's cache nor its remote" in capsys.readouterr().err
