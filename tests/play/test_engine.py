"""The engine of the playable page in a real browser: every architecture against Keras, and NumPy's random numbers."""

import base64
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from benchmarks.play import engine_page
from stages.latent import latent
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.plain import plain
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.pixels import to_uint8
from stages.play import assembly, stage
from stages.sizes import Size

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="the extra .[slow] is not installed")

Page = Any
# The logits of the page differ from Keras' by at most this part of their size, or of 1 if that is larger.
LOGIT_TOLERANCE = 0.003


def opened(browser: Any, folder: Path, worker: str = "", policy: str = "") -> Page:
    """A page from the disk with the class Engine and the content policy of the playable page, and nothing else."""
    page = browser.new_page()
    page.goto(engine_page(folder, worker, policy))
    return page


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A page with the class Engine."""
    return opened(browser, tmp_path_factory.mktemp("engine"))


def payload(g: keras.Model, d: keras.Model | None = None) -> dict[str, Any]:
    """What the play stage packs of these networks."""
    height, width, channels = g.output_shape[1:]
    facts = {"latentSize": g.inputs[0].shape[-1], "height": height, "width": width, "channels": channels}
    return {"facts": facts, **stage.networks(g.output_shape[1:], g, d)}


# Arrays travel as base64, which is ten times as fast as a list of numbers.
CALL = """async ([payload, backend, method, values]) => {
  const decoded = (value) => {
    if (!value || !value.floats) return value;
    return new Float32Array(Uint8Array.from(atob(value.floats), (letter) => letter.charCodeAt(0)).buffer);
  };
  const encoded = (value) => {
    if (ArrayBuffer.isView(value)) {
      let binary = "";
      for (const byte of new Uint8Array(value.buffer)) binary += String.fromCharCode(byte);
      return {type: value.constructor.name, binary: btoa(binary)};
    }
    if (!value || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map(encoded);
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, encoded(part)]));
  };
  const engine = await Engine.start(payload, {backend});
  try {
    if (method === "backend") return engine.facts.backend;
    for (const options of values) if (options.classes) options.classes = decoded(options.classes);
    return encoded(await engine[method](...values.map(decoded)));
  } finally {
    engine.stop();
  }
}"""
TYPES = {"Float32Array": np.float32, "Uint8ClampedArray": np.uint8}


def call(page: Page, packed: dict[str, Any], method: str, *values: Any, backend: str = "auto") -> Any:
    """The result of a method of a new engine. Arrays are Float32Arrays there."""

    def sent(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {"floats": base64.b64encode(value.astype(np.float32).tobytes()).decode()}
        return {key: sent(part) for key, part in value.items()} if isinstance(value, dict) else value

    def received(value: Any) -> Any:
        if isinstance(value, list):
            return [received(part) for part in value]
        if isinstance(value, dict) and "binary" in value:
            return np.frombuffer(base64.b64decode(value["binary"]), TYPES[value["type"]])
        return {key: received(part) for key, part in value.items()} if isinstance(value, dict) else value

    return received(page.evaluate(CALL, [packed, backend, method, [sent(value) for value in values]]))


def as_trained(model: keras.Model) -> keras.Model:
    """The model with statistics, scales and offsets in its norms, and biases, as only training leaves them."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            scale, offset, mean, variance = weights
            layer.set_weights(
                [
                    scale * random.uniform(0.5, 1.5, scale.shape),
                    offset + random.normal(0, 0.2, offset.shape),
                    mean + random.normal(0, 0.2, mean.shape),
                    variance * random.uniform(0.5, 2, variance.shape),
                ]
            )
        else:
            layer.set_weights([w + random.normal(0, 0.1, w.shape) if w.ndim == 1 else w for w in weights])
    return model


def images_of(page: Page, g: keras.Model, z: np.ndarray, backend: str = "auto") -> np.ndarray:
    """The page's samples, uint8 (N, H, W, C)."""
    _, height, width, channels = g.output_shape
    rgba = call(page, payload(g), "generate", z, backend=backend).reshape(-1, height, width, 4)
    return rgba[..., :channels]


@pytest.mark.parametrize("backend", ["wasm", "js"])
def test_samples_of_the_default_architecture_differ_by_at_most_one_level_on_64_seeds(page: Page, backend: str) -> None:
    g = as_trained(generator(32, 1, GeneratorSettings(initializer="he")))
    z = latent(range(64), 100)
    expected = to_uint8(np.asarray(g(z)))
    difference = np.abs(images_of(page, g, z, backend).astype(int) - expected)
    assert np.unique(expected).size > 200
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05


