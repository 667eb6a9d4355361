"""tools/fresh.py: whether the committed results match the code, the params and dvc.lock."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.errors import StageError
from tests.conftest import dvc, git
from tests.git_project import PIPELINE, commit, run_tool
from tools import fresh


def test_a_project_is_fresh_after_its_results_are_committed(git_project: Path) -> None:
    (git_project / "reports/timings.json").write_text('{"of": "another run"}')
    done = run_tool("fresh", git_project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fresh: ")


def test_results_that_are_not_committed_are_not_fresh(git_project: Path) -> None:
    (git_project / "params.yaml").write_text("report: {title: 2}\n")
    dvc(git_project, "repro")
    assert "not committed: params.yaml" in fresh.complaints()
    commit(git_project, "params.yaml")
    assert fresh.complaints() == ["not committed: dvc.lock", "not committed: reports/metrics.json of the stage judge"]
    commit(git_project, "dvc.lock")
    git(git_project, "add", "reports")
    done = run_tool("fresh", git_project)
    assert done.returncode == 1
    assert done.stderr == (
        "not committed: reports/metrics.json of the stage judge\n"
        "error: not committed; commit dvc.lock and reports/ with the change that produced them\n"
    )
    commit(git_project)
    assert fresh.complaints() == []


def test_params_that_were_edited_after_the_run_are_stale(git_project: Path) -> None:
    (git_project / "params.yaml").write_text("report: {title: 2}\n")
    assert fresh.complaints() == ["stale: Running stage 'judge':", "not committed: params.yaml"]


def test_missing_own_pictures_are_named_instead_of_advising_a_new_run(git_project: Path) -> None:
    own = git_project / "data/own"
    own.mkdir(parents=True)
    (own / "1.png").touch()
    (git_project / "dvc.yaml").write_text(PIPELINE + "  download:\n    cmd: echo\n    deps: [data/own]\n")
    (git_project / "params.yaml").write_text("dataset: {source: own, own: data/own}\nreport: {title: 1}\n")
    dvc(git_project, "repro")
    assert "stale: " not in run_tool("fresh", git_project).stderr
    (own / "1.png").rename(own / "2.png")
    assert "error: dvc.lock does not match code and params" in run_tool("fresh", git_project).stderr
    (own / "2.png").rename(own / ".gitignore")
    assert "error: data/own: cannot check the data without its pictures" in run_tool("fresh", git_project).stderr
    (own / ".gitignore").rename(own / "1.png")
    (git_project / "params.yaml").write_text("dataset: {source: own, own: data/own}\nreport: {title: 2}\n")
    assert "error: dvc.lock does not match code and params" in run_tool("fresh", git_project).stderr


def test_a_result_that_another_stage_reads_is_named_once(git_project: Path) -> None:
    reader = "  reader:\n    cmd: echo\n    deps: [reports/metrics.json]\n"
    (git_project / "dvc.yaml").write_text(PIPELINE + reader)
    (git_project / "params.yaml").write_text("report: {title: 2}\n")
    dvc(git_project, "repro")
    commit(git_project, "params.yaml", "dvc.yaml", "dvc.lock")
    assert fresh.complaints() == ["not committed: reports/metrics.json of the stage judge"]


def test_code_that_ran_but_is_not_committed_is_named(git_project: Path) -> None:
    (git_project / "code").mkdir()
    (git_project / "code/first.py").touch()
    (git_project / "dvc.yaml").write_text(PIPELINE.replace("    params:", "    deps: [code]\n    params:"))
    dvc(git_project, "repro")
    commit(git_project)
    assert fresh.complaints() == []
    (git_project / "code/second.py").touch()
    dvc(git_project, "repro")
    commit(git_project, "dvc.lock")
    assert fresh.complaints() == ["not committed: code"]


def test_a_lock_and_a_result_that_are_not_in_git_are_named(git_project: Path) -> None:
    git(git_project, "rm", "-q", "--cached", "dvc.lock", "reports/metrics.json")
    (git_project / ".gitignore").write_text("reports/\n")
    assert fresh.complaints() == [
        "stale: dvc.lock is not in Git",
        "stale: reports/metrics.json of the stage judge is not in Git",
    ]
    (git_project / "dvc.lock").unlink()
    assert fresh.complaints() == ["stale: dvc.lock is missing"]


def test_fresh_needs_a_git_repository(git_project: Path) -> None:
    shutil.rmtree(git_project / ".git")
    done = run_tool("fresh", git_project)
    assert done.returncode == 1
    assert re.fullmatch(r"error: git rev-parse: .*not a git repository.*; run this in a clone.*\n", done.stderr)


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock"])
def test_a_merge_conflict_left_in_a_file_is_named_with_its_line(git_project: Path, name: str) -> None:
    lines = (git_project / name).read_text().splitlines()
    lines[2:2] = ["<<<<<<< HEAD", "=======", ">>>>>>> theirs"]
    (git_project / name).write_text("\n".join(lines))
    done = run_tool("fresh", git_project)
    assert done.returncode == 1
    error = rf"error: {name}: not valid YAML near line [345]; does it contain a merge conflict\?\n"
    assert re.fullmatch(error, done.stderr)


@pytest.mark.parametrize(
    ("text", "error"),
    [(None, "missing"), ("", "expected a YAML mapping"), ("\xff", "not valid YAML"), ("2024-02-30", "not valid YAML")],
)
def test_an_unreadable_pipeline_is_named(git_project: Path, text: str | None, error: str) -> None:
    (git_project / "dvc.yaml").unlink()
    if text is not None:
        (git_project / "dvc.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(StageError, match=rf"^dvc\.yaml: {error}"):
        fresh.complaints()


def test_all_params_count_as_changed_when_the_lock_has_none() -> None:
    without = SimpleNamespace(
        hash_info=SimpleNamespace(value=None), read_params=lambda: {"train": {"seed": 1}}, def_path="more.yaml"
    )
    assert list(fresh._changed(without)) == ["more.yaml:train.seed"]
