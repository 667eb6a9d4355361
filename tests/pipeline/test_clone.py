"""`make repro` in a fresh clone with the quick preset, then after changes, interrupts and kills."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.photos import photo
from tests.conftest import STAGES, Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ALL = ["download", *STAGES]


@pytest.fixture(scope="module")
def clone(quick_run: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A fresh clone of the quick preset, without environment and data, in which `make repro` has run once."""
    fresh = quick_run.copy(tmp_path_factory.mktemp("clone") / "project")
    (fresh.folder / ".venv").unlink()
    for name in ("data/raw", "data/prepared", "data/reference.npz", "models", "reports", ".dvc/cache", ".state"):
        path = fresh.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    fresh.git("restore", "models", "reports/timings.json")
    assert sorted(fresh.repro()) == sorted(ALL)
    return fresh


def test_make_repro_sets_up_a_clone_and_reproduces_the_committed_results(clone: Clone) -> None:
    assert clone.changed() == ["reports/timings.json"], "the same bytes as the first run, in another environment"
    clone.git("restore", "reports/timings.json")
    assert (clone.folder / "reports/report.html").stat().st_size > 50_000
    assert list(clone.folder.rglob("stages/**/__pycache__")), "Python writes bytecode here, as it does for users"
    assert clone.run("git", "check-ignore", "data/raw", "data/prepared", "models/generator.keras").returncode == 0
    assert clone.run("git", "ls-files", "--error-unmatch", "reports/metrics.json", "dvc.lock").returncode == 0


def test_a_second_make_repro_runs_no_stage(clone: Clone) -> None:
    assert clone.repro() == []
    assert clone.changed() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"  title: DCGAN": "  title: Mine"}, ["report"]),
        ({"  size: 16": "  size: 32", "shape: [16, 16, 1]": "shape: [32, 32, 1]"}, ALL[1:]),
    ],
    ids=["report.title", "prepare.size"],  # test_make_repro_finishes_after_an_earlier_ctrl_c changes one of `train`
)
def test_a_changed_param_reruns_its_stage_and_the_later_ones_only(
    clone: Clone, changes: dict[str, str], expected: list[str]
) -> None:
    for old, new in changes.items():
        clone.edit("params.yaml", old, new)
    assert sorted(clone.repro()) == sorted(expected)
    clone.git("restore", "params.yaml")
    assert set(clone.repro()) <= {"play", "report"}, "the old results come back from the run cache, except the pages"
    clone.git("restore", "reports/timings.json")
    assert clone.changed() == []


