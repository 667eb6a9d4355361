"""A fresh clone, as a newcomer has it: make repro with the quick preset, then changes and what they rerun."""

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
    """A clone of the quick preset's run, with neither environment nor data, in which `make repro` has run."""
    made = quick_run.copied(tmp_path_factory.mktemp("clone") / "project")
    (made.folder / ".venv").unlink()
    for name in ("data/raw", "data/prepared", "data/reference.npz", "models", "reports", ".dvc/cache", ".state"):
        path = made.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    made.git("restore", "reports/timings.json")
    assert sorted(made.repro()) == sorted(ALL)
    return made


def test_set_up_and_run_end_with_a_report_and_every_result_in_its_place(clone: Clone) -> None:
    assert clone.changed() == ["reports/timings.json"], "the bytes of the first run, in another environment"
    clone.git("restore", "reports/timings.json")
    assert (clone.folder / "reports/report.html").stat().st_size > 50_000
    assert list(clone.folder.rglob("stages/**/__pycache__")), "bytecode was written, as it is for users"
    assert clone.type("git", "check-ignore", "data/raw", "data/prepared", "models/generator.keras").returncode == 0
    assert clone.type("git", "ls-files", "--error-unmatch", "reports/metrics.json", "dvc.lock").returncode == 0


def test_a_second_run_runs_nothing(clone: Clone) -> None:
    assert clone.repro() == []
    assert clone.changed() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"  title: DCGAN": "  title: Mine"}, ["report"]),
        ({"learning_rate: 0.001": "learning_rate: 0.0011"}, ["train", "sample", "evaluate", "report"]),
        ({"  size: 16": "  size: 32", "shape: [16, 16, 1]": "shape: [32, 32, 1]"}, ALL[1:]),
    ],
    ids=["a knob of the report", "train.learning_rate", "prepare.size"],
)
def test_a_change_reruns_what_it_touches_and_nothing_before(
    clone: Clone, changes: dict[str, str], expected: list[str]
) -> None:
    for old, new in changes.items():
        clone.edit("params.yaml", old, new)
    assert sorted(clone.repro()) == sorted(expected)
    clone.git("restore", "params.yaml")
    assert set(clone.repro()) <= {"report"}, "the old results come back from the run cache, but for the report"
    clone.git("restore", "reports/timings.json")
    assert clone.changed() == []


def test_the_freshness_check_sees_what_is_stale(clone: Clone) -> None:
    def check() -> tuple[int, str]:
        result = clone.type("make", "fresh")
        return result.returncode, result.stderr

    away = clone.folder.parent / "away"  # as in a clone that has pulled nothing
    places = ("data/raw", "data/prepared", "data/reference.npz", "models", ".dvc/cache")
    for place in places:
        (away / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(clone.folder / place, away / place)
    try:
        assert check() == (0, "")
        for path, old, new in (
            ("params.yaml", "learning_rate: 0.001", "learning_rate: 0.0011"),
            ("params.yaml", "  size: 16", "  size: 32"),
            ("stages/report/page.py", "render", "rendered"),
            ("stages/latent.py", "import", "import  "),
            ("reports/metrics.json", '"fid"', '"Fid"'),
        ):
            clone.edit(path, old, new)
            code, complaint = check()
            assert code != 0, path
            assert "stale: " in complaint
            clone.git("restore", path)
        clone.git("rm", "--quiet", "reports/metrics.json")
        assert "stale: reports/metrics.json of the stage evaluate is not in Git" in check()[1]
        clone.git("restore", "--staged", "--worktree", "reports/metrics.json")
        assert check() == (0, "")
    finally:
        for place in places:
            shutil.move(away / place, clone.folder / place)


def test_a_slip_in_any_section_stops_before_the_first_stage(clone: Clone) -> None:
    clone.edit("params.yaml", "  title: DCGAN", "  titel: DCGAN")
    result = clone.type("make", "repro")
    assert result.returncode != 0
    assert "error: params.yaml: report.titel: unknown key; the nearest is 'title'" in result.stderr
    assert "Running stage" not in result.stdout
    clone.git("restore", "params.yaml")
    clone.edit("params.yaml", "[Ankle boot, Sneaker, Sandal]", "[Ankle boots, Sneaker, Sandal]")
    assert "validate.classes has no 'Ankle boots'; the nearest is 'Ankle boot'" in clone.type("make", "repro").stderr
    clone.git("restore", "params.yaml")


def test_ctrl_c_in_make_repro_and_again(clone: Clone) -> None:
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
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everyone in front gets it
    assert process.wait(60) != 0
    assert not list(live.glob("*"))
    assert not (clone.folder / "models/generator.keras").exists(), "DVC had removed the old one"
    assert sorted(clone.repro()) == sorted(["train", "sample", "evaluate", "report"])
    clone.git("restore", "params.yaml", "dvc.lock", "reports")
    assert clone.type("dvc", "checkout").returncode == 0
    assert clone.repro() == []


def test_a_killed_training_goes_on_under_repro_exp_run_and_in_a_temporary_workspace(
    clone: Clone, tmp_path: Path
) -> None:
    clone.edit("params.yaml", "images: 19200 ", "images: 38400 ")
    environment = {**clone.environment(), "TRAIN_CHECKPOINT_SECONDS": "0"}
    state = clone.folder / ".state/train"

    def kill_the_trainer(*command: str) -> str:
        """Run the command, kill -9 its trainer once it has written checkpoints; what was printed."""
        before = {path.name for path in state.glob("*/*.npz")}
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=clone.folder, env=environment, stdout=log, stderr=log)
        while len({path.name for path in state.glob("*/*.npz")} - before) < 2 and process.poll() is None:
            time.sleep(0.02)
        (lock,) = state.glob("*.lock")
        os.kill(int(lock.read_text()), signal.SIGKILL)
        assert process.wait(120) != 0
        return (tmp_path / "log").read_text()

    assert "going on" not in kill_the_trainer("dvc", "repro")
    clone.git("restore", "reports")
    assert "going on from the checkpoint after" in kill_the_trainer("dvc", "exp", "run")
    clone.git("restore", "reports")
    result = clone.type("dvc", "exp", "run", "--temp", "--name", "in-a-temporary-workspace")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "going on from the checkpoint after" in result.stdout + result.stderr
    assert not list(state.glob("*/*.npz")), "a finished training leaves no state"
    untroubled = clone.type("python", "-m", "stages.train", "--out", str(tmp_path))
    assert untroubled.returncode == 0, untroubled.stderr
    applied = clone.type("dvc", "exp", "apply", "in-a-temporary-workspace")
    assert applied.returncode == 0, applied.stderr
    for name in ("models/generator.keras", "models/discriminator.keras", "models/timeline.npz"):
        assert (clone.folder / name).read_bytes() == (tmp_path / name).read_bytes(), name
    clone.git("restore", "params.yaml", "dvc.lock", "reports")
    assert clone.type("dvc", "checkout").returncode == 0
    assert clone.repro() == []


