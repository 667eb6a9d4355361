"""tools/ci and the workflow that runs it on GitHub."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/pipeline.yml").read_text())
Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """tools/ci where `make` and the summary end as a test wants: `script(fresh=3, GITHUB_STEP_SUMMARY="page")`."""
    for name, text in {
        "bin/make": 'echo "make $1"\nexit "$(eval echo "\\${END_$1:-0}")"\n',
        ".venv/bin/python": 'echo "# of $3"\nexit "${END_summary:-0}"\n',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/ci", tmp_path / "tools")

    def run(*arguments: str, page: str = "", **ends: int) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": page}
        environment |= {f"END_{name}": str(code) for name, code in ends.items()}
        command = [str(tmp_path / "tools/ci"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ({}, 0),
        ({"fresh": 3, "test": 4, "summary": 5}, 3),
        ({"test": 4, "summary": 5}, 4),
        ({"summary": 5}, 5),
    ],
)
def test_ci_runs_every_step_and_exits_like_the_first_failure(
    script: Script, tmp_path: Path, ends: dict[str, int], code: int
) -> None:
    done = script("v1", **ends)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.split("\n") == ["make setup", "make fresh", "make test", ""]
    assert (tmp_path / "summary.md").read_text() == "# of v1\n"


def test_ci_overwrites_its_own_summary_and_appends_to_githubs(script: Script, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# of another step\n")
    for base in ("v1", "v2"):
        script(base)
        script(base, page=str(page))
    assert (tmp_path / "summary.md").read_text() == "# of v2\n"
    assert page.read_text() == "# of another step\n# of v1\n# of v2\n"
    assert script(setup=2).returncode == 2
    assert (tmp_path / "summary.md").read_text() == "", "nothing old is left where the setup fails"


def test_the_workflow_runs_the_ci_script() -> None:
    steps = WORKFLOW["jobs"]["check"]["steps"]
    assert any(step.get("run", "").startswith("tools/ci") for step in steps)
    assert os.access(ROOT / "tools/ci", os.X_OK)


def test_the_workflow_puts_no_branch_name_into_a_shell_line() -> None:
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    (check,) = (step for step in steps if step.get("run", "").startswith("tools/ci"))
    assert check["run"] == 'tools/ci "$BASE"'
    assert "format('origin/{0}', github.base_ref)" in check["env"]["BASE"]
    assert "github.event.before" in check["env"]["BASE"]


def test_the_workflow_works_with_any_name_of_the_default_branch() -> None:
    assert WORKFLOW[True] == {"push": None, "pull_request": None}, "YAML takes its key `on` for a truth"
    for job in WORKFLOW["jobs"].values():
        assert "format('refs/heads/{0}', github.event.repository.default_branch)" in job["if"]
    assert not re.search(r"\b(main|master)\b", str(WORKFLOW))
