"""The stages as a user runs them, one after another, on a tiny data set."""

import html
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from stages import manifest, png, records, reference
from stages.artifacts import sha256
from stages.latent import Sampler
from stages.metrics.frechet import frechet_distance, gaussian
from stages.metrics.kid import kernel_distance
from stages.metrics.memorization import memorization
from stages.metrics.ms_ssim import ms_ssim
from stages.metrics.prdc import compare
from stages.networks.judge import load as load_judge
from tests.conftest import CLASSES, STAGES, TINY_PARAMS, Project

WITHOUT_NETWORK = {"swd", "swd_16", "swd_floor", "ms_ssim", "ms_ssim_real"}
WITHOUT_NETWORK |= {"memorization", "memorization_real", "nearest_distance"}
WITHOUT_NETWORK |= {"checkerboard", "checkerboard_real"}


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, int | float):
        yield value


def read(project: Project, name: str) -> dict:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{name} holds {constant}")

    return json.loads((project.folder / name).read_text(), parse_constant=refuse)


def changed_params(project: Project, folder: Path, old: str, new: str) -> str:
    """The path of a copy of the project's params in which `old` is `new`."""
    text = (project.folder / "params.yaml").read_text()
    assert old in text
    (folder / "params.yaml").write_text(text.replace(old, new))
    return str(folder / "params.yaml")


def without_arithmetic(params: str) -> str:
    """The tiny project's params for data that has no classes to calculate with."""
    text, count = re.subn(r",\n  arithmetic: .*]]", "", params)
    assert count == 1
    return text


