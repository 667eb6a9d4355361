"""All stages, run one after another on a tiny data set as a user runs them."""

import html
import io
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
import yaml
from PIL import Image

from stages import copies, manifest, png, records, reference
from stages.artifacts import sha256
from stages.latent import Sampler
from stages.metrics import kid, memorization, prdc
from stages.metrics.catalog import METRICS
from stages.metrics.frechet import frechet_distance, gaussian
from stages.metrics.ms_ssim import ms_ssim
from stages.networks.judge import load as load_judge
from studies.cell import with_changes
from tests.conftest import CLASSES, STAGES, Project, contents, draw, metrics_of
from tests.prepare.test_prepare import write_archive

WITHOUT_NETWORK = {"swd", "swd_16", "swd_floor", "ms_ssim", "ms_ssim_real"}
WITHOUT_NETWORK |= {"memorization", "memorization_low", "memorization_high", "memorization_real", "nearest_distance"}
WITHOUT_NETWORK |= {"checkerboard", "checkerboard_real"}


def numbers(value: object) -> Iterator[float]:
    """All numbers in nested dicts."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, int | float):
        yield value


def read(project: Project, name: str) -> dict:
    """A JSON file of the project. Rejects NaN and infinity."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{name} holds {constant}")

    return json.loads((project.folder / name).read_text(), parse_constant=refuse)


def changed_params(project: Project, folder: Path, old: str, new: str) -> str:
    """Copy the project's params into a folder with `old` replaced by `new`. Returns the path of the copy."""
    text = (project.folder / "params.yaml").read_text()
    assert old in text
    (folder / "params.yaml").write_text(text.replace(old, new))
    return str(folder / "params.yaml")


def without_arithmetic(params: str) -> str:
    """The params without sample.arithmetic, which needs classes."""
    text, count = re.subn(r",\n  arithmetic: .*]]", "", params)
    assert count == 1
    return text


def test_metrics_are_strict_finite_json_with_their_protocol(tiny: Project) -> None:
    metrics = metrics_of(tiny.folder)
    protocol = metrics.pop("protocol")
    by_classes = {"modes_covered", "modes_total", "mode_kl", "rarest_mode"}
    in_features = {"fid", "fid_floor", "fid_bias"} | {name for name, metric in METRICS.items() if metric.module}
    assert set(metrics) == by_classes | in_features | WITHOUT_NETWORK
    assert all(math.isfinite(value) for value in numbers(metrics))
    assert metrics["modes_total"] == len(CLASSES)
    assert 0 < metrics["fid_floor"] < metrics["fid"]
    assert 0 < metrics["swd_floor"] < metrics["swd"] == metrics["swd_16"]
    assert protocol["feature_network"] == "judge"
    assert protocol["feature_network_sha256"] == sha256(tiny.folder / "models/features/judge.keras")
    assert (protocol["samples"], protocol["floor_samples"], protocol["size"]) == (128, 80, 16)
    assert (protocol["without_network_samples"], protocol["swd_seed"]) == (80, 0), "as many as there are test images"
    assert (protocol["compared_samples"], protocol["memorization_samples"]) == (80, 80)
    assert (protocol["memorization_real"], protocol["memorization_real_images"]) == ("training images", 320)
    assert protocol["data_manifest_sha256"] == sha256(tiny.folder / "data/prepared/manifest.json")


