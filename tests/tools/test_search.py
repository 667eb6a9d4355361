"""tools/search: the space, trials that repeat and resume, failures, the bound of time, and the preset."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import params
from stages.errors import StageError
from stages.train.settings import OptimizerSettings, Settings
from tests.conftest import ROOT, Clone, git
from tests.git_project import commit
from tools.search import __main__ as search
from tools.search import experiment, preset
from tools.search import space as spaces
from tools.search.experiment import TrialError

optuna = pytest.importorskip("optuna", reason="the extra [search] is not installed")
from tools.search.study import Study  # noqa: E402 - it imports Optuna

BASE = Settings(optimizer=OptimizerSettings(generator_learning_rate=(0.002, 0.0001), burn_in=9000))
RATE = "train.optimizer.generator_learning_rate"
SPACE: spaces.Space = {
    "train.loss.r1": spaces.Range(0.0, 4.0, log=False, whole=False),
    "train.batch_size": spaces.Range(16, 256, log=True, whole=True),
    "train.loss.name": spaces.Choice(("hinge", "minimax")),
}
Point = dict[str, Any]


def read(folder: Path, text: str) -> spaces.Space:
    """The space of a file with this text."""
    (folder / "space.yaml").write_text(text)
    return spaces.read(folder / "space.yaml", BASE)


def score(number: int, point: Point) -> float:
    """An objective with its minimum at r1 = 3, a batch of 16 and hinge."""
    return (point["train.loss.r1"] - 3) ** 2 + point["train.batch_size"] / 64 + (point["train.loss.name"] != "hinge")


def run(folder: Path, trials: int, objective: Callable[[int, Point], float] = score, **options: Any) -> Study:
    """Search in the study of a folder."""
    study = Study(folder, "search", "a key", SPACE)
    search.search(
        study, search.Wish(trials, options.pop("minutes", 1e9), 640), options.pop("first", None), objective, **options
    )
    return study


def points(study: Study) -> list[Point]:
    """The points of the finished trials, in order."""
    return [study.point(trial) for trial in study.trials]


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_default_space_fits_every_preset(path: Path) -> None:
    spaces.read(ROOT / "tools/search/space.yaml", params.load(path, "train", Settings))


def test_a_space_has_numbers_whole_numbers_and_choices(tmp_path: Path) -> None:
    text = """
    train:
      batch_size: {low: 16, high: 256, log: true}
      loss: {r1: {low: 0, high: 4}, name: [hinge, minimax]}
    """
    assert read(tmp_path, text) == SPACE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {optimizer: {learning_rate: [0.1, 0.2]}}", "train.optimizer.learning_rate: unknown key; did you mean"),
        ("prepare: {size: [16, 32]}", "prepare: only keys of train"),
        ("train: {images: [1, 2]}", "train.images: cannot be varied: IMAGES"),
        ("train: {seed: [1, 2]}", "train.seed: cannot be varied: the best of several seeds"),
        ("train: {loss: {r1: {low: 2, high: 1}}}", "train.loss.r1: expected low below high, got 2 and 1"),
        ("train: {loss: {r1: {low: 0, high: 1, log: true}}}", "train.loss.r1: a logarithmic range begins above 0"),
        ("train: {loss: {r1: {low: -1, high: 1}}}", "train.loss.r1: expected greater than or equal to 0, got -1"),
        ("train: {loss: {r1: {low: 1, hihg: 2}}}", "train.loss.r1: expected {low: …, high: …}"),
        ("train: {loss: {r1: {low: 1, high: 2, log: 3}}}", "train.loss.r1: log: expected true or false, got 3"),
        ("train: {loss: {r1: 3}}", "train.loss.r1: expected {low: …, high: …}"),
        ("train: {loss: {r1: [3]}}", "train.loss.r1: expected at least two different values"),
        ("train: {loss: {name: [hinge, hnige]}}", "train.loss.name: expected 'non_saturating'"),
        ("train: {loss: {name: {low: hinge, high: minimax}}}", "train.loss.name: a range is of numbers; list"),
        ("train: {batch_size: {low: 16, high: 32.5}}", "train.batch_size: expected a valid integer, got 32.5"),
        ("train: {loss: 3}", "train.loss: expected keys with their ranges, got 3"),
        ("train: {}", "no keys; name at least one"),
    ],
)
def test_a_mistake_in_the_space_names_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StageError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/space.yaml: {message}")


def test_a_number_replaces_the_start_of_a_pair(tmp_path: Path) -> None:
    space = read(tmp_path, "train: {optimizer: {generator_learning_rate: {low: 0.001, high: 0.01}}}")
    assert spaces.current(space, BASE) == {RATE: 0.002}
    assert spaces.values({RATE: 0.005}, space, BASE) == {RATE: [0.005, 0.0001]}


def test_a_pair_among_choices_replaces_the_whole_value(tmp_path: Path) -> None:
    space = read(tmp_path, "train: {optimizer: {generator_learning_rate: [0.001, [0.004, 0.002]]}}")
    assert spaces.values({RATE: (0.004, 0.002)}, space, BASE) == {RATE: [0.004, 0.002]}


def test_settings_outside_of_the_space_are_no_point_of_it(tmp_path: Path) -> None:
    assert spaces.current(read(tmp_path, "train: {loss: {r1: {low: 1, high: 2}}}"), BASE) is None


def test_a_drawn_number_has_three_digits_and_stays_in_the_range() -> None:
    range_ = spaces.Range(0.0012345, 0.0056781, log=True, whole=False)
    assert [range_.rounded(value) for value in (0.00345678, 0.0012345, 0.0056781)] == [0.00346, 0.0012345, 0.0056781]


def test_the_first_trial_is_the_params_as_they_are(tmp_path: Path) -> None:
    first = {"train.loss.r1": 1.25, "train.batch_size": 100, "train.loss.name": "minimax"}
    assert points(run(tmp_path, 2, first=first))[0] == first


def test_an_interrupted_search_tries_the_same_points_as_one_that_was_not(tmp_path: Path) -> None:
    def interrupted(number: int, point: Point) -> float:
        if number == 7:
            raise KeyboardInterrupt
        return score(number, point)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", 9, interrupted)
    assert points(run(tmp_path / "a", 9)) == points(run(tmp_path / "b", 9))


def test_a_search_learns_from_its_trials(tmp_path: Path) -> None:
    study = run(tmp_path, 25)
    scores = [trial.value for trial in study.trials]
    assert sorted(scores[-10:])[5] < sorted(scores[:5])[2], "the median of the last ten, and of the random ones"


def test_a_failed_trial_is_kept_with_its_reason_and_the_search_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails_once(number: int, point: Point) -> float:
        if number == 1:
            raise TrialError("the loss is not finite")
        return float(number)

    study = run(tmp_path, 3, fails_once)
    assert [trial.value for trial in study.trials] == [0.0, None, 2.0]
    search._summary(study, "search")
    assert "failed: trial 2 (search-2): the loss is not finite" in capsys.readouterr().err


def test_a_search_without_any_score_fails(tmp_path: Path) -> None:
    def fails(number: int, point: Point) -> float:
        raise TrialError("never")

    with pytest.raises(StageError, match="no trial has a score"):
        search._summary(run(tmp_path, 2, fails), "search")


def test_the_lines_say_the_score_the_best_and_the_time_that_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]

    def minute(number: int, point: Point) -> float:
        now[0] += 60
        return [5.0, 4.0, 7.0][number]

    run(tmp_path, 4, minute, minutes=3.5, clock=lambda: now[0])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("trial 1 of 4: train.loss.r1=")
    assert lines[1::2] == [
        "  score 5; best 5 (trial 1); at most 2.5 min left",
        "  score 4; best 4 (trial 2); at most 1.5 min left",
        "  score 7; best 4 (trial 2); at most 0.5 min left",
    ]
    assert lines[-1] == (
        "search: stopping before trial 4 of 4: a trial takes about 1.0 min, and 0.5 of 3.5 min are left. Run the same "
        "command to continue."
    )


def test_a_finished_search_runs_nothing_more(tmp_path: Path) -> None:
    def fails(number: int, point: Point) -> float:
        raise AssertionError

    run(tmp_path, 2)
    assert len(run(tmp_path, 2, fails).trials) == 2


@pytest.mark.parametrize("changed", ["key", "space"])
def test_a_search_of_something_else_is_not_continued(tmp_path: Path, changed: str) -> None:
    run(tmp_path, 1)
    space = {**SPACE, "train.loss.r1": spaces.Range(0.0, 5.0, log=False, whole=False)} if changed == "space" else SPACE
    with pytest.raises(StageError, match=r"search\.db: this search is of another space, other params.*another NAME"):
        Study(tmp_path, "search", "another key" if changed == "key" else "a key", space)


@pytest.mark.parametrize("place", ["start", "middle"])
def test_a_damaged_study_is_named(tmp_path: Path, place: str) -> None:
    run(tmp_path, 2)
    path = tmp_path / "search.db"
    content = bytearray(path.read_bytes())
    content[slice(0, 50) if place == "start" else slice(4096, None)] = b"\xff" * (50 if place == "start" else 9999)
    path.write_bytes(content)
    with pytest.raises(StageError, match=r"search\.db: damaged .*; delete it to search from scratch"):
        Study(tmp_path, "search", "a key", SPACE)


def test_without_optuna_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "tools.search.study")
    with pytest.raises(StageError, match=r"^make search needs optuna: \.venv/bin/pip install -e '\.\[search\]'$"):
        importlib.import_module("tools.search.study")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("0", "", ""), "N: expected a whole number of at least 1"),
        (("2.5", "", ""), "N: expected a whole number"),
        (("2", "nan", ""), "MINUTES: expected a number of minutes"),
        (("2", "-1", ""), "MINUTES: expected"),
        (("2", "1", "many"), "IMAGES: expected a whole number"),
    ],
)
def test_a_bad_number_on_the_command_line_is_named(words: tuple[str, str, str], message: str) -> None:
    with pytest.raises(StageError, match=message):
        search.wish(*words, whole=1000)


def test_a_trial_has_a_tenth_of_the_images_unless_the_user_says_more() -> None:
    assert search.wish("2", "1.5", "", whole=1000) == search.Wish(2, 1.5, 100)
    assert search.wish("2", "", "640", whole=1000) == search.Wish(2, float("inf"), 640)


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's params, in which the test runs."""
    (tmp_path / "params.yaml").write_text((ROOT / "presets/default.yaml").read_text())
    (tmp_path / "presets").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_preset_differs_from_the_params_in_the_best_values_alone(presets: Path) -> None:
    preset.write(Path("presets/search.yaml"), Path("params.yaml"), {RATE: [0.003, 0.0001]}, ["score 5", "more"])
    expected = yaml.safe_load(Path("params.yaml").read_text())
    expected["train"]["optimizer"]["generator_learning_rate"] = [0.003, 0.0001]
    text = Path("presets/search.yaml").read_text()
    assert yaml.safe_load(text) == expected
    assert text.startswith("# Found by `make search`: score 5\n# more\n\ndataset:")
    assert "# of both optimizers" in text, "the comments of the keys stay"


