"""The JSON files and the numbers that stages leave for each other."""

from pathlib import Path

import numpy as np
import pytest

from stages import artifacts
from stages.errors import StageError


def test_json_reads_back_as_it_was_written(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a.json", {"x": 0.5, "name": "é"})
    assert artifacts.read_json(tmp_path / "a.json") == {"x": 0.5, "name": "é"}


def test_json_with_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"b\.json: JSON cannot hold a value that is not finite"):
        artifacts.write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_a_missing_json_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"a\.json: missing; run `dvc repro` to make it, or `dvc pull`"):
        artifacts.read_json(tmp_path / "a.json")


def test_a_damaged_json_file_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StageError, match=r"a\.json: damaged \(not JSON"):
        artifacts.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["[1, 2]", '{"x": 1}'])
def test_a_json_file_without_the_required_keys_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StageError, match=r"a\.json: damaged \(expected a JSON object with x, y\)"):
        artifacts.read_json(tmp_path / "a.json", "x", "y")


def test_an_array_file_without_a_required_array_is_damaged(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    (x,) = artifacts.read_arrays(tmp_path / "a.npz", "x")
    assert x.tolist() == [0, 1, 2]
    with pytest.raises(StageError, match=r"a\.npz: damaged \(.*y"):
        artifacts.read_arrays(tmp_path / "a.npz", "x", "y")


@pytest.mark.parametrize(("value", "expected"), [(123456.789, 123457), (0.000123456789, 0.000123457), (0.0, 0.0)])
def test_rounded_keeps_six_significant_digits(value: float, expected: float) -> None:
    assert artifacts.rounded(value) == expected
