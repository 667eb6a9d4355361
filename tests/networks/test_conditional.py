"""The conditional networks: the projection and the conditional norm in NumPy, and their sizes."""

from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest

from stages.classes import Classes
from stages.errors import StageError
from stages.latent import Sampler, directions, latent
from stages.networks import saving
from stages.networks.choices import Head, Stem
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.plain import plain
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings

K = 3
CLASSES = Classes(("a", "b", "c"), (0.5, 0.25, 0.25))
ATTRIBUTES = Classes(("x, y, z", "x, not y, not z", "not x, not y, not z"), (0.5, 0.25, 0.25), ("x", "y", "z"))
NORMAL = np.random.default_rng(0).standard_normal
Z, IMAGES = NORMAL((K, 100)).astype(np.float32), np.tanh(NORMAL((K, 16, 16, 1))).astype(np.float32)
ONE_HOT = np.eye(K, dtype=np.float32)
SEVERAL = np.array([[0, 0, 0], [1, 0.5, 0], [1, 1, 1]], np.float32)  # none, a blend and all of the attributes


def output_of(model: keras.Model, name: str, *inputs: np.ndarray) -> np.ndarray:
    """The output of a layer, in inference mode."""
    return np.asarray(keras.Model(model.inputs, model.get_layer(name).output)(list(inputs), training=False))


def conditional_generator(attributes: bool = False, **settings: object) -> keras.Model:
    """A generator whose classes or attributes have other scales and offsets than at the start."""
    options = GeneratorSettings(channels=4, **settings)  # type: ignore[arg-type]
    model = generator(16, 1, options, classes=K, attributes=attributes)
    for layer in model.layers:
        if layer.name.startswith("norm_") and layer.name.endswith(("_scale", "_offset")) and layer.weights:
            layer.kernel.assign(NORMAL(layer.kernel.shape))
    return model


@pytest.mark.parametrize(
    ("head", "before"), [("conv", "leaky_relu_2"), ("gap", "mean"), ("dense", "leaky_relu_hidden")]
)
def test_the_discriminator_adds_the_projection_of_the_class_to_its_logit(head: Head, before: str) -> None:
    """Miyato, Koyama 2018, equation 3, with the features φ flattened: ψ(φ) + yᵀVφ. Attributes are a sum over y."""
    model = discriminator(16, 1, DiscriminatorSettings(channels=4, head=head, initializer="he"), classes=K)
    features = output_of(model, before, IMAGES, ONE_HOT).reshape(K, -1)
    psi, bias = (np.asarray(w).reshape(-1, 1) for w in model.get_layer("logit").weights)
    (v,) = (np.asarray(w).reshape(-1, K) for w in model.get_layer("class_logits").weights)
    for y in (ONE_HOT, np.array([[0.25, 0.75, 0], [0, 0, 1], [0.2, 0.3, 0.5]], np.float32), SEVERAL):
        expected = features @ psi + bias + ((features @ v) * y).sum(1, keepdims=True)
        assert np.allclose(model([IMAGES, y], training=False), expected, atol=1e-5)


