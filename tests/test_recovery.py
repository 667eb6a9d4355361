"""A full disk in every stage, and what can befall a project under DVC: the same bytes in the end."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import STAGES, Project, contents

pytestmark = pytest.mark.slow


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
    shutil.rmtree(disk / ".state")
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
