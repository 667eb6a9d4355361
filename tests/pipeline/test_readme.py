"""The numbers in README.md and docs/ match the committed results and benchmarks, and every link leads to a file."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.metrics import files
from studies import seeds
from tests.conftest import ROOT, git, metrics_of

README = " ".join((ROOT / "README.md").read_text().split())
CLUSTERS = " ".join((ROOT / "docs/clusters.md").read_text().split())
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def committed(name: str) -> str:
    """A file's text in the last commit. The working tree has other results after a run with other params."""
    try:
        return git(ROOT, "show", f"HEAD:{name}")
    except (OSError, subprocess.CalledProcessError):  # not a Git repository
        return (ROOT / name).read_text()


def committed_metrics() -> dict[str, Any]:
    """The metrics of the last commit."""
    metrics = files.read(committed)
    assert metrics is not None
    return metrics


needs_default_params = pytest.mark.skipif(
    yaml.safe_load(committed("params.yaml")) != yaml.safe_load((ROOT / "presets/default.yaml").read_text()),
    reason="the README shows results of presets/default.yaml, and the last commit has other params",
)


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers that the groups of a pattern match at the one place in the text where it matches."""
    (match,) = re.finditer(pattern, text)
    return [float(group.replace(",", "")) for group in match.groups()]


@needs_default_params
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
def test_the_readme_shows_the_committed_metrics(pattern: str, name: str, factor: float) -> None:
    metrics = committed_metrics()
    assert numbers(pattern, README) == [pytest.approx(factor * metrics[name], rel=0.02)]


@needs_default_params
def test_the_committed_run_reaches_the_promised_quality() -> None:
    metrics = committed_metrics()
    assert metrics["modes_covered"] == metrics["modes_total"] == 10
    assert metrics["rarest_mode"] >= 0.05
    assert metrics["mode_kl"] <= 0.005
    assert metrics["fid"] <= 5
    assert metrics["protocol"]["samples"] == 10_000
    assert json.loads(committed("reports/features.json"))["judge_accuracy"] >= 0.91


@pytest.mark.parametrize(
    ("variant", "row"),
    [
        ("default", "the default"),
        ("no_minibatch_std", "the same without minibatch standard deviation"),
        ("hidden_only", "the same with z only through the hidden layer and β₂ 0.99 throughout"),
        ("convolutions", "the same with convolutions only, the penalties at every step"),
        ("paper", "the paper's recipe"),
        ("conditional", "the preset `conditional`"),
    ],
)
def test_the_readme_shows_the_results_of_the_recipe_study(variant: str, row: str) -> None:
    cells = [json.loads(path.read_text()) for path in (ROOT / "studies/results/recipe").glob(f"{variant}-?.json")]
    assert len(cells) == 3
    one = r" ([\d.]+) ± ([\d.]+) \|"
    shown, summary = numbers(rf"\| {re.escape(row)} \|{one}{one}{one}", README), seeds.summary(cells)
    assert shown[:2] == pytest.approx(summary["fid"], abs=0.06)
    assert shown[2:] == pytest.approx([*summary["precision"], *summary["recall"]], abs=0.006)


def test_the_readme_shows_the_result_of_the_preset_for_the_best_pictures() -> None:
    cell = json.loads((ROOT / "studies/results/recipe/best-0.json").read_text())
    images, *shown = numbers(r"`best` \(one seed, ([\d,]+) images\) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", README)
    assert images == cell["images_seen"]
    for value, (name, tolerance) in zip(shown, (("fid", 0.06), ("precision", 0.006), ("recall", 0.006)), strict=True):
        assert value == pytest.approx(cell["metrics"][name], abs=tolerance), name


def test_the_page_of_experiments_shows_the_scores_of_the_screening() -> None:
    page = (ROOT / "docs/experiments.md").read_text()
    table = page[page.index("| networks | change | score |") :]
    shown = re.findall(r"\| \**([\d.]+)\** \|$", table, re.M)
    variants = yaml.safe_load((ROOT / "studies/screening.yaml").read_text())
    assert shown == [f"{variant['scores'][-1]:.1f}" for variant in variants.values()]
    assert f"{len(variants)} variants were trained" in page


def test_the_page_of_experiments_shows_what_the_hidden_layer_in_the_generator_costs() -> None:
    page = " ".join((ROOT / "docs/experiments.md").read_text().split())
    variants = yaml.safe_load((ROOT / "studies/screening.yaml").read_text())
    for words, name, tolerance in (
        ("Fréchet distance of 10,000 samples", "fid", 0.06),
        ("precision", "precision", 0.006),
        ("recall falls", "recall", 0.006),
    ):
        shown = numbers(rf"{words} from ([\d.]+) to (\d+\.\d+)", page)
        assert shown == pytest.approx([variants[v]["metrics"][name] for v in ("head", "both")], abs=tolerance), name


@pytest.mark.parametrize(
    ("variant", "words"), [("both_ways", "The seeds 1, 11 and 100 then"), ("both_ways_minibatch", "The same seeds")]
)
def test_the_page_of_experiments_shows_what_a_way_past_the_hidden_layer_gives(variant: str, words: str) -> None:
    page = " ".join((ROOT / "docs/experiments.md").read_text().split())
    three, measured = r"([\d.]+), ([\d.]+), (\d\.\d+)", yaml.safe_load((ROOT / "studies/screening.yaml").read_text())
    shown = numbers(rf"{words} gave recalls of {three}.*? distances of {three}", page)
    seeds_of = measured[variant]["seeds"]
    assert shown == [pytest.approx(v, abs=0.006) for v in seeds_of["recall"]] + [
        pytest.approx(v, abs=0.06) for v in seeds_of["fid"]
    ]


def test_the_page_of_experiments_shows_how_the_trainings_start() -> None:
    page = " ".join((ROOT / "docs/experiments.md").read_text().split())
    starts = yaml.safe_load((ROOT / "studies/screening.yaml").read_text())["both_ways"]["starts"]
    three = r"([\d.]+), ([\d.]+), (\d+(?:\.\d)?)"
    assert numbers(rf"had scores of {three} after 30,000 images", page) == pytest.approx(starts["scores"], abs=0.6)
    assert numbers(rf"and ended at distances of {three}:", page) == pytest.approx(starts["fid"], abs=0.06)
    assert numbers(r"seed 0 had (\d+) after 30,000 images", page) == [pytest.approx(starts["rising"], abs=0.6)]
    assert numbers(r"over 20,000 images gave (\d+)\.", page) == [pytest.approx(starts["warmup"], abs=0.6)]


RARE_SHARE = 181 / 9181  # sneakers among the held-out images of the study with a rare class


def summary_of(variant: str) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each metric over the seeds of a variant of the study of conditional networks."""
    paths = (ROOT / "studies/results/conditional").glob(f"{variant}-?.json")
    return seeds.summary([json.loads(path.read_text()) for path in paths])