def test_a_conditional_norm_is_batch_norm_with_a_scale_and_an_offset_for_each_class() -> None:
    model = conditional_generator(class_norm=True)
    model([np.tile(Z, (4, 1)), np.tile(ONE_HOT, (4, 1))], training=True)  # moves the running statistics
    norm = model.get_layer("norm_1")
    x = output_of(model, "stem", Z, ONE_HOT)
    gamma, beta, mean, variance = map(np.asarray, (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
    shared = (x - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta
    scale, offset = (np.asarray(model.get_layer(f"norm_1_{kind}").kernel) for kind in ("scale", "offset"))
    expected = np.stack([shared[i] * scale[i] + offset[i] for i in range(K)])
    assert np.allclose(output_of(model, "norm_1_by_class_offset", Z, ONE_HOT), expected, atol=1e-4)


def test_each_attribute_changes_the_scale_and_the_offset_of_a_conditional_norm_by_its_own_amounts() -> None:
    model = conditional_generator(attributes=True, class_norm=True)
    (scales, scale), (offsets, offset) = (
        model.get_layer(f"norm_1_{kind}").get_weights() for kind in ("scale", "offset")
    )
    assert (scale.tolist(), offset.tolist()) == ([1] * len(scale), [0] * len(offset)), "without attributes"
    shared = output_of(model, "norm_1", Z, SEVERAL)
    expected = [x * (1 + y @ scales) + y @ offsets for x, y in zip(shared, SEVERAL, strict=True)]
    assert np.allclose(output_of(model, "norm_1_by_class_offset", Z, SEVERAL), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("attributes", [False, True])
def test_at_first_a_conditional_norm_changes_nothing(attributes: bool) -> None:
    shared, conditional = (
        generator(16, 1, GeneratorSettings(channels=4, class_norm=norm), seed=1, classes=K, attributes=attributes)
        for norm in (False, True)
    )
    for weights in (SEVERAL,) if attributes else (ONE_HOT, np.full((K, K), 1 / K, np.float32)):
        assert np.allclose(shared([Z, weights], training=False), conditional([Z, weights], training=False), atol=1e-6)


def test_the_embedding_of_the_class_joins_z() -> None:
    model = conditional_generator()
    embedding = np.asarray(model.get_layer("embedding").kernel)
    assert np.allclose(output_of(model, "z_and_class", Z, ONE_HOT), np.concatenate([Z, embedding], axis=1))
    assert abs(embedding.std() - 1) < 0.2, "as large as z"


def test_an_image_without_attributes_has_an_embedding_too() -> None:
    model = conditional_generator(attributes=True)
    of_each, of_none = model.get_layer("embedding").get_weights()
    expected = np.concatenate([Z, SEVERAL @ of_each + of_none], axis=1)
    assert np.allclose(output_of(model, "z_and_class", Z, SEVERAL), expected, atol=1e-5)
    assert abs(of_none.std() - 1) < 0.4, "as large as z"
    assert abs(np.corrcoef(of_none, of_each[0])[0, 1]) < 0.6


@pytest.mark.parametrize("stem", get_args(Stem))
def test_the_shapes_from_z_to_the_image_are_those_of_the_unconditional_generator(stem: str) -> None:
    settings = GeneratorSettings(channels=4, class_norm=True, stem=stem, norm="batch_all")  # type: ignore[arg-type]
    unconditional, conditional = generator(16, 1, settings), generator(16, 1, settings, classes=K)
    for layer in unconditional.layers:
        if layer.name not in ("z_as_pixel", "z", "hidden_and_z"):  # these get the class beside z
            assert conditional.get_layer(layer.name).output.shape == layer.output.shape, layer.name
    assert np.asarray(conditional([Z, ONE_HOT], training=False)).shape == (K, 16, 16, 1)


def test_the_parameter_counts_of_the_conditional_networks() -> None:
    g, d = GeneratorSettings(channels=4), DiscriminatorSettings(channels=4)
    by_class = GeneratorSettings(channels=4, class_norm=True)
    unconditional = generator(16, 1, g).count_params()
    embedding, stem = K * 32, 32 * 4 * 4 * 8
    assert generator(16, 1, g, classes=K).count_params() == unconditional + embedding + stem
    norms = 2 * K * (8 + 4)
    assert generator(16, 1, by_class, classes=K).count_params() == unconditional + embedding + stem + norms
    biases = 32 + 2 * (8 + 4)
    of_attributes = generator(16, 1, by_class, classes=K, attributes=True)
    assert of_attributes.count_params() == unconditional + embedding + stem + norms + biases
    assert discriminator(16, 1, d, classes=K).count_params() == discriminator(16, 1, d).count_params() + K * 4 * 4 * 8


def test_the_projection_of_a_spectral_discriminator_is_normalised_too() -> None:
    model = discriminator(16, 1, DiscriminatorSettings(channels=4, norm="spectral", head="gap"), classes=K)
    layer = model.get_layer("class_logits")
    for _ in range(20):
        model([IMAGES, ONE_HOT], training=True)
    norm = np.linalg.svd(np.asarray(layer.normalised(training=False)), compute_uv=False)[0]
    assert norm == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("classes", [CLASSES, ATTRIBUTES], ids=["classes", "attributes"])
def test_a_saved_generator_has_its_classes_and_makes_the_same_images(tmp_path: Path, classes: Classes) -> None:
    model = conditional_generator(attributes=bool(classes.attributes), class_norm=True)
    saving.save(plain(model), tmp_path / "g.keras", classes)
    sampler = Sampler.load(tmp_path / "g.keras")
    assert sampler.classes == classes
    expected = model([latent([4, 5], 100), classes.vectors([2, 2])], training=False)
    assert np.allclose(sampler.images([4, 5], 2), expected, atol=1e-6)
    mixed = model([latent([4, 5], 100), classes.vectors(classes.of_seeds([4, 5]))], training=False)
    assert np.allclose(np.concatenate(list(sampler.batches([4, 5]))), mixed, atol=1e-6)


def test_a_conditional_generator_without_the_names_of_its_classes_is_an_error(tmp_path: Path) -> None:
    saving.save(conditional_generator(), tmp_path / "g.keras")
    with pytest.raises(StageError, match=r"g\.keras: a conditional generator of 3 classes without their names"):
        Sampler.load(tmp_path / "g.keras")


@pytest.mark.parametrize("stem", get_args(Stem))
def test_the_directions_of_z_leave_the_class_out(stem: str) -> None:
    """The singular vectors of the first layer's columns for z, scaled by its batch norm."""
    model = conditional_generator(class_norm=True, stem=stem, latent_dim=6)
    layer, norm = model.get_layer("stem" if stem == "conv" else "hidden"), "norm_1" if stem == "conv" else "norm_0"
    model.get_layer(norm).gamma.assign(np.linspace(0.5, 2, model.get_layer(norm).gamma.shape[0]))
    kernel = np.asarray(layer.kernel)
    kernel = kernel.T if kernel.ndim == 2 else kernel
    matrix = (kernel[..., :6] * np.asarray(model.get_layer(norm).gamma)[:, None]).reshape(-1, 6)
    expected = np.linalg.svd(matrix)[2][:3]
    assert np.allclose(abs((directions(model, 3) * expected).sum(1)), 1, atol=1e-3)


def test_a_sampler_needs_weights_exactly_if_its_generator_is_conditional() -> None:
    for sampler, weights in (
        (Sampler(conditional_generator(), CLASSES), None),
        (Sampler(generator(16, 1, GeneratorSettings(channels=4))), ONE_HOT),
    ):
        with pytest.raises(ValueError, match="weights of classes"):
            sampler(Z, weights)
