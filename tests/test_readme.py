"""The figures of the README and of docs/ are those of the committed run and the bench, and links lead somewhere."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from studies import seeds
from tests.conftest import ROOT, git

README = (ROOT / "README.md").read_text()
CLUSTERS = (ROOT / "docs/clusters.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


def committed(name: str) -> str:
    """A file's text in the last commit: who has just run the pipeline has other results in the working tree."""
    try:
        return git(ROOT, "show", f"HEAD:{name}")
    except (OSError, subprocess.CalledProcessError):  # no repository
        return (ROOT / name).read_text()


ours = pytest.mark.skipif(
    yaml.safe_load(committed("params.yaml")) != yaml.safe_load((ROOT / "presets/default.yaml").read_text()),
    reason="the README is about results of presets/default.yaml, and the last commit has other params",
)


def figure(pattern: str) -> float:
    match = re.search(pattern, README)
    assert match, pattern
    return float(match.group(1))


@ours
@pytest.mark.parametrize(
    ("pattern", "name", "factor"),
    [
        (r"classes covered \| (\d+) of 10", "modes_covered", 1),
        (r"the rarest with ([\d.]+) %", "rarest_mode", 100),
        (r"classifier, the judge \| ([\d.]+) ", "fid", 1),
        (r"real against real: ([\d.]+)\)", "fid_floor", 1),
        (r"density and coverage \| ([\d.]+) and", "precision", 1),
        (r"density and coverage \| [\d.]+ and ([\d.]+),", "recall", 1),
        (r"density and coverage \| [\d.]+ and [\d.]+, ([\d.]+) and", "density", 1),
        (r"density and coverage \| [\d.]+ and [\d.]+, [\d.]+ and ([\d.]+)", "coverage", 1),
        (r"as a copy would be \| ([\d.]+) %", "memorization", 100),
        (r"as a copy would be \| [\d.]+ % \(held-out images: ([\d.]+) %", "memorization_real", 100),
    ],
)
def test_figures_are_the_committed_ones(pattern: str, name: str, factor: float) -> None:
    metrics = json.loads(committed("reports/metrics.json"))
    assert figure(pattern) == pytest.approx(factor * metrics[name], rel=0.02)


@ours
def test_the_committed_run_reaches_the_quality_that_is_promised() -> None:
    metrics = json.loads(committed("reports/metrics.json"))
    assert metrics["modes_covered"] == metrics["modes_total"] == 10
    assert metrics["rarest_mode"] >= 0.05
    assert metrics["mode_kl"] <= 0.02
    assert metrics["protocol"]["samples"] == 10_000
    assert json.loads(committed("reports/features.json"))["judge_accuracy"] >= 0.91


@pytest.mark.parametrize(
    ("variant", "pattern"),
    [
        ("default", r"the default is at a Fréchet distance of ([\d.]+) ± ([\d.]+), the plain"),
        ("plain", r"recipe of the paper at ([\d.]+) ± ([\d.]+)"),
        ("plain_rate", r"with the default's rate for G alone at ([\d.]+) ± ([\d.]+)\."),
        ("default_bfloat16", r"in `mixed_bfloat16` is at ([\d.]+) ± ([\d.]+),"),
        ("default_simultaneous", r"with `updates: simultaneous`, .{,40} at ([\d.]+) ± ([\d.]+)\."),
    ],
)
def test_the_studys_figures_are_the_committed_ones(variant: str, pattern: str) -> None:
    found = [json.loads(path.read_text()) for path in (ROOT / "studies/results/recipe").glob(f"{variant}-?.json")]
    assert len(found) == 3
    match = re.search(pattern, " ".join(README.split()))
    assert match, pattern
    mean, deviation = seeds.summary(found)["fid"]
    assert (float(match[1]), float(match[2])) == pytest.approx((mean, deviation), abs=0.06)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"TFRecords at ([\d,]+) images/s", "prepare_images_per_second"),
        (r"which is ([\d.]+) of bare decoding", "prepare_over_bare_decode_crop_resize"),
        (r"and ([\d.]+) times a single-threaded", "prepare_over_pillow_lanczos_png_loop"),
        (r"shuffled batches at ([\d,]+) images/s", "reading_images_per_second"),
    ],
)
def test_the_data_paths_figures_are_the_committed_ones(pattern: str, name: str) -> None:
    measured = json.loads((ROOT / "benchmarks/results/data.json").read_text())[name]
    match = re.search(pattern, " ".join(CLUSTERS.split()))
    assert match, pattern
    assert float(match[1].replace(",", "")) == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(
    ("network", "rate", "place"),
    [
        ("default, 32×32×1, base 32, batch 64", r"the default's step does ([\d,]+) images/s", 0),
        ("64×64×3, base 64, batch 128", r"with 64 channels ([\d]+),", 1),
        ("celeba, 64×64×3, base 128, batch 128", r"with 128 channels ([\d]+) ", 2),
    ],
)
def test_the_trainings_figures_are_the_committed_ones(network: str, rate: str, place: int) -> None:
    text = " ".join(CLUSTERS.split())
    measured = json.loads((ROOT / "benchmarks/results/training.json").read_text())["networks"][network]
    plain, bare = measured["float32"], measured["float32"]["bare_images_per_second"]
    (tutorial,) = re.findall(r": ([\d.]+), ([\d.]+) and ([\d.]+) times the loop of TensorFlow's tutorial", text)
    (torch,) = re.findall(r"; ([\d.]+), ([\d.]+) and ([\d.]+) times PyTorch's example", text)
    (halved,) = re.findall(r"`train.precision: mixed_bfloat16`: ([\d,]+), ([\d]+) and ([\d]+) images/s", text)
    (found,) = re.findall(rate, text)
    assert float(found.replace(",", "")) == pytest.approx(bare, rel=0.02)
    assert float(tutorial[place]) == pytest.approx(bare / plain["tutorial_images_per_second"], abs=0.06)
    assert float(torch[place]) == pytest.approx(bare / plain["torch_images_per_second"], abs=0.06)
    (together,) = re.findall(r"the step is at ([\d.]+), ([\d.]+) and ([\d.]+) times the tutorial's", text)
    assert float(together[place]) == pytest.approx(plain["simultaneous_over_tutorial"], abs=0.006)
    rate_halved = measured["mixed_bfloat16"]["bare_images_per_second"]
    assert float(halved[place].replace(",", "")) == pytest.approx(rate_halved, rel=0.02)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"the first picture is there ([\d.]+) s", "first_picture_seconds"),
        (r"a slider's picture after ([\d.]+) ms", "slider_milliseconds"),
    ],
)
def test_the_pages_figures_are_the_committed_ones(pattern: str, name: str) -> None:
    measured = json.loads((ROOT / "benchmarks/results/demo.json").read_text())
    (found,) = re.findall(pattern, " ".join(README.split()))
    assert float(found) == pytest.approx(measured[name], rel=0.03)
    assert measured["users_failed"] == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