@pytest.mark.parametrize(
    ("variant", "row"),
    [
        ("unconditional", "balanced | unconditional"),
        ("conditional", "balanced | conditional"),
        ("unconditional_rare", "2 % sneakers | unconditional"),
        ("conditional_rare", "2 % sneakers | conditional"),
        ("conditional_rare_equal", "2 % sneakers | conditional, `class_shares: equal`"),
    ],
)
def test_the_page_of_samples_of_a_class_shows_the_committed_cells(variant: str, row: str) -> None:
    summary = summary_of(variant)
    columns = [("fid", 0.06), ("coverage", 0.006)] + [("class_agreement", 0.0006)] * ("class_agreement" in summary)
    both = r" ([\d.]+) ± ([\d.]+) \|"
    agreement = both if len(columns) == 3 else r" – \|"
    page = (ROOT / "docs/conditional.md").read_text()
    *shown, rarest = numbers(rf"\| {re.escape(row)} \|{both}{both}{agreement} ([\d.]+) % \|", page)
    for i, (name, tolerance) in enumerate(columns):
        assert shown[2 * i : 2 * i + 2] == pytest.approx(summary[name], abs=tolerance), name
    assert rarest == pytest.approx(100 * summary["rarest_mode"][0], abs=0.06)


def test_the_sentences_of_that_page_follow_from_the_committed_cells() -> None:
    page = " ".join((ROOT / "docs/conditional.md").read_text().split())
    accuracy = numbers(
        r"assigns ([\d.]+) % of the samples to it. On real images, the judge is right for ([\d.]+) %", page
    )
    summary = summary_of("conditional")
    assert accuracy == pytest.approx([100 * summary[f"class_agreement{end}"][0] for end in ("", "_real")], abs=0.06)
    shares = numbers(r"generate (\d+) % of that share, conditional ones (\d+) %.* and (\d+) % of the share", page)
    variants = ("unconditional_rare", "conditional_rare", "conditional_rare_equal")
    assert shares == pytest.approx(
        [100 * summary_of(name)["rarest_mode"][0] / RARE_SHARE for name in variants], abs=0.6
    )


