"""The latent space: z from seeds, interpolation, class means, directions."""

from typing import get_args

import keras
import numpy as np
import pytest

from stages.latent import Sampler, class_means, directions, latent, rescaled, slerp
from stages.networks.choices import GeneratorNorm, Stem
from stages.networks.generator import generator
from stages.networks.settings import GeneratorSettings


def test_the_z_of_a_seed_does_not_depend_on_other_seeds() -> None:
    assert np.array_equal(latent([7], 100)[0], latent(range(20), 100)[7])
    assert latent(range(3), 100).dtype == np.float32


def test_the_z_of_a_seed_never_changes() -> None:
    # Published pictures name their seeds, so these numbers must stay the same.
    assert latent([0], 2)[0].tolist() == [1.1176220178604126, -1.3871248960494995]


def test_z_is_standard_normal() -> None:
    z = latent(range(500), 100)
    assert z.mean() == pytest.approx(0, abs=0.02)
    assert z.std() == pytest.approx(1, abs=0.02)


def test_slerp_divides_the_angle_evenly() -> None:
    a, b = np.array([1.0, 0]), np.array([0, 1.0])
    path = slerp(a, b, 4)
    assert np.allclose(path, [[np.cos(t), np.sin(t)] for t in np.linspace(0, np.pi / 2, 4)], atol=1e-6)


def test_slerp_keeps_the_norm_that_a_straight_line_loses() -> None:
    a, b = latent([1, 2], 100)
    lengths = np.linalg.norm(slerp(a, b, 9), axis=1)
    assert lengths.min() > 0.95 * min(np.linalg.norm(a), np.linalg.norm(b))
    assert np.linalg.norm((a + b) / 2) < 0.85 * lengths.min()


def test_slerp_of_parallel_vectors_is_the_straight_line() -> None:
    a = np.array([1.0, 2.0])
    assert np.allclose(slerp(a, 3 * a, 3), [a, 2 * a, 3 * a])


def test_class_means_are_nan_for_a_class_without_z() -> None:
    z = latent(range(10), 5)
    means = class_means(z, np.array([0, 0, 2, 2, 2, 0, 0, 0, 0, 2]), 3)
    assert np.allclose(means[2], z[[2, 3, 4, 9]].mean(0))
    assert np.isnan(means[1]).all()
    assert np.isfinite(means[[0, 2]]).all()


def test_rescaled_z_have_the_norm_of_a_mean_of_three() -> None:
    z = latent(range(300), 100)
    typical = np.linalg.norm(z.reshape(100, 3, 100).mean(1), axis=1)
    lengths = np.linalg.norm(rescaled(7 * z), axis=1)
    assert np.allclose(lengths, np.sqrt(100 / 3))
    assert lengths.mean() == pytest.approx(typical.mean(), rel=0.05)


@pytest.mark.parametrize("stem", get_args(Stem))
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_directions_are_the_principal_components_of_the_first_layers_output(stem: Stem, norm: GeneratorNorm) -> None:
    model = generator(16, 1, GeneratorSettings(latent_dim=12, channels=8, stem=stem, norm=norm))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.2, 3, weight.shape) for weight in layer.get_weights()])
    strongest = directions(model, 5)
    assert strongest.shape == (5, 12)
    assert np.allclose(strongest @ strongest.T, np.eye(5), atol=1e-5)
    first = next(i for i, layer in enumerate(model.layers) if layer.weights)
    after = model.layers[first + 1] if norm == "batch" else model.layers[first]
    first_layer = keras.Model(model.input, after.output)
    outputs = first_layer(np.eye(12, dtype=np.float32), training=False).numpy().reshape(12, -1)
    offset = first_layer(np.zeros((1, 12), np.float32), training=False).numpy().ravel()
    singular_values = np.linalg.svd(outputs - offset, compute_uv=False)
    gains = np.linalg.norm(strongest @ (outputs - offset), axis=1)
    assert np.allclose(gains, singular_values[:5], rtol=1e-4)


def test_there_are_at_most_as_many_directions_as_dimensions() -> None:
    assert directions(generator(16, 1, GeneratorSettings(latent_dim=3, channels=8)), 8).shape == (3, 3)


def test_the_mean_z_of_a_class_gives_an_image_of_that_class() -> None:
    sampler = Sampler(generator(16, 1, GeneratorSettings(latent_dim=4, channels=2)))
    bright = sampler.class_means(lambda images: (images.mean((1, 2, 3)) > 0).astype(int), 3)
    assert bright.shape == (3, 4)
    assert np.isnan(bright[2]).all()
    assert sampler(rescaled(bright[1:2]))[0].mean() > sampler(rescaled(bright[:1]))[0].mean()