@pytest.fixture(scope="module")
def unlabelled(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project without its labels, every stage run once."""
    project = Project(tmp_path_factory.mktemp("unlabelled"))
    (project.folder / "data").mkdir()
    (project.folder / "data/raw").symlink_to(tiny.folder / "data/raw")
    params = TINY_PARAMS.replace("prepare: {", "prepare: {labels: none, ")
    (project.folder / "params.yaml").write_text(without_arithmetic(params))
    for stage in STAGES:
        result = project.run(stage)
        assert result.returncode == 0, result.stderr
        if stage == "features":
            (said,) = [line for line in result.stderr.splitlines() if "no judge" in line]
            assert "training will be scored by sliced Wasserstein distance" in said
    return project


def test_metrics_are_strict_finite_json_with_their_protocol(tiny: Project) -> None:
    metrics = read(tiny, "reports/metrics.json")
    protocol = metrics.pop("protocol")
    judged = {"modes_covered", "modes_total", "mode_kl", "rarest_mode"}
    in_features = {"fid", "fid_floor", "fid_bias", "kid", "kid_se", "precision", "recall", "density", "coverage"}
    assert set(metrics) == judged | in_features | WITHOUT_NETWORK
    assert all(math.isfinite(value) for value in numbers(metrics))
    assert metrics["modes_total"] == len(CLASSES)
    assert 0 < metrics["fid_floor"] < metrics["fid"]
    assert 0 < metrics["swd_floor"] < metrics["swd"] == metrics["swd_16"]
    assert protocol["feature_network"] == "judge"
    assert protocol["feature_network_sha256"] == sha256(tiny.folder / "models/features/judge.keras")
    assert (protocol["samples"], protocol["floor_samples"], protocol["size"]) == (128, 80, 16)
    assert (protocol["without_network_samples"], protocol["swd_seed"]) == (80, 0), "as many as there are test images"
    assert (protocol["compared_samples"], protocol["memorization_samples"]) == (80, 80)
    assert protocol["data_manifest_sha256"] == sha256(tiny.folder / "data/prepared/manifest.json")


def test_the_metrics_are_those_of_the_samples_and_of_the_data(tiny: Project) -> None:
    """The whole way of each number once more, by hand."""
    metrics = read(tiny, "reports/metrics.json")
    data = manifest.read(tiny.folder / "data/prepared")
    judge = load_judge(tiny.folder / "models/features", data)
    assert judge is not None
    sampler = Sampler.load(tiny.folder / "models/generator.keras")
    samples = np.concatenate(list(sampler.of(range(1_000_000, 1_000_128))))
    test, train = (
        np.concatenate([batch.numpy() for batch, _ in records.batches(tiny.folder / "data/prepared", data, split, 50)])
        for split in ("test", "train")
    )
    features = {name: judge(some).features for name, some in (("g", samples), ("r", test), ("t", train))}
    fid = frechet_distance(gaussian(features["g"]), gaussian(features["t"]))
    assert metrics["fid"] == pytest.approx(fid, rel=1e-4)
    assert metrics["kid"] == pytest.approx(kernel_distance(features["g"][:80], features["r"])["kid"], rel=1e-4)
    assert metrics["precision"] == pytest.approx(compare(features["r"], features["g"][:80]).values["precision"])
    assert metrics["ms_ssim"] == pytest.approx(ms_ssim(samples[:40], samples[40:80]).mean(), rel=1e-4)
    assert metrics["ms_ssim_real"] == pytest.approx(ms_ssim(test[:40], test[40:]).mean(), rel=1e-4)
    nearest = [np.sort(cdist(some.reshape(80, -1), train.reshape(320, -1)))[:, :51] for some in (samples[:80], test)]
    assert metrics["memorization"] == pytest.approx(memorization(*nearest)["memorization"])
    assert metrics["memorization_real"] == pytest.approx(memorization(*nearest)["memorization_real"])
    assert metrics["nearest_distance"] == pytest.approx(memorization(*nearest)["nearest_distance"], rel=1e-4)


def test_the_lowest_are_the_samples_of_lowest_realism(tiny: Project) -> None:
    told = png.read_facts(tiny.folder / "reports/evaluate/lowest.png")["Description"]
    assert told.startswith("The 16 samples of lowest realism")
    seeds = [int(seed) for seed in told.rpartition("seeds ")[2].split(", ")]
    assert len(set(seeds)) == 16
    assert all(1_000_000 <= seed < 1_000_080 for seed in seeds)


def test_the_points_of_the_plane_have_their_classes(tiny: Project) -> None:
    points = pd.read_csv(tiny.folder / "reports/evaluate/points.csv")
    assert points["kind"].value_counts().to_dict() == {"real": 80, "generated": 80}
    assert set(points["class"]) == set(CLASSES)
    assert (points[points["kind"] == "real"]["class"].value_counts() == 20).all()


def test_without_labels_there_is_no_judge_and_the_files_say_so(unlabelled: Project) -> None:
    assert manifest.read(unlabelled.folder / "data/prepared").classes == ()
    assert [p.name for p in (unlabelled.folder / "models/features").iterdir()] == ["features.json"]
    facts = read(unlabelled, "models/features/features.json")
    assert (facts["network"], facts["train_images"], facts["test_images"]) == ("none", 320, 80)
    assert read(unlabelled, "reports/features.json") == {"judge": False}
    assert reference.load(unlabelled.folder / "data/reference.npz") is None


def test_without_labels_the_metrics_are_those_that_need_no_judge(unlabelled: Project, tiny: Project) -> None:
    metrics = read(unlabelled, "reports/metrics.json")
    protocol = metrics.pop("protocol")
    assert set(metrics) == WITHOUT_NETWORK
    assert all(math.isfinite(value) for value in numbers(metrics))
    assert 0 < metrics["swd_floor"] < metrics["swd"]
    assert metrics["swd_floor"] == read(tiny, "reports/metrics.json")["swd_floor"], "the judge has no part in it"
    assert (protocol["feature_network"], protocol["without_network_samples"]) == ("none", 80)
    assert "feature_network_sha256" not in protocol
    evaluated = unlabelled.folder / "reports/evaluate"
    assert (evaluated / "modes.csv").read_text() == "class,generated,real\n"
    assert (evaluated / "points.csv").read_text() == "kind,class,x,y\n"
    assert not (evaluated / "lowest.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["features", "train", "evaluate"])
def test_without_labels_a_stage_gives_the_same_bytes_again(unlabelled: Project, tmp_path: Path, stage: str) -> None:
    result = unlabelled.run(stage, "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    for path in (p for p in tmp_path.rglob("*") if p.is_file() and p.name != "timings.json"):
        assert path.read_bytes() == (unlabelled.folder / path.relative_to(tmp_path)).read_bytes(), path


def test_without_labels_the_report_shows_the_distance_and_says_what_is_not_measured(unlabelled: Project) -> None:
    page = (unlabelled.folder / "reports/report.html").read_text()
    metrics = read(unlabelled, "reports/metrics.json")
    assert f"<b>{metrics['swd']:.1f}</b>" in page
    assert f"real against real: {metrics['swd_floor']:.1f}" in page
    assert "Fewer than two classes, and so no judge: class coverage is not measured" in page
    assert "Which samples are furthest from real images is not measured" in page
    assert page.count("<svg") == 3
    for absent in ("classes covered", "The judge is", "judge.keras", "Fréchet", "What samples reach"):
        assert absent not in page
    card = (unlabelled.folder / "reports/model_card.md").read_text()
    assert "Without labels it was not measured which kinds of pictures are left out." in card
    assert "fid" not in card


def test_a_reference_of_other_data_is_named(unlabelled: Project, tiny_copy: Project) -> None:
    shutil.copy(unlabelled.folder / "data/reference.npz", tiny_copy.folder / "data/reference.npz")
    result = tiny_copy.run("evaluate")
    assert result.returncode == 1
    assert "error: data/reference.npz: of a data set without labels; run `dvc repro`" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_judge_learns_the_shapes(tiny: Project) -> None:
    assert read(tiny, "reports/features.json")["judge_accuracy"] > 0.9


def test_the_best_checkpoint_is_kept_and_said(tiny: Project) -> None:
    model = read(tiny, "models/model.json")
    scores = pd.read_csv(tiny.folder / "reports/train/plots/metrics/score.tsv", sep="\t")
    assert list(scores["step"]) == [320, 640]
    best = int(scores["score"].argmin())
    assert model["best_images_seen"] == scores["step"][best]
    assert model["best_score"] == scores["score"][best]
    assert model["images_seen"] == 640
    assert model["logistic"] is True, "D's outputs are logits, and the report shows probabilities"
    for name in ("generator", "discriminator"):
        assert model[name]["sha256"] == sha256(tiny.folder / "models" / f"{name}.keras")


def test_each_score_leaves_a_fixed_z_picture(tiny: Project) -> None:
    pictures = tiny.folder / "reports/train/plots/images/fixed_z"
    assert {p.name for p in pictures.iterdir()} == {"320.png", "640.png"}
    with np.load(tiny.folder / "models/timeline.npz") as arrays:
        assert arrays["images_seen"].tolist() == [320, 640]
        assert arrays["pictures"].shape == (2, 32, 16, 16, 1)
        assert arrays["pictures"].dtype == np.uint8


@pytest.mark.slow
def test_a_last_bit_has_no_score_of_its_own(tiny: Project, tmp_path: Path) -> None:
    params = changed_params(tiny, tmp_path, "images: 640", "images: 656")  # a batch more
    result = tiny.run("train", "--params", params, "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    scores = pd.read_csv(tmp_path / "reports/train/plots/metrics/score.tsv", sep="\t")
    losses = pd.read_csv(tmp_path / "reports/train/plots/metrics/loss/generator.tsv", sep="\t")
    assert list(scores["step"]) == [320, 656]
    assert list(losses["step"]) == list(range(16, 657, 16)), "nothing is missing from the curves, nothing is doubled"


def test_the_curves_are_finite_and_small(tiny: Project) -> None:
    for path in (tiny.folder / "reports/train/plots/metrics").rglob("*.tsv"):
        table = pd.read_csv(path, sep="\t")
        assert 1 < len(table) < 500
        assert np.isfinite(table.to_numpy()).all()
        assert table["step"].is_monotonic_increasing
        assert table["step"].is_unique


def test_pictures_say_how_they_came_about(tiny: Project) -> None:
    generator = sha256(tiny.folder / "models/generator.keras")
    folder = tiny.folder / "reports/samples"
    names = {"grid", "real", "timeline", "timeline_animated", "interpolation", "nearest", "arithmetic"}
    assert {p.name for p in folder.iterdir()} == {f"{name}.png" for name in names}
    grid = png.read_facts(folder / "grid.png")
    assert grid["Description"] == "Samples of the seeds 0 to 5 in order, uncurated"
    assert generator in grid["Source"]
    assert sha256(tiny.folder / "data/prepared/manifest.json") in png.read_facts(folder / "real.png")["Source"]


@pytest.mark.parametrize("stage", ["features", "train", "sample", "evaluate", "report"])
def test_a_stage_gives_the_same_bytes_again(tiny: Project, tmp_path: Path, stage: str) -> None:
    result = tiny.run(stage, "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    made = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "timings.json"]
    assert made
    for path in made:
        assert path.read_bytes() == (tiny.folder / path.relative_to(tmp_path)).read_bytes(), path


def test_outputs_hold_no_date_and_no_path_of_the_machine(tiny: Project) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    for name in ("data/prepared", "models", "reports"):
        for path in (tiny.folder / name).rglob("*"):
            if path.is_file() and path.name != "timings.json":
                content = path.read_bytes()
                assert today.encode() not in content, path
                assert str(tiny.folder).encode() not in content, path


def test_the_report_stands_alone_and_shows_everything(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    assert "<script" not in page
    assert not re.search(r"""\b(src|href)=["'](?!data:|#|http://localhost/)|@import|url\((?!["']?#)""", page)
    assert page.count('src="data:image/png;base64,') == 9
    assert page.count("<svg") == 6
    assert page.count("<figcaption>") == 15, "each picture and figure says what it is"
    assert page.index("Samples of the seeds 0 to 5") < page.index("<h2>"), "the grid is at the top"
    for expected in ("mode_kl", "generator_channels", "tensorflow", "Tiny shapes", "MIT"):
        assert expected in page
    for name in ("generator", "discriminator", "features/judge"):
        assert sha256(tiny.folder / "models" / f"{name}.keras") in page
    assert "class coverage is not measured" not in page
    assert not re.search(r"<(img|div role)(?![^>]*(alt|aria-label)=\"[^\"])", page), "what is shown is also said"
    data = manifest.read(tiny.folder / "data/prepared")
    assert data.splits["train"].shards[0].sha256 in page


def changed_model(project: Project, **facts: object) -> str:
    """The report's text where models/model.json says something else."""
    model = read(project, "models/model.json")
    (project.folder / "models/model.json").write_text(json.dumps({**model, **facts}))
    result = project.run("report")
    assert result.returncode == 0, result.stderr
    return (project.folder / "reports/report.html").read_text()


def test_the_report_shows_what_went_wrong_in_the_training_before_all_else(tiny_copy: Project) -> None:
    flags = [
        {"images": 120_000, "kind": "discriminator_saturated", "message": "D is <sure> of itself"},
        {"images": 240_000, "kind": "generator_collapsed", "message": "the generator has collapsed"},
    ]
    page = changed_model(tiny_copy, flags=flags, stopped="ended after 240,000 images: it had collapsed")
    box = page[page.index('role="alert"') : page.index('<ul class="numbers">')]
    assert "This training was flagged:" in box
    assert "after 120,000 images: D is &lt;sure&gt; of itself" in box
    assert "after 240,000 images: the generator has collapsed" in box
    assert "The training ended after 240,000 images: it had collapsed." in box


def test_a_training_that_ended_early_without_a_flag_raises_no_alarm(tiny_copy: Project) -> None:
    page = changed_model(tiny_copy, flags=[], stopped="Training ended early: no better score.")
    assert 'role="alert"' not in page
    assert "<p>Training ended early: no better score.</p>" in page
    page = changed_model(tiny_copy, flags=[], stopped="", best_images_seen=320)
    assert 'role="alert"' not in page
    assert 'role="note"' not in page


def test_the_report_says_what_the_score_is(tiny_copy: Project) -> None:
    assert "Distance of something &amp; other, of the averaged" in changed_model(
        tiny_copy, score="Distance of something & other"
    )


def test_a_loss_without_probabilities_has_the_curves_of_ds_output(tiny_copy: Project) -> None:
    page = changed_model(tiny_copy, logistic=False)
    assert "D's mean output" in page
    assert "mean probability" not in page
    assert "loss, nats" not in page


def test_names_from_the_data_are_escaped(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    assert "<b>cross</b>" not in page
    assert html.escape(CLASSES[2]) in page


def test_the_report_loads_no_model(tiny: Project, tmp_path: Path) -> None:
    poison = tmp_path / "tensorflow"
    poison.mkdir()
    (poison / "__init__.py").write_text("raise ImportError('the report must not load a model')")
    result = tiny.run("report", "--out", str(tmp_path / "out"), first_on_path=tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_flipped_byte_in_a_shard_stops_the_training_and_names_it(tiny_copy: Project) -> None:
    shard = tiny_copy.folder / "data/prepared/train-00001-of-00004.tfrecord"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    before = sha256(tiny_copy.folder / "models/generator.keras")
    result = tiny_copy.run("train")
    assert result.returncode == 1
    assert "train-00001-of-00004.tfrecord: the shard's bytes have changed" in result.stderr
    assert "Traceback" not in result.stderr
    assert sha256(tiny_copy.folder / "models/generator.keras") == before


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("prepare", "data/raw"),
        ("features", "data/prepared"),
        ("train", "data/reference.npz"),
        ("sample", "models/generator.keras"),
        ("sample", "models/features/judge.keras"),
        ("evaluate", "models/features/judge.keras"),
        ("evaluate", "models/inception/inception.json"),
        ("evaluate", "data/prepared"),
        ("report", "models/features/features.json"),
        ("report", "reports/metrics.json"),
        ("report", "reports/samples/nearest.png"),
        ("report", "reports/evaluate/points.csv"),
    ],
)
def test_a_missing_input_is_named(tiny_copy: Project, stage: str, missing: str) -> None:
    path = tiny_copy.folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    result = tiny_copy.run(stage)
    assert result.returncode == 1
    assert f"error: {missing}: missing; `dvc repro` makes it" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_batch_larger_than_the_data_is_named(tiny: Project, tmp_path: Path) -> None:
    params = changed_params(tiny, tmp_path, "batch_size: 16", "batch_size: 321")
    result = tiny.run("train", "--params", params, "--out", str(tmp_path / "out"))
    assert result.returncode == 1
    assert "error: train.batch_size: 321 is more than the 320 images" in result.stderr


@pytest.mark.slow
def test_a_training_that_diverges_ends_well_and_its_report_says_so_at_the_top(tiny: Project, tmp_path: Path) -> None:
    rates = "batch_size: 16, guard: rollback, generator_learning_rate: 1e30, discriminator_learning_rate: 1e30"
    params = changed_params(tiny, tmp_path, "batch_size: 16", rates)
    arguments = ("--params", params, "--out", str(tmp_path), "--base", str(tiny.folder))
    for stage in ("train", "sample", "evaluate", "report"):
        result = tiny.run(stage, *arguments)
        assert result.returncode == 0, result.stderr
    project = Project(tmp_path)
    for name in ("reports/metrics.json", "reports/train/metrics.json", "models/model.json"):
        assert all(math.isfinite(value) for value in numbers(read(project, name)))
    model = read(project, "models/model.json")
    assert [flag["kind"] for flag in model["flags"]] == ["non_finite"] * 4, "rolled back three times"
    assert read(project, "reports/train/metrics.json")["flags"]["non_finite"] == 4
    page = (tmp_path / "reports/report.html").read_text()
    assert "is not finite: the training has diverged" in page[: page.index("<h2>")]


@pytest.mark.slow
def test_a_judge_that_diverges_says_so(tiny: Project, tmp_path: Path) -> None:
    params = changed_params(tiny, tmp_path, "batch_size: 32", "batch_size: 32, learning_rate: 1e30")
    result = tiny.run("features", "--params", params, "--out", str(tmp_path / "out"))
    assert result.returncode == 1
    assert "error: features: the judge's training diverged; lower features.learning_rate" in result.stderr


@pytest.mark.slow
def test_data_of_another_size_than_the_judges_is_named(tiny: Project, tmp_path: Path) -> None:
    params = changed_params(tiny, tmp_path, "size: 16,", "size: 32,")
    arguments = ("--params", params, "--out", str(tmp_path))
    assert tiny.run("prepare", *arguments).returncode == 0
    result = tiny.run("train", *arguments)
    assert result.returncode == 1
    assert "models/features/judge.keras: trained on (16, 16, 1) images of 4 classes" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_records_of_another_shape_than_the_manifests_are_named(unlabelled: Project, tmp_path: Path) -> None:
    shutil.copytree(unlabelled.folder, tmp_path / "copy")
    project = Project(tmp_path / "copy")
    path = project.folder / "data/prepared/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": [32, 32, 1]}))
    result = project.run("train")
    assert result.returncode == 1
    assert "error: data/prepared: its records are not what its manifest says (" in result.stderr
    assert "Traceback" not in result.stderr
    assert list((project.folder / "models").glob("*.keras")), "what was there stays"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "train"),
    [
        ("channels: 3, dtype: uint8", "upsampling: fractional, loss: minimax, kernel_size: 5"),
        ("size: 64, crop: square, fit: pad", "upsampling: resize, batch_norm: none, latent_dim: 8"),
        ("size: 32, channels: 3, crop: [2, 2, 26, 20]", "batch_norm: all, learning_rate_decay: 0.5"),
        ("size: 64, channels: 3, labels: none, dtype: uint8", "loss: hinge, label_smoothing: 0.0"),
    ],
)
def test_the_whole_pipeline_in_other_shapes(tiny: Project, tmp_path: Path, prepare: str, train: str) -> None:
    project = Project(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(tiny.folder / "data/raw")
    text = (tiny.folder / "params.yaml").read_text()
    text = "\n".join("validate: {}" if line.startswith("validate") else line for line in text.splitlines())
    if "labels: none" in prepare:
        text = without_arithmetic(text)
    if "size:" in prepare:
        text = text.replace("prepare: {size: 16, ", "prepare: {")
    text = text.replace("prepare: {", f"prepare: {{{prepare}, ").replace("train: {", f"train: {{{train}, ")
    (tmp_path / "params.yaml").write_text(text)
    for stage in STAGES:
        result = project.run(stage)
        assert result.returncode == 0, result.stderr
    metrics = read(project, "reports/metrics.json")
    assert all(math.isfinite(value) for value in numbers(metrics))
    data = manifest.read(tmp_path / "data/prepared")
    with Image.open(tmp_path / "reports/samples/grid.png") as grid:
        assert grid.mode == ("RGB" if data.shape[2] == 3 else "L")
        assert grid.size == tuple(2 * (columns * (data.shape[0] + 2) - 2) for columns in (3, 2))
    for word in (word.strip() for setting in train.split(",") for word in setting.split(":")):
        assert word in (tmp_path / "reports/report.html").read_text()


@pytest.mark.parametrize(
    ("path", "content", "stage"),
    [
        ("models/timeline.npz", b"no zip", "sample"),
        ("data/reference.npz", b"", "evaluate"),
        ("reports/samples/grid.png", b"no picture", "report"),
        ("reports/metrics.json", b"{}", "report"),
        ("models/model.json", b"[", "report"),
        ("models/features/features.json", b"{}", "report"),
        ("reports/evaluate/modes.csv", b"a,b\n1,2\n", "report"),
        ("reports/train/plots/metrics/score.tsv", b"step\tscore\n1\tx\n", "report"),
    ],
)
def test_a_damaged_file_is_named(tiny_copy: Project, path: str, content: bytes, stage: str) -> None:
    (tiny_copy.folder / path).write_bytes(content)
    result = tiny_copy.run(stage)
    assert result.returncode == 1
    assert f"error: {path}: damaged (" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_cannot_be_made_is_named(tiny: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = tiny.run("report", "--out", str(tmp_path / "file" / "out"))
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert str(tmp_path / "file") in result.stderr
    assert "Traceback" not in result.stderr


ENDING = (
    "import atexit, runpy; atexit.register(print, 'late'); runpy.run_module('stages.validate', run_name='__main__')"
)


@pytest.mark.parametrize(
    ("variables", "late"),
    [({}, ""), ({"TF_CONFIG": "{}"}, "late\n"), ({"SLURM_STEP_NUM_TASKS": "2"}, "late\n")],
    ids=["alone", "TF_CONFIG", "Slurm"],
)
def test_a_stage_whose_work_is_done_ends_at_once_but_not_among_workers(
    tiny_copy: Project, variables: dict[str, str], late: str
) -> None:
    environment = tiny_copy.environment() | variables
    result = subprocess.run(
        [sys.executable, "-c", ENDING],
        cwd=tiny_copy.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "validate: done in" in result.stderr
    assert result.stdout == late