def test_a_preset_with_a_bad_value_is_not_written(presets: Path) -> None:
    with pytest.raises(params.ParamsError, match=r"train\.batch_size"):
        preset.write(Path("presets/search.yaml"), Path("params.yaml"), {"train.batch_size": 0}, ["score 5"])
    assert not list(Path("presets").iterdir())


def test_a_preset_of_the_users_own_is_not_replaced(presets: Path) -> None:
    Path("presets/mine.yaml").write_text("# My recipe\n")
    with pytest.raises(StageError, match=r"presets/mine\.yaml: exists, and no search wrote it; choose another NAME"):
        preset.require_free(Path("presets/mine.yaml"))


@pytest.mark.parametrize("name", ["", "1x", "../mine", "a b"])
def test_a_name_that_no_experiment_can_have_is_an_error(name: str) -> None:
    with pytest.raises(StageError, match=r"^NAME: expected a letter, then letters, digits, - or _"):
        search.run(name, Path("space.yaml"), "1", "", "")


def test_values_that_do_not_go_together_are_a_failed_trial(presets: Path) -> None:
    with pytest.raises(TrialError, match=r"^train\.loss\.label_smoothing"):
        search._check({"train.loss.name": "hinge", "train.loss.label_smoothing": 0.1})


CHANGES = {"train.optimizer.beta_1": 0.25, "train.images": 640}


