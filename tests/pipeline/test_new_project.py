"""`make new` in this project, then `make repro` in the new one."""

import os
from pathlib import Path

import pytest

from tests.conftest import STAGES, Clone, metrics_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_make_repro_runs_in_a_project_of_make_new(quick_run: Clone, tmp_path: Path) -> None:
    clone = quick_run.copy(tmp_path / "project")
    user = {f"GIT_{role}_{key}": "ada@localhost" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    clone.output("make", "new", "NAME=My shapes", **user)
    mine = Clone(tmp_path / "my-shapes")
    assert len(mine.git("log", "--format=%h").split()) == 1
    assert mine.changed() == []
    (mine.folder / ".venv").symlink_to((clone.folder / ".venv").resolve())
    for path in mine.folder.glob("requirements*.lock"):
        os.utime(path, (0, 0))  # older than the environment, which is already installed
    mine.edit("params.yaml", "images: 19200 ", "images: 3200 ")
    assert sorted(mine.repro()) == sorted(["download", *STAGES])
    assert "<title>My shapes" in (mine.folder / "reports/report.html").read_text()
    assert metrics_of(mine.folder)["modes_total"] == 10
