"""The networks: the seed document's own examples, shapes, parameter counts, and what batch norm is on."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages import params
from stages.errors import StageError
from stages.latent import Sampler, latent
from stages.networks import saving
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.judge import FEATURES, Judge, judge
from stages.networks.layers import BatchNorm, ZeroInsertion2D, insert_zeros
from stages.train.settings import Settings
from tests.conftest import ROOT

# The 7 × 7 matrix and the kernel of the plan's figure 7.
MATRIX = """
2 3 7 4 6 2 9
6 6 9 8 7 4 3
3 4 8 3 8 9 7
7 8 3 6 6 3 4
4 2 1 8 3 4 6
3 2 4 1 9 8 3
0 1 3 9 2 1 4
"""


def test_strided_convolution_of_figure_7() -> None:
    image = np.array(MATRIX.split(), np.float32).reshape(1, 7, 7, 1)
    layer = keras.layers.Conv2D(1, 3, strides=2, padding="valid", use_bias=False)
    layer.build(image.shape)
    layer.set_weights([np.array([[3, 4, 4], [1, 0, 2], [-1, 0, 3]], np.float32).reshape(3, 3, 1, 1)])
    assert layer(image).numpy()[0, ..., 0].tolist() == [[91, 100, 88], [69, 91, 117], [44, 72, 74]]


INPUT = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
KERNEL = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 5]], np.float32)
# By hand: zeros between and around the nine pixels (a 7 × 7 field), then the kernel as a plain (cross-correlating)
# window. Where it is centred on a pixel it sees 3 × that pixel; between four pixels a b / c d it sees a + 2b + 4c + 5d;
# between two neighbours nothing but zeros. At (1, 1): 1·1 + 2·2 + 4·4 + 5·5 = 46.
FRACTIONAL = [[3, 0, 6, 0, 9], [0, 46, 0, 58, 0], [12, 0, 15, 0, 18], [0, 82, 0, 94, 0], [21, 0, 24, 0, 27]]
# The same with the kernel turned by 180°: a window of 5 0 4 / 0 3 0 / 2 0 1. At (1, 1): 5·1 + 4·2 + 2·4 + 1·5 = 26.
TRANSPOSED = [[3, 0, 6, 0, 9], [0, 26, 0, 38, 0], [12, 0, 15, 0, 18], [0, 62, 0, 74, 0], [21, 0, 24, 0, 27]]


def test_fractionally_strided_3_to_5_puts_zeros_between_the_pixels() -> None:
    field = insert_zeros(tf.constant(INPUT), 2, (1, 1))
    assert field.shape == (1, 7, 7, 1)
    assert field.numpy()[0, :, :, 0].sum() == 45
    assert field.numpy()[0, 1:6:2, 1:6:2, 0].tolist() == INPUT[0, ..., 0].tolist()
    result = tf.nn.conv2d(field, KERNEL[..., None, None], 1, "VALID")
    assert result.numpy()[0, ..., 0].tolist() == FRACTIONAL


def test_transposed_3_to_5_is_that_with_the_kernel_turned() -> None:
    result = tf.nn.conv2d_transpose(INPUT, KERNEL[..., None, None], (1, 5, 5, 1), 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    assert result.numpy()[0, ..., 0].tolist() == TRANSPOSED


@pytest.mark.parametrize("kernel_size", [4, 5])
def test_fractional_and_transposed_generators_are_one_map_with_kernels_turned(kernel_size: int) -> None:
    options = {"base_channels": 4, "kernel_size": kernel_size}
    a = generator(32, 3, upsampling="transposed", **options)  # type: ignore[arg-type]
    b = generator(32, 3, upsampling="fractional", **options)  # type: ignore[arg-type]
    assert a.count_params() == b.count_params()
    for layer in a.layers:
        weights = layer.get_weights()
        if layer.name.startswith("up_"):
            # Keras keeps the transposed kernel as (k, k, out, in).
            weights[0] = weights[0][::-1, ::-1].swapaxes(2, 3)
        if weights:
            b.get_layer(layer.name).set_weights(weights)
    z = latent(range(4), 100)
    assert np.allclose(a(z), b(z), atol=1e-5)


@pytest.mark.parametrize(("stride", "kernel_size"), [(2, 4), (2, 5), (2, 3), (3, 5)])
def test_zero_insertion_states_its_shape(stride: int, kernel_size: int) -> None:
    layer = ZeroInsertion2D(stride, kernel_size)
    assert layer(tf.zeros((2, 3, 5, 4))).shape == layer.compute_output_shape((2, 3, 5, 4))


@pytest.mark.parametrize(
    ("size", "channels", "upsampling"),
    list(itertools.product([16, 32, 64, 128], [1, 3], ["transposed", "fractional", "resize"])),
)
def test_shapes_for_every_size(size: int, channels: int, upsampling: str) -> None:
    g = generator(size, channels, base_channels=2, upsampling=upsampling)  # type: ignore[arg-type]
    d = discriminator(size, channels, base_channels=2)
    images = g(latent(range(2), 100))
    assert images.shape == (2, size, size, channels)
    assert np.abs(images).max() <= 1
    assert d(images).shape == (2, 1)


@pytest.mark.parametrize("size", [8, 24, 0, 33])
def test_other_sizes_are_refused(size: int) -> None:
    for network in (generator, discriminator):
        with pytest.raises(ValueError, match="power of two from 16 up"):
            network(size, 1)


def celeba() -> Settings:
    return params.load(ROOT / "presets" / "celeba.yaml", "train", Settings)


def test_the_celeba_generator_is_the_plans_network_to_the_layer() -> None:
    s = celeba()
    g = generator(64, 3, latent_dim=s.latent_dim, base_channels=s.generator_channels, kernel_size=s.kernel_size)
    convolutions = [layer for layer in g.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert g.input_shape == (None, 100)
    assert [layer.output.shape[1:] for layer in convolutions] == [
        (4, 4, 1024),
        (8, 8, 512),
        (16, 16, 256),
        (32, 32, 128),
        (64, 64, 3),
    ]
    widths = [100, 1024, 512, 256, 128, 3]
    kernels = 16 * sum(a * b for a, b in itertools.pairwise(widths))
    trainable = kernels + 2 * (1024 + 512 + 256 + 128) + 3
    assert trainable == 12_658_435
    assert sum(int(np.prod(w.shape)) for w in g.trainable_weights) == trainable
    assert g.count_params() == 12_662_275, "with the running means and variances"


def test_the_celeba_discriminator_mirrors_it() -> None:
    s = celeba()
    d = discriminator(64, 3, base_channels=s.discriminator_channels, kernel_size=s.kernel_size)
    convolutions = [layer for layer in d.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.output.shape[1:] for layer in convolutions] == [
        (32, 32, 128),
        (16, 16, 256),
        (8, 8, 512),
        (4, 4, 1024),
        (1, 1, 1),
    ]
    kernels = 16 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024 + 1024)
    trainable = kernels + 128 + 1 + 2 * (256 + 512 + 1024)
    assert sum(int(np.prod(w.shape)) for w in d.trainable_weights) == trainable == 11_036_289
    assert not [layer for layer in d.layers if "Pool" in type(layer).__name__ or "Dense" in type(layer).__name__]


def test_the_default_presets_parameter_counts() -> None:
    assert generator(32, 1, base_channels=32).count_params() == 370_049
    assert discriminator(32, 1, base_channels=32).count_params() == 167_201


def normalised(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if isinstance(layer, BatchNorm)]


def test_batch_norm_spares_the_generators_output_and_the_discriminators_input() -> None:
    g, d = generator(32, 1, base_channels=2), discriminator(32, 1, base_channels=2)
    assert normalised(g) == ["norm_1", "norm_2", "norm_3"]
    assert [layer.name for layer in g.layers][-2:] == ["up_3", "image"], "nothing between the last convolution and tanh"
    assert normalised(d) == ["norm_2", "norm_3"]


def test_batch_norm_all_and_none() -> None:
    g, d = (network(32, 1, base_channels=2, batch_norm="all") for network in (generator, discriminator))
    assert normalised(g)[-1] == "norm_image"
    assert normalised(d)[0] == "norm_1"
    g, d = (network(32, 1, base_channels=2, batch_norm="none") for network in (generator, discriminator))
    assert normalised(g) == normalised(d) == []
    assert all(layer.use_bias for layer in [*g.layers, *d.layers] if isinstance(layer, keras.layers.Conv2D))


def test_no_bias_where_batch_norm_follows() -> None:
    g, d = generator(32, 1, base_channels=2), discriminator(32, 1, base_channels=2)
    biased = [layer.name for m in (g, d) for layer in m.layers if getattr(layer, "use_bias", False)]
    assert biased == ["up_3", "down_1", "logit"]


def test_weights_start_from_the_papers_distribution_and_the_seed() -> None:
    a, b, c = (generator(64, 3, base_channels=16, seed=seed) for seed in (0, 0, 1))
    kernel = a.get_layer("up_1").get_weights()[0]
    assert kernel.std() == pytest.approx(0.02, rel=0.02)
    assert abs(kernel.mean()) < 1e-3
    assert np.array_equal(kernel, b.get_layer("up_1").get_weights()[0])
    assert not np.array_equal(kernel, c.get_layer("up_1").get_weights()[0])
    assert not np.array_equal(kernel.flat[:100], a.get_layer("up_2").get_weights()[0].flat[:100])


def test_fused_batch_norm_is_keras_batch_norm() -> None:
    x = np.random.default_rng(0).normal(3, 2, (8, 5, 5, 4)).astype(np.float32)
    ours = BatchNorm()
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    assert np.allclose(ours(x, training=True), theirs(x, training=True), atol=1e-5)
    assert np.allclose(ours.moving_mean, theirs.moving_mean, atol=1e-6)
    count = 8 * 5 * 5
    unbiased = (theirs.moving_variance - 0.9) * count / (count - 1) + 0.9
    assert np.allclose(ours.moving_variance, unbiased, atol=1e-5)
    theirs.set_weights(ours.get_weights())
    assert np.allclose(ours(x, training=False), theirs(x, training=False), atol=1e-6)


def test_one_sample_equals_its_row_in_a_batch() -> None:
    model = generator(32, 1, base_channels=8)
    for layer in model.layers:
        if isinstance(layer, BatchNorm):  # statistics unlike any batch's, so that using the batch's would show
            layer.set_weights([w + 0.3 for w in layer.get_weights()])
    sampler = Sampler(model)
    z = latent(range(64), 100)
    assert np.allclose(sampler(z[5:6])[0], sampler(z)[5], atol=1e-5)


def test_saving_gives_the_same_bytes_and_the_same_network(tmp_path: Path) -> None:
    for upsampling in ("transposed", "fractional"):
        model = generator(16, 1, base_channels=2, upsampling=upsampling)
        a, b = tmp_path / "a.keras", tmp_path / "b.keras"
        saving.save(model, a)
        saving.save(generator(16, 1, base_channels=2, upsampling=upsampling), b)
        assert a.read_bytes() == b.read_bytes()
        z = latent(range(3), 100)
        assert np.array_equal(saving.load(a)(z), model(z))
    assert {p.name for p in tmp_path.iterdir()} == {"a.keras", "b.keras"}


def test_a_damaged_model_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    with pytest.raises(StageError, match=r"x\.keras: missing"):
        saving.load(path)
    path.write_bytes(b"no zip")
    with pytest.raises(StageError, match=r"x\.keras: cannot be read as a Keras model"):
        saving.load(path)


def test_a_model_file_that_carries_code_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "x.keras")
    with pytest.raises(StageError, match=r"x\.keras: cannot be read as a Keras model"):
        saving.load(tmp_path / "x.keras")


@pytest.mark.parametrize("size", [16, 32, 64])
def test_the_judge_gives_classes_and_features(size: int) -> None:
    judgement = Judge(judge(size, 3, 7, base_channels=4))(np.zeros((3, size, size, 3), np.float32))
    assert judgement.features.shape == (3, FEATURES)
    assert judgement.classes.shape == (3,)
    assert set(judgement.classes) <= set(range(7))
