"""The outputs of a stage appear together and whole, or not at all."""

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

from stages import resume
from stages.errors import StageError
from stages.workspace import Workspace
from tests.conftest import ROOT


def test_outputs_appear_together_and_replace_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_text("old")
    with Workspace(tmp_path).outputs("data", "reports/a.txt") as new:
        new("data").mkdir()
        (new("data") / "x").write_text("x")
        new("reports/a.txt").write_text("a")
        assert (tmp_path / "data" / "old").exists(), "nothing moves before the end"
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["x"]
    assert (tmp_path / "reports" / "a.txt").read_text() == "a"
    assert not (tmp_path / ".state").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_keeps_earlier_outputs_and_leaves_no_new_ones(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "b.txt").write_text("before")
    with pytest.raises(error), Workspace(tmp_path).outputs("a.txt", "b.txt") as new:
        new("a.txt").write_text("half")
        new("b.txt").write_text("half")
        raise error
    assert (tmp_path / "b.txt").read_text() == "before"
    assert not (tmp_path / "a.txt").exists()
    assert not (tmp_path / ".state").exists()


def test_a_move_that_fails_halfway_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("before")
    rename = Path.rename

    def fail_at_b(self: Path, target: Path) -> Path:
        if self.name == "b" and Path(target).parent == tmp_path and "new" in self.parts:
            raise PermissionError(13, "no", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_b)
    with pytest.raises(PermissionError), Workspace(tmp_path).outputs("a", "b") as new:
        new("a").write_text("after")
        new("b").write_text("after")
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["before", "before"]
    assert not (tmp_path / ".state").exists()


def test_a_top_folder_on_another_file_system_gets_its_outputs(tmp_path: Path) -> None:
    other = Path("/dev/shm")  # noqa: S108 - a second file system on most systems
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
        assert not (elsewhere / ".state").exists()
    finally:
        shutil.rmtree(elsewhere)


def test_no_output_moves_when_one_was_not_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"b\.txt"), Workspace(tmp_path).outputs("a.txt", "b.txt") as new:
        new("a.txt").write_text("a")
    assert not (tmp_path / "a.txt").exists()


def test_only_a_declared_output_has_a_path(tmp_path: Path) -> None:
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


def test_the_files_of_a_killed_run_are_removed_and_those_of_a_running_one_kept(tmp_path: Path) -> None:
    staging = tmp_path / ".state" / "staging"
    (staging / f"{os.getppid()}-x" / "new").mkdir(parents=True)  # the number of a live process that has no folder here
    (staging / ".DS_Store").touch()
    killed, running = (
        subprocess.Popen(
            [sys.executable, "-c", WRITING, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    )
    for process in (killed, running):
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
    killed.kill()
    killed.wait()
    folder = next(path for path in staging.glob(f"{running.pid}-*") if path.is_dir())
    # Another machine or container sees it like this: no process there has that number.
    elsewhere = folder.rename(staging / "999999999-y")
    lock = folder.with_suffix(".lock").rename(elsewhere.with_suffix(".lock"))
    with Workspace(tmp_path).outputs("a.txt") as new:
        new("a.txt").write_text("a")
    assert sorted(p.name for p in staging.iterdir()) == [".DS_Store", "999999999-y", "999999999-y.lock"]
    lock.rename(folder.with_suffix(".lock"))
    elsewhere.rename(folder)
    running.communicate()
    assert running.returncode == 0
    assert (tmp_path / "b.txt").read_text() == "b"


def test_a_signal_during_the_move_waits_for_its_end(tmp_path: Path) -> None:
    script = """
import os, signal, pathlib, sys
from stages.workspace import Workspace
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process of a shell ignores it
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


def test_the_error_for_a_missing_input_names_every_possible_path(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"out/x or .*base/x: missing; run `dvc repro` to make it"):
        Workspace(tmp_path / "out", tmp_path / "base").input("x")


def test_the_timings_of_all_stages_go_to_one_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.record_timing("a", {"seconds": 1.23456})
    workspace.record_timing("b", {"seconds": 2})
    workspace.record_timing("a", {"seconds": 3})
    timings = json.loads((tmp_path / "reports" / "timings.json").read_text())
    assert timings == {"a": {"seconds": 3}, "b": {"seconds": 2}}


def test_a_damaged_timings_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/timings.json").write_text("[1]")
    Workspace(tmp_path).record_timing("a", {"seconds": 1.23456})
    assert json.loads((tmp_path / "reports/timings.json").read_text()) == {"a": {"seconds": 1.235}}


def test_files_of_another_user_do_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    theirs = [tmp_path / ".state/features/theirs.lock", tmp_path / ".state/staging/1-theirs.lock"]
    for path in theirs:
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (0, 0))
    open_path = Path.open

    def refuse_theirs(self: Path, *arguments: Any, **options: Any) -> Any:
        if self in theirs:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return open_path(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse_theirs)
    with resume.unfinished("train", "mine"), Workspace(tmp_path).outputs("a.txt") as new:
        new("a.txt").write_text("a")
    assert (tmp_path / "a.txt").exists()
    assert all(path.exists() for path in theirs)


REPEATING = """
import os
from stages.resume import unfinished
from stages.workspace import Workspace
mine = str(os.getpid())
for i in range(60):
    with unfinished("train", mine), Workspace().outputs(mine) as new:
        new(mine).write_text("a")
"""


def test_processes_that_remove_empty_folders_do_not_disturb_each_other(tmp_path: Path) -> None:
    environment = {**os.environ, "DVC_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", REPEATING], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert not list((tmp_path / ".state").glob("staging/*"))
