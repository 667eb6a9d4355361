"""Networks rebuilt from Keras' own layers: the same outputs to the bit, and no class of this project in their files."""

import itertools
import json
import zipfile
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.latent import latent
from stages.networks import saving
from stages.networks.choices import Activation, DiscriminatorNorm, GeneratorNorm, Head, KernelSize, Stem, Upsampling
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.plain import plain, take_weights
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings


def of_a_training(network: keras.Model) -> keras.Model:
    """The network with weights unlike the initial ones: biases, scales and running statistics are not 0 or 1."""
    random = np.random.default_rng(0)
    for weight in network.weights:
        value = random.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(value) + 0.5 if weight.name in ("moving_variance", "gamma") else value)
    return network


def outputs(network: keras.Model, value: np.ndarray) -> bytes:
    """The network's output in inference, as the stages compute it: in a compiled graph."""
    infer = tf.function(lambda x: network(x, training=False))
    return bytes(infer(tf.constant(value)).numpy().tobytes())


def each_value(settings: type, **sets: Any) -> list[Any]:
    """Settings for each value of each set, which has few channels, and for the pairs of the first two sets."""
    (first, values), (second, others), *_ = sets.items()
    chosen = [{name: value} for name, options in sets.items() for value in get_args(options)]
    chosen += [{first: a, second: b} for a, b in itertools.product(get_args(values), get_args(others))]
    return [settings(channels=3, **options) for options in chosen]


GENERATORS = each_value(
    GeneratorSettings, norm=GeneratorNorm, upsampling=Upsampling, activation=Activation, stem=Stem, kernel_size=KernelSize
)
DISCRIMINATORS = each_value(
    DiscriminatorSettings, norm=DiscriminatorNorm, head=Head, activation=Activation, kernel_size=KernelSize
)


@pytest.mark.parametrize("settings", GENERATORS, ids=str)
def test_a_plain_generator_gives_the_same_bytes(settings: GeneratorSettings) -> None:
    network = of_a_training(generator((16, 24), 3, settings))
    z = latent(range(5), settings.latent_dim)
    assert outputs(plain(network), z) == outputs(network, z)


@pytest.mark.parametrize("settings", DISCRIMINATORS, ids=str)
def test_a_plain_discriminator_gives_the_same_bytes(settings: DiscriminatorSettings) -> None:
    network = of_a_training(discriminator((16, 24), 3, settings))
    images = np.random.default_rng(1).uniform(-1, 1, (5, 16, 24, 3)).astype(np.float32)
    assert outputs(plain(network), images) == outputs(network, images)
