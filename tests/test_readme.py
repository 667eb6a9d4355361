"""The README's figures are those of the committed run, and its links lead somewhere."""

import json
import re

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def figure(pattern: str) -> float:
    match = re.search(pattern, README)
    assert match, pattern
    return float(match.group(1))


@pytest.mark.parametrize(
    ("pattern", "name", "factor"),
    [
        (r"classes covered \| (\d+) of 10", "modes_covered", 1),
        (r"the rarest with ([\d.]+) %", "rarest_mode", 100),
        (r"class histogram to the data's \| ([\d.]+) nats", "mode_kl", 1),
        (r"in the judge's features \| ([\d.]+) ", "fid", 1),
        (r"real against real: ([\d.]+)\)", "fid_floor", 1),
        (r"which needs no judge \| ([\d.]+) ", "swd", 1),
    ],
)
def test_figures_are_the_committed_ones(pattern: str, name: str, factor: float) -> None:
    metrics = json.loads((ROOT / "reports/metrics.json").read_text())
    assert figure(pattern) == pytest.approx(factor * metrics[name], rel=0.02)


def test_the_judges_accuracy_is_the_committed_one() -> None:
    accuracy = json.loads((ROOT / "reports/features.json").read_text())["judge_accuracy"]
    assert figure(r"right on ([\d.]+) % of the test images") == pytest.approx(100 * accuracy, abs=0.05)


def test_the_committed_run_reaches_the_quality_that_is_promised() -> None:
    metrics = json.loads((ROOT / "reports/metrics.json").read_text())
    assert metrics["modes_covered"] == metrics["modes_total"] == 10
    assert metrics["rarest_mode"] >= 0.05
    assert metrics["mode_kl"] <= 0.02
    assert metrics["protocol"]["samples"] == 10_000
    assert json.loads((ROOT / "reports/features.json").read_text())["judge_accuracy"] >= 0.91


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