@pytest.mark.parametrize("backend", ["wasm", "js"])
@pytest.mark.parametrize(
    ("size", "channels", "settings"),
    [
        (16, 3, {"upsampling": "resize", "norm": "batch_all", "activation": "leaky_relu"}),
        (16, 4, {"upsampling": "fractional", "kernel_size": 5, "activation": "elu"}),
        (16, 1, {"upsampling": "fractional", "norm": "none", "activation": "tanh"}),
        (16, 3, {"kernel_size": 5, "norm": "layer", "activation": "maxout"}),
        ((28, 56), 1, {"stem": "both", "activation": "maxout"}),
        ((40, 24), 3, {"stem": "dense", "norm": "layer", "upsampling": "resize"}),
        (64, 3, {"channels": 3, "latent_dim": 7}),
    ],
)
def test_samples_of_every_architecture_differ_by_at_most_one_level(
    page: Page, size: Size, channels: int, settings: dict[str, Any], backend: str
) -> None:
    g = as_trained(generator(size, channels, GeneratorSettings(**{"channels": 5, "initializer": "he", **settings})))
    z = latent(range(8), g.input_shape[-1])
    assert np.abs(images_of(page, g, z, backend).astype(int) - to_uint8(np.asarray(g(z)))).max() <= 1


@pytest.mark.parametrize("backend", ["wasm", "js"])
@pytest.mark.parametrize(
    ("size", "settings"),
    [
        (32, {}),
        (32, {"norm": "batch", "activation": "relu", "head": "dense"}),
        ((20, 40), {"norm": "spectral", "kernel_size": 5, "activation": "elu"}),
        (28, {"norm": "spectral", "head": "dense", "activation": "maxout"}),
        (16, {"norm": "layer", "head": "gap", "activation": "tanh"}),
        (16, {"norm": "batch_all", "head": "gap"}),
        (32, {"norm": "none", "head": "dense", "minibatch_std": True}),
    ],
)
def test_logits_of_every_architecture_are_keras(page: Page, size: Size, settings: dict[str, Any], backend: str) -> None:
    g = generator(size, 3, GeneratorSettings(channels=2))
    options = {"channels": 5, "initializer": "he", **settings}
    d = plain(as_trained(discriminator(size, 3, DiscriminatorSettings(**options))))
    images = np.random.default_rng(0).uniform(-1, 1, (16, *g.output_shape[1:])).astype(np.float32)
    logits = call(page, payload(g, d), "discriminate", images, backend=backend)
    assert logits == pytest.approx(np.asarray(d(images))[:, 0], rel=LOGIT_TOLERANCE, abs=LOGIT_TOLERANCE)


def conditional() -> keras.Model:
    """A generator of z and a class: an embedding beside z, and a scale and an offset for each class after a norm."""
    layers = keras.layers
    z, classes = keras.Input((6,), name="z"), keras.Input((3,), name="class")
    x = layers.Concatenate()([z, layers.Dense(4, use_bias=False)(classes)])
    x = layers.Conv2DTranspose(8, 4, use_bias=False)(layers.Reshape((1, 1, 10))(x))
    x = layers.BatchNormalization()(x)
    for kind in (layers.Multiply, layers.Add):
        x = kind()([x, layers.Reshape((1, 1, 8))(layers.Dense(8)(classes))])
    x = layers.Conv2DTranspose(1, 4, strides=2, padding="same")(layers.ReLU()(x))
    return keras.Model([z, classes], layers.Activation("tanh")(x))


def test_samples_of_a_class_and_of_a_blend_differ_by_at_most_one_level(page: Page) -> None:
    g = as_trained(conditional())
    z, classes = latent(range(4), 6), np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.25, 0, 0.75]], np.float32)
    rgba = call(page, payload(g), "generate", z, {"classes": classes}).reshape(4, 8, 8, 4)
    expected = to_uint8(np.asarray(g([z, classes])))
    assert np.ptp(expected) > 50
    assert np.abs(rgba[..., :1].astype(int) - expected).max() <= 1


def test_logits_of_a_class_are_those_of_a_projection(page: Page) -> None:
    layers = keras.layers
    image, classes = keras.Input((8, 8, 1)), keras.Input((3,))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(6, 4, strides=2, padding="same")(image))
    of_class = layers.Dot(1)([layers.Reshape((3,))(layers.Conv2D(3, 4)(x)), classes])
    d = keras.Model([image, classes], layers.Add()([layers.Reshape((1,))(layers.Conv2D(1, 4)(x)), of_class]))
    images = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1)).astype(np.float32)
    shares = np.eye(3, dtype=np.float32)
    logits = call(page, payload(conditional(), d), "discriminate", images, {"classes": shares})
    expected = np.asarray(d([images, shares]))[:, 0]
    assert logits == pytest.approx(expected, rel=LOGIT_TOLERANCE, abs=LOGIT_TOLERANCE)


