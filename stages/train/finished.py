"""The state that a finished training leaves in models/training_state.npz, from which a longer one continues.

The longer training ends with the same bytes as if it had been one run.
"""

import dataclasses
import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError

from stages import shell
from stages.train import loop
from stages.train.checkpoints import Checkpoints
from stages.train.settings import Settings
from stages.train.stops import last_shared
from stages.train.trainer import Trainer

_FILE = "models/training_state.npz"


@dataclass(frozen=True)
class _Finished:
    """A finished training: its settings, and a function that reads its state (None if it is missing or damaged)."""

    settings: Settings
    read: Callable[[], dict[str, np.ndarray] | None]


def write(path: Path, course: str, settings: Settings, checkpoints: Checkpoints) -> None:
    """Write the state that a longer training continues from.

    `course` identifies everything but the length: settings, data, code and libraries. The file has no state if a longer
    training would repeat every step.
    """
    _, state = checkpoints.final.latest() or (0, {})
    about = {"course": course, "settings": dataclasses.asdict(settings)}
    np.savez(path, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **state)  # type: ignore[arg-type]


def continue_from(folder: Path, course: str, settings: Settings, trainer: Trainer, checkpoints: Checkpoints) -> None:
    """Save the state of the finished training in `folder` as a checkpoint, if this one differs only in its length.

    `folder` is that of the outputs. Does nothing if this training has a checkpoint, or has the finished one's params.
    If only the length differs and it cannot continue, prints why.
    """
    done, _ = checkpoints.latest() or (0, {})
    finished = _find(folder)
    if done or finished is None or settings == finished.settings:
        return
    others = _differences(dataclasses.asdict(finished.settings.course), dataclasses.asdict(settings.course))
    if others and settings.images <= finished.settings.images:
        return  # not a longer version of it
    state: dict[str, np.ndarray] | None = None
    if others:
        obstacle = f"it had another train.{others[0]}"
    else:
        state = finished.read()
        obstacle = _obstacle(state, course, settings, trainer)
    of = f"the finished training of {finished.settings.images:,} images"
    if obstacle or state is None:
        shell.say(f"train: starting from scratch, and not from {of}: {obstacle}")
        return
    loop.start_from({name: array for name, array in state.items() if name != "about"}, trainer, checkpoints)
    images = int(state["step"]) * settings.images_per_step
    shell.say(f"train: continuing {of} from its state after {images:,} images")


def _find(folder: Path) -> _Finished | None:
    """The training whose results are in a folder, or were there until DVC removed them to run the stage."""
    path = folder / _FILE
    if path.exists():
        state = _arrays(path.read_bytes)
        return _with_settings(_about(state)["settings"], lambda: state) if state else None
    try:
        lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]["train"]
        values = lock["params"]["params.yaml"]["train"]
        if not any(out["path"] == _FILE for out in lock["outs"]):
            return None
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):  # no lock, or a damaged one
        return None
    return _with_settings(values, lambda: _arrays(lambda: _from_dvc(folder)))


def _about(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return dict(json.loads(state["about"].tobytes()))


def _with_settings(values: object, read: Callable[[], dict[str, np.ndarray] | None]) -> _Finished | None:
    try:
        return _Finished(TypeAdapter(Settings).validate_python(values), read)
    except ValidationError:  # of other code
        return None


def _from_dvc(folder: Path) -> bytes:
    """The file from DVC's cache or the default remote. Raises OSError if neither has it."""
    from dvc.api import DVCFileSystem  # it takes a second to import, and few trainings need it

    try:
        return DVCFileSystem(str(folder.resolve())).read_bytes(_FILE)
    except Exception as error:  # each kind of remote has errors of its own
        raise OSError(str(error)) from error


def _arrays(read: Callable[[], bytes]) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz file; None if it is missing or damaged."""
    try:
        with np.load(io.BytesIO(read()), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The names of the settings that differ: `optimizer.beta_1` for one in a group."""
    names = []
    for name, value in a.items():
        if isinstance(value, Mapping):
            names += [f"{name}.{inner}" for inner in _differences(value, b[name])]
        elif value != b[name]:
            names.append(name)
    return names


def _obstacle(state: Mapping[str, np.ndarray] | None, course: str, settings: Settings, trainer: Trainer) -> str:
    """Why a training with these settings cannot continue from a state; empty if it can."""
    if state is None:
        return f"{_FILE} is damaged, or in neither DVC's cache nor its remote"
    if _about(state)["course"] != course:
        return "the data, the code, a library or the model of train.start_from has changed"
    if "step" not in state:
        return "it shares no step with a longer one, because it was too short or its learning rates fell from the start"
    if state["step"] > last_shared(trainer.steps, settings.steps_per_score, trainer.constant_rate_steps):
        return "its state is from after the end of this training"
    images = _end_of_patience(json.loads(state["journal"].tobytes())["rows"], settings.scoring.patience)
    return f"with this train.scoring.patience it would have ended after {images:,} images" if images else ""


def _end_of_patience(rows: list[dict[str, Any]], patience: int) -> int:
    """The images seen when patience would have run out before the last row; 0 if it would not."""
    best, best_images = math.inf, 0
    for row in rows[:-1] if patience else ():
        score = row["values"].get("score", math.inf)
        if score < best:
            best, best_images = score, row["images"]
        elif score < math.inf and row["images"] - best_images >= patience:
            return int(row["images"])
    return 0
