"""Check that the committed dvc.lock matches the code, the params and the committed results. Pulls and runs nothing.

`dvc repro --dry --allow-missing` alone is not enough: it exits with 0 when a stage would run, prints no stage when a
missing input stops it, and accepts a dvc.lock or a result that was never committed. This command checks all of these.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.utils.flatten import flatten

from stages.errors import StageError
from stages.shell import run_command
from tools.git import git, in_clone

PIPELINE = "dvc.yaml"
LOCK = "dvc.lock"
HERE = Path()


def _in_git(path: str) -> bool:
    """Whether Git tracks the file, or every file of the folder."""
    return bool(git(HERE, "ls-files", "--", path)) and not git(HERE, "ls-files", "--others", "--", path)


def _differs(path: str) -> bool:
    """Whether the file, or any file of the folder, differs from the last commit."""
    return bool(git(HERE, "status", "--porcelain", "--", path))


def _read(path: str) -> dict[str, Any]:
    """The mapping in a YAML file. Raises StageError if the file is missing or is not one."""
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path}: missing; `git restore {path}` restores the committed file") from None
    except (yaml.YAMLError, ValueError) as error:  # an impossible date raises ValueError
        mark = getattr(error, "problem_mark", None)
        place = f" near line {mark.line + 1}" if mark else ""
        raise StageError(f"{path}: not valid YAML{place}; does it contain a merge conflict?") from None
    if not isinstance(value, dict):
        raise StageError(f"{path}: expected a YAML mapping; `git restore {path}` restores the committed file")
    return value


def _small_outputs(pipeline: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(path, stage) of each output that Git has instead of DVC's cache (`cache: false`)."""
    for name, stage in (pipeline.get("stages") or {}).items():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
                if options.get("cache") is False:
                    yield path, name


def _inputs(pipeline: dict[str, Any]) -> Iterator[str]:
    """The files that the pipeline reads: dvc.yaml, the params, the dependencies of its stages."""
    yield PIPELINE
    yield "params.yaml"
    for stage in (pipeline.get("stages") or {}).values():
        yield from (name for params in stage.get("params", []) if isinstance(params, dict) for name in params)
        yield from stage.get("deps", [])


def _changed(params: ParamsDependency) -> Iterator[str]:
    """The params that differ from dvc.lock, by name; `file:name` for files other than params.yaml."""
    # A stage can depend on a section and also on a key in it, so each is flattened on its own.
    then, now = (
        {name: value for key, part in (read or {}).items() for name, value in flatten({key: part}).items()}
        for read in (params.hash_info.value, params.read_params())
    )
    for name in then | now:
        if (name in then, then.get(name)) != (name in now, now.get(name)):
            yield name if params.def_path == "params.yaml" else f"{params.def_path}:{name}"


def results(repo: Repo) -> str:
    """How the results in reports/ differ from the current params; "" if they do not.

    Compares only params.yaml with dvc.lock, which is quick: neither code nor data are read. Covers only the main
    pipeline's stages.
    """
    stages = [stage for stage in repo.index.stages if stage.path_in_repo == PIPELINE]
    outs = [out for stage in stages for out in stage.outs]
    hashes = {out.def_path: out.hash_info for out in outs}
    not_run = [stage.name for stage in stages if not all(out.hash_info for out in stage.outs)]
    inputs = [(stage, dep) for stage in stages if stage.name not in not_run for dep in stage.deps]
    params = [name for _, dep in inputs if isinstance(dep, ParamsDependency) for name in _changed(dep)]
    # After a run that was interrupted between two stages, the later stages' results still come from older models.
    older = [stage.name for stage, dep in inputs if hashes.get(dep.def_path, dep.hash_info) != dep.hash_info]
    missing = [out.def_path for out in outs if out.def_path.startswith("reports/") and not out.exists]
    problems = {
        f"come from no run in {LOCK}": not_run,
        "do not match its params": params,
        "come from different runs": older,
        "lack files": missing,
    }
    texts = [f"{problem} ({', '.join(dict.fromkeys(names))})" for problem, names in problems.items() if names]
    return f"the working tree's results {' and '.join(texts)}: make repro" if texts else ""


def complaints() -> list[str]:
    """Everything that is stale or not committed in the project of the current folder.

    Raises StageError outside a Git repository, and for a file that is not valid YAML.
    """
    in_clone(HERE, "--git-dir")
    pipeline = _read(PIPELINE)
    if not Path(LOCK).is_file():
        return [f"stale: {LOCK} is missing"]
    _read(LOCK)
    return [*_stale_stages(), *_uncommitted(pipeline)]


def _stale_stages() -> Iterator[str]:
    """The stages that DVC would run, and the error that stops it."""
    command = [sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing"]
    dry = subprocess.run(command, capture_output=True, text=True, check=False)
    yield from (f"stale: {line}" for line in dry.stdout.splitlines() if line.startswith("Running stage"))
    if dry.returncode:
        yield f"stale: dvc repro --dry exits with {dry.returncode}: {dry.stderr.strip()}"


def _uncommitted(pipeline: dict[str, Any]) -> Iterator[str]:
    """The pipeline's inputs, dvc.lock and small outputs that Git lacks or that differ from the last commit."""
    small = dict(_small_outputs(pipeline))
    # Git ignores the large outputs. Small outputs that a later stage reads are reported below, with their stage.
    inputs = dict.fromkeys(path for path in _inputs(pipeline) if path not in small)
    yield from (f"not committed: {path}" for path in inputs if _differs(path))
    if not _in_git(LOCK):
        yield f"stale: {LOCK} is not in Git"
    elif _differs(LOCK):
        yield f"not committed: {LOCK}"
    for path, stage in small.items():
        if not _in_git(path):
            yield f"stale: {path} of the stage {stage} is not in Git"
        elif _differs(path):
            yield f"not committed: {path} of the stage {stage}"


def _missing_pictures() -> str:
    """The folder of the user's own pictures if the data comes from it and it is empty; else ""."""
    dataset = _read("params.yaml").get("dataset") or {}
    own = Path(str(dataset.get("own", "data/own")))
    present = own.is_file() or any(path.is_file() and not path.name.startswith(".") for path in own.rglob("*"))
    return "" if present or dataset.get("source") != "own" else str(own)


def main() -> None:
    """Print everything that is stale or not committed, and fail if there is anything."""
    lines = complaints()
    for line in lines:
        print(line, file=sys.stderr)
    if any(line.startswith("stale: ") for line in lines):
        if any("'download'" in line for line in lines) and (folder := _missing_pictures()):
            raise StageError(
                f"{folder}: cannot check the data without its pictures; copy them there from the machine that has "
                "them. `dvc pull` downloads the results without them"
            )
        raise StageError(f"{LOCK} does not match code and params; run `make repro` and commit {LOCK} and reports/")
    if lines:
        raise StageError(f"not committed; commit {LOCK} and reports/ with the change that produced them")
    print(f"fresh: {LOCK} matches code, params and the committed results")


if __name__ == "__main__":
    run_command(main)
