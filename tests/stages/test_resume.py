"""Unfinished work: one process at a time continues it, and abandoned work is removed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages import resume
from stages.errors import StageError
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that DVC_ROOT names as the project."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_unfinished_work_is_kept_below_dvc_root(project: Path) -> None:
    assert resume.state_folder() == project / ".state"


WORKING = """
import sys
from stages.resume import unfinished
with unfinished("download", sys.argv[1]) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def start_work(project: Path, key: str) -> subprocess.Popen[str]:
    """Start another process that holds some unfinished work until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKING, key],
        env={**os.environ, "DVC_ROOT": str(project), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(project.resolve() / ".state/download" / key)
    return process


def test_the_error_for_work_that_another_process_is_doing_names_the_process(project: Path) -> None:
    other = start_work(project, "a")
    expected = f"download/a: process {other.pid} is doing the same work; wait until it ends, or stop it"
    with pytest.raises(StageError, match=expected):
        resume.unfinished("download", "a").__enter__()
    other.communicate()
    assert other.returncode == 0


def test_a_process_can_wait_for_another_that_does_the_same_work(project: Path) -> None:
    other = start_work(project, "a")
    messages: list[str] = []

    def end_the_other(message: str) -> None:
        assert other.poll() is None, "the message comes while the other process still works"
        messages.append(message)
        assert other.stdin is not None
        other.stdin.close()

    with resume.unfinished("download", "a", end_the_other) as folder:
        assert other.wait() == 0, "the other process has ended"
        assert folder.is_dir(), "the other process has not removed this one's folder"
    (message,) = messages
    assert message.endswith(f"process {other.pid} is doing the same work; waiting until it ends")
    assert not list((project / ".state/download").iterdir())


def test_work_abandoned_for_thirty_days_is_removed_unless_a_process_holds_it(project: Path) -> None:
    for stage, key in (("download", "abandoned"), ("train", "abandoned"), ("train", "own")):
        with pytest.raises(RuntimeError), resume.unfinished(stage, key) as folder:
            (folder / "part").write_text("half")
            raise RuntimeError
    other = start_work(project, "held")
    state = project / ".state"
    (state / "studies/mine").mkdir(parents=True)
    for path in state.glob("*/*"):
        os.utime(path, (0, 0))
    with resume.unfinished("train", "own") as folder:
        assert (folder / "part").read_text() == "half", "work that is continued is not abandoned"
        remaining = sorted(str(path.relative_to(state)) for path in state.glob("*/*"))
        assert remaining == ["download/held", "download/held.lock", "studies/mine", "train/own", "train/own.lock"]
    other.communicate()
    assert other.returncode == 0


def test_a_key_changes_with_the_loaded_code(tmp_path: Path) -> None:
    package = tmp_path / "stages"
    package.mkdir()
    for name in ("__init__.py", "errors.py", "locks.py", "resume.py"):
        shutil.copy(ROOT / "stages" / name, package / name)
    (package / "work.py").write_text("from stages import resume\nprint(resume.key_of(1))\n")

    def key(*command: str) -> str:
        result = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True)
        return result.stdout

    before = key("-m", "stages.work")
    assert key("-c", "import stages.work") == before, "running a module and importing it give the same key"
    (package / "work.py").write_text("from stages import resume\nprint(resume.key_of(1))  # changed\n")
    assert key("-m", "stages.work") != before
