"""Files written whole or not at all."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from stages import artifacts, locks, resume
from stages.errors import StageError
from stages.workspace import Workspace
from tests.conftest import ROOT


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".state"))


def test_outputs_appear_together_and_replace_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_text("old")
    with Workspace(tmp_path).outputs("data", "reports/a.txt") as new:
        new("data").mkdir()
        (new("data") / "x").write_text("x")
        new("reports/a.txt").write_text("a")
        assert (tmp_path / "data" / "old").exists(), "nothing moves before the end"
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["x"]
    assert (tmp_path / "reports" / "a.txt").read_text() == "a"
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there_and_nothing_new(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "b.txt").write_text("before")
    with pytest.raises(error), Workspace(tmp_path).outputs("a.txt", "b.txt") as new:
        new("a.txt").write_text("half")
        new("b.txt").write_text("half")
        raise error
    assert (tmp_path / "b.txt").read_text() == "before"
    assert not (tmp_path / "a.txt").exists()
    assert not leftovers(tmp_path)


def test_a_move_that_fails_half_way_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("before")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "b" and Path(target).parent == tmp_path and "new" in self.parts:
            raise PermissionError(13, "no", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PermissionError), Workspace(tmp_path).outputs("a", "b") as new:
        new("a").write_text("after")
        new("b").write_text("after")
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["before", "before"]
    assert not leftovers(tmp_path)


def test_a_top_folder_on_another_file_system_gets_its_outputs(tmp_path: Path) -> None:
    other = Path("/dev/shm")  # noqa: S108 - another file system, where there is one
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    elsewhere = Path(tempfile.mkdtemp(dir=other))
    try:
        (tmp_path / "data").symlink_to(elsewhere)
        with Workspace(tmp_path).outputs("data/a", "reports/b") as new:
            new("data/a").write_text("a")
            new("reports/b").write_text("b")
        assert (elsewhere / "a").read_text() == "a"
        assert (tmp_path / "reports/b").read_text() == "b"
        assert not leftovers(elsewhere)
    finally:
        shutil.rmtree(elsewhere)


def test_an_output_that_was_not_written_moves_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"b\.txt"), Workspace(tmp_path).outputs("a.txt", "b.txt") as new:
        new("a.txt").write_text("a")
    assert not (tmp_path / "a.txt").exists()


def test_a_path_that_was_not_announced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Workspace(tmp_path).outputs("a.txt") as new:
        new("b.txt")


WRITING = """
import pathlib, sys
from stages.workspace import Workspace
with Workspace(pathlib.Path(sys.argv[1])).outputs("b.txt") as new:
    new("b.txt").write_text("b")
    print("written", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_run_left_is_cleared_and_a_living_ones_kept(tmp_path: Path) -> None:
    staging = tmp_path / ".state" / "staging"
    (staging / f"{os.getppid()}-x" / "new").mkdir(parents=True)  # a living process's number, and none of its folders
    (staging / ".DS_Store").touch()
    killed, living = (
        subprocess.Popen(
            [sys.executable, "-c", WRITING, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    )
    for process in (killed, living):
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
    killed.kill()
    killed.wait()
    folder = next(path for path in staging.glob(f"{living.pid}-*") if path.is_dir())
    # As another machine or container sees it, where no process has that number.
    elsewhere = folder.rename(staging / "999999999-y")
    lock = folder.with_suffix(".lock").rename(elsewhere.with_suffix(".lock"))
    with Workspace(tmp_path).outputs("a.txt") as new:
        new("a.txt").write_text("a")
    assert sorted(p.name for p in staging.iterdir()) == [".DS_Store", "999999999-y", "999999999-y.lock"]
    lock.rename(folder.with_suffix(".lock"))
    elsewhere.rename(folder)
    living.communicate()
    assert living.returncode == 0
    assert (tmp_path / "b.txt").read_text() == "b"


def test_a_signal_during_the_move_waits_for_its_end(tmp_path: Path) -> None:
    script = """
import os, signal, pathlib, sys
from stages.workspace import Workspace
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background would ignore it
rename = pathlib.Path.rename
def renaming(self, target):
    os.kill(os.getpid(), signal.SIGINT)
    return rename(self, target)
pathlib.Path.rename = renaming
try:
    with Workspace(pathlib.Path(sys.argv[1])).outputs("a.txt", "b.txt") as new:
        new("a.txt").write_text("a"); new("b.txt").write_text("b")
except KeyboardInterrupt:
    sys.exit(130)
"""
    code = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False).returncode
    assert code == 128 + signal.SIGINT
    assert (tmp_path / "a.txt").exists()
    assert (tmp_path / "b.txt").exists()


def test_inputs_come_from_out_before_base(tmp_path: Path) -> None:
    out, base = tmp_path / "out", tmp_path / "base"
    for folder in (out, base):
        folder.mkdir()
        (folder / "both").touch()
    (base / "one").touch()
    workspace = Workspace(out, base)
    assert workspace.input("both") == out / "both"
    assert workspace.input("one") == base / "one"
    with pytest.raises(StageError, match=r"out/none or .*base/none: missing; `dvc repro` makes it"):
        workspace.input("none")


def test_json_holds_finite_numbers_only(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a.json", {"x": 0.5, "name": "é"})
    assert artifacts.read_json(tmp_path / "a.json") == {"x": 0.5, "name": "é"}
    with pytest.raises(StageError, match=r"b\.json: a value is not finite"):
        artifacts.write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_a_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StageError, match=r"a\.json: damaged \(no JSON"):
        artifacts.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(("value", "expected"), [(123456.789, 123457), (0.000123456789, 0.000123457), (0.0, 0.0)])
def test_rounded_keeps_six_significant_digits(value: float, expected: float) -> None:
    assert artifacts.rounded(value) == expected


def test_timings_of_stages_gather_in_one_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/timings.json").write_text("[1]")  # spoilt: begun anew
    workspace.record_timing("a", {"seconds": 1.23456})
    workspace.record_timing("b", {"seconds": 2})
    workspace.record_timing("a", {"seconds": 3})
    timings = json.loads((tmp_path / "reports" / "timings.json").read_text())
    assert timings == {"a": {"seconds": 3}, "b": {"seconds": 2}}


def test_state_lives_at_dvc_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert resume.state_folder() == tmp_path / ".state"


HOLDING = """
import sys
from stages.resume import unfinished
with unfinished("download", sys.argv[1]) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def holding(folder: Path, key: str) -> subprocess.Popen[str]:
    """Another process at some work below this folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, key],
        env={**os.environ, "DVC_ROOT": str(folder), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(folder.resolve() / ".state/download" / key)
    return process


def test_the_same_work_is_done_by_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    other = holding(tmp_path, "a")
    with pytest.raises(StageError, match=f"download/a: the same work is being done by process {other.pid}; wait"):
        resume.unfinished("download", "a").__enter__()
    told: list[str] = []

    def wait(message: str) -> None:
        assert other.poll() is None, "told before the other has ended"
        told.append(message)
        assert other.stdin is not None
        other.stdin.close()

    with resume.unfinished("download", "a", wait) as folder:
        assert other.wait() == 0, "the other has had its end"
        assert folder.is_dir(), "which did not take this one's folder"
    (message,) = told
    assert message.endswith(f"the same work is being done by process {other.pid}; waiting for it")
    assert not list((tmp_path / ".state/download").iterdir())


def test_what_nobody_took_up_for_thirty_days_goes_but_not_what_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for stage, key in (("download", "left"), ("train", "left"), ("train", "own")):
        with pytest.raises(RuntimeError), resume.unfinished(stage, key) as folder:
            (folder / "part").write_text("half")
            raise RuntimeError
    other = holding(tmp_path, "held")
    state = tmp_path / ".state"
    (state / "studies/mine").mkdir(parents=True)
    for path in state.glob("*/*"):
        os.utime(path, (0, 0))
    with resume.unfinished("train", "own") as folder:
        assert (folder / "part").read_text() == "half", "what is taken up is not old"
        left = sorted(str(path.relative_to(state)) for path in state.glob("*/*"))
        assert left == ["download/held", "download/held.lock", "studies/mine", "train/own", "train/own.lock"]
    other.communicate()
    assert other.returncode == 0


def test_what_another_user_left_stands_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    theirs = [tmp_path / ".state/features/theirs.lock", tmp_path / ".state/staging/1-theirs.lock"]
    for path in theirs:
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (0, 0))
    opened = Path.open

    def forbidden(self: Path, *arguments: Any, **options: Any) -> Any:
        if self in theirs:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", forbidden)
    with resume.unfinished("train", "mine"), Workspace(tmp_path).outputs("a.txt") as new:
        new("a.txt").write_text("a")
    assert (tmp_path / "a.txt").exists()
    assert all(path.exists() for path in theirs)


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", without)
    with pytest.raises(StageError, match=r"staging/.*\.lock: cannot be locked \(No locks available\); put the project"):
        Workspace(tmp_path).outputs("a.txt").__enter__()


AMONG_OTHERS = """
import os
from stages.resume import unfinished
from stages.workspace import Workspace
mine = str(os.getpid())
for i in range(60):
    with unfinished("train", mine), Workspace().outputs(mine) as new:
        new(mine).write_text("a")
"""


def test_folders_that_go_when_they_are_empty_go_under_nobodys_feet(tmp_path: Path) -> None:
    environment = {**os.environ, "DVC_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", AMONG_OTHERS], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    complaints = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * 4, complaints
    assert not list((tmp_path / ".state").glob("staging/*"))


def test_a_key_stands_for_the_code_that_runs_too(tmp_path: Path) -> None:
    package = tmp_path / "stages"
    package.mkdir()
    for name in ("__init__.py", "errors.py", "locks.py", "resume.py"):
        shutil.copy(ROOT / "stages" / name, package / name)
    (package / "work.py").write_text("from stages import artifacts\nprint(resume.key_of(1))\n")

    def key(*command: str) -> str:
        result = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True)
        return result.stdout

    before = key("-m", "stages.work")
    assert key("-c", "import stages.work") == before, "whichever way it is run"
    (package / "work.py").write_text("from stages import artifacts\nprint(resume.key_of(1))  # otherwise\n")
    assert key("-m", "stages.work") != before
