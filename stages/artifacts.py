"""The files that stages pass to each other: strict JSON, arrays, hashes, and errors for missing or damaged files."""

import hashlib
import json
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import StageError


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing(path: Path | str) -> StageError:
    """The error for an input that does not exist."""
    return StageError(f"{path}: missing; run `dvc repro` to make it, or `dvc pull` to download it")


def damaged(path: Path, reason: object) -> StageError:
    """The error for an input that is malformed or has been changed."""
    return StageError(f"{path}: damaged ({reason}); delete it and run `dvc checkout`, `dvc pull` or `dvc repro`")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON, indented by two spaces.

    Raises StageError for NaN and infinity. JSON cannot hold them, and DVC drops them silently.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise StageError(f"{path.name}: JSON cannot hold a value that is not finite: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, *required: str) -> dict[str, Any]:
    """Read a JSON object that has at least the `required` keys.

    Raises StageError, naming the file, if it is missing, is not JSON or lacks a key.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, f"not JSON: {error}") from None
    if not isinstance(value, dict) or not all(key in value for key in required):
        keys = f" with {', '.join(required)}" if required else ""
        raise damaged(path, f"expected a JSON object{keys}")
    return value


def read_arrays(path: Path, *names: str) -> tuple[np.ndarray, ...]:
    """Read arrays from an .npz file by name. Raises StageError, naming the file, if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(arrays[name] for name in names)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, error) from None


def rounded(value: float, digits: int = 6) -> float:
    """Round `value` to `digits` significant digits, so that a diff of two metrics files is easy to read."""
    if value == 0 or not math.isfinite(value):
        return float(value)
    return round(float(value), digits - 1 - math.floor(math.log10(abs(value))))
