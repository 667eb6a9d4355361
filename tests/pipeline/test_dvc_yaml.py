"""dvc.yaml matches the code: a stage depends on the modules it imports and the files it reads, and on nothing else."""

import ast
import dataclasses
import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import params
from tests.conftest import ROOT

PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = PIPELINE["stages"]


# DVC's run cache ignores these keys in any mapping, because it uses them itself for files. A stage must name a param of
# this name in full (prepare.size), or the run cache would confuse two values of it.
OVERLOOKED = {"size", "nfiles"}
# Folders of stages that only a person runs. They may use the code of a stage.
COMMANDS = {"invert"}


def file_of(module: str) -> Path | None:
    """The file of a project module: stages.params => stages/params.py. None for a library."""
    path = Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


def imports_of(path: Path) -> set[Path]:
    """The project files that a file imports anywhere, including the packages of each module."""
    modules = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: this test does not follow relative imports"
            modules |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {m for module in modules for m in packages(module) if m.split(".")[0] == "stages"}
    return {file for module in ours if (file := file_of(module))}


def packages(module: str) -> list[str]:
    """stages.a.b => stages, stages.a, stages.a.b."""
    parts = module.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def code_of(stage: str) -> set[Path]:
    """Every project file that `python -m stages.<stage>` can import."""
    code: set[Path] = set()
    waiting = {Path(f"stages/{stage}/__main__.py"), Path(f"stages/{stage}/__init__.py"), Path("stages/__init__.py")}
    while waiting:
        path = waiting.pop()
        code.add(path)
        waiting |= imports_of(path) - code
    return code


def literals(stage: str, method: str) -> set[str]:
    """The paths that the modules of a stage pass to workspace.<method>."""
    paths: set[str] = set()
    for path in (ROOT / "stages" / stage).glob("*.py"):
        tree = ast.parse(path.read_text())
        tuples = {
            node.targets[0].id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
                for argument in node.args:
                    value: ast.AST = argument.value if isinstance(argument, ast.Starred) else argument
                    value = tuples[value.id] if isinstance(value, ast.Name) else value
                    paths |= {
                        leaf.value
                        for leaf in ast.walk(value)
                        if isinstance(leaf, ast.Constant)
                        and isinstance(leaf.value, str)
                        and ("/" in leaf.value or leaf.value == "presets")
                    }
    return paths


def entries(stage: str, *kinds: str) -> set[str]:
    return {
        next(iter(entry)) if isinstance(entry, dict) else entry
        for kind in kinds
        for entry in STAGES[stage].get(kind, [])
    }


def covers(entry: str, path: Path) -> bool:
    return path == Path(entry) or Path(entry) in path.parents


def test_each_stage_has_a_folder_a_section_and_its_command() -> None:
    folders = {path.parent.name for path in (ROOT / "stages").glob("*/__main__.py")}
    assert set(STAGES) == folders - COMMANDS == set(params.SECTIONS.values())
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python -m stages.{name}"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_exactly_the_code_that_the_stage_imports(stage: str) -> None:
    code = code_of(stage)
    named = {dep for dep in entries(stage, "deps") if dep.startswith("stages/")}
    assert not {str(path) for path in code if not any(covers(dep, path) for dep in named)}, "imported, not in deps"
    assert not {dep for dep in named if not any(covers(dep, path) for path in code)}, "in deps, not imported"


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_another(stage: str) -> None:
    others = {Path("stages") / other for other in STAGES if other != stage}
    assert not {path for path in code_of(stage) if others & set(path.parents)}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_exactly_the_files_that_the_stage_reads(stage: str) -> None:
    named = {dep for dep in entries(stage, "deps") if not dep.startswith(("stages/", "${"))}
    read = literals(stage, "input")
    assert not {path for path in read if not any(covers(dep, Path(path)) for dep in named)}, "read, not in deps"
    # A dep may be one file of the folder that the stage reads, such as the manifest.
    unread = {dep for dep in named if not any(covers(dep, Path(p)) or covers(p, Path(dep)) for p in read)}
    assert not unread, "in deps, not read"


def test_only_the_folder_of_own_pictures_comes_from_a_param() -> None:
    named = {stage: [dep for dep in entries(stage, "deps") if "$" in dep] for stage in STAGES}
    assert {stage: deps for stage, deps in named.items() if deps} == {"download": ["${dataset.own}"]}


@pytest.mark.parametrize("stage", STAGES)
def test_outs_name_exactly_the_files_that_the_stage_writes(stage: str) -> None:
    assert entries(stage, "outs", "metrics", "plots") == literals(stage, "outputs")


@pytest.mark.parametrize("stage", STAGES)
def test_params_name_the_section_that_the_stage_reads(stage: str) -> None:
    (call,) = re.findall(
        r'run_stage\(\s*"(\w+)", "(\w+)", Settings', (ROOT / f"stages/{stage}/__main__.py").read_text()
    )
    assert call == (stage, next(section for section, name in params.SECTIONS.items() if name == stage))
    fields = {field.name for field in dataclasses.fields(importlib.import_module(f"stages.{stage}.settings").Settings)}
    overlooked = [f"{call[1]}.{name}" for name in sorted(fields & OVERLOOKED)]
    assert STAGES[stage]["params"] == [call[1], *overlooked]


def test_small_results_are_in_git_and_large_ones_in_the_cache() -> None:
    for stage in STAGES.values():
        for kind in ("metrics", "plots"):
            for entry in stage.get(kind, []):
                path, options = next(iter(entry.items()))
                assert path.startswith("reports/")
                assert options["cache"] is False, path
        cached = [out for out in stage.get("outs", []) if not isinstance(out, dict)]
        assert all(out.startswith(("data/", "models/")) for out in cached)


def test_git_tracks_no_file_that_the_cache_holds() -> None:
    """DVC rejects such an output, but only after the stage has run."""
    cached = [out for stage in STAGES.values() for out in stage.get("outs", []) if isinstance(out, str)]
    listed = subprocess.run(["git", "ls-files", "--", *cached], cwd=ROOT, capture_output=True, text=True, check=False)
    if "not a git repository" in listed.stderr:
        pytest.skip("this project was downloaded without Git")
    assert (listed.returncode, listed.stdout) == (0, "")


def test_only_the_pages_are_not_in_the_run_cache() -> None:
    """With a `cache: false` entry in `outs`, DVC reuses no earlier run. That is too slow for any other stage."""
    uncached = {
        out for stage in STAGES.values() for entry in stage.get("outs", []) if isinstance(entry, dict) for out in entry
    }
    assert uncached == {"reports/play.html", "reports/report.html", "reports/model_card.md"}


def test_top_level_plots_name_files_that_stages_write() -> None:
    written = {path for stage in STAGES for path in entries(stage, "plots")}
    for plot in PIPELINE["plots"]:
        name, options = next(iter(plot.items())) if isinstance(plot, dict) else (plot, {})
        for path in options["y"] if isinstance(options.get("y"), dict) else [name]:
            assert any(covers(entry, Path(path)) for entry in written), path


def test_every_section_of_the_params_belongs_to_a_stage() -> None:
    assert list(yaml.safe_load((ROOT / "params.yaml").read_text())) == list(params.SECTIONS)
