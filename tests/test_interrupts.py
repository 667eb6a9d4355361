"""Ctrl-C and SIGTERM in every stage: not half done, and the next run gives what an untroubled one gives."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import STAGES, Project

pytestmark = pytest.mark.slow


def contents(folder: Path) -> dict[str, bytes]:
    """Every output below a folder, by path; not the timings, and not what no stage declares."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("data", "models", "reports")
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and path.name != "timings.json"
    }


def interrupt(project: Project, stage: str, after: float, number: int) -> int | None:
    """Run a stage and send it a signal after so many seconds; its exit code, or None if it was done before."""
    process = subprocess.Popen(
        project.command(stage), cwd=project.folder, env=project.environment(), stderr=subprocess.DEVNULL
    )
    time.sleep(after)
    if process.poll() is not None:
        return None
    process.send_signal(number)
    return process.wait(timeout=60)


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_stage_leaves_all_as_it_was_and_runs_again(tiny_copy: Project, stage: str) -> None:
    before = contents(tiny_copy.folder)
    started = time.monotonic()
    assert tiny_copy.run(stage).returncode == 0
    duration = time.monotonic() - started
    assert contents(tiny_copy.folder) == before
    hits, parts, i = 0, (0.5, 0.6, 0.7, 0.8, 0.9, 0.95), 0
    while hits < 3:
        assert i < 24, "the signals never come while the stage is at work"
        number = (signal.SIGINT, signal.SIGTERM)[i % 2]
        code = interrupt(tiny_copy, stage, parts[i % len(parts)] * duration, number)
        # Killed before it had begun (a busy machine), done before the signal or in spite of it, or interrupted.
        assert code in (-number, None, 0, 130)
        duration *= {None: 0.9, -number: 1.1}.get(code, 1.0)  # runs differ: aim at the middle of this one
        hits += code == 130
        i += 1
        assert contents(tiny_copy.folder) == before
        assert not list((tiny_copy.folder / ".state/staging").iterdir())
    assert tiny_copy.run(stage).returncode == 0
    assert contents(tiny_copy.folder) == before


def test_a_stage_interrupted_at_its_first_run_leaves_no_output(tiny: Project, tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "params.yaml").symlink_to(tiny.folder / "params.yaml")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(tiny.folder / "data/raw")
    process = subprocess.Popen(
        project.command("prepare"), cwd=tmp_path, env=project.environment(), stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / ".state").glob("prepare/*/*")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint.splitlines()[-1].startswith("prepare: interrupted; nothing half-written is left.")
    assert {p.name for p in (tmp_path / "data").iterdir()} == {"raw"}
    assert not (tmp_path / "reports").exists()


def test_a_killed_stage_leaves_no_output_and_the_next_run_clears_its_traces(tiny_copy: Project) -> None:
    before = contents(tiny_copy.folder)
    process = subprocess.Popen(
        tiny_copy.command("train"), cwd=tiny_copy.folder, env=tiny_copy.environment(), stderr=subprocess.DEVNULL
    )
    while not list((tiny_copy.folder / ".state").glob("staging/*/new/reports/train/plots")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert contents(tiny_copy.folder) == before
    assert tiny_copy.run("train").returncode == 0
    assert contents(tiny_copy.folder) == before
    assert not list((tiny_copy.folder / ".state/staging").iterdir())
