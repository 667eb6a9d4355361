"""A project recovers, to the same bytes, from a full disk and from accidents under DVC."""

import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.locks import is_locked
from tests.conftest import STAGES, Clone, Project, contents

pytestmark = pytest.mark.slow

MODEL = "models/generator.keras"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def free_bytes(disk: Path) -> int:
    """The free bytes of a file system."""
    return shutil.disk_usage(disk).free


@pytest.mark.parametrize("stage", ["download", *STAGES])
def test_a_full_disk_is_named_and_a_run_with_more_space_gives_the_same_bytes(
    with_pictures: Project, small_disk: Path, stage: str
) -> None:
    disk = small_disk / "project"
    shutil.copytree(with_pictures.folder, disk, ignore=shutil.ignore_patterns(".state"))
    project = Project(disk)
    needed = peak_bytes(project, stage, small_disk)
    shutil.rmtree(disk / ".state", ignore_errors=True)  # most stages leave none
    before, free = contents(disk), free_bytes(small_disk)
    for share in (0.0, 0.6):  # full from the start, and full after this share of the stage's writes
        filler = small_disk / "filler"
        with filler.open("wb") as file:
            file.truncate(0)
            os.posix_fallocate(file.fileno(), 0, max(1, free - int(share * needed)))
        result = project.run_process(stage)
        assert result.returncode == 1, (share, result.stderr)
        message = result.stderr.splitlines()[-1]
        assert message.startswith("error: "), result.stderr
        assert "No space left on device" in message
        assert str(disk) in message or ".state" in message, "the message names the place"
        assert "run the same command to continue" in message or "the previous one is intact" in message
        assert contents(disk) == before
        assert not list(disk.rglob(".state/staging/*/*"))
        filler.unlink()
        shutil.rmtree(disk / ".state", ignore_errors=True)
    assert project.run_process(stage).returncode == 0
    assert contents(disk) == before


