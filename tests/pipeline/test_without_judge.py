"""The stages without a judge of labels: on data without labels, and with judges that fail."""

import html
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import manifest, records, reference
from stages.artifacts import sha256
from stages.networks.judge import load as load_judge
from tests.conftest import STAGES, TINY_PARAMS, Project, contents, metrics_of
from tests.pipeline.test_pipeline import WITHOUT_NETWORK, numbers, read, without_arithmetic


@pytest.fixture(scope="module")
def unlabelled(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project without labels, in which every stage has run once."""
    project = Project(tmp_path_factory.mktemp("unlabelled"))
    (project.folder / "data").mkdir()
    (project.folder / "data/raw").symlink_to(tiny.folder / "data/raw")
    params = TINY_PARAMS.replace("prepare: {", "prepare: {labels: none, ")
    (project.folder / "params.yaml").write_text(without_arithmetic(params))
    for stage in STAGES:
        result = project.run(stage)
        assert result.returncode == 0, result.stderr
        if stage == "features":
            assert "the judge learns from the pictures alone" in result.stderr
    return project


def test_without_labels_the_files_say_which_judge_there_is(unlabelled: Project) -> None:
    assert manifest.read(unlabelled.folder / "data/prepared").classes == ()
    facts = read(unlabelled, "models/features/features.json")
    assert (facts["network"], facts["train_images"], facts["test_images"]) == ("judge_unlabelled", 320, 80)
    assert facts["sha256"] == sha256(unlabelled.folder / "models/features/judge.keras")
    assert sum(facts["clusters"]) == pytest.approx(1)
    assert facts["clusters"] == sorted(facts["clusters"], reverse=True)
    figures = read(unlabelled, "reports/features.json")
    assert list(figures) == ["judge", "instrument"]
    assert list(figures["instrument"]) == [figures["judge"]] == ["judge_unlabelled"]


def test_without_labels_every_metric_is_measured(unlabelled: Project, tiny: Project) -> None:
    metrics, labelled = (metrics_of(project.folder) for project in (unlabelled, tiny))
    protocol = metrics.pop("protocol")
    assert set(metrics) == set(labelled) - {"protocol"}
    assert all(math.isfinite(value) for value in numbers(metrics))
    assert 0 < metrics["fid_floor"] < metrics["fid"]
    assert metrics["swd_floor"] == labelled["swd_floor"], "the judge does not influence it"
    assert protocol["feature_network"] == "judge_unlabelled"
    assert protocol["feature_network_sha256"] == sha256(unlabelled.folder / "models/features/judge.keras")


def test_without_labels_clusters_take_the_place_of_classes(unlabelled: Project) -> None:
    shares = read(unlabelled, "models/features/features.json")["clusters"]
    names = [f"cluster {number}" for number in range(1, len(shares) + 1)]
    modes = pd.read_csv(unlabelled.folder / "reports/evaluate/modes.csv")
    assert list(modes["class"]) == names
    assert modes["real"].to_numpy() == pytest.approx(shares, abs=1e-5)
    points = pd.read_csv(unlabelled.folder / "reports/evaluate/points.csv")
    assert set(points["class"]) <= set(names)
    assert metrics_of(unlabelled.folder)["modes_total"] == len(names)


def test_without_labels_the_judge_puts_the_training_images_into_the_clusters_of_those_shares(
    unlabelled: Project,
) -> None:
    folder = unlabelled.folder / "data/prepared"
    data = manifest.read(folder)
    judge = load_judge(unlabelled.folder / "models/features", data)
    assert judge is not None and not judge.labelled
    ((images, _),) = records.batches(folder, data, "train", 320)
    prediction = judge(images.numpy())
    shares = np.bincount(prediction.classes, minlength=len(judge.names)) / 320
    assert shares == pytest.approx(judge.shares, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["features", "train", "evaluate"])
def test_without_labels_a_second_run_of_a_stage_gives_the_same_bytes(
    unlabelled: Project, tmp_path: Path, stage: str
) -> None:
    result = unlabelled.run(stage, "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path).items() <= contents(unlabelled.folder).items()


def test_without_labels_the_report_says_which_judge_measured_and_shows_clusters(unlabelled: Project) -> None:
    page = html.unescape((unlabelled.folder / "reports/report.html").read_text())
    metrics = metrics_of(unlabelled.folder)
    assert f"Fréchet distance {metrics['fid']:.1f} in the features of the judge without labels" in page
    assert f"{metrics['modes_covered']} of {metrics['modes_total']} clusters covered" in page
    assert "without labels: it learned to recognise a picture" in page
    assert "Both are coloured by cluster." in page
    for absent in ("4 classes covered", "The judge is a classifier", "Class coverage"):
        assert absent not in page
    card = (unlabelled.folder / "reports/model_card.md").read_text()
    assert f"{metrics['modes_total']} clusters of similar training images. The rarest cluster has" in card


@pytest.fixture(scope="module")
def rejected(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project with a judge that has seen one batch and one that fails, in which every later stage has run."""
    project = Project(tmp_path_factory.mktemp("rejected"))
    params = without_arithmetic(TINY_PARAMS.replace("images: 3200", "images: 32"))
    (project.folder / "params.yaml").write_text(params)
    for name in ("data/prepared", "reports/data", "reports/validation.json"):
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).symlink_to(tiny.folder / name)
    for stage in STAGES[2:]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stages.features.instrument._VISIBLE", 1e9)
            result = project.run(stage)
        assert result.returncode == 0, result.stderr
        if stage == "features":
            assert "the judge of the labels is not used: it is no better than always naming" in result.stderr
            assert "the judge without labels is not used: it does not see blur" in result.stderr
            assert "no judge: training will be scored by sliced Wasserstein distance" in result.stderr
    return project