def test_the_debian_package_gives_the_same_bytes_and_no_trace(clone: Clone, tmp_path: Path) -> None:
    shutil.rmtree(clone.folder / ".state", ignore_errors=True)
    result = clone.type("python", "-m", "stages.download", "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    for path in (tmp_path / "data/raw").iterdir():
        assert path.read_bytes() == (clone.folder / "data/raw" / path.name).read_bytes(), path
    assert not [path for path in (clone.folder / ".state").rglob("*") if path.is_file()]


def test_your_own_pictures_as_the_readme_has_it_and_one_picture_more(clone: Clone) -> None:
    shutil.copy(clone.folder / "presets/own.yaml", clone.folder / "params.yaml")
    own = clone.folder / "data/own"
    for name in ("cats", "dogs"):
        (own / name).mkdir()
        for i in range(30):
            (own / name / f"{i}.jpg").write_bytes(photo(1000 * len(list(own.iterdir())) + i))

    def prepare() -> list[str]:
        result = clone.type("dvc", "repro", "validate")
        assert result.returncode == 0, result.stdout + result.stderr
        return re.findall(r"Running stage '(\w+)'", result.stdout)

    def found() -> int:
        return int(json.loads((clone.folder / "data/prepared/manifest.json").read_text())["counts"]["found"])

    assert prepare() == ["download", "prepare", "validate"]
    assert found() == 60
    assert prepare() == []
    assert "data/own" not in "".join(clone.changed()), "pictures are not for Git"
    (own / "dogs/one-more.jpg").write_bytes(photo(7))
    assert prepare() == ["download", "prepare", "validate"]
    assert found() == 61
    for name in ("cats", "dogs"):
        shutil.rmtree(own / name)
    clone.git("restore", "params.yaml", "dvc.lock", "reports")
    assert clone.type("dvc", "checkout").returncode == 0
    assert clone.repro() == []


def test_plots_metrics_and_params_diff_work_in_the_clone(clone: Clone) -> None:
    shown = clone.type("dvc", "metrics", "show")
    assert shown.returncode == 0, shown.stderr
    assert "reports/metrics.json" in shown.stdout
    plots = clone.type("dvc", "plots", "show", "--json")
    assert plots.returncode == 0, plots.stderr
    for name in ("losses", "outputs", "score", "reports/samples/grid.png", "reports/evaluate/modes.csv"):
        assert f'"{name}"' in plots.stdout
    assert '"errors"' not in plots.stdout
