"""tools/summary.py: the Markdown page of continuous integration."""

import re
from pathlib import Path

import pytest

from tests.conftest import dvc, git
from tests.git_project import commit_history, commit_metrics, run_tool, write_metrics
from tools import fresh, summary


@pytest.fixture
def history(git_project: Path) -> Path:
    """The project with the revisions of `commit_history`."""
    commit_history(git_project)
    return git_project


def test_a_summary_subtracts_metrics_of_one_protocol(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(history)
    commit_metrics(history, "a <b>bold</b> one", fid=2.5, protocol={"samples": 5})
    (history / "reports/samples").mkdir()
    (history / "reports/samples/grid.png").write_bytes(b"")
    text = summary.summary("HEAD~2")
    assert "| fid | 3.0 | 2.5 | -0.5 | lower |" in text
    assert "Warning" not in text
    monkeypatch.setattr(fresh, "results", lambda _: "these have <other> params")
    assert "Warning: these have &#60;other&#62; params" in summary.summary("HEAD~2")
    assert "![grid.png](reports/samples/grid.png)" in text
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/dcgan")
    monkeypatch.setenv("GITHUB_SHA", "0123abc")
    assert "(https://github.com/ada/dcgan/raw/0123abc/reports/samples/grid.png)" in summary.summary("HEAD~2")
    assert "<b>" not in summary.summary("HEAD")


def test_a_summary_subtracts_nothing_across_protocols_or_without_a_base(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(history)
    unlike = summary.summary("v1")
    assert "measured under different protocols, so the metrics are not subtracted" in unlike
    assert "| fid | 30.0 | 3.0 |" in unlike
    alone = summary.summary("0000000")
    assert "No comparison: 0000000: no such revision" in alone
    assert "| fid | 3.0 |" in alone


def test_a_summary_before_the_first_commit_has_the_metrics_of_the_working_tree(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    dvc(tmp_path, "init")
    done = run_tool("summary", tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"error: reports/metrics\.json: missing; .*\n", done.stderr)
    write_metrics(tmp_path, fid=3.0)
    done = run_tool("summary", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No comparison: origin/main: no such revision (Empty git repo); is anything committed yet?" in done.stdout
    assert "| fid | 3.0 |" in done.stdout


def test_control_characters_in_names_are_escaped_in_a_summary(
    git_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metrics(git_project, **{"fid\x1b[2J\n": 3.0, "note": "\x9b"})
    text = summary.summary("nonesuch")
    assert '| "fid&#92;u001b&#91;2J&#92;n" | 3.0 |' in text
    assert '| note | "&#92;u009b" |' in text


def test_the_summary_of_a_first_push_has_no_base(git_project: Path) -> None:
    write_metrics(git_project, fid=3.0)
    text = summary.summary("0" * 40)
    assert f"No comparison: {'0' * 40}: no such revision" in text
    assert "| fid | 3.0 |" in text
