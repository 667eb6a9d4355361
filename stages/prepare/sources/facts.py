"""source.json, which the download stage writes: the facts of a data set and the hashes of its files."""

from pathlib import Path
from typing import Any

from stages import artifacts
from stages.errors import StageError

_KEYS = ("name", "title", "homepage", "licence", "citation", "format", "classes", "files")


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts of the data set in `folder`. Raises StageError if a file is missing or its SHA-256 differs."""
    facts = artifacts.read_json(folder / "source.json", *_KEYS)
    for file in facts["files"]:
        path = folder / file["name"]
        if not path.is_file() or artifacts.sha256(path) != file["sha256"]:
            raise StageError(f"{path}: missing or damaged; delete {folder} and run `dvc repro download`")
    return facts


def file_with_ending(facts: dict[str, Any], folder: Path, ending: str) -> Path:
    """The data set's one file whose name ends in `ending`. Raises StageError if there is not exactly one."""
    paths = [folder / file["name"] for file in facts["files"] if file["name"].endswith(ending)]
    if len(paths) != 1:
        raise StageError(f"{folder / 'source.json'}: expected one file …{ending}, found {len(paths)}")
    return paths[0]