def test_the_metrics_equal_those_computed_by_hand_from_samples_and_data(tiny: Project) -> None:
    """Repeats the whole computation of each metric."""
    metrics = metrics_of(tiny.folder)
    data = manifest.read(tiny.folder / "data/prepared")
    judge = load_judge(tiny.folder / "models/features", data)
    assert judge is not None
    sampler = Sampler.load(tiny.folder / "models/generator.keras")
    samples = np.concatenate(list(sampler.batches(range(1_000_000, 1_000_128))))
    test, train = (
        np.concatenate([batch.numpy() for batch, _ in records.batches(tiny.folder / "data/prepared", data, split, 50)])
        for split in ("test", "train")
    )
    features = {name: judge(images).features for name, images in (("g", samples), ("r", test), ("t", train))}
    fid = frechet_distance(gaussian(features["g"]), gaussian(features["t"]))
    assert metrics["fid"] == pytest.approx(fid, rel=1e-4)
    assert metrics["kid"] == pytest.approx(kid.compute(features["g"][:80], features["r"])["kid"], rel=1e-4)
    assert metrics["precision"] == pytest.approx(prdc.compute(features["g"][:80], features["r"])["precision"])
    assert metrics["ms_ssim"] == pytest.approx(ms_ssim(samples[:40], samples[40:80]).mean(), rel=1e-4)
    assert metrics["ms_ssim_real"] == pytest.approx(ms_ssim(test[:40], test[40:]).mean(), rel=1e-4)
    generated = copies.find(copies.views(samples[:80]), lambda: [train], 320)
    real = copies.find(copies.views(train), lambda: [train], 320, np.arange(320))  # 80 test images are too few
    for name, value in memorization.memorization(generated.scores, real.scores).items():
        assert metrics[name] == pytest.approx(value, rel=1e-4), name
    distance = memorization.nearest_distance(generated.distances[:, 0], real.distances[:, 0])
    assert metrics["nearest_distance"] == pytest.approx(distance, rel=1e-4)


def test_the_picture_of_lowest_realism_names_sixteen_seeds(tiny: Project) -> None:
    description = png.read(tiny.folder / "reports/evaluate/lowest.png").provenance.description
    assert description.startswith("The 16 samples of lowest realism")
    seeds = [int(seed) for seed in description.rpartition("seeds ")[2].split(", ")]
    assert len(set(seeds)) == 16
    assert all(1_000_000 <= seed < 1_000_080 for seed in seeds)


def test_the_points_of_the_plane_have_a_kind_and_a_class(tiny: Project) -> None:
    points = pd.read_csv(tiny.folder / "reports/evaluate/points.csv")
    assert points["kind"].value_counts().to_dict() == {"real": 80, "generated": 80}
    assert set(points["class"]) == set(CLASSES)
    assert (points[points["kind"] == "real"]["class"].value_counts() == 20).all()


def test_a_reference_of_other_data_is_named_in_the_error(tiny_copy: Project) -> None:
    reference.save(tiny_copy.folder / "data/reference.npz", None)
    result = tiny_copy.run("evaluate")
    assert result.returncode == 1
    assert "error: data/reference.npz: made from a data set without a judge; run `dvc repro`" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_judge_learns_to_classify_the_shapes(tiny: Project) -> None:
    assert read(tiny, "reports/features.json")["judge_accuracy"] > 0.9


def test_the_checkpoint_with_the_best_score_is_kept_and_recorded(tiny: Project) -> None:
    model = read(tiny, "models/model.json")
    scores = pd.read_csv(tiny.folder / "reports/train/plots/metrics/score.tsv", sep="\t")
    assert list(scores["step"]) == [320, 640]
    best = int(scores["score"].argmin())
    assert model["best_images_seen"] == scores["step"][best]
    assert model["best_score"] == scores["score"][best]
    assert model["images_seen"] == 640
    assert model["logistic"] is True, "the discriminator returns logits, and the report shows probabilities"
    for name in ("generator", "discriminator"):
        assert model[name]["sha256"] == sha256(tiny.folder / "models" / f"{name}.keras")


def test_each_score_adds_a_fixed_z_picture(tiny: Project) -> None:
    pictures = tiny.folder / "reports/train/plots/images/fixed_z"
    assert {p.name for p in pictures.iterdir()} == {"320.png", "640.png"}
    with np.load(tiny.folder / "models/timeline.npz") as arrays:
        assert arrays["images_seen"].tolist() == [320, 640]
        assert arrays["pictures"].shape == (2, 32, 16, 16, 1)
        assert arrays["pictures"].dtype == np.uint8


