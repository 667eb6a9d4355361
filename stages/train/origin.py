"""The networks of another model that a training starts from (`train.start_from`), and where they came from."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from stages import artifacts, resume
from stages.classes import Classes
from stages.errors import StageError
from stages.networks import saving
from stages.networks.choices import Conditional
from stages.networks.plain import equivalent, take_weights

_GENERATOR, _DISCRIMINATOR, _FACTS = "generator.keras", "discriminator.keras", "model.json"
# Parts of a layer's config that do not change what it computes with given weights.
_IRRELEVANT = ("name", "dtype", "seed", "trainable", "module", "registered_name", "build_config", "batch_shape")


@dataclass(frozen=True)
class Origin:
    """Where the networks came from.

    `start_from` is the param. `commit` is that of a revision, else empty. The data's hash and title are those of the
    origin's model.json; empty without it.
    """

    start_from: str
    commit: str
    generator_sha256: str
    discriminator_sha256: str
    data_manifest_sha256: str
    data_title: str

    def __str__(self) -> str:
        """The name for messages."""
        return self.start_from + (f" (commit {self.commit[:7]})" if self.commit else "")

    def facts(self) -> dict[str, str]:
        """The origin for models/model.json."""
        return asdict(self)


@dataclass(frozen=True)
class Start:
    """The two networks of another model, the classes of a conditional one (else None), and their origin."""

    generator: keras.Model
    discriminator: keras.Model
    classes: Classes | None
    origin: Origin


def load(start_from: str) -> Start:
    """The model in a folder, next to a generator's .keras file, or of a Git revision.

    Raises StageError, naming `train.start_from`, if there is no such model.
    """
    root = resume.state_folder().parent  # in a temporary workspace, only the project has the branches and tags
    path = next((path for path in (Path(start_from), root / start_from) if path.exists()), None)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        if path is None:
            commit = _fetch(root, start_from, copy)
            generator, facts = copy / _GENERATOR, copy
        else:
            commit, generator = "", path / _GENERATOR if path.is_dir() else path
            facts = generator.parent
        discriminator = generator.with_name(_DISCRIMINATOR) if path else copy / _DISCRIMINATOR
        for file in (generator, discriminator):
            if not file.is_file():
                raise _problem(start_from, f"there is no {file if path else 'models/' + file.name}")
        about = artifacts.read_json(facts / _FACTS) if (facts / _FACTS).exists() else {}
        origin = Origin(
            start_from,
            commit,
            artifacts.sha256(generator),
            artifacts.sha256(discriminator),
            str(about.get("data_manifest_sha256", "")),
            str(about.get("data_title", "")),
        )
        return Start(saving.load(generator), saving.load(discriminator), saving.classes(generator), origin)


def _problem(start_from: str, text: str) -> StageError:
    return StageError(f"train.start_from: {start_from!r}: {text}")


def _fetch(root: Path, revision: str, folder: Path) -> str:
    """Copy the model of a revision from DVC's cache or remote into a folder. Returns the revision's commit."""
    # DVC takes a second to import, and few trainings need it.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import RevError, SCMError, resolve_rev

    try:
        with Repo(str(root)) as repo:
            commit = resolve_rev(repo.scm, revision)
        system = DVCFileSystem(str(root), rev=commit)
        for name in (_GENERATOR, _DISCRIMINATOR, _FACTS):
            if system.exists(f"models/{name}"):
                (folder / name).write_bytes(system.read_bytes(f"models/{name}"))
    except (RevError, SCMError, NotDvcRepoError) as error:
        raise _problem(revision, "no such folder, .keras file or Git revision") from error
    except (OSError, DvcException) as error:
        raise _problem(
            revision, f"{error}; run `dvc push` where the model was made, or `dvc fetch --all-commits`"
        ) from error
    return str(commit)


def take_over(start: Start, generator: keras.Model, discriminator: keras.Model, classes: Classes | None) -> None:
    """Give the networks to train the weights of the other model.

    Raises StageError, naming the first difference, unless the networks are built alike in inference. The classes of
    conditional networks must have the same names in the same order.
    """
    theirs_is, ours_is = map(_conditional, (start.classes, classes))
    if theirs_is != ours_is:
        raise _problem(
            start.origin.start_from,
            f"it is of train.conditional: {theirs_is}, but here it is {ours_is}; write `conditional: {theirs_is}`",
        )
    if start.classes and classes and start.classes.names != classes.names:
        raise _problem(
            start.origin.start_from,
            f"its classes are {', '.join(start.classes.names)}, but those of the data are {', '.join(classes.names)}",
        )
    for name, theirs, ours in (
        ("generator", start.generator, generator),
        ("discriminator", start.discriminator, discriminator),
    ):
        difference = _difference(theirs, ours)
        if not difference:
            try:
                take_weights(ours, theirs)
            except ValueError as error:
                difference = str(error)
        if difference:
            raise _problem(
                start.origin.start_from,
                f"its {name} has {difference}; set train.{name} and the prepared images as for that model",
            )


def _conditional(classes: Classes | None) -> Conditional:
    """The value of `train.conditional` that makes networks of these classes."""
    if classes is None:
        return "none"
    return "attributes" if classes.attributes else "classes"


def _difference(theirs: keras.Model, ours: keras.Model) -> str:
    """What differs between two networks, in words; empty if they are built alike.

    Published networks are plain, those of older versions are not, so both are compared by their plain layers.
    """
    views: tuple[tuple[str, Callable[[keras.Model], Any]], ...] = (
        ("input", lambda model: tuple(model.inputs[0].shape[1:])),
        ("output", lambda model: tuple(model.output_shape[1:])),
        ("layers", lambda model: len(_layers(model))),
    )
    for name, view in views:
        if view(theirs) != view(ours):
            return f"{name} {view(theirs)} instead of {view(ours)}"
    for their_layer, our_layer in zip(_layers(theirs), _layers(ours), strict=True):
        a, b = ({"layer": type(layer).__name__} | _config(layer.get_config()) for layer in (their_layer, our_layer))
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                return f"{key} {_text(a.get(key))} instead of {_text(b.get(key))} in the layer {our_layer.name}"
    return ""


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    return [plain for layer in model.layers for plain in equivalent(layer)]


def _config(config: dict[str, Any]) -> dict[str, Any]:
    """A layer's config without the parts that do not change what it computes with given weights."""
    return {
        key: _config(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _IRRELEVANT and not key.endswith("_initializer")
    }


def _text(value: Any) -> str:
    return json.dumps(value, default=str)