@pytest.mark.parametrize(
    ("study", "variant", "row"),
    [
        ("recipe", "convolutions", "60,000 | none"),
        ("few", "plain", "1,009 | none"),
        ("few", "augmented", "1,009 | `[colour, translation, cutout]`"),
    ],
)
def test_the_page_of_own_pictures_shows_the_study_of_few_pictures(study: str, variant: str, row: str) -> None:
    cells = [json.loads(path.read_text()) for path in (ROOT / "studies/results" / study).glob(f"{variant}-?.json")]
    assert len(cells) == (3 if study == "recipe" else 2)
    page = (ROOT / "docs/own-pictures.md").read_text()
    fid, spread, precision, recall = numbers(
        rf"\| {re.escape(row)} \| ([\d.]+) ± ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", page
    )
    summary = seeds.summary(cells)
    assert (fid, spread) == pytest.approx(summary["fid"], abs=0.06)
    assert (precision, recall) == pytest.approx((summary["precision"][0], summary["recall"][0]), abs=0.006)
    assert summary["memorization"] == (0, 0)


def test_the_page_of_the_emoji_shows_the_committed_results() -> None:
    metrics = metrics_of(ROOT / "studies/emoji")
    page = " ".join((ROOT / "docs/emoji.md").read_text().split())
    quality = (
        r"Fréchet distance of ([\d.]+) \(held-out emoji: ([\d.]+)\), a recall of ([\d.]+) and a coverage of ([\d.]+)\."
    )
    assert numbers(quality, page) == [
        pytest.approx(metrics[name], rel=0.02) for name in ("fid", "fid_floor", "recall", "coverage")
    ]
    assert numbers(r"and ([\d.]+) % of the samples look like copies", page) == [metrics["memorization"]]
    assert metrics["modes_covered"] == metrics["modes_total"] == 9


def test_the_page_of_the_emoji_shows_the_scores_of_the_trials() -> None:
    page = " ".join((ROOT / "docs/emoji.md").read_text().split())
    trials = yaml.safe_load((ROOT / "studies/emoji/screening.yaml").read_text())
    for gamma in (10, 20, 40):
        shown = numbers(rf"\| {gamma} \| " + r" \| ".join([r"([\d.]+)"] * 5), page)
        assert trials[f"gamma_{gamma}"]["train"]["loss"] == {"r1": gamma, "r2": gamma}
        assert shown == [pytest.approx(score, abs=0.06) for score in trials[f"gamma_{gamma}"]["scores"][1:]]
    lowest = numbers(r"With ([\d.]+) in place of [\d.]+ and ([\d,]+) images, the best score was (\d+\.\d)", page)
    changes, scores = trials["target"]["train"], trials["target"]["scores"]
    assert lowest == [changes["augment"]["target"], changes["images"], pytest.approx(min(scores), abs=0.06)]


@pytest.mark.parametrize(
    ("page", "columns"),
    [("own-pictures.md", {"fid": 0.06, "recall": 0.006}), ("metrics.md", {"fid": 0.06, "own_fid": 0.06, "swd": 0.6})],
)
def test_the_pages_show_the_trainings_on_photographs(page: str, columns: dict[str, float]) -> None:
    text = (ROOT / "docs" / page).read_text()
    variants = yaml.safe_load((ROOT / "studies/photographs.yaml").read_text())
    for name, values in ((name, values) for name, values in variants.items() if values.keys() >= columns.keys()):
        row = "`presets/own-quick.yaml`" if name == "preset" else f"(?:the same )?{name}"
        pair = r" ([\d.]+), ([\d.]+) \|"
        expected = [pytest.approx(value, abs=error) for key, error in columns.items() for value in values[key]]
        assert numbers(rf"(?m)^\| {row} \|" + pair * len(columns), text) == expected


