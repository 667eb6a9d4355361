"""What `make setup` would do in a folder without Git, and in one that was moved."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, git


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the Makefile and a finished environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").touch()
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/plots_page.py").touch()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/dvc").write_text(f"#!{tmp_path}/.venv/bin/python\n")
    (tmp_path / ".venv/installed").touch()
    return tmp_path


def planned(folder: Path) -> str:
    """The commands that `make setup` would run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "GIT_"))}
    result = subprocess.run(["make", "-n", "setup"], cwd=folder, env=kept, capture_output=True, text=True, check=True)
    return result.stdout


def test_dvc_is_told_once_that_there_is_no_git(folder: Path) -> None:
    assert "dvc config --local core.no_scm true" in planned(folder)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert "dvc config" not in planned(folder)


def test_dvc_is_told_when_git_has_come(folder: Path) -> None:
    git(folder, "init", "-q")
    assert "dvc config" not in planned(folder)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert "dvc config --local --unset core.no_scm" in planned(folder)


def test_a_moved_environment_is_set_up_again(folder: Path) -> None:
    assert "-m venv" not in planned(folder)
    moved = folder.rename(folder.with_name("moved"))
    assert "-m venv" in planned(moved)


def test_an_environment_behind_a_link_has_not_moved(folder: Path) -> None:
    real = (folder / ".venv").rename(folder.with_name("environment"))
    (real / "bin/dvc").write_text(f"#!{real}/bin/python\n")
    (folder / ".venv").symlink_to(real)
    assert "-m venv" not in planned(folder)