def test_make_fresh_reports_stale_code_params_and_results(clone: Clone) -> None:
    def check() -> tuple[int, str]:
        result = clone.run("make", "fresh")
        return result.returncode, result.stderr

    away = clone.folder.parent / "away"  # without data and models, as in a clone before dvc pull
    places = ("data/raw", "data/prepared", "data/reference.npz", "models", ".dvc/cache")
    for place in places:
        (away / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(clone.folder / place, away / place)
    try:
        assert check() == (0, "")
        for path, old, new in (
            ("params.yaml", "learning_rate: 0.001", "learning_rate: 0.0011"),
            ("params.yaml", "  size: 16", "  size: 32"),
            ("stages/report/render.py", "render", "rendered"),
            ("stages/latent.py", "import", "import  "),
            ("reports/metrics.json", '"fid"', '"Fid"'),
        ):
            clone.edit(path, old, new)
            code, message = check()
            assert code != 0, path
            assert "stale: " in message
            clone.git("restore", path)
        clone.git("rm", "--quiet", "reports/metrics.json")
        assert "stale: reports/metrics.json of the stage evaluate is not in Git" in check()[1]
        clone.git("restore", "--staged", "--worktree", "reports/metrics.json")
        assert check() == (0, "")
    finally:
        for place in places:
            shutil.move(away / place, clone.folder / place)


def test_an_unknown_key_or_class_stops_make_repro_before_the_first_stage(clone: Clone) -> None:
    clone.edit("params.yaml", "  title: DCGAN", "  titel: DCGAN")
    result = clone.run("make", "repro")
    assert result.returncode != 0
    assert "error: params.yaml: report.titel: unknown key; did you mean 'title'?" in result.stderr
    assert "Running stage" not in result.stdout
    clone.git("restore", "params.yaml")
    clone.edit("params.yaml", "[Ankle boot, Sneaker, Sandal]", "[Ankle boots, Sneaker, Sandal]")
    assert "validate.classes has no 'Ankle boots'; did you mean 'Ankle boot'?" in clone.run("make", "repro").stderr
    clone.git("restore", "params.yaml")


def test_make_repro_finishes_after_an_earlier_ctrl_c(clone: Clone) -> None:
    clone.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.0012")
    process = subprocess.Popen(
        ["make", "repro"],
        cwd=clone.folder,
        env=clone.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    live = clone.folder / ".state/staging"
    while not list(live.glob("*/new/reports/train/plots")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # a terminal also sends it to the whole foreground group
    assert process.wait(60) != 0
    assert not list(live.glob("*"))
    assert not (clone.folder / "models/generator.keras").exists(), "DVC removed the old one before the stage ran"
    assert sorted(clone.repro()) == sorted(["train", "sample", "evaluate", "play", "report"])
    clone.git("restore", "params.yaml", "dvc.lock", "reports")
    assert clone.run("dvc", "checkout").returncode == 0
    assert clone.repro() == []


def test_a_killed_training_resumes_under_repro_exp_run_and_in_a_temporary_workspace(
    clone: Clone, tmp_path: Path
) -> None:
    clone.edit("params.yaml", "images: 19200 ", "images: 38400 ")
    environment = {**clone.environment(), "TRAIN_CHECKPOINT_SECONDS": "0"}
    state = clone.folder / ".state/train"

    def kill_the_trainer(*command: str) -> str:
        """Run the command and kill -9 its trainer after two new checkpoints. Returns the output."""
        before = {path.name for path in state.glob("*/*.npz")}
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=clone.folder, env=environment, stdout=log, stderr=log)
        while len({path.name for path in state.glob("*/*.npz")} - before) < 2 and process.poll() is None:
            time.sleep(0.02)
        (lock,) = state.glob("*.lock")
        os.kill(int(lock.read_text()), signal.SIGKILL)
        assert process.wait(120) != 0
        return (tmp_path / "log").read_text()

    assert "continuing the finished training of 19,200 images" in kill_the_trainer("dvc", "repro")
    clone.git("restore", "reports")
    assert "resuming from the checkpoint after" in kill_the_trainer("dvc", "exp", "run")
    clone.git("restore", "reports")
    result = clone.run("dvc", "exp", "run", "--temp", "--name", "in-a-temporary-workspace")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "resuming from the checkpoint after" in result.stdout + result.stderr
    assert not list(state.glob("*/*.npz")), "a finished training leaves no state"
    uninterrupted = clone.run("python", "-m", "stages.train", "--out", str(tmp_path))  # from scratch
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    applied = clone.run("dvc", "exp", "apply", "in-a-temporary-workspace")
    assert applied.returncode == 0, applied.stderr
    outputs = ("generator.keras", "discriminator.keras", "model.json", "timeline.npz", "training_state.npz")
    for name in (f"models/{output}" for output in outputs):
        assert (clone.folder / name).read_bytes() == (tmp_path / name).read_bytes(), name
    clone.git("restore", "params.yaml", "dvc.lock", "reports")
    assert clone.run("dvc", "checkout").returncode == 0
    assert clone.repro() == []


def test_the_debian_package_gives_the_same_bytes_and_leaves_no_state(clone: Clone, tmp_path: Path) -> None:
    shutil.rmtree(clone.folder / ".state", ignore_errors=True)
    result = clone.run("python", "-m", "stages.download", "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    for path in (tmp_path / "data/raw").iterdir():
        assert path.read_bytes() == (clone.folder / "data/raw" / path.name).read_bytes(), path
    assert not [path for path in (clone.folder / ".state").rglob("*") if path.is_file()]


def test_the_readmes_commands_for_your_own_pictures_work_and_an_added_picture_is_included(clone: Clone) -> None:
    shutil.copy(clone.folder / "presets/own.yaml", clone.folder / "params.yaml")
    own = clone.folder / "data/own"
    for name in ("cats", "dogs"):
        (own / name).mkdir()
        for i in range(30):
            (own / name / f"{i}.jpg").write_bytes(photo(1000 * len(list(own.iterdir())) + i))

    def prepare() -> list[str]:
        result = clone.run("dvc", "repro", "validate")
        assert result.returncode == 0, result.stdout + result.stderr
        return re.findall(r"Running stage '(\w+)'", result.stdout)

    def found_images() -> int:
        return int(json.loads((clone.folder / "data/prepared/manifest.json").read_text())["counts"]["found"])

    assert prepare() == ["download", "prepare", "validate"]
    assert found_images() == 60
    assert prepare() == []
    assert "data/own" not in "".join(clone.changed()), "Git ignores the pictures"
    (own / "dogs/one-more.jpg").write_bytes(photo(7))
    assert prepare() == ["download", "prepare", "validate"]
    assert found_images() == 61
    for name in ("cats", "dogs"):
        shutil.rmtree(own / name)
    clone.git("restore", "params.yaml", "dvc.lock", "reports")
    assert clone.run("dvc", "checkout").returncode == 0
    assert clone.repro() == []


def test_plots_metrics_and_params_diff_work_in_the_clone(clone: Clone) -> None:
    metrics = clone.run("dvc", "metrics", "show")
    assert metrics.returncode == 0, metrics.stderr
    assert "reports/metrics.json" in metrics.stdout
    plots = clone.run("dvc", "plots", "show", "--json")
    assert plots.returncode == 0, plots.stderr
    for name in ("losses", "outputs", "score", "reports/samples/grid.png", "reports/evaluate/modes.csv"):
        assert f'"{name}"' in plots.stdout
    assert '"errors"' not in plots.stdout