def peak_bytes(project: Project, stage: str, disk: Path) -> int:
    """Run a stage, and return the most bytes that it occupied on a disk at any time."""
    free, most = free_bytes(disk), 0
    process = subprocess.Popen(
        project.command(stage), cwd=project.folder, env=project.environment(), stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        most = max(most, free - free_bytes(disk))
        time.sleep(0.002)
    assert process.returncode == 0
    return most


@pytest.fixture
def clone(quick_run: Clone, tmp_path: Path) -> Clone:
    """A clone in which the pipeline has run, and which a test may change."""
    return quick_run.copy(tmp_path / "project")


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_a_stage_never_writes_through_a_link_into_the_cache(clone: Clone, link: str) -> None:
    clone.output("dvc", "config", "--local", "cache.type", link)
    clone.output("dvc", "checkout", "--relink")
    model = clone.folder / "models/generator.keras"
    assert model.is_symlink() or model.stat().st_nlink > 1
    before = contents(clone.folder)
    for stage in ("prepare", "train"):
        clone.edit("params.yaml", "  seed: 0", "  seed: 1")
        clone.output("dvc", "repro", stage)
        assert contents(clone.folder) != before
        clone.git("restore", ".")
    clone.output("dvc", "checkout")
    assert contents(clone.folder) == before
    assert "Running stage" not in clone.output("dvc", "repro")
    assert clone.output("dvc", "status", "dvc.yaml").strip() == "Data and pipelines are up to date."


def test_two_repros_at_once_do_not_disturb_each_other(clone: Clone) -> None:
    before = contents(clone.folder)
    (clone.folder / "dvc.lock").unlink()
    shutil.rmtree(clone.folder / ".dvc/cache/runs")
    processes = [
        subprocess.Popen(
            ["dvc", "repro"],
            cwd=clone.folder,
            env=clone.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=500)[0] for process in processes]
    busy = re.compile("is busy, it is being blocked by|another DVC process is running")
    for process, text in zip(processes, outputs, strict=True):  # the second waits, or names the other and fails
        assert process.returncode == 0 or busy.search(text), text
    assert 0 in [process.returncode for process in processes]
    assert "Running stage" not in clone.output("dvc", "repro")
    assert contents(clone.folder) == before


def test_an_output_that_was_edited_by_hand_is_restored(clone: Clone) -> None:
    before = contents(clone.folder)
    for path in ("models/model.json", "reports/metrics.json", "data/prepared/manifest.json"):
        with (clone.folder / path).open("a") as file:
            file.write(" ")
    assert "modified:           models/model.json" in clone.output("dvc", "status", "dvc.yaml")
    clone.output("dvc", "repro")
    assert contents(clone.folder) == before


def test_the_doctor_finds_a_corrupted_object_in_the_cache_and_its_remedy_restores_it(clone: Clone) -> None:
    before = contents(clone.folder)
    md5 = hashlib.md5((clone.folder / MODEL).read_bytes(), usedforsecurity=False).hexdigest()
    cached = clone.folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    cached.chmod(0o644)
    cached.write_bytes(b"x" + cached.read_bytes()[1:])
    cached.chmod(0o444)
    (clone.folder / MODEL).unlink()
    clone.output("dvc", "checkout")
    assert contents(clone.folder) != before, "DVC checks out the corrupted object"
    assert clone.output("dvc", "status", "dvc.yaml").strip() == "Data and pipelines are up to date."
    result = clone.run("make", "doctor")
    assert result.returncode != 0
    (remedy,) = re.findall(r"→ (rm -f .*) && dvc pull   \(or dvc repro, which rebuilds it\)", result.stdout)
    assert str(cached.relative_to(clone.folder)) in remedy
    clone.output("bash", "-c", f"{remedy} && dvc repro")
    assert contents(clone.folder) == before


def test_a_kill_between_outputs_and_lock_file_loses_no_bytes(clone: Clone) -> None:
    """DVC is killed when a stage's outputs are in place, but dvc.lock does not have them yet."""
    clone.edit("params.yaml", "  first_seed: 0", "  first_seed: 5")
    lock = (clone.folder / "dvc.lock").read_text()
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=clone.folder, env=clone.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    for line in process.stdout:
        if b"sample: done in" in line:
            process.kill()
            break
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL
    assert (clone.folder / "reports/samples/grid.png").exists()
    assert (clone.folder / "dvc.lock").read_text() == lock
    clone.output("dvc", "repro")
    after = contents(clone.folder)
    shutil.rmtree(clone.folder / "reports/samples")
    shutil.rmtree(clone.folder / ".dvc/cache/runs")
    clone.output("dvc", "repro", "--force", "--downstream", "sample")
    assert contents(clone.folder) == after, "the bytes of an undisturbed run"


# Runs DVC, which kills itself in the middle of writing a file whose name ends like this.
KILL_IN_A_WRITE = """
import io, os, signal, sys
from dvc.utils.serialize import _yaml

number, share, name = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
whole = _yaml._dump

def half(data, stream):
    if not stream.name.endswith(name):
        return whole(data, stream)
    text = io.StringIO()
    whole(data, text)
    stream.write(text.getvalue()[:int(share * len(text.getvalue()))])
    stream.flush()
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup
    os.kill(os.getpid(), number)

_yaml._dump = half
from dvc.cli import main
main(["repro", "validate"])
"""


@pytest.mark.parametrize(
    ("number", "share", "name"),
    [
        (signal.SIGKILL, 0.0, "dvc.lock"),
        (signal.SIGHUP, 0.5, "dvc.lock"),
        (signal.SIGTERM, 0.99, "dvc.lock"),
        (signal.SIGKILL, 0.5, ".tmp"),
    ],
)
def test_a_kill_while_dvc_writes_its_own_files_loses_no_finished_stage(
    clone: Clone, number: int, share: float, name: str
) -> None:
    """DVC is killed while it writes dvc.lock or the run cache, after stages that ran since the last commit."""
    before = contents(clone.folder)
    clone.edit("params.yaml", "mean: [-0.45,", "mean: [-0.46,")
    clone.output("dvc", "repro", "validate")
    clone.edit("params.yaml", "mean: [-0.46,", "mean: [-0.47,")
    killed = clone.run("python", "-c", KILL_IN_A_WRITE, str(number), str(share), name)
    assert killed.returncode == -number, killed.stderr
    assert "Running stage 'validate'" in killed.stdout
    if not share:  # a file that was cut off may be readable
        assert clone.run("dvc", "status", "dvc.yaml").returncode != 0, "DVC refuses to run"
    again = [stage for stage in clone.repro() if stage not in ("play", "report")]  # their results are uncached
    assert again == ([] if name == "dvc.lock" else ["validate"]), "finished stages are in the run cache"
    assert contents(clone.folder) == before
    assert not list((clone.folder / ".dvc/cache/runs").rglob("*.tmp"))
    assert clone.output("dvc", "status", "dvc.yaml").strip() == "Data and pipelines are up to date."


def take_terminal() -> None:
    """Make stdin the terminal of this process, which ends with it even if the tests run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_closed_terminal_interrupts_a_training_which_then_resumes(clone: Clone) -> None:
    clone.edit("params.yaml", "images: 19200 ", "images: 38400 ")
    environment = {**clone.environment(), "TRAIN_CHECKPOINT_SECONDS": "0.2"}
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        ["make", "repro"],
        cwd=clone.folder,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(terminal)
    state = clone.folder / ".state"
    while not list(state.glob("train/*/*.npz")) and process.poll() is None:
        if select.select([screen], [], [], 0.05)[0]:
            os.read(screen, 1 << 16)
    os.close(screen)
    assert process.wait(60) != 0
    deadline = time.monotonic() + 60
    while any(map(is_locked, state.glob("train/*.lock"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(state.glob("train/*/*.npz"))
    clone.output("python", "-m", "tools.mend")
    assert "resuming from the checkpoint after" in clone.output("dvc", "repro", "train")