@pytest.mark.slow
def test_a_last_score_that_would_follow_too_soon_is_skipped(tiny: Project, tmp_path: Path) -> None:
    params = changed_params(tiny, tmp_path, "images: 640", "images: 656")  # one batch more
    result = tiny.run("train", "--params", params, "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    scores = pd.read_csv(tmp_path / "reports/train/plots/metrics/score.tsv", sep="\t")
    losses = pd.read_csv(tmp_path / "reports/train/plots/metrics/loss/generator.tsv", sep="\t")
    assert list(scores["step"]) == [320, 656]
    assert list(losses["step"]) == list(range(16, 657, 16)), "the curves have every step once"


def test_the_curves_are_finite_and_small(tiny: Project) -> None:
    for path in (tiny.folder / "reports/train/plots/metrics").rglob("*.tsv"):
        table = pd.read_csv(path, sep="\t")
        assert 1 < len(table) < 500
        assert np.isfinite(table.to_numpy()).all()
        assert table["step"].is_monotonic_increasing
        assert table["step"].is_unique


def test_pictures_record_their_seeds_and_their_generator(tiny: Project) -> None:
    generator = sha256(tiny.folder / "models/generator.keras")
    folder = tiny.folder / "reports/samples"
    names = {"grid", "real", "timeline", "timeline_animated", "interpolation", "nearest", "arithmetic"}
    assert {p.name for p in folder.iterdir()} == {f"{name}.png" for name in names}
    grid = png.read(folder / "grid.png").provenance
    assert grid.description == "Samples of the seeds 0 to 5 in order, uncurated"
    assert generator in grid.source
    assert sha256(tiny.folder / "data/prepared/manifest.json") in png.read(folder / "real.png").provenance.source


@pytest.mark.parametrize(
    "stage",
    [
        "features",
        "train",
        *(pytest.param(stage, marks=pytest.mark.slow) for stage in ("sample", "evaluate", "play", "report")),
    ],
)
def test_a_second_run_of_a_stage_gives_the_same_bytes(tiny: Project, tmp_path: Path, stage: str) -> None:
    result = tiny.run_process(stage, "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    outputs = contents(tmp_path)
    assert outputs
    assert outputs.items() <= contents(tiny.folder).items()


def test_outputs_contain_no_date_and_no_path_of_this_machine(tiny: Project) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    for name in ("data/prepared", "models", "reports"):
        for path in (tiny.folder / name).rglob("*"):
            if path.is_file() and path.name != "timings.json":
                content = path.read_bytes()
                assert today.encode() not in content, path
                assert str(tiny.folder).encode() not in content, path


def test_the_report_is_one_file_and_shows_every_result(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    assert "<script" not in page
    links = r"""\b(src|href)=["'](?!data:|#|http://localhost/|play\.html")|@import|url\((?!["']?#)"""
    assert not re.search(links, page)
    assert page.count('src="data:image/png;base64,') == 9
    assert page.count("<svg") == 8
    assert page.count("<figcaption>") == 15, "each picture and figure has a caption; the maps have a text beside them"
    assert page.index("Samples of the seeds 0 to 5") < page.index("<h2>"), "the grid is at the top"
    for expected in ("mode_kl", "generator.channels", "tensorflow", "Tiny shapes", "MIT"):
        assert expected in page
    for name in ("generator", "discriminator", "features/judge"):
        assert sha256(tiny.folder / "models" / f"{name}.keras") in page
    assert "lass coverage is not measured" not in page
    assert not re.search(r"<(img|div role)(?![^>]*(alt|aria-label)=\"[^\"])", page), (
        "every picture has a text alternative"
    )
    data = manifest.read(tiny.folder / "data/prepared")
    assert data.splits["train"].shards[0].sha256 in page


def changed_model(project: Project, **facts: object) -> str:
    """Change facts in models/model.json, render the report and return its text."""
    model = read(project, "models/model.json")
    (project.folder / "models/model.json").write_text(json.dumps({**model, **facts}))
    result = project.run("report")
    assert result.returncode == 0, result.stderr
    return (project.folder / "reports/report.html").read_text()


def test_the_report_shows_the_flags_of_the_training_first(tiny_copy: Project) -> None:
    flags = [
        {"images": 120_000, "kind": "discriminator_saturated", "message": "D is <sure> of itself"},
        {"images": 240_000, "kind": "generator_collapsed", "message": "the generator has collapsed"},
    ]
    page = changed_model(tiny_copy, flags=flags, stopped="ended after 240,000 images: it had collapsed")
    box = page[page.index('role="alert"') : page.index('<ul class="numbers">')]
    assert "This training run was flagged:" in box
    assert "after 120,000 images: D is &lt;sure&gt; of itself" in box
    assert "after 240,000 images: the generator has collapsed" in box
    assert "Training ended after 240,000 images: it had collapsed." in box


def test_a_training_that_ended_early_without_a_flag_shows_no_alert(tiny_copy: Project) -> None:
    page = changed_model(tiny_copy, flags=[], stopped="Training ended early: no better score.")
    assert 'role="alert"' not in page
    assert '<p role="note">Training ended early: no better score.</p>' in page
    page = changed_model(tiny_copy, flags=[], stopped="", best_images_seen=320)
    assert 'role="alert"' not in page
    assert 'role="note"' not in page


def test_the_report_names_the_score(tiny_copy: Project) -> None:
    assert "Distance of something &amp; other; lower is better" in changed_model(
        tiny_copy, score="Distance of something & other"
    )


def test_a_loss_without_probabilities_shows_the_discriminators_mean_output(tiny_copy: Project) -> None:
    page = changed_model(tiny_copy, logistic=False)
    assert "mean output for real images and for samples" in page
    assert "mean probability" not in page
    assert "loss, nats" not in page


def test_the_outputs_of_a_paired_loss_are_comparisons(tiny_copy: Project) -> None:
    words = "each compared with an image of the other kind"
    assert words not in changed_model(tiny_copy)
    assert words in changed_model(tiny_copy, paired=True)


def test_the_report_escapes_names_from_the_data(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    assert "<b>cross</b>" not in page
    assert html.escape(CLASSES[2]) in page


def test_the_report_loads_no_model(tiny: Project, tmp_path: Path) -> None:
    fake = tmp_path / "tensorflow"
    fake.mkdir()
    (fake / "__init__.py").write_text("raise ImportError('the report must not load a model')")
    result = tiny.run_process("report", "--out", str(tmp_path / "out"), first_on_path=tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_shard_with_a_flipped_byte_stops_the_training_and_is_named(tiny_copy: Project) -> None:
    shard = tiny_copy.folder / "data/prepared/train-00001-of-00004.tfrecord"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    before = sha256(tiny_copy.folder / "models/generator.keras")
    result = tiny_copy.run("train")
    assert result.returncode == 1
    assert "train-00001-of-00004.tfrecord: damaged (its SHA-256 is not the one in the manifest)" in result.stderr
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
        ("play", "models/discriminator.keras"),
        ("report", "models/features/features.json"),
        ("report", "reports/metrics.json"),
        ("report", "reports/evaluate/details.json"),
        ("report", "reports/evaluate/protocol.json"),
        ("report", "reports/samples/nearest.png"),
        ("report", "reports/evaluate/points.csv"),
    ],
)
def test_a_missing_input_is_named_in_the_error(tiny_copy: Project, stage: str, missing: str) -> None:
    path = tiny_copy.folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    result = tiny_copy.run(stage)
    assert result.returncode == 1
    assert f"error: {missing}: missing; run `dvc repro` to make it" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_batch_larger_than_the_data_is_an_error(tiny: Project, tmp_path: Path) -> None:
    params = changed_params(tiny, tmp_path, "batch_size: 16", "batch_size: 321")
    result = tiny.run("train", "--params", params, "--out", str(tmp_path / "out"))
    assert result.returncode == 1
    assert "error: train.batch_size: 321 is more than the 320 training images" in result.stderr


@pytest.mark.slow
def test_a_training_that_diverges_ends_without_an_error_and_its_report_says_so_first(
    tiny: Project, tmp_path: Path
) -> None:
    rates = "generator_learning_rate: 1e30, discriminator_learning_rate: 1e30"
    rates = f"batch_size: 16, guard: rollback, optimizer: {{{rates}}}"
    params = changed_params(tiny, tmp_path, "batch_size: 16", rates)
    arguments = ("--params", params, "--out", str(tmp_path), "--base", str(tiny.folder))
    for stage in ("train", "sample", "evaluate", "play", "report"):
        result = tiny.run(stage, *arguments)
        assert result.returncode == 0, result.stderr
    project = Project(tmp_path)
    names = ("reports/metrics.json", "reports/evaluate/details.json", "reports/train/metrics.json", "models/model.json")
    for name in names:
        assert all(math.isfinite(value) for value in numbers(read(project, name)))
    model = read(project, "models/model.json")
    assert [flag["kind"] for flag in model["flags"]] == ["non_finite"] * 4, "three rollbacks, then the end"
    assert read(project, "reports/train/metrics.json")["flags"]["non_finite"] == 4
    page = (tmp_path / "reports/report.html").read_text()
    assert "is not finite: training has diverged" in page[: page.index("<h2>")]


@pytest.mark.slow
def test_a_judge_that_diverges_is_an_error(tiny: Project, tmp_path: Path) -> None:
    params = changed_params(tiny, tmp_path, "batch_size: 32", "batch_size: 32, learning_rate: 1e30")
    result = tiny.run("features", "--params", params, "--out", str(tmp_path / "out"))
    assert result.returncode == 1
    assert "error: features: the judge's training diverged; lower features.learning_rate" in result.stderr


@pytest.mark.slow
def test_a_judge_of_another_image_size_is_named_in_the_error(tiny: Project, tmp_path: Path) -> None:
    params = changed_params(tiny, tmp_path, "size: 16,", "size: 32,")
    arguments = ("--params", params, "--out", str(tmp_path))
    assert tiny.run("prepare", *arguments).returncode == 0
    result = tiny.run("train", *arguments)
    assert result.returncode == 1
    assert "models/features/judge.keras: trained on (16, 16, 1) images of 4 classes" in result.stderr
    assert "Traceback" not in result.stderr


def icons() -> dict[str, bytes]:
    """Colour shapes on a transparent ground as PNG files, in folders by split and class."""
    generator, files = np.random.default_rng(0), {}
    for number in range(400):
        label = number % 2
        shape = draw(label, generator)
        colour = np.full((*shape.shape, 3), generator.integers(0, 256, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(np.dstack([colour, shape])).save(file, "PNG")
        files[f"{'train' if number < 320 else 'test'}/{CLASSES[label]}/{number}.png"] = file.getvalue()
    return files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "train"),
    [
        ("channels: 3, dtype: uint8", "loss: {name: minimax}, generator: {upsampling: fractional, kernel_size: 5}"),
        (
            "size: [24, 40], channels: 4, fit: pad",
            "generator: {upsampling: resize, norm: none, latent_dim: 8}, discriminator: {norm: none}",
        ),
        (
            "size: 32, channels: 3, crop: [2, 2, 26, 20]",
            "generator: {norm: batch_all}, discriminator: {norm: batch_all}, optimizer: {learning_rate_decay: 0.5}",
        ),
        (
            "size: 28, channels: 4, labels: none, dtype: uint8",
            "loss: {name: hinge, label_smoothing: 0.0}, discriminator: {norm: spectral}",
        ),
    ],
)
def test_the_whole_pipeline_runs_with_other_params(tiny: Project, tmp_path: Path, prepare: str, train: str) -> None:
    project = Project(tmp_path)
    (tmp_path / "data").mkdir()
    if "channels: 4" in prepare:
        write_archive(tmp_path / "data/raw", icons())
    else:
        (tmp_path / "data/raw").symlink_to(tiny.folder / "data/raw")
    text = (tiny.folder / "params.yaml").read_text()
    text = "\n".join("validate: {}" if line.startswith("validate") else line for line in text.splitlines())
    if "channels:" in prepare:  # with other channels, the tiny judge of the labels may fail its check
        text = without_arithmetic(text)
    if "size:" in prepare:
        text = text.replace("prepare: {size: 16, ", "prepare: {")
    params = yaml.safe_load(text.replace("prepare: {", f"prepare: {{{prepare}, "))
    changed = with_changes(params, {"train": yaml.safe_load(f"{{{train}}}")})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed))
    for stage in STAGES:
        result = project.run(stage)
        assert result.returncode == 0, result.stderr
    metrics = metrics_of(project.folder)
    assert all(math.isfinite(value) for value in numbers(metrics))
    data = manifest.read(tmp_path / "data/prepared")
    with Image.open(tmp_path / "reports/samples/grid.png") as grid:
        assert grid.mode == ("L" if data.shape[2] == 1 else "RGB")
        height, width, _ = data.shape
        assert grid.size == (2 * (3 * (width + 2) - 2), 2 * (2 * (height + 2) - 2))
    for word in re.findall(r"[\w.]+", train):
        assert word in (tmp_path / "reports/report.html").read_text()


@pytest.mark.parametrize(
    ("path", "content", "stage"),
    [
        ("models/timeline.npz", b"no zip", "sample"),
        ("data/reference.npz", b"", "evaluate"),
        ("models/timeline.npz", b"", "play"),
        ("reports/samples/grid.png", b"no picture", "report"),
        ("reports/metrics.json", b"{}", "report"),
        ("reports/evaluate/details.json", b"{}", "report"),
        ("reports/evaluate/protocol.json", b"{}", "report"),
        ("models/model.json", b"[", "report"),
        ("models/features/features.json", b"{}", "report"),
        ("reports/evaluate/modes.csv", b"a,b\n1,2\n", "report"),
        ("reports/train/plots/metrics/score.tsv", b"step\tscore\n1\tx\n", "report"),
    ],
)
def test_a_damaged_input_is_named_in_the_error(tiny_copy: Project, path: str, content: bytes, stage: str) -> None:
    (tiny_copy.folder / path).write_bytes(content)
    result = tiny_copy.run(stage)
    assert result.returncode == 1
    assert f"error: {path}: damaged (" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_output_folder_that_cannot_be_created_is_named_in_the_error(tiny: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = tiny.run("report", "--out", str(tmp_path / "file" / "out"))
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert str(tmp_path / "file") in result.stderr
    assert "Traceback" not in result.stderr


RUN_WITH_EXIT_HOOK = (
    "import atexit, runpy; atexit.register(print, 'late'); runpy.run_module('stages.validate', run_name='__main__')"
)


@pytest.mark.parametrize(
    ("variables", "late"),
    [({}, ""), ({"TF_CONFIG": "{}"}, "late\n"), ({"SLURM_STEP_NUM_TASKS": "2"}, "late\n")],
    ids=["alone", "TF_CONFIG", "Slurm"],
)
def test_a_stage_skips_exit_hooks_unless_it_is_one_of_several_workers(
    tiny_copy: Project, variables: dict[str, str], late: str
) -> None:
    environment = tiny_copy.environment() | variables
    result = subprocess.run(
        [sys.executable, "-c", RUN_WITH_EXIT_HOOK],
        cwd=tiny_copy.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "validate: done in" in result.stderr
    assert result.stdout == late
