"""CONTRIBUTING's how-tos for a loss and a metric, followed in a copy: no file changes but those that they name."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Clone

pytestmark = pytest.mark.slow

LOSS = '''"""The squared hinge loss: a test's own."""

import tensorflow as tf


def discriminator(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """E[max(0, 1 − D(x))²] + E[max(0, 1 + D(G(z)))²]."""
    return tf.reduce_mean(tf.nn.relu(1 - real) ** 2) + tf.reduce_mean(tf.nn.relu(1 + fake) ** 2)


def generator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """−E[D(G(z))]."""
    return -tf.reduce_mean(fake)


def bounds(smoothing: float) -> tuple[float, float]:
    """0, and 2 (every output is 0)."""
    return 0.0, 2.0
'''
LOSS_TEST = """

def test_the_squared_hinge_loss_matches_numpy() -> None:
    formulas = LOSSES["squared_hinge"].formulas
    expected = (np.maximum(0, 1 - REAL) ** 2).mean() + (np.maximum(0, 1 + FAKE) ** 2).mean()
    assert float(formulas.discriminator(REAL, FAKE)) == pytest.approx(expected, rel=1e-6)
    assert float(formulas.generator(REAL, FAKE)) == pytest.approx(-FAKE.mean(), rel=1e-6)
"""
METRIC = '''"""The distance between the means of two sets of features: a test's own."""

import numpy as np


def compute(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Features (N, d) and (M, d) => `mean_distance`, the Euclidean distance between their means."""
    return {"mean_distance": float(np.linalg.norm(generated.mean(0) - real.mean(0)))}
'''
METRIC_TEST = '''"""The distance between means."""

import numpy as np

from stages.metrics.mean_distance import compute


def test_the_distance_is_the_shift() -> None:
    features = np.random.default_rng(0).normal(size=(10, 2))
    assert abs(compute(features + np.array([3, 4]), features)["mean_distance"] - 5) < 1e-9
'''


@pytest.fixture
def project(tmp_path: Path) -> Clone:
    """A copy of the working tree, committed, in the environment of the tests."""
    clone = Clone.of_the_working_tree(tmp_path / "project")
    (clone.folder / ".venv").symlink_to(sys.prefix)
    if (cache := ROOT / ".mypy_cache").exists():  # of `make test`
        shutil.copytree(cache, clone.folder / ".mypy_cache")
    return clone


def checked(project: Clone, *tests: str) -> list[str]:
    """Run `make test`'s checks, with these of its tests. Returns the changed files."""
    project.output("ruff", "format", "--check", ".")
    project.output("ruff", "check", ".")
    project.output("mypy")
    project.output("pytest", "-q", "-m", "not slow", *tests)
    return sorted(project.changed())


def test_a_loss_touches_its_file_a_row_a_test_and_the_comment_in_the_params(project: Clone) -> None:
    (project.folder / "stages/train/losses/squared_hinge.py").write_text(LOSS)
    project.edit(
        "stages/train/losses/catalog.py", '    Loss("hinge"),\n', '    Loss("hinge"),\n    Loss("squared_hinge"),\n'
    )
    tests = project.folder / "tests/train/test_losses.py"
    tests.write_text(tests.read_text() + LOSS_TEST)
    changed = checked(
        project, "tests/train/test_losses.py", "tests/pipeline/test_dvc_yaml.py", "tests/stages/test_params.py"
    )
    assert changed == [
        "stages/train/losses/catalog.py",
        "stages/train/losses/squared_hinge.py",
        "tests/train/test_losses.py",
    ]
    project.edit("params.yaml", "name: relativistic", "name: squared_hinge")
    project.output("python", "-m", "stages.params")


def test_a_metric_touches_its_file_a_row_its_row_in_the_docs_and_a_test(project: Clone) -> None:
    (project.folder / "stages/metrics/mean_distance.py").write_text(METRIC)
    last = '    Metric("kid_se", "standard error of the kernel distance", "Standard error of `kid`", module="kid"),\n'
    row = (
        '    Metric("mean_distance", "distance of means", "Distance of the means", "lower", module="mean_distance"),\n'
    )
    project.edit("stages/metrics/catalog.py", last, last + row)
    (project.folder / "tests/metrics/test_mean_distance.py").write_text(METRIC_TEST)
    project.output("pytest", "-q", "tests/metrics/test_metrics.py", UPDATE_DOCS="1")
    changed = checked(project, "tests/metrics", "tests/pipeline/test_dvc_yaml.py")
    assert changed == [
        "docs/metrics.md",
        "stages/metrics/catalog.py",
        "stages/metrics/mean_distance.py",
        "tests/metrics/test_mean_distance.py",
    ]
