"""The play stage: what it packs, the size of the page, and its content policy."""

import base64
import json
import re
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.errors import StageError
from stages.networks import saving
from stages.networks.choices import Activation, DiscriminatorNorm, GeneratorNorm, Head, Stem, Upsampling
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.plain import plain
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.play import assembly, packing
from tests.conftest import Project


def embedded(page: str) -> dict[str, Any]:
    """The payload in a page."""
    (text,) = re.findall(r'<script type="application/json" id="payload">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(text))


def values(weights: str, place: dict[str, Any]) -> np.ndarray:
    """A tensor among the stored weights."""
    kind = np.dtype("<f2" if place["half"] else "<f4")
    size = int(np.prod(place["shape"]))
    stored = np.frombuffer(base64.b64decode(weights), kind, size, place["offset"])
    return stored.astype(np.float32).reshape(place["shape"]) * np.float32(place["factor"])


def test_the_page_has_the_networks_of_the_project(tiny: Project) -> None:
    packed = embedded((tiny.folder / "reports/play.html").read_text())
    model = saving.load(tiny.folder / "models/generator.keras")
    stem = next(layer for layer in packed["generator"]["layers"] if layer["name"] == "stem")
    kernel = np.asarray(model.get_layer("stem").kernel)
    assert values(packed["weights"], stem["tensors"]["kernel"]) == pytest.approx(kernel, rel=2**-11, abs=1e-8)
    assert packed["discriminator"]["layers"][-1]["name"] == "logits"
    assert packed["facts"]["title"] == "Tiny shapes"
    assert packed["facts"]["latentSize"] == 100


def test_the_real_pictures_have_their_classes(tiny: Project) -> None:
    real = embedded((tiny.folder / "reports/play.html").read_text())["page"]["real"]
    shard = min((tiny.folder / "data/prepared").glob(f"{real['split']}-*.tfrecord"))
    examples = [
        tf.train.Example.FromString(record) for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()
    ]
    labels = [example.features.feature["label"].int64_list.value[0] for example in examples]
    assert len(set(real["labels"])) > 1
    assert real["labels"][: len(labels)] == labels[: real["count"]]


def test_the_timeline_shows_the_samples_of_each_score(tiny: Project) -> None:
    packed = embedded((tiny.folder / "reports/play.html").read_text())
    assert [slot["images"] for slot in packed["timeline"]] == [320, 640]
    assert all(slot["png"].startswith("data:image/png;base64,") for slot in packed["timeline"])


def test_a_page_that_would_be_too_large_has_no_discriminator(tiny: Project, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    text = (tiny.folder / "params.yaml").read_text()
    params.write_text(text.replace("max_megabytes: 20.0", "max_megabytes: 0.01"))
    result = tiny.run("play", "--params", str(params), "--out", str(tmp_path))
    assert "the page has no discriminator: it would be larger than 0.01 MB" in result.stderr
    assert "discriminator" not in embedded((tmp_path / "reports/play.html").read_text())


def test_a_name_in_the_data_cannot_end_the_script(tiny_copy: Project) -> None:
    path = tiny_copy.folder / "data/prepared/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["source"]["title"] = "</script><b id=harm>"
    path.write_text(json.dumps(manifest))
    assert tiny_copy.run("play").returncode == 0
    page = (tiny_copy.folder / "reports/play.html").read_text()
    assert "<b id=harm>" not in page
    assert embedded(page)["facts"]["title"] == "</script><b id=harm>"


def test_the_policy_allows_the_pages_own_script_only(tiny: Project) -> None:
    page = (tiny.folder / "reports/play.html").read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(script) == len(style) == 1, "a second one would need a hash of its own"
    assert assembly.policy(script[0], style[0]) == policy
    assert not re.search(r"https?:|unsafe-inline|'unsafe-eval'|\*", policy)


def test_half_precision_keeps_kernels_of_any_size() -> None:
    """Float16 itself ends at 65,504 and has fewer digits below 0.00006."""
    random = np.random.default_rng(0)
    for size in (1e-20, 1e-6, 1.0, 1e6, 1e30):
        weights = packing.Weights()
        tensor = random.normal(0, size, (7, 3)).astype(np.float32)
        place = weights.add(tensor, half=True)
        assert values(weights.base64(), place) == pytest.approx(tensor, rel=2**-10, abs=2**-25 * size * 8)


def test_tensors_begin_at_whole_words() -> None:
    weights = packing.Weights()
    weights.add(np.ones(3, np.float32), half=True)
    place = weights.add(np.arange(5, dtype=np.float32), half=False)
    assert place["offset"] % 4 == 0
    assert values(weights.base64(), place).tolist() == [0, 1, 2, 3, 4]


def test_a_network_of_zeros_can_be_packed() -> None:
    weights = packing.Weights()
    assert values(weights.base64(), weights.add(np.zeros(2, np.float32), half=True) | {"shape": [0]}).size == 0


def test_a_weight_that_is_not_finite_is_an_error_that_names_the_file() -> None:
    model = generator(16, 1, GeneratorSettings(channels=2))
    model.get_layer("up_2").set_weights([np.full((4, 4, 1, 2), np.nan), np.zeros(1)])
    with pytest.raises(StageError, match=r"^g\.keras: damaged \(a weight is not finite\)"):
        packing.network(model, (100,), packing.Weights(), Path("g.keras"))


def test_a_layer_that_the_page_cannot_compute_is_an_error_that_names_it() -> None:
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, keras.layers.Cropping2D(1, name="cut")(image))
    message = r"^d\.keras: the page cannot compute the layer cut \(Cropping2D\); add it to stages/play/packing\.py$"
    with pytest.raises(StageError, match=message):
        packing.network(model, (4, 4, 1), packing.Weights(), Path("d.keras"))


@pytest.mark.parametrize(
    ("option", "choice"),
    [
        *[("activation", choice) for choice in get_args(Activation)],
        *[("norm", choice) for choice in get_args(GeneratorNorm)],
        *[("upsampling", choice) for choice in get_args(Upsampling)],
        *[("stem", choice) for choice in get_args(Stem)],
    ],
)
def test_every_generator_can_be_packed(option: str, choice: str) -> None:
    model = generator(16, 1, GeneratorSettings(channels=2, **{option: choice}))  # type: ignore[arg-type]
    layers = packing.network(model, (100,), packing.Weights(), Path("g.keras"))["layers"]
    assert [layer["name"] for layer in layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    ("option", "choice"),
    [
        *[("activation", choice) for choice in get_args(Activation)],
        *[("norm", choice) for choice in get_args(DiscriminatorNorm)],
        *[("head", choice) for choice in get_args(Head)],
    ],
)
def test_every_discriminator_can_be_packed(option: str, choice: str) -> None:
    model = discriminator(16, 1, DiscriminatorSettings(channels=2, **{option: choice}))  # type: ignore[arg-type]
    packed = packing.network(model, (16, 16, 1), packing.Weights(), Path("d.keras"))
    assert [layer["name"] for layer in packed["layers"]] == [layer.name for layer in model.layers]
    assert packed["inputs"] == [[16, 16, 1]]


def test_a_published_discriminator_with_minibatch_std_can_be_packed() -> None:
    model = plain(discriminator(16, 1, DiscriminatorSettings(channels=2, minibatch_std=True)))
    layers = packing.network(model, (16, 16, 1), packing.Weights(), Path("d.keras"))["layers"]
    (copy,) = (layer for layer in layers if layer["name"] == "minibatch_std")
    assert (copy["kind"], copy["stride"], copy["tensors"]["kernel"]["shape"]) == ("convolution", 1, [1, 1, 4, 5])


def test_zeros_inserted_by_keras_own_layers_are_one_layer() -> None:
    """As stages/networks/layers.py inserts them: stride 2 for a kernel of 4."""
    layers = keras.layers
    image = keras.Input((3, 5, 2))
    x = layers.ZeroPadding2D(((0, 0), (0, 2)), data_format="channels_first")(image)
    x = layers.Reshape((3, 1, 20))(x)
    x = layers.ZeroPadding2D(((0, 0), (0, 20)), data_format="channels_first")(x)
    x = layers.Reshape((6, 10, 2))(x)
    x = layers.ZeroPadding2D(((2, 2), (2, 2)), name="zeros")(layers.Cropping2D(((0, 1), (0, 1)))(x))
    packed = packing.network(keras.Model(image, x), (3, 5, 2), packing.Weights(), Path("g.keras"))
    assert packed["layers"][1:] == [
        {"name": "zeros", "from": [0], "kind": "zeros", "stride": 2, "before": 2, "after": 2, "tensors": {}}
    ]


def test_a_generator_of_other_images_than_the_data_is_an_error(tiny_copy: Project) -> None:
    saving.save(generator(16, 3, GeneratorSettings(channels=2)), tiny_copy.folder / "models/generator.keras")
    result = tiny_copy.run("play")
    assert result.returncode == 1
    assert "models/generator.keras: makes (16, 16, 3) images, but the data set has (16, 16, 1)" in result.stderr


def test_networks_of_two_models_are_an_error(tiny_copy: Project) -> None:
    network = discriminator(16, 1, DiscriminatorSettings(channels=2), classes=4)
    saving.save(network, tiny_copy.folder / "models/discriminator.keras")
    result = tiny_copy.run("play")
    assert result.returncode == 1
    assert "models/discriminator.keras: judges inputs of the shapes [(16, 16, 1), (4,)]" in result.stderr


def test_a_damaged_network_is_an_error_that_names_the_file(tiny_copy: Project) -> None:
    (tiny_copy.folder / "models/discriminator.keras").write_bytes(b"no zip")
    result = tiny_copy.run("play")
    assert result.returncode == 1
    assert "models/discriminator.keras: cannot be read as a Keras model" in result.stderr
