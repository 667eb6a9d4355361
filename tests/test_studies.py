"""Studies: cells that run the stages with other settings, and the table over seeds."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import params
from stages.errors import StageError
from studies import cell, seeds
from tests.conftest import ROOT, Project

STUDIES = yaml.safe_load((ROOT / "studies/dvc.yaml").read_text())["stages"]


def result(fid: float, protocol: str = "a", flags: int = 0, **more: float) -> dict[str, Any]:
    return {"metrics": {"fid": fid, **more, "protocol": {"name": protocol}}, "flags": [{}] * flags}


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    base = {"train": {"a": 1, "b": 2}, "evaluate": {"c": 3}}
    assert cell.changed(base, {"train": {"b": 5}}) == {"train": {"a": 1, "b": 5}, "evaluate": {"c": 3}}
    assert base == {"train": {"a": 1, "b": 2}, "evaluate": {"c": 3}}


def test_the_summary_is_mean_and_sample_deviation_of_what_all_have() -> None:
    table = seeds.summary([result(1.0, swd=1), result(2.0), result(3.0)])
    assert table == {"fid": (2.0, 1.0)}
    assert seeds.summary([result(7.0)]) == {"fid": (7.0, 0.0)}
    assert "flagged  1 of 2 trainings" in seeds.shown({"fid": (1.5, 0.7)}, [result(1.0), result(2.0, flags=1)])


def test_numbers_of_unlike_protocols_are_not_put_together() -> None:
    with pytest.raises(StageError, match="different protocols"):
        seeds.summary([result(1.0, "a"), result(2.0, "b")])


@pytest.mark.parametrize("study", STUDIES)
def test_every_variant_of_a_study_is_valid_and_has_its_cells(study: str, tmp_path: Path) -> None:
    variants = yaml.safe_load((ROOT / f"studies/{study}.yaml").read_text())
    assert set(STUDIES[study]["matrix"]["variant"]) <= set(variants)
    base = params.read_file(ROOT / "params.yaml")
    for name, changes in variants.items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(cell.changed(base, changes or {})))
        params.check(file)


@pytest.mark.parametrize("study", STUDIES)
def test_the_committed_cells_are_of_one_protocol_and_say_what_they_are_of(study: str) -> None:
    found = {
        path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "studies/results" / study).glob("*.json"))
    }
    assert found, "no committed cells"
    variants = yaml.safe_load((ROOT / f"studies/{study}.yaml").read_text())
    seeds.summary(list(found.values()))
    for name, values in found.items():
        variant, _, seed = name.rpartition("-")
        assert values["params"]["seed"] == int(seed)
        for key, value in (variants[variant] or {}).get("train", {}).items():
            assert values["params"][key] == value, name


def test_a_variant_that_is_not_there_is_named() -> None:
    command = [sys.executable, "-m", "studies.cell", "recipe", "fancy", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: studies/recipe.yaml: no variant fancy; it has default, .*\n", done.stderr)


@pytest.mark.slow
def test_seeds_are_run_once_and_read_back(tiny_copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_copy.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    first = seeds.run_seeds(2)
    assert [r["params"]["seed"] for r in first] == [0, 1]
    assert first[0]["metrics"]["fid"] != first[1]["metrics"]["fid"]
    assert first[0]["metrics"] == json.loads((tiny_copy.folder / "reports/metrics.json").read_text())
    monkeypatch.setattr(cell, "run", lambda *_: pytest.fail("it was done before"))
    assert seeds.run_seeds(2) == first
