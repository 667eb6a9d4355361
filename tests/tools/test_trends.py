"""tools/trends.py: the metrics over the Git history, as a picture and a table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.errors import StageError
from tests.conftest import git
from tests.git_project import commit, commit_history, commit_metrics, run_tool, write_metrics
from tools import trends


@pytest.fixture
def history(git_project: Path) -> Path:
    """The project with the revisions of `commit_history`."""
    commit_history(git_project)
    return git_project


def test_the_history_has_a_row_for_each_revision_with_metrics(history: Path) -> None:
    table = trends.history(history)
    assert table["subject"].tolist() == ["first", "second\twith a tab", "other"]
    assert table["fid"].tolist() == [40.0, 30.0, 3.0]
    assert table["protocol"].tolist() == [0, 0, 1]
    assert table["revision"][1] == "v1"
    write_metrics(history, fid=2.0, protocol={"samples": 5})
    assert trends.history(history)["revision"].tolist()[-1] == "workspace"
    assert len(trends.history(history, "v1")) == 3, "the two revisions up to the tag, and the working tree"


def test_a_line_joins_the_revisions_of_one_protocol(history: Path) -> None:
    fid, kid = trends.draw(trends.history(history)).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in fid.lines] == [[40.0, 30.0], [3.0]]
    assert kid.get_title(loc="left") == "kernel distance (lower is better)"


def test_a_line_breaks_at_another_protocol_and_resumes_in_its_colour() -> None:
    table = pd.DataFrame({"revision": list("abcd"), "date": "2024-02-03", "protocol": [0, 1, 0, 0], "fid": 1.0})
    (fid,) = trends.draw(table).axes
    assert [np.asarray(line.get_xdata()).tolist() for line in fid.lines] == [[0], [1], [2, 3]]
    first, between, again = (line.get_color() for line in fid.lines)
    assert (first == again, first == between) == (True, False)


def test_the_command_writes_the_picture_and_the_table(history: Path, tmp_path: Path) -> None:
    result = run_tool("trends", history, "--out", str(tmp_path / "x.svg"))
    assert result.returncode == 0, result.stderr
    assert "<svg" in (tmp_path / "x.svg").read_text()
    assert pd.read_csv(tmp_path / "x.csv")["fid"].tolist() == [40.0, 30.0, 3.0]
    for wrong, error in ((["nonesuch"], "bad revision"), (["--out", "x.txt"], "ends in .svg, .png or .pdf")):
        result = run_tool("trends", history, *wrong)
        assert result.returncode == 1
        assert result.stderr.startswith("error: ")
        assert error in result.stderr


def test_a_commit_subject_is_read_as_utf_8_on_any_terminal(
    git_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_metrics(git_project, "B − A", fid=40.0)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    result = run_tool("trends", git_project, "--out", str(tmp_path / "x.svg"))
    assert result.returncode == 0, result.stderr
    assert pd.read_csv(tmp_path / "x.csv")["subject"].tolist() == ["B − A"]


def test_a_history_without_metrics_is_an_error(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "nothing")
    with pytest.raises(StageError, match=r"no commit has reports/metrics\.json; run `make repro`"):
        trends.history(tmp_path)


def test_the_project_can_be_a_subfolder_of_the_repository(tmp_path: Path) -> None:
    folder = tmp_path / "projects/faces"
    folder.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    for fid in (3.0, 2.0):
        commit_metrics(folder, "a subject", fid=fid)
    assert trends.history(folder)["fid"].tolist() == [3.0, 2.0]


def test_signatures_in_the_log_do_not_disturb_the_history(git_project: Path, tmp_path: Path) -> None:
    signer = tmp_path / "signer"
    signer.write_text(
        "#!/bin/sh\ncat > /dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\necho '-----BEGIN PGP SIGNATURE-----'\n"
    )
    signer.chmod(0o755)
    git(git_project, "config", "gpg.program", str(signer))
    git(git_project, "config", "log.showSignature", "true")
    write_metrics(git_project, fid=3.0)
    git(git_project, "commit", "-q", "-a", "-S", "-m", "signed")
    assert "SIG_CREATED" in git(git_project, "log", "--format=%s"), "the log shows signatures"
    assert trends.history(git_project)["subject"].tolist() == ["signed"]


def test_a_history_of_empty_metrics_is_an_error_and_writes_no_picture(git_project: Path) -> None:
    for text in ("{}", "{ }"):
        (git_project / "reports/metrics.json").write_text(text)
        commit(git_project)
    done = run_tool("trends", git_project)
    assert done.returncode == 1
    warning, error, _ = done.stderr.split("\n")
    assert "reports/metrics.json is damaged (" in warning
    assert warning.endswith("in this revision; skipped")
    assert error.startswith("error: reports/metrics.json: no revision has any of fid, ")
    assert not (git_project / "reports/trends.svg").exists()


def test_the_command_leaves_only_the_picture_and_the_table(git_project: Path, tmp_path: Path) -> None:
    commit_metrics(git_project, "a subject", fid=3.0)
    away, used = tmp_path / "away", tmp_path / "used"
    (used / ".state/train").mkdir(parents=True)
    for folder, expected in ((away, ["x.csv", "x.svg"]), (used, [".state", "x.csv", "x.svg"])):
        done = run_tool("trends", git_project, "--out", str(folder / "x.svg"))
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in folder.iterdir()) == expected
    assert [path.name for path in (used / ".state").iterdir()] == ["train"], "the state of an unfinished run stays"
    assert pd.read_csv(away / "x.csv")["fid"].tolist() == [3.0]
