"""make export: each format computes the generator's images in its own runtime and says how to use it."""

import importlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from stages.artifacts import sha256
from stages.errors import StageError
from stages.latent import latent
from stages.networks import saving
from stages.networks.generator import generator
from stages.networks.plain import plain
from stages.networks.settings import GeneratorSettings
from stages.workspace import Workspace
from tests.conftest import ROOT, Project, built_once
from tools.export import folder, formats
from tools.export.facts import Card, facts
from tools.export.formats import FORMATS, Format

PACKAGES = ("ai_edge_litert", "onnx", "onnxruntime", "tf2onnx")


def need_packages() -> None:
    for package in PACKAGES:
        pytest.importorskip(package, reason="the extra .[export] is not installed")


def run_export(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.export", *arguments]
    environment = Project(project).environment()
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def exports(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exports of the tiny project's model."""
    need_packages()

    def build(parent: Path) -> None:
        result = run_export(tiny.folder, "--out", str(parent / "exports"))
        assert result.returncode == 0, result.stderr

    return built_once(tmp_path_factory, "exports", build) / "exports"


NETWORKS = [
    {"norm": "layer", "upsampling": "fractional", "activation": "maxout"},
    {"norm": "batch_all", "upsampling": "resize", "activation": "elu", "stem": "both"},
    {"norm": "none", "upsampling": "transposed", "activation": "leaky_relu", "kernel_size": 5},
]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("settings", NETWORKS, ids=str)
def test_each_format_computes_each_kind_of_generator(tmp_path: Path, settings: dict[str, Any], classes: int) -> None:
    need_packages()
    options = GeneratorSettings(channels=4, latent_dim=20, initializer="he", **settings)
    network = plain(generator((16, 24), 3, options, classes=classes))
    inputs = folder.inputs_of(network, tmp_path)
    assert inputs == ({"z": 20, "class_": 3} if classes else {"z": 20})
    values = folder.values_of(inputs)
    expected = formats.run(network, values)
    assert np.abs(expected).max() > 0.5
    for form in FORMATS:
        form.write(network, tmp_path / form.file, {"title": "A title", "license": "mit"})
        difference = np.abs(form.load(tmp_path / form.file)(values) - expected).max()
        assert difference <= form.tolerance, form.file


@pytest.mark.parametrize(
    ("attributes", "meaning", "names"),
    [
        ([], "1 at the class's number, else 0", {"classes": ["not red", "red"]}),
        (["red"], "1 for each of the attributes that the image has, else 0", {"attributes": ["red"]}),
    ],
)
def test_the_facts_name_the_numbers_of_the_second_input(
    attributes: list[str], meaning: str, names: dict[str, list[str]]
) -> None:
    front = {"provenance": {"data": {}, "generator_sha256": ""}, "model-index": [{"name": "A title"}]}
    inputs = {"z": 20, "class_": 1 if attributes else 2}
    second = facts(Card(front, ""), inputs, (16, 16, 1), ["not red", "red"], attributes)["inputs"]["class_"]
    assert second["meaning"].startswith(meaning)
    assert {key: second[key] for key in ("classes", "attributes") if key in second} == names


@pytest.mark.slow
def test_the_exports_are_those_of_the_model_and_the_same_every_time(
    exports: Path, tiny: Project, tmp_path: Path
) -> None:
    for name in ("generator", "discriminator"):
        assert sha256(exports / f"{name}.keras") == sha256(tiny.folder / f"models/{name}.keras")
    assert run_export(tiny.folder, "--out", str(tmp_path / "again")).returncode == 0
    files = [path.relative_to(exports) for path in sorted(exports.rglob("*")) if path.is_file()]
    differing = [name for name in files if (exports / name).read_bytes() != (tmp_path / "again" / name).read_bytes()]
    assert {name.parts[0] for name in differing} <= {"saved_model"}


@pytest.mark.slow
def test_each_file_has_the_facts_where_its_format_keeps_them(exports: Path) -> None:
    import onnx

    known = json.loads((exports / "metadata.json").read_text())
    assert known["inputs"]["z"]["shape"] == ["N", 100]
    assert known["outputs"]["image"]["shape"] == ["N", 16, 16, 1]
    assert known["license"] == "mit"
    assert known["preparation"]["crop"] == "none"
    properties = {entry.key: entry.value for entry in onnx.load(exports / "generator.onnx").metadata_props}
    assert json.loads(properties["metadata.json"]) == known
    assert json.loads((exports / "saved_model/assets.extra/metadata.json").read_text()) == known
    for name in ("generator.tflite", "generator_float16.tflite"):
        assert json.loads(zipfile.ZipFile(exports / name).read("metadata.json")) == known


@pytest.mark.slow
def test_each_file_has_the_signature_of_the_facts(exports: Path) -> None:
    import onnxruntime
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    session = onnxruntime.InferenceSession(exports / "generator.onnx")
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("z", ["N", 100])]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("image", ["N", 16, 16, 1])]
    signature = tf.saved_model.load(str(exports / "saved_model")).signatures["serving_default"]
    assert list(signature.structured_input_signature[1]) == ["z"]
    assert list(signature.structured_outputs) == ["image"]
    for name in ("generator.tflite", "generator_float16.tflite"):
        signatures = Interpreter(str(exports / name)).get_signature_list()
        assert signatures == {"serving_default": {"inputs": ["z"], "outputs": ["image"]}}


