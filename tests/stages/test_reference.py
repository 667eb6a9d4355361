"""The reference and the judge as files, with and without labels."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stages import reference
from stages.errors import StageError
from stages.manifest import Manifest, Split
from stages.metrics.frechet import Gaussian
from stages.networks import judge, saving
from stages.reference import Reference

SPLITS = {"train": Split(4, (2, 1, 1), ())}
DATA = Manifest((16, 16, 1), "float32", ("a", "b", "c"), SPLITS, {}, {}, {})


def test_a_reference_reads_back_as_it_was_written(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    gaussian = Gaussian(generator.normal(size=4), generator.normal(size=(4, 4)))
    written = Reference(gaussian, generator.normal(size=(5, 4)).astype(np.float32))
    for name in ("a.npz", "b.npz"):
        reference.save(tmp_path / name, written)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = reference.load(tmp_path / "a.npz")
    assert loaded is not None
    assert np.array_equal(loaded.train.mean, gaussian.mean)
    assert np.array_equal(loaded.train.covariance, gaussian.covariance)
    assert np.array_equal(loaded.held_out, written.held_out)
    assert loaded.held_out.dtype == np.float32


def test_an_empty_reference_reads_back_as_none(tmp_path: Path) -> None:
    reference.save(tmp_path / "reference.npz", None)
    assert reference.load(tmp_path / "reference.npz") is None


def test_a_missing_or_incomplete_reference_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    with pytest.raises(StageError, match=r"reference\.npz: missing"):
        reference.load(path)
    np.savez(path, measured=np.array(True), mean=np.zeros(3))
    with pytest.raises(StageError, match=r"reference\.npz: damaged"):
        reference.load(path)
    np.savez(path, mean=np.zeros(3))
    with pytest.raises(StageError, match=r"reference\.npz: damaged"):
        reference.load(path)


def test_the_judge_is_loaded_from_its_folder(tmp_path: Path) -> None:
    model = judge.judge(16, 1, 3, base_channels=4)
    saving.save(model, tmp_path / judge.FILE)
    (tmp_path / "features.json").write_text('{"network": "judge"}')
    loaded = judge.load(tmp_path, DATA)
    assert loaded is not None
    images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 1)).astype(np.float32)
    assert np.allclose(loaded(images).features, model(images)[1], atol=1e-5)
    assert (loaded.names, list(loaded.shares), loaded.labelled) == (("a", "b", "c"), [0.5, 0.25, 0.25], True)


def test_a_judge_without_labels_has_clusters(tmp_path: Path) -> None:
    saving.save(judge.judge(16, 1, 2, base_channels=4), tmp_path / judge.FILE)
    (tmp_path / "features.json").write_text('{"network": "judge_unlabelled", "clusters": [0.75, 0.25]}')
    loaded = judge.load(tmp_path, DATA)
    assert loaded is not None
    assert (loaded.names, list(loaded.shares)) == (("cluster 1", "cluster 2"), [0.75, 0.25])
    assert not loaded.labelled


def test_data_whose_judges_were_rejected_has_none(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text('{"network": "none", "rejected": {"judge": "it does not see blur"}}')
    assert judge.load(tmp_path, DATA) is None
    assert judge.rejected(tmp_path) == {"judge": "it does not see blur"}


def test_a_missing_judge_or_one_of_other_data_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"features\.json: missing"):
        judge.load(tmp_path, DATA)
    (tmp_path / "features.json").write_text('{"network": "judge"}')
    with pytest.raises(StageError, match=r"judge\.keras: missing"):
        judge.load(tmp_path, DATA)
    saving.save(judge.judge(16, 1, 3, base_channels=4), tmp_path / judge.FILE)
    for other in ({"classes": ("a", "b")}, {"shape": (16, 16, 3)}):
        with pytest.raises(StageError, match=r"judge\.keras: trained on \(16, 16, 1\) images of 3 classes"):
            judge.load(tmp_path, dataclasses.replace(DATA, **other))
