"""The check of the judge: its accuracy on the test images against the share of the largest class."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from stages.artifacts import sha256
from stages.features.training import Check
from tests.conftest import Project, draw, write_idx


@pytest.mark.parametrize(("correct", "images"), [(0, 1), (1, 1), (0, 39), (3, 39), (20, 40), (9164, 10_000), (7, 7)])
def test_the_interval_is_that_of_scipy(correct: int, images: int) -> None:
    expected = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    assert Check(correct, images, 0.1).interval == pytest.approx((expected.low, expected.high), abs=1e-7)


@pytest.mark.parametrize(
    ("correct", "images", "largest_class", "passed"),
    [
        (9164, 10_000, 0.1, True),
        (40, 40, 0.5, True),
        (0, 39, 2 / 39, False),  # 300 persons with a few pictures each
        (300, 1000, 0.3, False),
        (991, 1000, 0.99, False),  # one class has nearly all images
        (2, 2, 0.5, False),  # right on all, but they are too few to tell
        (3, 4, 0.25, True),
        (10, 10, 1.0, False),  # every test image is of one class
        (1, 1, 1.0, False),
    ],
)
def test_a_judge_passes_if_it_is_better_than_the_largest_class_beyond_doubt(
    correct: int, images: int, largest_class: float, passed: bool
) -> None:
    assert Check(correct, images, largest_class).passed is passed


def write_classes(project: Project, train: list[int], test: list[int]) -> None:
    """A raw data set with these labels. The pictures of a class are alike only if its number is below 4."""
    folder, generator, files = project.folder / "data/raw", np.random.default_rng(0), []
    folder.mkdir(parents=True)
    for prefix, labels in (("train", train), ("t10k", test)):
        pictures = np.stack([draw(label if label < 4 else int(generator.integers(4)), generator) for label in labels])
        for name, array in (("images-idx3", pictures), ("labels-idx1", np.array(labels, np.uint8))):
            path = folder / f"{prefix}-{name}-ubyte"
            write_idx(path, array)
            files.append({"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)})
    facts = {"name": "own", "title": "Own", "homepage": "", "licence": "MIT", "citation": "", "format": "idx"}
    classes = [f"class {i}" for i in range(max(train + test) + 1)]
    (folder / "source.json").write_text(json.dumps({**facts, "classes": classes, "files": files}))


EVERY_CLASS_ONCE = [*range(4, 68)]


@pytest.mark.parametrize(
    ("train", "test", "network"),
    [
        pytest.param(EVERY_CLASS_ONCE, EVERY_CLASS_ONCE[:39], "judge_unlabelled", id="one image in each class"),
        pytest.param([0, 1] * 100, [1] * 40, "judge_unlabelled", id="a test split of one class"),
        pytest.param([0, 1, 2, 3] * 50, [0, 3] * 20, "judge", id="a test split that lacks two classes"),
        pytest.param([0] * 200, [0] * 20, "judge_unlabelled", id="a single class"),
        pytest.param([0] * 20, [0] * 10, "none", id="a single class with fewer pictures than a batch"),
    ],
)
def test_the_features_stage_keeps_the_judge_of_the_labels_if_it_passes(
    tmp_path: Path, train: list[int], test: list[int], network: str
) -> None:
    project = Project(tmp_path)
    write_classes(project, train, test)
    features = "{base_channels: 4, images: 1280, batch_size: 32}"
    (tmp_path / "params.yaml").write_text(f"prepare: {{size: 16}}\nvalidate: {{}}\nfeatures: {features}\n")
    for stage in ("prepare", "validate", "features"):
        result = project.run(stage)
        assert result.returncode == 0, result.stderr
    facts = json.loads((tmp_path / "models/features/features.json").read_text())
    assert facts["network"] == network
    assert ("rejected" in facts) is (network == "none" or (network != "judge" and len(set(train + test)) > 1))
    assert ("is not used" in result.stderr) is ("rejected" in facts)
