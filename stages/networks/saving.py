"""Save and load networks: the same network gives the same bytes, and nothing in a file is run when it is read."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from stages.artifacts import missing
from stages.errors import StageError
from stages.networks.layers import BatchNorm, Maxout, SpectralConv2D, SpectralDense, ZeroInsertion2D

# By their registered names: what a saved network of ours may hold besides Keras' own layers.
_OURS = (BatchNorm, Maxout, SpectralConv2D, SpectralDense, ZeroInsertion2D)
_LAYERS = {keras.saving.get_registered_name(layer): layer for layer in _OURS}
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def _renumbered(config: Any, known: dict[int, int]) -> Any:
    """A model's config with its shared objects numbered 1, 2, …: Keras writes their addresses in memory."""
    if isinstance(config, dict):
        return {
            key: known.setdefault(value, len(known) + 1) if key == "shared_object_id" else _renumbered(value, known)
            for key, value in config.items()
        }
    return [_renumbered(value, known) for value in config] if isinstance(config, list) else config


def save(model: keras.Model, path: Path) -> None:
    """Write `model` as a .keras file without what would make every file differ: dates, and addresses in memory."""
    dated = path.with_name(f"{path.stem}.dated.keras")
    model.save(dated)
    with zipfile.ZipFile(dated) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": ""}).encode()
            elif name == "config.json":
                content = json.dumps(_renumbered(json.loads(content), {})).encode()
            target.writestr(zipfile.ZipInfo(name, _NO_DATE), content)
    dated.unlink()


def _unreadable(path: Path, why: str) -> StageError:
    advice = "where it is this project's, delete it and run `dvc checkout`, `dvc pull` or `dvc repro`"
    return StageError(f"{path}: cannot be read as a Keras model ({why}); {advice}")


def load(path: Path) -> keras.Model:
    """The network in a .keras file, in safe mode. Raises StageError naming the file that cannot be read as one."""
    if not path.exists():
        raise missing(path)
    if path.is_dir():
        raise _unreadable(path, "it is a folder")
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):  # of which Keras says that it cannot be found
            raise _unreadable(path, "it is no .keras file")
    try:
        return keras.saving.load_model(path, custom_objects=_LAYERS, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from error