@pytest.mark.slow
def test_the_model_card_is_one_of_the_hub_with_the_samples_and_the_files(exports: Path) -> None:
    _, front, body = re.split(r"^---\n", (exports / "README.md").read_text(), maxsplit=2, flags=re.MULTILINE)
    keys = yaml.safe_load(front)
    assert (keys["license"], keys["library_name"]) == ("mit", "keras")
    assert {"onnx", "tflite", "dcgan"} <= set(keys["tags"])
    assert "<" not in front
    assert "![Samples of the seeds 0 to 63](samples.png)" in body
    assert (exports / "samples.png").exists()
    for form in FORMATS:
        assert f"[{form.file}]({form.file})" in body
    assert f"`{sha256(exports / 'generator.onnx')}`" in body


def python_blocks() -> list[str]:
    """The Python blocks of docs/sharing.md."""
    return re.findall(r"^```python\n(.*?)\n```$", (ROOT / "docs/sharing.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_docs_and_the_model_card_have_the_same_lines_for_each_format() -> None:
    expected = [formats.python(form, {"z": 100}) for form in FORMATS[:-1]]
    assert python_blocks()[: len(expected)] == expected
    assert {len(block.replace("\n\n", "\n").splitlines()) for block in expected} == {4}


@pytest.mark.slow
@pytest.mark.parametrize("block", python_blocks()[:4], ids=lambda block: block.split("\n", 1)[0])
def test_the_lines_of_the_docs_draw_the_image_of_a_seed(
    exports: Path, block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(exports)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - of this project's docs
    network = saving.load(exports / "generator.keras")
    assert np.allclose(names["image"], network(latent([7], 100))[0], atol=1e-4)
    assert names["image"].shape == (16, 16, 1)


@pytest.mark.slow
def test_a_model_of_an_earlier_version_is_exported_without_this_projects_layers(tiny: Project, tmp_path: Path) -> None:
    need_packages()
    shutil.copytree(tiny.folder / "models", tmp_path / "models")
    card = (tiny.folder / "reports/model_card.md").read_text()
    old = tmp_path / "models/generator.keras"
    before = sha256(old)
    saving.save(generator(16, 1, GeneratorSettings(channels=4)), old)
    assert b"dcgan>BatchNorm" in zipfile.ZipFile(old).read("config.json")
    (tmp_path / "card.md").write_text(card.replace(before, sha256(old)))
    result = run_export(tmp_path, "--card", "card.md")
    assert result.returncode == 0, result.stderr
    assert b"dcgan>" not in zipfile.ZipFile(tmp_path / "exports/generator.keras").read("config.json")


@pytest.mark.parametrize("value", [0.1, np.nan])
def test_a_format_that_computes_something_else_is_rejected(tmp_path: Path, value: float) -> None:
    expected = np.zeros((2, 4, 4, 1), np.float32)
    form = Format("x.onnx", "onnxruntime", 1e-4, lambda *_: None, lambda _: lambda _: expected + value, "", "", "")
    with pytest.raises(
        StageError, match=r"x\.onnx: onnxruntime computes images that differ by .* expected at most 0\.0001"
    ):
        folder.check(form, tmp_path, {}, expected)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and its card, for mistakes that are found before anything is written."""
    monkeypatch.setattr(folder, "check_packages", lambda: None)
    (tmp_path / "models").mkdir()
    network = plain(generator(16, 1, GeneratorSettings(channels=4)))
    for name in ("generator", "discriminator"):
        saving.save(network, tmp_path / f"models/{name}.keras")
    card = {"provenance": {"generator_sha256": sha256(tmp_path / "models/generator.keras"), "data": {}}}
    (tmp_path / "card.md").write_text(f"---\n{yaml.safe_dump(card)}---\n# A title\n\nA verdict.\n")
    return tmp_path


def export(model: Path) -> None:
    folder.export(model / "models", model / "card.md", Workspace(model), "exports")


def test_the_card_of_another_model_is_rejected(model: Path) -> None:
    network = plain(generator(16, 1, GeneratorSettings(channels=4), seed=1))
    saving.save(network, model / "models/generator.keras")
    with pytest.raises(StageError, match=r"card\.md: describes another generator than .*; run `dvc repro report`"):
        export(model)


@pytest.mark.parametrize("text", ["# A card without front matter", "---\nprovenance: {}\n---\n", "---\n[\n---\n"])
def test_a_card_of_an_earlier_version_and_a_damaged_one_are_named(model: Path, text: str) -> None:
    (model / "card.md").write_text(text)
    with pytest.raises(StageError, match=r"card\.md: (describes another generator|damaged).*`dvc"):
        export(model)


def test_a_damaged_network_is_named(model: Path) -> None:
    path = model / "models/generator.keras"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StageError, match=r"generator\.keras: cannot be read as a Keras model"):
        export(model)


def test_a_folder_with_other_files_is_not_replaced(model: Path) -> None:
    (model / "exports").mkdir()
    (model / "exports/thesis.txt").write_text("precious")
    with pytest.raises(StageError, match=r"exports: has no metadata\.json, so it is no folder of exports"):
        export(model)
    assert (model / "exports/thesis.txt").exists()


def test_a_network_that_is_no_generator_is_rejected(tmp_path: Path) -> None:
    images = keras.Input((16, 16, 1), name="image")
    network = keras.Model(images, keras.layers.Flatten()(images))
    with pytest.raises(StageError, match=r"x\.keras: not a generator: expected z \(d,\) => image"):
        folder.inputs_of(network, tmp_path / "x.keras")


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StageError, match=r"ai_edge_litert is not installed; run `make export`"):
        folder.check_packages()
