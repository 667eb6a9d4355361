"""The references and the judge as files: what the features stage leaves, with and without labels."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stages import reference
from stages.errors import StageError
from stages.manifest import Manifest
from stages.metrics.frechet import Gaussian
from stages.networks import judge, saving
from stages.reference import Reference

DATA = Manifest((16, 16, 1), "float32", ("a", "b", "c"), {}, {}, {}, {})


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    gaussian = Gaussian(generator.normal(size=4), generator.normal(size=(4, 4)))
    written = Reference(gaussian, generator.normal(size=(5, 4)).astype(np.float32))
    for name in ("a.npz", "b.npz"):
        reference.save(tmp_path / name, written)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = reference.load(tmp_path / "a.npz")
    assert found is not None
    assert np.array_equal(found.train.mean, gaussian.mean)
    assert np.array_equal(found.train.covariance, gaussian.covariance)
    assert np.array_equal(found.held_out, written.held_out)
    assert found.held_out.dtype == np.float32


def test_no_judge_no_reference_and_that_is_no_damage(tmp_path: Path) -> None:
    reference.save(tmp_path / "reference.npz", None)
    assert reference.load(tmp_path / "reference.npz") is None


def test_a_reference_with_something_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    with pytest.raises(StageError, match=r"reference\.npz: missing"):
        reference.load(path)
    np.savez(path, measured=np.array(True), mean=np.zeros(3))
    with pytest.raises(StageError, match=r"reference\.npz: damaged"):
        reference.load(path)
    np.savez(path, mean=np.zeros(3))
    with pytest.raises(StageError, match=r"reference\.npz: damaged"):
        reference.load(path)


def test_the_judge_of_a_data_set_is_found_in_its_folder(tmp_path: Path) -> None:
    model = judge.judge(16, 1, 3, base_channels=4)
    saving.save(model, tmp_path / judge.FILE)
    found = judge.load(tmp_path, DATA)
    assert found is not None
    images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 1)).astype(np.float32)
    assert np.allclose(found(images).features, model(images)[1], atol=1e-5)


@pytest.mark.parametrize("classes", [(), ("one",)])
def test_fewer_than_two_classes_have_no_judge(tmp_path: Path, classes: tuple[str, ...]) -> None:
    assert judge.load(tmp_path, dataclasses.replace(DATA, classes=classes)) is None


def test_a_judge_that_is_missing_or_of_other_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"judge\.keras: missing"):
        judge.load(tmp_path, DATA)
    saving.save(judge.judge(16, 1, 3, base_channels=4), tmp_path / judge.FILE)
    for other in ({"classes": ("a", "b")}, {"shape": (16, 16, 3)}):
        with pytest.raises(StageError, match=r"judge\.keras: trained on \(16, 16, 1\) images of 3 classes"):
            judge.load(tmp_path, dataclasses.replace(DATA, **other))
