"""The validate stage: prepared data against its schema."""

import json
from pathlib import Path

import pytest

from tests.conftest import Project


@pytest.mark.parametrize(
    ("schema", "difference"),
    [
        ("shape: [32, 32, 3]", "shape: expected 32, 32, 3, got 16, 16, 1"),
        ("classes: [a, b]", "classes: expected a, b, got disc, square"),
        ("classes: []", "classes: expected none, got disc"),
        ("images: {train: [1, 319]}", "images.train: expected 1 to 319, got 320"),
        ("images: {val: [1, 2]}", "images.val: no such split; the data has train, test"),
        ("mean: [0.5, 0.6]", "mean: expected 0.5 to 0.6, got -0."),
        ("max_duplicates: 0", "max_duplicates: expected at most 0, got "),
    ],
)
def test_data_that_differs_from_its_schema_fails_with_the_difference(
    tiny: Project, tmp_path: Path, schema: str, difference: str
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"validate: {{{schema}}}")
    result = tiny.run("validate", "--params", str(params), "--out", str(tmp_path / "out"), "--base", str(tiny.folder))
    assert result.returncode == 1
    assert f"  - {difference}" in result.stderr
    assert not (tmp_path / "out/reports").exists()


def test_every_difference_is_listed_at_once(tiny: Project, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("validate: {shape: [32, 32, 3], classes: [a], images: {train: [320, 320]}}")
    result = tiny.run("validate", "--params", str(params), "--out", str(tmp_path / "out"), "--base", str(tiny.folder))
    assert result.stderr.count("  - ") == 2


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("", "nothing was checked: `validate` has no keys"),
        ("images: {}", "nothing was checked: `validate` has no keys"),
        ("max_duplicates: 400, images: {test: [1, 400]}", "the data matches its schema: images, max_duplicates"),
    ],
)
def test_only_what_was_checked_is_claimed_to_hold(tiny: Project, tmp_path: Path, schema: str, message: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"validate: {{{schema}}}")
    result = tiny.run("validate", "--params", str(params), "--out", str(tmp_path / "out"), "--base", str(tiny.folder))
    assert result.returncode == 0
    assert result.stderr.splitlines()[0] == message


def test_validation_writes_the_counts_of_the_data(tiny: Project) -> None:
    counts = json.loads((tiny.folder / "reports/validation.json").read_text())
    assert counts["train_images"] == 320
    assert counts["rejected"] == 0
