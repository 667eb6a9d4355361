"""tools/experiments.py: which runs are one row, which params are columns, the order, and the three formats."""

import csv
import io
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.errors import StageError
from tests.conftest import git
from tests.git_project import commit, run_tool, write_metrics
from tools import experiments

Trial = Callable[..., None]


@pytest.fixture
def trial(git_project: Path) -> Trial:
    """A function that keeps params and metrics as a DVC experiment, with HEAD as its parent."""

    def keep(name: str, params: str, protocol: int = 100, **metrics: float) -> None:
        (git_project / "params.yaml").write_text(f"train: {{{params}}}\n")
        write_metrics(git_project, **metrics, protocol={"samples": protocol})
        commit(git_project, subject=name)
        git(git_project, "update-ref", f"refs/exps/ab/{'0' * 38}/{name}", "HEAD")
        git(git_project, "reset", "--quiet", "--hard", "HEAD~1")

    git_project.joinpath("params.yaml").write_text("train: {rate: 0.1, seed: 0}\n")
    write_metrics(git_project, fid=9.0, protocol={"samples": 100})
    commit(git_project, subject="the base")
    return keep


def table(project: Path) -> dict[str, experiments.Row]:
    """The rows by their names."""
    return {
        ", ".join(name for run in row.runs for name in run.names): row
        for row in experiments.rows(experiments.runs(project))
    }


def test_runs_that_differ_only_in_their_seed_are_one_row(git_project: Path, trial: Trial) -> None:
    for seed, fid in enumerate((7.0, 8.0, 10.5)):
        trial(f"s{seed}", f"rate: 0.2, seed: {seed}", fid=fid)
    found = table(git_project)
    assert len(found) == 2
    row = next(row for names, row in found.items() if "s1" in names)
    assert len(row.runs) == 3
    assert row.mean("fid") == pytest.approx(8.5)
    assert row.deviation("fid") == pytest.approx(statistics.stdev((7.0, 8.0, 10.5)))
    assert row.params == {"train.rate": 0.2, "train.seed": [0, 1, 2]}


def test_two_results_of_one_seed_stay_apart(git_project: Path, trial: Trial) -> None:
    trial("once", "rate: 0.2, seed: 0", fid=7.0)
    trial("again", "rate: 0.2, seed: 0", fid=7.5)
    assert {"once", "again"} <= set(table(git_project))


def test_runs_of_other_code_stay_apart(git_project: Path, trial: Trial) -> None:
    trial("before", "rate: 0.2, seed: 0", fid=7.0)
    (git_project / "stages").mkdir()
    (git_project / "stages/code.py").write_text("x = 1\n")
    commit(git_project, subject="other code")
    trial("after", "rate: 0.2, seed: 1", fid=7.5)
    assert {"before", "after"} <= set(table(git_project))


def test_revisions_with_the_same_content_are_one_row_with_all_their_names(git_project: Path, trial: Trial) -> None:
    git(git_project, "tag", "v1")
    assert list(table(git_project)) == ["HEAD, v1, main, workspace"]


def test_only_the_params_that_differ_are_columns(git_project: Path, trial: Trial) -> None:
    trial("other", "rate: 0.2, seed: 0, words: x", fid=7.0)
    assert [list(row.params) for row in table(git_project).values()] == [["train.rate", "train.words"]] * 2


def test_a_number_without_a_point_is_the_same_param(git_project: Path, trial: Trial) -> None:
    trial("other", "rate: 1e-1, seed: 0, words: x", fid=7.0)
    assert list(table(git_project)["other"].params) == ["train.words"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fid", ["low", "high", "none"]),
        ("recall", ["high", "low", "none"]),
        ("train.rate", ["low", "none", "high"]),
    ],
)
def test_the_best_row_comes_first_and_rows_without_the_metric_last(
    git_project: Path, trial: Trial, name: str, expected: list[str]
) -> None:
    trial("none", "rate: 9, seed: 0", swd=1.0)
    trial("high", "rate: 10, seed: 0", fid=8.0, recall=0.8)
    trial("low", "rate: 0.5, seed: 0", fid=7.0, recall=0.5)
    ordered = experiments.order(list(table(git_project).values()), name)
    assert [row.runs[0].names[0] for row in ordered if row.runs[0].names[0] in expected] == expected


def test_an_unknown_column_is_an_error_that_names_the_others(git_project: Path, trial: Trial) -> None:
    trial("other", "rate: 0.2, seed: 0", fid=7.0)
    with pytest.raises(StageError, match=r"--sort nonsense: expected one of fid, .*flags, train\.rate"):
        experiments.order(list(table(git_project).values()), "nonsense")


def test_flags_are_counted(git_project: Path, trial: Trial) -> None:
    (git_project / "reports/train").mkdir()
    (git_project / "reports/train/metrics.json").write_text(json.dumps({"flags": {"exploded": 2, "non_finite": 1}}))
    (row,) = (row for names, row in table(git_project).items() if "workspace" in names)
    assert row.mean("flags") == 3


def test_damaged_results_are_skipped_with_a_message(
    git_project: Path, trial: Trial, capsys: pytest.CaptureFixture[str]
) -> None:
    (git_project / "reports/metrics.json").write_text("{")
    assert "workspace" not in str(list(table(git_project)))
    assert "workspace: skipped, its params or metrics are damaged" in capsys.readouterr().err


def test_the_formats_show_the_same_rows_in_the_same_order(git_project: Path, trial: Trial) -> None:
    for seed, fid in enumerate((7.0, 8.0)):
        trial(f"s{seed}", f"rate: 0.2, seed: {seed}", fid=fid)
    trial("alone", "rate: 0.3, seed: 0, note: 'a|b'", fid=6.0, protocol=5)
    outputs = {
        name: run_tool("experiments", git_project, "--sort", "fid", "--format", name) for name in ("text", "md", "csv")
    }
    assert {output.returncode for output in outputs.values()} == {0}
    text, markdown = (outputs[name].stdout.splitlines() for name in ("text", "md"))
    assert ["alone" in text[1], "s0" in text[2], "HEAD" in text[3]] == [True] * 3
    assert "7.50 ± 0.71" in text[2]
    assert markdown[1].startswith("| --- |")
    assert "a\\|b" in markdown[2]
    lines = list(csv.DictReader(io.StringIO(outputs["csv"].stdout)))
    assert [(line["runs"], line["fid"], line["protocol"]) for line in lines] == [
        *(("1", "6.0", "1"), ("2", "7.5", "0"), ("1", "9.0", "0"))
    ]
    assert float(lines[1]["fid_deviation"]) == pytest.approx(0.5**0.5)
    assert outputs["text"].stderr == "Rows of different protocols are not comparable.\n"


def test_an_unknown_format_is_an_error(git_project: Path) -> None:
    assert (
        run_tool("experiments", git_project, "--format", "xml").stderr
        == "error: --format xml: expected text, md, csv\n"
    )


def test_a_project_without_results_is_an_error(git_project: Path) -> None:
    assert "no revision has reports/metrics.json and params.yaml" in run_tool("experiments", git_project).stderr
