"""tools/dvc_repro.py: it checks the params first, mends, and then is DVC with its exit code."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.git_project import commit, run_tool


@pytest.fixture
def project(git_project: Path) -> Path:
    """A project with all sections of the params, whose only stage has not run yet."""
    (git_project / "params.yaml").write_text((ROOT / "presets/quick.yaml").read_text())
    (git_project / "reports").mkdir(exist_ok=True)
    commit(git_project)
    return git_project


def test_the_stages_run_once(project: Path) -> None:
    first, second = run_tool("dvc_repro", project), run_tool("dvc_repro", project)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "Running stage 'judge'" in first.stdout
    assert "Stage 'judge' didn't change, skipping" in second.stdout


def test_a_mistake_in_the_params_stops_it_before_dvc(project: Path) -> None:
    (project / "params.yaml").write_text("train: {}\n")
    done = run_tool("dvc_repro", project)
    assert done.returncode == 2
    assert "dataset: missing section" in done.stderr
    assert done.stdout == ""


def test_a_damaged_lock_is_mended_first_and_the_exit_code_is_dvcs(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: {judge: {cmd: exit 3, outs: [out]}}\n")
    (project / "dvc.lock").write_text("")
    done = run_tool("dvc_repro", project)
    assert done.returncode == 255
    assert "mended: dvc.lock: damaged (empty)" in done.stderr
    assert "failed to reproduce 'judge'" in done.stderr