@pytest.fixture
def with_experiment(git_project: Path) -> Path:
    """A project whose experiment search-1 has the params CHANGES and the Fréchet distance 7."""
    head = git(git_project, "rev-parse", "HEAD")
    (git_project / "params.yaml").write_text("report: {title: 1}\ntrain: {images: 640, optimizer: {beta_1: 25e-2}}\n")
    (git_project / "reports/metrics.json").write_text(json.dumps({"fid": 7.0, "swd": 3.0}))
    commit(git_project)
    git(git_project, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/search-1", "HEAD")
    git(git_project, "reset", "-q", "--hard", head)
    (git_project / "params.yaml").write_text("report: {title: 1}\ntrain: {images: 9000}\n")
    return git_project


def test_an_experiment_that_has_run_is_not_run_again(with_experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(experiment, "run_to_its_end")
    assert experiment.score_of("search-1", CHANGES, with_experiment / "log") == 7.0


def test_an_experiment_of_this_name_with_other_params_is_an_error(with_experiment: Path) -> None:
    with pytest.raises(StageError, match="an experiment search-1 with other params exists: `dvc exp remove search-1`"):
        experiment.score_of("search-1", {**CHANGES, "train.optimizer.beta_1": 0.75}, with_experiment / "log")


@pytest.mark.parametrize(
    ("log", "error"),
    [
        (
            "error: train: no\nERROR: failed to reproduce 'train': failed to run: x, exited with 1\n",
            TrialError("train: no"),
        ),
        (
            "ERROR: Unable to acquire lock.\n",
            StageError(
                "the experiment search-2 did not run: Unable to acquire lock. (log); run the same command again"
            ),
        ),
    ],
)
def test_only_a_failed_stage_is_a_failed_trial(
    with_experiment: Path, monkeypatch: pytest.MonkeyPatch, log: str, error: StageError
) -> None:
    def fails(command: list[str], file: Path) -> int:
        file.write_text(log)
        return 1

    monkeypatch.setattr(experiment, "run_to_its_end", fails)
    with pytest.raises(StageError) as raised:
        experiment.score_of("search-2", CHANGES, Path("log"))
    assert type(raised.value) is type(error)
    assert str(raised.value).startswith(str(error))


def test_an_interrupt_waits_for_the_end_of_the_command(tmp_path: Path) -> None:
    loop = "trap 'sleep 0.3; touch ended; exit' INT; touch began; while true; do sleep 0.05; done"
    code = (
        "import signal; from pathlib import Path; from tools.search import experiment\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        f"experiment.run_to_its_end(['bash', '-c', {loop!r}], Path('log'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while not (tmp_path / "began").exists():
        time.sleep(0.02)
    process.terminate()
    process.wait()
    assert (tmp_path / "ended").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_of_a_project_is_interrupted_and_continued(quick_run: Clone, tmp_path: Path) -> None:
    clone = quick_run.copy(tmp_path / "project")
    command = ["make", "search", "N=2", "IMAGES=640"]
    log = clone.folder / ".state/search/search-2.log"
    process = subprocess.Popen(command, cwd=clone.folder, env=clone.environment(), start_new_session=True)
    while not log.exists() or "Running stage 'train'" not in log.read_text():
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() in (2, -signal.SIGINT), "make ends with a failure, or by the same signal"
    assert clone.changed() == []
    output = clone.output(*command)
    assert "search: continuing .state/search/search.db after 1 trials" in output
    assert clone.changed() == ["presets/search.yaml"]
    params.check(clone.folder / "presets/search.yaml")
    table = clone.output("make", "experiments", "SORT=fid", "FORMAT=csv").splitlines()
    scores = {line.split(",")[0]: line for line in table if line.startswith("search-")}
    assert set(scores) == {"search-1", "search-2"}
    assert "trial 2 of 2" not in clone.output(*command), "nothing is left to do"
