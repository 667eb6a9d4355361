"""Ctrl-C, SIGTERM, SIGHUP and kill -9 in every stage: outputs stay whole, and the next run gives the same bytes."""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import STAGES, Project, contents

pytestmark = pytest.mark.slow


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files with a short path: it holds sockets, whose paths have a limit."""
    # The workers of a killed stage may still be removing files.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def start_stage(project: Project, stage: str, temporary: Path) -> subprocess.Popen[bytes]:
    """Start a stage and wait until it catches signals, which it does once its modules are loaded."""
    environment = {**project.environment(), "TMPDIR": str(temporary)}
    process = subprocess.Popen(project.command(stage), cwd=project.folder, env=environment, stderr=subprocess.DEVNULL)
    while not handles_sigterm(process, "SigCgt") and process.poll() is None:
        time.sleep(0.0005)
    return process


def handles_sigterm(process: subprocess.Popen[bytes], field: str) -> bool:
    """Whether a process catches (field SigCgt) or ignores (SigIgn) SIGTERM, see proc(5)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    mask = next(
        (line.split()[1] for line in status.splitlines() if line.startswith(field)), "0"
    )  # a zombie has no such line
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the test needs /proc to know when to interrupt")
@pytest.mark.parametrize("stage", ["download", *STAGES])
def test_an_interrupted_stage_leaves_its_outputs_unchanged_and_runs_again(
    with_pictures: Project, stage: str, temporary: Path
) -> None:
    if stage == "download":
        assert with_pictures.run_process(stage).returncode == 0  # the tiny project has no output of download
    before = contents(with_pictures.folder)
    process = start_stage(with_pictures, stage, temporary)
    started = time.monotonic()
    while not handles_sigterm(process, "SigIgn") and process.poll() is None:  # it ignores signals once its work is done
        time.sleep(0.0005)
    duration = time.monotonic() - started
    assert process.wait() == 0
    assert contents(with_pictures.folder) == before
    assert not list(temporary.iterdir())
    hits, draw = 0, random.Random(0)  # noqa: S311 - random moments, not secrets
    for i in range(12):
        own_temporary = Path(tempfile.mkdtemp(dir=temporary))
        process = start_stage(with_pictures, stage, own_temporary)
        time.sleep(draw.uniform(0, 1) * duration)
        number = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP)[i % 4]
        process.send_signal(number)
        code = process.wait(timeout=60)
        # 0: the stage ended before the signal. SIGABRT, at most once in a hundred times: presumably the exception was
        # raised in a callback of TensorFlow, which aborts the process. The outputs stay whole, as after a kill.
        codes = [-signal.SIGKILL] if number == signal.SIGKILL else [130, -signal.SIGABRT]
        assert code in (0, *codes)
        hits += code != 0
        assert contents(with_pictures.folder) == before
        if code == 130:  # otherwise the next run removes the leftovers
            assert not list(with_pictures.folder.glob(".state/staging/*"))
            assert not list(own_temporary.iterdir())
        if hits == 4:  # one of each signal
            break
    assert hits >= 3
    assert with_pictures.run_process(stage).returncode == 0
    assert contents(with_pictures.folder) == before
    assert not list(with_pictures.folder.glob(".state/staging/*"))


def test_a_stage_interrupted_in_its_first_run_leaves_no_output(tiny: Project, tmp_path: Path) -> None:
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
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("prepare: interrupted; no half-written file is left.")
    assert {p.name for p in (tmp_path / "data").iterdir()} == {"raw"}
    assert not (tmp_path / "reports").exists()


INTERRUPT_AT_THE_START_OF_A_WORKER = """
import os, runpy, signal, sys
from multiprocessing.process import BaseProcess

start, remaining = BaseProcess.start, int(sys.argv.pop())

def start_and_interrupt(self):
    global remaining
    start(self)
    remaining -= 1
    if not remaining:
        os.kill(os.getpid(), signal.SIGINT)

BaseProcess.start = start_and_interrupt
runpy.run_module("stages.prepare", run_name="__main__")
"""