@pytest.mark.parametrize("upsampling", ["transposed", "fractional", "resize"])
def test_every_layer_has_keras_output(page: Page, upsampling: Any) -> None:
    g = as_trained(generator(16, 1, GeneratorSettings(channels=4, upsampling=upsampling, initializer="he")))
    z = latent([3], 100)
    found = call(page, payload(g), "layers", z)
    outputs = keras.Model(g.inputs, [layer.output for layer in g.layers])(z)
    assert [layer["name"] for layer in found] == [layer.name for layer in g.layers]
    for layer, expected in zip(found, outputs, strict=True):
        shape = (layer["height"], layer["width"], layer["channels"])
        assert shape == (1, 1, *expected.shape[1:])[-3:]
        assert np.reshape(layer["data"], shape) == pytest.approx(np.asarray(expected).reshape(shape), abs=0.02)


def test_without_norms_a_batch_norm_returns_its_input(page: Page) -> None:
    g = as_trained(generator(16, 1, GeneratorSettings(channels=4, initializer="he")))
    z = latent([3], 100)
    x: Any = z
    for layer in g.layers:
        x = x if isinstance(layer, keras.layers.BatchNormalization | keras.layers.InputLayer) else layer(x)
    found = call(page, payload(g), "layers", z, {"norm": False})
    assert found[-1]["data"] == pytest.approx(np.asarray(x).ravel(), abs=0.01)
    norm = next(i for i, layer in enumerate(found) if layer["kind"] == "batch_norm")
    assert np.array_equal(found[norm]["data"], found[norm - 1]["data"])


def test_weights_are_those_of_the_layer(page: Page) -> None:
    g = as_trained(generator(16, 1, GeneratorSettings(channels=4)))
    packed = payload(g)
    stem, norm, last = (
        call(page, packed, "weights", index)
        for index in (2, 3, max(i for i, layer in enumerate(g.layers) if layer.weights))
    )
    assert np.reshape(stem["kernel"], stem["shape"]) == pytest.approx(
        np.asarray(g.get_layer("stem").kernel), rel=2**-10, abs=1e-6
    )
    assert norm["variance"] == pytest.approx(np.asarray(g.get_layer("norm_1").moving_variance))
    assert last["bias"] == pytest.approx(np.asarray(g.get_layer("up_2").bias))


@pytest.mark.parametrize("first", [0, 2**32 - 20, 2**40, 2**53 - 400])
def test_a_seed_has_numpys_z(page: Page, first: int) -> None:
    """To the last bit, but for values beyond 3.65: their logarithm is that of the browser's library."""
    count = 400
    z = call(page, payload(generator(16, 1, GeneratorSettings(channels=2))), "latents", first, count)
    expected = latent(range(first, first + count), 100).ravel()
    assert np.array_equal(z[np.abs(expected) < 3.65], expected[np.abs(expected) < 3.65])
    assert z == pytest.approx(expected, rel=1e-6)
    assert np.abs(expected).max() > 3.66


@pytest.mark.parametrize("reason", ["missing", "forbidden"])
def test_without_webassembly_the_page_computes_in_javascript(browser: Any, tmp_path: Path, reason: str) -> None:
    worker = f"delete self.WebAssembly;\n{assembly.worker()}" if reason == "missing" else assembly.worker()
    policy = assembly.policy(assembly.client(), "")
    policy = policy.replace(" 'wasm-unsafe-eval'", "") if reason == "forbidden" else policy
    page = opened(browser, tmp_path, worker, policy)
    packed = payload(generator(16, 1, GeneratorSettings(channels=2)))
    assert call(page, packed, "backend") == "js"
    with pytest.raises(sync_api.Error, match="this browser has no WebAssembly with SIMD, or forbids it"):
        call(page, packed, "backend", backend="wasm")


@pytest.mark.parametrize(
    ("change", "method", "value", "message"),
    [
        ({}, "generate", np.zeros(150, np.float32), "expected 100 numbers for each sample, got 150"),
        ({}, "discriminate", np.zeros(256, np.float32), "this page has no discriminator"),
        ({"weights": "AAAA"}, "generate", np.zeros(100, np.float32), "the stored weights are incomplete"),
    ],
)
def test_a_mistake_is_an_error_that_says_what_is_wrong(
    page: Page, change: dict[str, Any], method: str, value: np.ndarray, message: str
) -> None:
    packed = payload(generator(16, 1, GeneratorSettings(channels=2)))
    with pytest.raises(sync_api.Error, match=message):
        call(page, {**packed, **change}, method, value)