def test_the_page_of_metrics_shows_how_the_judges_agree() -> None:
    text, measured = (
        (ROOT / "docs/metrics.md").read_text(),
        json.loads((ROOT / "benchmarks/results/judges.json").read_text()),
    )
    for name, row in (
        ("fid of the labels", "the FID of the judge of the labels"),
        ("kid of the labels", "the KID of the judge of the labels"),
        ("kid without labels", "its own KID"),
    ):
        values = [
            measured[key][f"fid without labels, {name}"]
            for key in ("rank_correlation", "rank_correlation_trained_only")
        ]
        assert numbers(rf"\| {row} \| ([\d.]+) \| ([\d.]+) \|", text) == pytest.approx(values, abs=6e-4)
    words = {"real": "real images", "blends": r"blends[^|]*", "dropped classes": "missing classes"}
    for name in measured["worse_pictures"]["judge"]:
        values = [value for kind in ("judge_unlabelled", "judge") for value in measured["worse_pictures"][kind][name]]
        cells = " \\| ".join([", ".join([r"([\d.]+)"] * (len(values) // 2))] * 2)
        assert numbers(rf"(?m)^\| {words.get(name, name)} \| {cells} \|", text) == pytest.approx(values, rel=0.05)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"TFRecords at ([\d,]+) images/s", "prepare_images_per_second"),
        (r"This is ([\d.]+) times the rate of bare decoding", "prepare_over_bare_decode_crop_resize"),
        (r"and ([\d.]+) times that of a single-threaded", "prepare_over_pillow_lanczos_png_loop"),
        (r"into shuffled batches runs at ([\d,]+) images/s", "reading_images_per_second"),
    ],
)
def test_the_clusters_page_shows_the_measured_speed_of_prepare(pattern: str, name: str) -> None:
    measured = json.loads((ROOT / "benchmarks/results/data.json").read_text())[name]
    assert numbers(pattern, CLUSTERS) == [pytest.approx(measured, rel=0.02)]


@pytest.mark.parametrize(
    ("network", "row"),
    [
        ("default, 32×32×1, base 32, batch 64", "32×32×1 with 32 channels"),
        ("64×64×3, base 64, batch 128", "64×64×3 with 64 channels"),
        ("celeba, 64×64×3, base 128, batch 128", "the paper's, 64×64×3 with 128 channels"),
    ],
)
def test_the_clusters_page_shows_the_measured_speed_of_training(network: str, row: str) -> None:
    measured = json.loads((ROOT / "benchmarks/results/training.json").read_text())["networks"][network]
    plain, half = measured["float32"], measured["mixed_bfloat16"]
    bare = plain["bare_images_per_second"]
    columns = (
        r"network \| images/s \| over the loop of TensorFlow's tutorial \| over PyTorch's example \| "
        r"images/s in `mixed_bfloat16` \| `updates: simultaneous` over the tutorial \|"
    )
    assert re.search(columns, CLUSTERS)
    cells = numbers(rf"\| {re.escape(row)}" + r" \| ([\d.,]+)" * 5 + r" \|", CLUSTERS)
    rate, over_tutorial, over_torch, half_rate, simultaneous = cells
    assert rate == pytest.approx(bare, rel=0.02)
    assert over_tutorial == pytest.approx(bare / plain["tutorial_images_per_second"], abs=0.06)
    assert over_torch == pytest.approx(bare / plain["torch_images_per_second"], abs=0.06)
    assert half_rate == pytest.approx(half["bare_images_per_second"], rel=0.02)
    assert simultaneous == pytest.approx(plain["simultaneous_over_tutorial"], abs=0.006)


def test_the_page_of_the_demo_shows_the_measured_answers_of_twenty_visitors() -> None:
    measured = json.loads((ROOT / "benchmarks/results/demo.json").read_text())
    page = " ".join((ROOT / "docs/play.md").read_text().split())
    sentence = (
        r"They got (\d+) answers without an error: "
        r"a page in ([\d.]+) s, nearest images in ([\d.]+) s and D's answer in ([\d.]+) s"
    )
    seconds = [measured[f"{kind}_median_seconds"] for kind in ("page", "nearest", "judge")]
    assert numbers(sentence, page) == [measured["answers"], *(pytest.approx(value, abs=0.06) for value in seconds)]
    assert (measured["visitors"], measured["seconds"], measured["failed"]) == (20, 60, 0)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