@pytest.mark.parametrize("worker", ["1", "2"])
def test_an_interrupt_while_the_workers_start_ends_the_stage_and_the_workers(tiny_copy: Project, worker: str) -> None:
    before = contents(tiny_copy.folder)
    command = [sys.executable, "-c", INTERRUPT_AT_THE_START_OF_A_WORKER, worker]
    environment = {**tiny_copy.environment(), "PREPARE_WORKERS": "2"}
    process = subprocess.run(  # waits for every process that holds stderr
        command, cwd=tiny_copy.folder, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert process.returncode == 130
    assert process.stderr.splitlines()[-1].startswith("prepare: interrupted; no half-written file is left.")
    assert "Traceback" not in process.stderr
    assert contents(tiny_copy.folder) == before


def test_the_next_run_removes_the_files_of_a_killed_stage(tiny_copy: Project) -> None:
    before = contents(tiny_copy.folder)
    process = subprocess.Popen(
        tiny_copy.command("train"), cwd=tiny_copy.folder, env=tiny_copy.environment(), stderr=subprocess.DEVNULL
    )
    while not list((tiny_copy.folder / ".state").glob("staging/*/new/reports/train/plots")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert contents(tiny_copy.folder) == before
    assert tiny_copy.run_process("train").returncode == 0
    assert contents(tiny_copy.folder) == before
    assert not list(tiny_copy.folder.glob(".state/staging/*"))


@pytest.mark.timeout(1800)
def test_a_training_killed_ten_times_gives_the_bytes_of_an_uninterrupted_one(tiny_copy: Project) -> None:
    """kill -9 at random moments: at the start, in a step, a score or a checkpoint; once while it writes outputs."""
    params = tiny_copy.folder / "params.yaml"
    params.write_text(
        params.read_text()
        .replace("images: 640,", "images: 48000, guard: rollback,")
        .replace("every: 320", "every: 1600")
    )
    assert tiny_copy.run_process("train").returncode == 0
    expected = contents(tiny_copy.folder)
    draw = random.Random(0)  # noqa: S311 - random moments, not secrets
    environment = {**tiny_copy.environment(), "TRAIN_CHECKPOINT_SECONDS": "0.2"}
    state, resumed, kills = tiny_copy.folder / ".state/train", 0, 0
    while kills < 10:
        before, log = set(state.glob("*/*.npz")), tiny_copy.folder / "log.txt"
        with log.open("w") as file:
            process = subprocess.Popen(tiny_copy.command("train"), cwd=tiny_copy.folder, env=environment, stderr=file)
        if kills % 4:  # three of four after training has begun, the fourth during the start
            while set(state.glob("*/*.npz")) <= before and process.poll() is None:
                time.sleep(0.01)
        time.sleep(draw.uniform(0, 1.5 if kills % 4 else 8))
        process.kill()
        code = process.wait()
        assert code in (-signal.SIGKILL, 0), log.read_text()  # 0: the training ended before the kill
        kills += code != 0
        resumed += "resuming from the checkpoint after" in log.read_text()
        assert contents(tiny_copy.folder) == expected, "the earlier outputs stay"
    assert resumed >= 4, "most were killed during training"
    process = subprocess.Popen(
        tiny_copy.command("train"), cwd=tiny_copy.folder, env=environment, stderr=subprocess.DEVNULL
    )
    while (
        not list((tiny_copy.folder / ".state").glob("staging/*/new/models/generator.keras")) and process.poll() is None
    ):
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    for path in (tiny_copy.folder / "models").glob("*.keras"):
        path.unlink()  # the last run must write them again
    result = tiny_copy.run_process("train")
    assert result.returncode == 0, result.stderr
    assert "resuming from the checkpoint after" in result.stderr
    assert contents(tiny_copy.folder) == expected
    assert not list(state.glob("*")), "a finished training leaves no unfinished work"
    curve = pd.read_csv(tiny_copy.folder / "reports/train/plots/metrics/loss/generator.tsv", sep="\t")
    assert curve["step"].is_unique
    assert curve["step"].is_monotonic_increasing


def test_a_second_training_is_refused_and_one_with_other_params_starts_from_scratch(tiny_copy: Project) -> None:
    params = tiny_copy.folder / "params.yaml"
    params.write_text(params.read_text().replace("images: 640,", "images: 640000,"))
    environment = {**tiny_copy.environment(), "TRAIN_CHECKPOINT_SECONDS": "0"}
    first = subprocess.Popen(
        tiny_copy.command("train"), cwd=tiny_copy.folder, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        while len(list((tiny_copy.folder / ".state/train").glob("*/*.npz"))) < 2:
            assert first.poll() is None
            time.sleep(0.05)
        second = tiny_copy.run_process("train")
        assert second.returncode == 1
        assert f"process {first.pid} is doing the same work" in second.stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    params.write_text(params.read_text().replace("images: 640000,", "images: 640, optimizer: {beta_1: 0.4},"))
    result = tiny_copy.run_process("train")
    assert result.returncode == 0, result.stderr
    assert "resuming" not in result.stderr
    assert len(list((tiny_copy.folder / ".state/train").glob("*/*.npz"))) >= 2, (
        "the unfinished work of the old params stays"
    )
