"""A full disk in every stage, and what can befall a project under DVC: the same bytes in the end."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
        pytest.skip("a file system of limited size can be mounted by root only")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def room(disk: Path) -> int:
    """The bytes that are free on a file system."""
    return shutil.disk_usage(disk).free


@pytest.mark.parametrize("stage", ["download", *STAGES])
def test_a_full_disk_is_said_leaves_all_as_it_was_and_a_larger_one_ends_in_the_same_bytes(
    with_pictures: Project, small_disk: Path, stage: str
) -> None:
    disk = small_disk / "project"
    shutil.copytree(with_pictures.folder, disk, ignore=shutil.ignore_patterns(".state"))
    project = Project(disk)
    assert project.run(stage).returncode == 0
    shutil.rmtree(disk / ".state", ignore_errors=True)  # there is none where a stage leaves nothing
    before, free = contents(disk), room(small_disk)
    needed = needs(project, stage, small_disk)
    for share in (0.0, 0.6):  # full from the start, and full when so much of the stage's work is written
        filler = small_disk / "filler"
        with filler.open("wb") as file:
            file.truncate(0)
            os.posix_fallocate(file.fileno(), 0, max(1, free - int(share * needed)))
        result = project.run(stage)
        assert result.returncode == 1, (share, result.stderr)
        complaint = result.stderr.splitlines()[-1]
        assert complaint.startswith("error: "), result.stderr
        assert "No space left on device" in complaint
        assert str(disk) in complaint or ".state" in complaint, "it names the place"
        assert "run the same command to go on" in complaint or "the one before it is whole" in complaint
        assert contents(disk) == before
        assert not list(disk.rglob(".state/staging/*/*"))
        filler.unlink()
        shutil.rmtree(disk / ".state", ignore_errors=True)
    assert project.run(stage).returncode == 0
    assert contents(disk) == before


def needs(project: Project, stage: str, disk: Path) -> int:
    """The most bytes that a stage holds on a disk at a time, besides what lay there before."""
    free, most = room(disk), 0
    process = subprocess.Popen(
        project.command(stage), cwd=project.folder, env=project.environment(), stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        most = max(most, free - room(disk))
        time.sleep(0.002)
    assert process.returncode == 0
    return most


@pytest.fixture
def clone(quick_run: Clone, tmp_path: Path) -> Clone:
    """A clone in which the pipeline has run, to be spoilt."""
    return quick_run.copied(tmp_path / "project")


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_a_cache_of_read_only_links_is_never_written_through(clone: Clone, link: str) -> None:
    clone.typed("dvc", "config", "--local", "cache.type", link)
    clone.typed("dvc", "checkout", "--relink")
    model = clone.folder / "models/generator.keras"
    assert model.is_symlink() or model.stat().st_nlink > 1
    before = contents(clone.folder)
    for stage in ("prepare", "train"):
        clone.edit("params.yaml", "  seed: 0", "  seed: 1")
        clone.typed("dvc", "repro", stage)
        assert contents(clone.folder) != before
        clone.git("restore", ".")
    clone.typed("dvc", "checkout")
    assert contents(clone.folder) == before
    assert "Running stage" not in clone.typed("dvc", "repro")
    assert clone.typed("dvc", "status", "dvc.yaml").strip() == "Data and pipelines are up to date."


def test_two_repros_at_once_do_not_disturb_each_other(clone: Clone) -> None:
    before = contents(clone.folder)
    (clone.folder / "dvc.lock").unlink()
    shutil.rmtree(clone.folder / ".dvc/cache/runs")
    both = [
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
    said = [process.communicate(timeout=300)[0] for process in both]
    for process, text in zip(both, said, strict=True):  # the second waits, or says who is at work
        assert process.returncode == 0 or "is busy, it is being blocked by" in text, text
    assert 0 in [process.returncode for process in both]
    assert "Running stage" not in clone.typed("dvc", "repro")
    assert contents(clone.folder) == before


def test_an_output_that_was_edited_by_hand_is_made_anew(clone: Clone) -> None:
    before = contents(clone.folder)
    for path in ("models/model.json", "reports/metrics.json", "data/prepared/manifest.json"):
        with (clone.folder / path).open("a") as file:
            file.write(" ")
    assert "modified:           models/model.json" in clone.typed("dvc", "status", "dvc.yaml")
    clone.typed("dvc", "repro")
    assert contents(clone.folder) == before


def test_a_corrupted_object_of_the_cache_is_found_by_the_doctor_and_made_anew(clone: Clone) -> None:
    before = contents(clone.folder)
    md5 = hashlib.md5((clone.folder / MODEL).read_bytes(), usedforsecurity=False).hexdigest()
    kept = clone.folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    kept.chmod(0o644)
    kept.write_bytes(b"x" + kept.read_bytes()[1:])
    kept.chmod(0o444)
    (clone.folder / MODEL).unlink()
    clone.typed("dvc", "checkout")
    assert contents(clone.folder) != before, "DVC takes it as it is, and"
    assert clone.typed("dvc", "status", "dvc.yaml").strip() == "Data and pipelines are up to date."
    result = clone.type("make", "doctor")
    assert result.returncode != 0
    (remedy,) = re.findall(r"→ (rm -f .*) && dvc pull   \(or dvc repro, which makes it anew\)", result.stdout)
    assert str(kept.relative_to(clone.folder)) in remedy
    clone.typed("bash", "-c", f"{remedy} && dvc repro")
    assert contents(clone.folder) == before


def test_a_kill_between_output_and_lock(clone: Clone) -> None:
    """DVC itself is killed when the stage's outputs are in place and dvc.lock does not know them."""
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
    clone.typed("dvc", "repro")
    after = contents(clone.folder)
    shutil.rmtree(clone.folder / "reports/samples")
    shutil.rmtree(clone.folder / ".dvc/cache/runs")
    clone.typed("dvc", "repro", "--force", "--downstream", "sample")
    assert contents(clone.folder) == after, "as an untroubled run has it"
