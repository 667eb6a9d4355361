"""Save and load networks. The same network gives the same bytes, and loading runs no code from the file."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from stages.artifacts import missing
from stages.classes import Classes
from stages.errors import StageError
from stages.networks import layers  # noqa: F401 - registers our layers with Keras

_NO_DATE = (1980, 1, 1, 0, 0, 0)
_CLASSES = "classes"  # the key of the metadata


def _renumbered(config: Any, numbers: dict[int, int]) -> Any:
    """A model's config with its shared objects numbered 1, 2, … instead of by their memory addresses."""
    if isinstance(config, dict):
        return {
            key: numbers.setdefault(value, len(numbers) + 1)
            if key == "shared_object_id"
            else _renumbered(value, numbers)
            for key, value in config.items()
        }
    return [_renumbered(value, numbers) for value in config] if isinstance(config, list) else config


def save(model: keras.Model, path: Path, classes: Classes | None = None) -> None:
    """Write `model` as a .keras file without dates and memory addresses, which would make every file differ.

    The classes of a conditional model become part of the file's metadata, which Keras ignores.
    """
    dated = path.with_name(f"{path.stem}.dated.keras")
    model.save(dated)
    with zipfile.ZipFile(dated) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                facts = dataclasses.asdict(classes) if classes else {}
                extra = {_CLASSES: {key: value for key, value in facts.items() if value}} if classes else {}
                content = json.dumps({**json.loads(content), "date_saved": "", **extra}).encode()
            elif name == "config.json":
                content = json.dumps(_renumbered(json.loads(content), {})).encode()
            target.writestr(zipfile.ZipInfo(name, _NO_DATE), content)
    dated.unlink()


def _unreadable(path: Path, reason: str) -> StageError:
    advice = "if it belongs to this project, delete it and run `dvc checkout`, `dvc pull` or `dvc repro`"
    return StageError(f"{path}: cannot be read as a Keras model ({reason}); {advice}")


def classes(path: Path) -> Classes | None:
    """The classes of the conditional model in a .keras file; None if the file names none.

    Raises StageError, naming the file, if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as file:
            values = json.loads(file.read("metadata.json")).get(_CLASSES)
        if not values:
            return None
        names, attributes = (tuple(map(str, values.get(key, ()))) for key in ("names", "attributes"))
        return Classes(names, tuple(map(float, values["shares"])), attributes)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise _unreadable(path, str(error)) from error


def load(path: Path) -> keras.Model:
    """Load the network in a .keras file in Keras' safe mode. Raises StageError, naming the file, if that fails."""
    if not path.exists():
        raise missing(path)
    if path.is_dir():
        raise _unreadable(path, "it is a folder")
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):  # Keras would say "file not found"
            raise _unreadable(path, "it is not a .keras file")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from error
