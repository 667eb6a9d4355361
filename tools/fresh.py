"""Does the committed dvc.lock match the code, the params and the committed results? Pulls and runs nothing.

`dvc repro --dry --allow-missing` alone does not tell: it exits with 0 when a stage would run, prints no stage when a
missing input stops it, and does not mind a lock or a result that was never committed, though nobody else would have
it. So all of them are looked at.
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
from tools.git import git

PIPELINE = "dvc.yaml"
LOCK = "dvc.lock"
HERE = Path()


def _in_git(path: str) -> bool:
    """Whether Git has the file, or all of the folder."""
    return bool(git(HERE, "ls-files", "--", path)) and not git(HERE, "ls-files", "--others", "--", path)


def _differs(path: str) -> bool:
    """Whether the file, or anything in the folder, is not as the last commit has it."""
    return bool(git(HERE, "status", "--porcelain", "--", path))


def _read(path: str) -> dict[str, Any]:
    """An object of YAML. Raises StageError naming the file that is missing or is none."""
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path}: missing; `git restore {path}` brings the committed one back") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        mark = getattr(error, "problem_mark", None)
        place = f" near line {mark.line + 1}" if mark else ""
        raise StageError(f"{path}: no YAML{place}; is a conflict of a merge left in it?") from None
    if not isinstance(value, dict):
        raise StageError(f"{path}: expected an object of YAML; `git restore {path}` brings the committed one back")
    return value


def _small_outputs(pipeline: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(path, stage) of what the pipeline writes and Git, not DVC's cache, has: `cache: false`."""
    for name, stage in (pipeline.get("stages") or {}).items():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
                if options.get("cache") is False:
                    yield path, name


def _inputs(pipeline: dict[str, Any]) -> Iterator[str]:
    """What the pipeline reads: itself, its params, what its stages depend on."""
    yield PIPELINE
    yield "params.yaml"
    for stage in (pipeline.get("stages") or {}).values():
        yield from (name for params in stage.get("params", []) if isinstance(params, dict) for name in params)
        yield from stage.get("deps", [])


def _changed(params: ParamsDependency) -> Iterator[str]:
    """What a params file says otherwise than dvc.lock does, by name; with the file's, where it is not params.yaml."""
    # Each by itself: a section and a key of it can both be named.
    then, now = (
        {name: value for key, part in (read or {}).items() for name, value in flatten({key: part}).items()}
        for read in (params.hash_info.value, params.read_params())
    )
    for name in then | now:
        if (name in then, then.get(name)) != (name in now, now.get(name)):
            yield name if params.def_path == "params.yaml" else f"{params.def_path}:{name}"


def results(repo: Repo) -> str:
    """What of the working tree's results in reports/ is not as its params would make it; "" where nothing is.

    By params.yaml and dvc.lock alone, so in no time: looks at no code and no data. The main pipeline's stages only.
    """
    stages = [stage for stage in repo.index.stages if stage.path_in_repo == PIPELINE]
    outs = [out for stage in stages for out in stage.outs]
    made = {out.def_path: out.hash_info for out in outs}
    unknown = [stage.name for stage in stages if not all(out.hash_info for out in stage.outs)]
    known = [(stage, dep) for stage in stages if stage.name not in unknown for dep in stage.deps]
    params = [name for _, dep in known if isinstance(dep, ParamsDependency) for name in _changed(dep)]
    # A run that was interrupted after a stage: what comes later is still of the models before.
    older = [stage.name for stage, dep in known if made.get(dep.def_path, dep.hash_info) != dep.hash_info]
    missing = [out.def_path for out in outs if out.def_path.startswith("reports/") and not out.exists]
    found = {
        f"are of no run that {LOCK} knows": unknown,
        "are not of its params": params,
        "are not all of one run": older,
        "lack files": missing,
    }
    told = [f"{what} ({', '.join(dict.fromkeys(names))})" for what, names in found.items() if names]
    return f"the working tree's results {' and '.join(told)}: make repro" if told else ""


def complaints() -> list[str]:
    """What is stale in the project of the current folder, or not committed; empty where all is fresh.

    Raises StageError where it cannot be told: no repository of Git's, or a file that is no YAML.
    """
    try:
        git(HERE, "rev-parse", "--git-dir")
    except StageError as error:
        raise StageError(f"{error}; run this in a clone of the project") from None
    pipeline = _read(PIPELINE)
    if not Path(LOCK).is_file():
        return [f"stale: {LOCK} is missing"]
    _read(LOCK)
    command = [sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing"]
    dry = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [f"stale: {line}" for line in dry.stdout.splitlines() if line.startswith("Running stage")]
    if dry.returncode:
        found.append(f"stale: dvc repro --dry exits with {dry.returncode}: {dry.stderr.strip()}")
    small = dict(_small_outputs(pipeline))
    # Git ignores the large outputs; the small ones that a later stage reads are named below, with their stage.
    read = dict.fromkeys(path for path in _inputs(pipeline) if path not in small)
    found += [f"not committed: {path}" for path in read if _differs(path)]
    if not _in_git(LOCK):
        found.append(f"stale: {LOCK} is not in Git")
    elif _differs(LOCK):
        found.append(f"not committed: {LOCK}")
    for path, stage in small.items():
        if not _in_git(path):
            found.append(f"stale: {path} of the stage {stage} is not in Git")
        elif _differs(path):
            found.append(f"not committed: {path} of the stage {stage}")
    return found


def _pictures_away() -> str:
    """The folder of the user's own pictures where the data is made of them and none is there; else ""."""
    dataset = _read("params.yaml").get("dataset") or {}
    own = Path(str(dataset.get("own", "data/own")))
    here = own.is_file() or any(path.is_file() and not path.name.startswith(".") for path in own.rglob("*"))
    return "" if here or dataset.get("source") != "own" else str(own)


def main() -> None:
    """Say what is stale or not committed, and fail where anything is."""
    found = complaints()
    for line in found:
        print(line, file=sys.stderr)
    if any(line.startswith("stale: ") for line in found):
        made = any("'download'" in line for line in found)
        if made and (away := _pictures_away()):
            raise StageError(
                f"{away}: the pictures are not here, and without them it cannot be told; copy them there from where "
                "the data was made. `dvc pull` brings the results all the same"
            )
        raise StageError(f"{LOCK} does not match code and params; run `make repro` and commit {LOCK} and reports/")
    if found:
        raise StageError(f"a clone would lack this; commit {LOCK} and reports/ with the change that they come of")
    print(f"fresh: {LOCK} matches code, params and the committed results")


if __name__ == "__main__":
    run_command(main)
