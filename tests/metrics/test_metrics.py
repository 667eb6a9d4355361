"""The table of metrics: what evaluate computes is in it, in its order, and docs/metrics.md shows it.

After a change of the table, this command rewrites the page's copy:

    UPDATE_DOCS=1 pytest tests/metrics/test_metrics.py
"""

import importlib
import itertools
import os
import re

import numpy as np
import pytest
import yaml

from stages.copies import Found
from stages.evaluate import values
from stages.evaluate.collectors import FeatureStatistics, ImageStatistics
from stages.evaluate.measuring import HeldOutImages, Samples, TrainingImages
from stages.evaluate.reaching import Reached
from stages.inversion import Inverted
from stages.metrics.catalog import FEATURE_MODULES, METRICS, Metric
from stages.metrics.frechet import gaussian
from stages.reference import Reference
from stages.sizes import SIDES
from tests.conftest import ROOT

PAGE = ROOT / "docs/metrics.md"
SIZE, CLASSES = 40, 3


def image_statistics(seed: int) -> ImageStatistics:
    statistics = ImageStatistics(20, (SIZE, SIZE, 1))
    images = np.random.default_rng(seed).uniform(-1, 1, (20, SIZE, SIZE, 1))
    statistics.add(images.astype(np.float32))
    return statistics


def samples(held_out: int = 20, *, conditional: bool = False) -> Samples:
    """Statistics of 20 random samples, compared with random features of `held_out` test images."""
    generator = np.random.default_rng(0)
    features = FeatureStatistics(
        Reference(gaussian(generator.normal(size=(50, 4))), generator.normal(size=(held_out, 4)))
    )
    features.add(generator.normal(size=(20, 4)))
    asked = np.arange(20) // 7 if conditional else None
    return Samples(20, image_statistics(1), generator.integers(0, CLASSES, 20), features, asked)


def compute(measured: Samples) -> dict[str, float]:
    """All metrics of these samples."""
    judged = None if measured.asked is None else np.arange(20) % CLASSES
    test = HeldOutImages(image_statistics(2), np.arange(20) // 7, judged)
    generator = np.random.default_rng(3)
    places = np.zeros((20, 51), int)
    of_samples, of_real = (
        Found(generator.uniform(size=20), generator.uniform(1, 2, (20, 51)), places, places) for _ in range(2)
    )
    train = TrainingImages(image_statistics(4).descriptors(), of_samples, of_real, real_are_held_out=True)
    inverted = Inverted(*np.zeros((5, 20)))
    reached = Reached(inverted, inverted, *np.zeros((2, 20)))
    return values.compute(measured, test, train, np.full(CLASSES, 1 / CLASSES), 0.1) | values.inversion(reached)


def test_evaluate_computes_every_metric_of_the_catalog_in_its_order() -> None:
    absent = {f"swd_{side}" for side in SIDES if side not in (SIZE, SIZE // 2)}
    absent |= {"judge_rejected"}  # these samples have a judge
    absent |= {"class_accuracy"}  # the stage trains a judge for it
    assert list(compute(samples(conditional=True))) == [name for name in METRICS if name not in absent]


def test_only_a_conditional_generator_has_the_metrics_of_classes() -> None:
    missing = set(compute(samples(conditional=True))) - set(compute(samples()))
    assert missing == {name for name in METRICS if name.startswith("class_")} - {"class_accuracy"}


def test_with_fewer_than_six_test_images_the_feature_modules_compute_nothing() -> None:
    missing = set(compute(samples())) - set(compute(samples(held_out=5)))
    assert missing == {name for name, metric in METRICS.items() if metric.module}


def test_a_metric_that_the_catalog_lacks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "METRICS", {name: metric for name, metric in METRICS.items() if name != "kid_se"})
    with pytest.raises(KeyError, match="kid_se"):
        compute(samples())


@pytest.mark.parametrize("module", FEATURE_MODULES)
def test_a_module_of_the_catalog_computes_the_metrics_whose_rows_name_it(module: str) -> None:
    generated, real = np.random.default_rng(0).normal(size=(2, 6, 4))
    metrics = importlib.import_module(f"stages.metrics.{module}").compute(generated, real)
    assert list(metrics) == [name for name, metric in METRICS.items() if metric.module == module]
    assert all(type(value) is float for value in metrics.values())


def test_evaluate_depends_on_the_whole_folder_of_metrics_because_it_finds_them_by_name() -> None:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert "stages/metrics" in pipeline["stages"]["evaluate"]["deps"]


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_is_better_lower_or_higher_or_near_a_number_or_another_metric(metric: Metric) -> None:
    near = metric.better.removeprefix("near ")
    assert metric.better in ("", "lower", "higher") or near in METRICS or float(near)


def table() -> str:
    """The catalog in Markdown. Neighbours with the same meaning share a row, which names many by the first and last."""
    lines = ["| metric | meaning | better |", "|---|---|---|"]
    for (meaning, better), metrics in itertools.groupby(
        METRICS.values(), lambda metric: (metric.meaning, metric.better)
    ):
        names = [f"`{metric.name}`" for metric in metrics]
        shown = ", ".join(names) if len(names) < 8 else f"{names[0]} to {names[-1]}"
        better = re.sub(r"near (\D\w+)", r"near `\1`", better)
        lines.append(f"| {shown} | {meaning} | {better} |")
    return "\n".join(lines) + "\n"


def test_the_table_in_the_docs_is_the_catalog() -> None:
    page = PAGE.read_text()
    (written,) = re.findall(r"(?m)^\| metric \|.*\n(?:\|.*\n)+", page)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page.replace(written, table()))
    else:
        assert written == table()