def test_judges_that_fail_are_used_by_nothing(rejected: Project, tiny: Project) -> None:
    assert [path.name for path in (rejected.folder / "models/features").iterdir()] == ["features.json"]
    facts = read(rejected, "models/features/features.json")
    assert (facts["network"], list(facts["rejected"])) == ("none", ["judge", "judge_unlabelled"])
    assert reference.load(rejected.folder / "data/reference.npz") is None
    metrics = metrics_of(rejected.folder)
    protocol = metrics.pop("protocol")
    assert set(metrics) == WITHOUT_NETWORK | {"judge_rejected"}
    assert all(math.isfinite(value) for value in numbers(metrics))
    assert 0 < metrics["swd_floor"] < metrics["swd"]
    assert metrics["swd_floor"] == metrics_of(tiny.folder)["swd_floor"], "the judge does not influence it"
    assert (protocol["feature_network"], protocol["without_network_samples"]) == ("none", 80)
    assert "feature_network_sha256" not in protocol
    evaluated = rejected.folder / "reports/evaluate"
    assert (evaluated / "modes.csv").read_text() == "class,generated,real\n"
    assert (evaluated / "points.csv").read_text() == "kind,class,x,y\n"
    assert not (evaluated / "lowest.png").exists()


def test_rejected_judges_are_the_first_thing_that_the_results_say(rejected: Project) -> None:
    figures = read(rejected, "reports/features.json")
    accuracy = ["judge_accuracy", "judge_accuracy_low", "judge_accuracy_high", "largest_class"]
    assert list(figures) == ["judge", *accuracy, "instrument"]
    assert list(figures["instrument"]) == ["judge", "judge_unlabelled"]
    assert figures["judge_accuracy_low"] <= figures["largest_class"] == 0.25
    assert next(iter(read(rejected, "reports/metrics.json"))) == "judge_rejected"
    page = (rejected.folder / "reports/report.html").read_text()
    card = (rejected.folder / "reports/model_card.md").read_text()
    for text, end in ((page, '<ul class="numbers">'), (card, "## Intended use")):
        top = html.unescape(text[: text.index(end)]).replace("\\", "")
        assert "A judge failed its check." in top
        assert "The judge of the labels is not used: it is no better than always naming the largest class" in top
        assert f"{figures['judge_accuracy']:.1%} on 80 test images" in top
        assert "The judge without labels is not used: it does not see blur" in top
        assert "The sliced Wasserstein distance chose the checkpoint." in top
    assert "name: judge rejected" in card
    assert "fid" not in card


def test_without_a_judge_the_report_shows_the_distance_and_names_the_missing_metrics(rejected: Project) -> None:
    page = (rejected.folder / "reports/report.html").read_text()
    metrics = metrics_of(rejected.folder)
    assert f"<b>{metrics['swd']:.1f}</b>" in page
    assert f"(real images: {metrics['swd_floor']:.1f}); lower is better" in page
    assert "Class coverage, distances in a network's features, precision and recall are not measured" in page
    assert "the samples furthest from real images cannot be found" in page
    assert page.count("<svg") == 4
    for absent in ("classes covered", "clusters covered", "judge.keras", "Fréchet", "How much of the data"):
        assert absent not in page
    card = (rejected.folder / "reports/model_card.md").read_text()
    assert "No judge passed its check, so which kinds of images are missing was not measured." in card


def test_a_rejected_judge_is_named_by_an_arithmetic_of_classes(rejected: Project, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(TINY_PARAMS)
    arguments = ("--params", str(tmp_path / "params.yaml"), "--out", str(tmp_path))
    result = rejected.run("sample", *arguments)
    assert result.returncode == 1
    assert (
        "error: sample.arithmetic: the judge of the labels was rejected; remove this setting or make it empty"
        in result.stderr
    )


@pytest.mark.slow
def test_records_that_contradict_the_manifest_are_an_error(rejected: Project, tmp_path: Path) -> None:
    shutil.copytree(rejected.folder, tmp_path / "copy")
    project = Project(tmp_path / "copy")
    path = project.folder / "data/prepared/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": [32, 32, 1]}))
    result = project.run("train")
    assert result.returncode == 1
    assert "error: data/prepared: the records do not match the manifest (" in result.stderr
    assert "Traceback" not in result.stderr
    assert list((project.folder / "models").glob("*.keras")), "the earlier models stay"
