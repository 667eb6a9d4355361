"""Networks rebuilt from Keras' own layers: the same bytes in inference, and no class of this project in their files."""

import itertools
import zipfile
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.latent import directions, latent
from stages.networks import saving
from stages.networks.choices import Activation, DiscriminatorNorm, GeneratorNorm, Head, KernelSize, Stem, Upsampling
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.layers import SpectralConv2D
from stages.networks.plain import plain, take_weights
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings

G_SETS = {"norm": GeneratorNorm, "upsampling": Upsampling, "activation": Activation, "stem": Stem}
D_SETS = {"norm": DiscriminatorNorm, "head": Head, "activation": Activation, "minibatch_std": Literal[True, False]}
SIZE, CHANNELS = (16, 24), 3


def in_turn(**sets: Any) -> list[dict[str, Any]]:
    """Few combinations in which each value of each set occurs."""
    values = [get_args(options) for options in (*sets.values(), KernelSize)]
    count = max(map(len, values))
    return [
        dict(zip((*sets, "kernel_size"), (options[i % len(options)] for options in values), strict=True))
        for i in range(count)
    ]


def pairs(**sets: Any) -> list[dict[str, Any]]:
    """Each combination of the first two sets."""
    first, second, *_ = sets
    return [{first: a, second: b} for a, b in itertools.product(get_args(sets[first]), get_args(sets[second]))]


def trained(network: keras.Model) -> keras.Model:
    """The network with weights unlike the initial ones: biases, scales and running statistics are not 0 or 1."""
    random = np.random.default_rng(0)
    for weight in network.weights:
        value = random.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(value) + 0.5 if weight.name in ("moving_variance", "gamma") else value)
    return network


def new_generator(**settings: Any) -> keras.Model:
    return trained(generator(SIZE, CHANNELS, GeneratorSettings(channels=3, **settings)))


def new_discriminator(**settings: Any) -> keras.Model:
    return trained(discriminator(SIZE, CHANNELS, DiscriminatorSettings(channels=3, **settings)))


Z = latent(range(5), 100)
IMAGES = np.random.default_rng(1).uniform(-1, 1, (5, *SIZE, CHANNELS)).astype(np.float32)


def outputs(network: keras.Model, value: np.ndarray) -> np.ndarray:
    """The network's outputs in inference, as the stages compute them: in a compiled graph."""
    infer = tf.function(lambda x: network(x, training=False))
    return np.asarray(infer(tf.constant(value)))


def assert_the_same_bytes(network: keras.Model, value: np.ndarray) -> None:
    """The plain network gives the same bytes, except for layer norm in a fully connected layer: see plain.py."""
    actual, expected = outputs(plain(network), value), outputs(network, value)
    if any("LayerNorm" in type(layer).__name__ and layer.output.shape[1:3] == (1, 1) for layer in network.layers):
        assert np.allclose(actual, expected, rtol=1e-5, atol=1e-6)
        actual, expected = plain(network)(value).numpy(), network(value).numpy()  # without the graph optimizer
    assert actual.tobytes() == expected.tobytes()


@pytest.mark.parametrize("settings", in_turn(**G_SETS), ids=str)
def test_a_plain_generator_gives_the_same_bytes(settings: dict[str, Any]) -> None:
    assert_the_same_bytes(new_generator(**settings), Z)


@pytest.mark.parametrize("settings", in_turn(**D_SETS), ids=str)
def test_a_plain_discriminator_gives_the_same_bytes(settings: dict[str, Any]) -> None:
    assert_the_same_bytes(new_discriminator(**settings), IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [*pairs(**G_SETS), {"norm": "layer", "stem": "dense"}], ids=str)
def test_a_plain_generator_gives_the_same_bytes_for_each_norm_and_upsampling(settings: dict[str, Any]) -> None:
    assert_the_same_bytes(new_generator(**settings), Z)


