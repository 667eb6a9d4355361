"""The folder of an exported model: both networks, each format, checked by its runtime, the facts and the card."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from stages import artifacts, png, shell
from stages.errors import StageError
from stages.latent import latent
from stages.networks import saving
from stages.networks.plain import plain
from stages.report.front_matter import fenced
from stages.workspace import Workspace
from tools.export import formats
from tools.export.facts import FILE, Card, facts, read_card
from tools.export.formats import FORMATS, Format, Values

CARD, SAMPLES = "README.md", "samples.png"
_GENERATOR, _DISCRIMINATOR, _MODEL = "generator.keras", "discriminator.keras", "model.json"
_SEEDS = range(64)
_COLUMNS, _SCALE = 8, 2
# The Hub's tags for the formats that its library_name, keras, does not cover.
_TAGS = ["onnx", "tflite", "tf-keras-saved-model"]


def export(models: Path, card: Path, workspace: Workspace, name: str) -> None:
    """Write the model in the folder `models` to the folder `name` of a workspace.

    Raises StageError for networks that cannot be read, a card of another model, a format that its runtime computes
    differently, and a folder with other files in it.
    """
    check_packages()
    target = workspace.out / name
    if target.exists() and not (target / FILE).exists() and (not target.is_dir() or any(target.iterdir())):
        raise StageError(f"{target}: has no {FILE}, so it is no folder of exports; name another one")
    generator, discriminator = (plain(saving.load(models / name)) for name in (_GENERATOR, _DISCRIMINATOR))
    inputs = inputs_of(generator, models / _GENERATOR)
    described = read_card(card, models / _GENERATOR)
    about = artifacts.read_json(models / _MODEL) if (models / _MODEL).exists() else {}
    classes, attributes = (list(about.get(key, ())) for key in ("classes", "attributes"))
    known = facts(described, inputs, generator.output_shape[1:], classes, attributes)
    with workspace.outputs(name) as new:
        folder = new(name)
        folder.mkdir()
        saving.save(discriminator, folder / _DISCRIMINATOR)
        values = values_of(inputs)
        expected = formats.run(generator, values)
        for form in FORMATS:
            form.write(generator, folder / form.file, known)
            check(form, folder / form.file, values, expected)
        _write_samples(folder / SAMPLES, expected)
        artifacts.write_json(folder / FILE, known)
        (folder / CARD).write_text(_readme(described, folder, inputs), encoding="utf-8")
    shell.say("the folder to share: ", target)


def check_packages() -> None:
    """Raise StageError, naming a remedy, for a package that the formats need and that is not installed."""
    for package in ("ai_edge_litert", "onnx", "onnxruntime", "tf2onnx"):
        if importlib.util.find_spec(package) is None:
            raise StageError(f"{package} is not installed; run `make export`, or .venv/bin/pip install -e '.[export]'")


def inputs_of(generator: keras.Model, path: Path) -> dict[str, int]:
    """The name in other programs and the length of each input. Raises StageError if the network is no generator."""
    shapes = {value.name: tuple(value.shape[1:]) for value in generator.inputs}
    if "z" not in shapes or {len(shape) for shape in shapes.values()} != {1} or len(generator.output_shape) != 4:
        raise StageError(f"{path}: not a generator: expected z (d,) => image (H, W, C), got {shapes}")
    return {formats.input_name(name): int(length) for name, (length,) in shapes.items()}


def values_of(inputs: Mapping[str, int]) -> Values:
    """The inputs of the seeds: z, and the classes or attributes in turn."""
    return {
        name: latent(_SEEDS, length) if name == "z" else np.eye(length, dtype=np.float32)[np.array(_SEEDS) % length]
        for name, length in inputs.items()
    }


def check(form: Format, path: Path, values: Values, expected: np.ndarray) -> None:
    """Raise StageError if the runtime's images differ from the expected ones by more than the tolerance."""
    difference = float(np.abs(form.load(path)(values) - expected).max())
    shell.say(
        f"{form.file}: within {difference:.1e} of the generator on {len(_SEEDS)} seeds (at most {form.tolerance:.1g})"
    )
    if not difference <= form.tolerance:  # not a number, too
        raise StageError(
            f"{form.file}: {form.runtime} computes images that differ by {difference:.2g} from the generator's, "
            f"expected at most {form.tolerance:.2g}; another version of {form.runtime} may help"
        )


def _write_samples(path: Path, images: np.ndarray) -> None:
    """The samples of the seeds as a picture, which the card shows."""
    png.save_png(png.grid(images, _COLUMNS), path, _SCALE)


def _readme(card: Card, folder: Path, inputs: Mapping[str, int]) -> str:
    """The model card, with the samples and a table of the files."""
    front = {**card.front, "tags": [*card.front.get("tags", []), *_TAGS]}
    title, _, rest = card.body.lstrip().partition("\n")
    rows = [
        f"| [{form.file}]({form.file}) | `pip install {form.runtime}` | {form.tolerance:.1g} "
        f"| {_hash(folder / form.file)} |"
        for form in FORMATS
    ]
    sections = (
        fenced(front).strip(),
        title,
        f"![Samples of the seeds 0 to {_SEEDS[-1]}]({SAMPLES})",
        rest.strip(),
        "## Files",
        f"All compute the same images, float32 (N, H, W, C) in [-1,1], from the inputs in {FILE}. The tolerance is\n"
        f"the greatest difference from generator.keras that was allowed on {len(_SEEDS)} seeds.",
        "\n".join(("| file | needs | tolerance | SHA-256 |", "|---|---|---|---|", *rows)),
        "Keras needs TensorFlow, JAX or PyTorch. Draw the image of seed 7, in Python:",
        *(f"```python\n{formats.python(form, inputs)}\n```" for form in FORMATS[:-1]),
    )
    return "\n\n".join(sections) + "\n"


def _hash(path: Path) -> str:
    return f"`{artifacts.sha256(path)}`" if path.is_file() else ""