@pytest.mark.slow
@pytest.mark.parametrize("settings", pairs(**D_SETS), ids=str)
def test_a_plain_discriminator_gives_the_same_bytes_for_each_norm_and_head(settings: dict[str, Any]) -> None:
    assert_the_same_bytes(new_discriminator(**settings), IMAGES)


def test_a_discriminator_for_any_size_stays_one() -> None:
    network = plain(new_discriminator(head="gap", activation="maxout", norm="layer"))
    assert network(np.zeros((2, 32, 48, CHANNELS), np.float32)).shape == (2, 1)


def test_a_network_with_two_inputs_keeps_them() -> None:
    z, classes = keras.Input((100,), name="z"), keras.Input((3,), name="class")
    joined = keras.ops.add(z, keras.layers.Dense(100)(classes))
    x = joined
    for layer in new_generator().layers[1:]:
        x = layer(x)
    network = keras.Model([z, classes], x)
    rebuilt = plain(network)
    assert [value.name for value in rebuilt.inputs] == ["z", "class"]
    values = [Z, np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]]
    assert np.array_equal(rebuilt(values), network(values))


@pytest.mark.parametrize("activation", ["relu", "maxout"])
def test_the_file_of_a_plain_network_names_no_class_of_this_project(tmp_path: Path, activation: str) -> None:
    networks = [
        new_generator(upsampling="fractional", norm="layer", activation=activation),
        new_discriminator(norm="spectral", head="dense", activation=activation),
        new_discriminator(norm="batch", activation=activation, minibatch_std=True),
    ]
    for network in networks:
        saving.save(plain(network), tmp_path / "x.keras")
        config = zipfile.ZipFile(tmp_path / "x.keras").read("config.json")
        assert b"dcgan>" not in config
        assert b"stages" not in config


def test_a_plain_network_that_is_rebuilt_has_the_same_file(tmp_path: Path) -> None:
    saving.save(plain(new_discriminator(norm="spectral")), tmp_path / "a.keras")
    saving.save(plain(saving.load(tmp_path / "a.keras")), tmp_path / "b.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


def test_the_directions_of_a_plain_generator_are_the_same() -> None:
    network = new_generator()
    assert np.array_equal(directions(plain(network), 8), directions(network, 8))


@pytest.mark.parametrize(
    "settings", [*({"norm": norm} for norm in get_args(DiscriminatorNorm)), {"minibatch_std": True}], ids=str
)
def test_a_network_that_takes_the_weights_of_a_plain_one_computes_the_same(settings: dict[str, Any]) -> None:
    trained_one = new_discriminator(**settings)
    for _ in range(50 if settings.get("norm") == "spectral" else 0):
        trained_one(IMAGES, training=True)
    network = discriminator(SIZE, CHANNELS, DiscriminatorSettings(channels=3, **settings), seed=1)
    take_weights(network, plain(trained_one))
    assert np.allclose(network(IMAGES), trained_one(IMAGES), rtol=1e-3, atol=1e-5)


def test_the_vector_of_a_spectral_norm_is_the_one_to_which_the_power_iteration_converges() -> None:
    trained_one = new_discriminator(norm="spectral")
    network = discriminator(SIZE, CHANNELS, DiscriminatorSettings(channels=3, norm="spectral"), seed=1)
    take_weights(network, plain(trained_one))
    layer = next(layer for layer in network.layers if isinstance(layer, SpectralConv2D))
    kernel = layer.kernel.numpy()
    largest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1][0]
    assert np.allclose(layer.normalised(training=False), kernel / largest, rtol=1e-5)


def test_a_network_with_a_spectral_norm_takes_no_weights_that_were_trained_without_one() -> None:
    network = discriminator(SIZE, CHANNELS, DiscriminatorSettings(channels=3, norm="spectral"))
    with pytest.raises(ValueError, match="no spectral norm instead of one in the layer down_1"):
        take_weights(network, plain(new_discriminator(norm="none")))
