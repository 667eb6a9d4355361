"""The networks: worked examples, shapes, parameter counts, where batch norm is, and saving."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages import params, sizes
from stages.errors import StageError
from stages.latent import Sampler, latent
from stages.networks import saving
from stages.networks.choices import Activation, Head, KernelSize, Precision, Stem, Upsampling
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.judge import FEATURES, Judge, judge
from stages.networks.layers import (
    BatchNorm,
    Initializers,
    LayerNorm,
    Maxout,
    MinibatchStd,
    SpectralConv2D,
    SpectralDense,
    ZeroInsertion2D,
    activate,
    insert_zeros,
    precision,
    width_before,
)
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.sizes import Size
from stages.train.losses.catalog import LOSSES
from stages.train.losses.penalty import gradient_penalty, squared_slope
from stages.train.settings import Settings
from tests.conftest import ROOT


def new_generator(
    size: Size, image_channels: int, compute: Precision = "float32", seed: int = 0, **settings: Any
) -> keras.Model:
    return generator(size, image_channels, GeneratorSettings(**settings), compute, seed)


def new_discriminator(size: Size, image_channels: int, compute: Precision = "float32", **settings: Any) -> keras.Model:
    return discriminator(size, image_channels, DiscriminatorSettings(**settings), compute)


# A worked example: a 3 × 3 kernel over a 7 × 7 matrix with stride 2.
MATRIX = """
2 3 7 4 6 2 9
6 6 9 8 7 4 3
3 4 8 3 8 9 7
7 8 3 6 6 3 4
4 2 1 8 3 4 6
3 2 4 1 9 8 3
0 1 3 9 2 1 4
"""


def test_a_strided_convolution_gives_the_result_of_the_worked_example() -> None:
    image = np.array(MATRIX.split(), np.float32).reshape(1, 7, 7, 1)
    layer = keras.layers.Conv2D(1, 3, strides=2, padding="valid", use_bias=False)
    layer.build(image.shape)
    layer.set_weights([np.array([[3, 4, 4], [1, 0, 2], [-1, 0, 3]], np.float32).reshape(3, 3, 1, 1)])
    assert layer(image).numpy()[0, ..., 0].tolist() == [[91, 100, 88], [69, 91, 117], [44, 72, 74]]


INPUT = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
KERNEL = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 5]], np.float32)
# By hand: put zeros between and around the nine pixels (a 7 × 7 field), then slide the kernel over it without flipping
# it. Centred on a pixel it gives 3 × that pixel. Between four pixels a b / c d it gives a + 2b + 4c + 5d. Between two
# neighbours it meets only zeros. At (1, 1): 1·1 + 2·2 + 4·4 + 5·5 = 46.
FRACTIONAL = [[3, 0, 6, 0, 9], [0, 46, 0, 58, 0], [12, 0, 15, 0, 18], [0, 82, 0, 94, 0], [21, 0, 24, 0, 27]]
# The same with the kernel rotated by 180°: 5 0 4 / 0 3 0 / 2 0 1. At (1, 1): 5·1 + 4·2 + 2·4 + 1·5 = 26.
TRANSPOSED = [[3, 0, 6, 0, 9], [0, 26, 0, 38, 0], [12, 0, 15, 0, 18], [0, 62, 0, 74, 0], [21, 0, 24, 0, 27]]


def test_a_fractionally_strided_convolution_from_3_to_5_puts_zeros_between_the_pixels() -> None:
    field = insert_zeros(tf.constant(INPUT), 2, (1, 1))
    assert field.shape == (1, 7, 7, 1)
    assert field.numpy()[0, :, :, 0].sum() == 45
    assert field.numpy()[0, 1:6:2, 1:6:2, 0].tolist() == INPUT[0, ..., 0].tolist()
    result = tf.nn.conv2d(field, KERNEL[..., None, None], 1, "VALID")
    assert result.numpy()[0, ..., 0].tolist() == FRACTIONAL


def test_a_transposed_convolution_is_the_fractional_one_with_a_rotated_kernel() -> None:
    result = tf.nn.conv2d_transpose(INPUT, KERNEL[..., None, None], (1, 5, 5, 1), 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    assert result.numpy()[0, ..., 0].tolist() == TRANSPOSED


@pytest.mark.parametrize("kernel_size", get_args(KernelSize))
def test_fractional_and_transposed_generators_are_the_same_map_with_rotated_kernels(kernel_size: int) -> None:
    a, b = (
        new_generator(32, 3, channels=4, kernel_size=kernel_size, upsampling=upsampling)
        for upsampling in ("transposed", "fractional")
    )
    assert a.count_params() == b.count_params()
    for layer in a.layers:
        weights = layer.get_weights()
        if layer.name.startswith("up_"):
            # Keras stores the kernel of a transposed convolution as (k, k, out, in).
            weights[0] = weights[0][::-1, ::-1].swapaxes(2, 3)
        if weights:
            b.get_layer(layer.name).set_weights(weights)
    z = latent(range(4), 100)
    assert np.allclose(a(z), b(z), atol=1e-5)


@pytest.mark.parametrize(("stride", "kernel_size"), [(2, 4), (2, 5), (2, 3), (3, 5)])
def test_zero_insertion_computes_its_output_shape(stride: int, kernel_size: int) -> None:
    layer = ZeroInsertion2D(stride, kernel_size)
    assert layer(tf.zeros((2, 3, 5, 4))).shape == layer.compute_output_shape((2, 3, 5, 4))


@pytest.mark.parametrize(
    ("size", "channels", "upsampling"),
    list(itertools.product([16, 28, 40, 96, (64, 128), (56, 20)], [1, 4], get_args(Upsampling))),
)
def test_the_networks_have_the_stated_shapes_at_every_size(size: Size, channels: int, upsampling: Upsampling) -> None:
    g = new_generator(size, channels, channels=2, upsampling=upsampling)
    d = new_discriminator(size, channels, channels=2)
    images = g(latent(range(2), 100))
    assert images.shape == (2, *sizes.sides(size), channels)
    assert np.abs(images).max() <= 1
    assert d(images).shape == (2, 1)


@pytest.mark.parametrize(
    ("size", "grid", "doublings"),
    [
        *[(4 << n, (4, 4), n) for n in range(2, 9)],  # the paper's, for every power of two
        *[(20, (5, 5), 2), (24, (6, 6), 2), (28, (7, 7), 2), (48, (6, 6), 3), (96, (6, 6), 4), (160, (5, 5), 5)],
        *[((64, 128), (4, 8), 4), ((128, 64), (8, 4), 4), ((28, 64), (7, 16), 2), ((896, 1024), (7, 8), 7)],
        *[((48, 40), (6, 5), 3), ((16, 1024), (4, 256), 2)],
    ],
)
def test_the_networks_double_from_a_grid_whose_shorter_side_is_4_to_7(
    size: Size, grid: tuple[int, int], doublings: int
) -> None:
    assert (sizes.grid(size), sizes.doublings(size)) == (grid, doublings)
    assert sizes.sides(size) == tuple(side << doublings for side in grid)


@pytest.mark.parametrize(
    ("size", "stem", "parameters"),
    [
        # Stem and head have weights for each pixel of the grid. The layers between depend on the doublings only.
        (16, "conv", (796, 339, 9187)),
        (28, "conv", (1852, 471, 26083)),
        ((16, 32), "conv", (1308, 403, 17379)),
        ((16, 32), "dense", (844, 807, 17379)),
        (48, "conv", (3132, 1107, 39075)),
        ((64, 128), "conv", (7036, 3443, 37347)),
    ],
)
def test_the_parameters_of_other_sizes_are_those_of_their_grid(
    size: Size, stem: Literal["conv", "dense"], parameters: tuple[int, int, int]
) -> None:
    g = new_generator(size, 4, latent_dim=8, channels=2, stem=stem)
    d = new_discriminator(size, 4, channels=2, head=stem)
    j = judge(size, 4, 3, base_channels=4)
    assert (g.count_params(), d.count_params(), j.count_params()) == parameters


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (8, "got 8; use 16"),
        (0, "got 0; use 16"),
        (30, "got 30; use 28 or 32"),
        (36, "got 36; use 32 or 40"),
        ((64, 100), "got 100; use 96 or 112"),
        (2048, "got 2048; use 1024"),
    ],
)
def test_another_size_is_rejected_with_the_nearest_ones(size: Size, message: str) -> None:
    for network in (new_generator, new_discriminator):
        with pytest.raises(ValueError, match=f"sides of 16 to 1024 pixels .*, {message}$"):
            network(size, 1)


def celeba() -> Settings:
    """The `train` section of the CelebA preset."""
    return params.load(ROOT / "presets" / "celeba.yaml", "train", Settings)


def test_the_celeba_generator_has_the_layers_of_the_papers_figure_1() -> None:
    g = generator(64, 3, celeba().generator)
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
    assert g.count_params() == 12_662_275, "including the running means and variances"


def test_the_celeba_discriminator_mirrors_the_generator() -> None:
    d = discriminator(64, 3, celeba().discriminator)
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


def test_the_networks_of_the_default_preset_keep_their_parameter_counts() -> None:
    assert new_generator(32, 1, channels=32).count_params() == 370_049
    assert new_discriminator(32, 1, channels=32).count_params() == 167_201


def batch_norms(model: keras.Model) -> list[str]:
    """The names of a network's batch norm layers, in order."""
    return [layer.name for layer in model.layers if isinstance(layer, BatchNorm)]


def test_batch_norm_dcgan_skips_the_generators_output_and_the_discriminators_input() -> None:
    g, d = new_generator(32, 1, channels=2), new_discriminator(32, 1, channels=2)
    assert batch_norms(g) == ["norm_1", "norm_2", "norm_3"]
    assert [layer.name for layer in g.layers][-2:] == ["up_3", "image"], (
        "no layer between the last convolution and tanh"
    )
    assert batch_norms(d) == ["norm_2", "norm_3"]


def test_batch_norm_all_includes_the_generators_output_and_the_discriminators_input() -> None:
    g, d = (network(32, 1, channels=2, norm="batch_all") for network in (new_generator, new_discriminator))
    assert batch_norms(g)[-1] == "norm_image"
    assert batch_norms(d)[0] == "norm_1"


def test_without_batch_norm_every_convolution_has_a_bias() -> None:
    g, d = (network(32, 1, channels=2, norm="none") for network in (new_generator, new_discriminator))
    assert batch_norms(g) == batch_norms(d) == []
    assert all(layer.use_bias for layer in [*g.layers, *d.layers] if isinstance(layer, keras.layers.Conv2D))


def test_a_layer_before_batch_norm_has_no_bias() -> None:
    g, d = new_generator(32, 1, channels=2), new_discriminator(32, 1, channels=2)
    biased = [layer.name for m in (g, d) for layer in m.layers if getattr(layer, "use_bias", False)]
    assert biased == ["up_3", "down_1", "logit"]


def test_initial_weights_have_the_papers_distribution_and_depend_on_the_seed() -> None:
    a, b, c = (new_generator(64, 3, channels=16, seed=seed) for seed in (0, 0, 1))
    kernel = a.get_layer("up_1").get_weights()[0]
    assert kernel.std() == pytest.approx(0.02, rel=0.02)
    assert abs(kernel.mean()) < 1e-3
    assert np.array_equal(kernel, b.get_layer("up_1").get_weights()[0])
    assert not np.array_equal(kernel, c.get_layer("up_1").get_weights()[0])
    assert not np.array_equal(kernel.flat[:100], a.get_layer("up_2").get_weights()[0].flat[:100])


def test_fused_batch_norm_equals_keras_batch_norm() -> None:
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


def test_layer_norm_normalises_each_image_and_scales_each_channel() -> None:
    x = np.random.default_rng(0).normal(3, 2, (8, 5, 5, 4)).astype(np.float32)
    layer = LayerNorm()
    layer(x)
    scale, offset = np.array([1, 2, 3, 4], np.float32), np.array([4, 3, 2, 1], np.float32)
    layer.set_weights([scale, offset])
    mean, deviation = x.mean((1, 2, 3), keepdims=True), x.std((1, 2, 3), keepdims=True)
    assert np.allclose(layer(x), (x - mean) / deviation * scale + offset, atol=1e-4)


def test_minibatch_std_appends_the_mean_deviation_of_each_group_of_4() -> None:
    x = np.random.default_rng(0).normal(3, 2, (8, 5, 3, 2)).astype(np.float32)
    layer = MinibatchStd()
    x[4:] = x[4]  # a group of equal images
    outputs = layer(x, training=True).numpy()
    deviation = x[:4].std(0).mean()
    assert np.array_equal(outputs[..., :2], x)
    assert np.allclose(outputs[:4, ..., 2], deviation, rtol=1e-6)
    assert np.allclose(outputs[4:, ..., 2], 0, atol=1e-3)
    assert float(layer.moving_mean) == pytest.approx(0.1 * deviation / 2, rel=1e-3)
    alone = layer(x[:1], training=False).numpy()
    assert np.array_equal(alone[..., :2], x[:1])
    assert (alone[..., 2] == float(layer.moving_mean)).all()


def test_minibatch_std_is_before_every_head() -> None:
    for head in get_args(Head):
        d = new_discriminator(32, 1, channels=2, norm="none", head=head, minibatch_std=True)
        names = [layer.name for layer in d.layers]
        assert names[names.index("minibatch_std") - 1] == "leaky_relu_3"
        assert d.get_layer("minibatch_std").output.shape[-1] == 9
    assert d(np.zeros((4, 48, 80, 1)), training=True).shape == (4, 1), "the head gap accepts any size"


def test_layer_norm_is_where_batch_norm_is() -> None:
    for network in (new_generator, new_discriminator):
        names = [
            [layer.name for layer in network(32, 1, channels=2, norm=norm).layers if isinstance(layer, kind)]
            for norm, kind in (("layer", LayerNorm), ("batch", BatchNorm))
        ]
        assert names[0] == names[1] != []


@pytest.mark.parametrize("activation", get_args(Activation))
def test_the_gain_of_an_activation_keeps_the_mean_square(activation: Activation) -> None:
    pieces = width_before(activation, 1)
    y = np.random.default_rng(0).normal(size=(400_000, pieces)).astype(np.float32)
    x = keras.Input((pieces,))
    model = keras.Model(x, activate(x, activation, "f"))
    expected = 1 / np.sqrt((model(y).numpy() ** 2).mean())
    assert Initializers(0, "he").kernel(1, activation).stddev == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("stem", get_args(Stem))
@pytest.mark.parametrize("upsampling", ["transposed", "fractional"])
def test_hes_initial_weights_keep_the_size_of_the_values_through_the_generator(stem: Stem, upsampling: str) -> None:
    """The values before the last activation, tanh, then have the mean square of z, which is 1."""
    options: dict[str, Any] = {"stem": stem, "upsampling": upsampling, "kernel_size": 5}
    g = new_generator(64, 3, channels=16, latent_dim=200, norm="none", initializer="he", **options)
    before = keras.Model(g.input, g.get_layer("up_4").output)(latent(range(32), 200)).numpy()
    inside = before[:, 24:-24, 24:-24]  # at the border, some inputs are zeros outside the image
    assert (inside**2).mean() == pytest.approx(1, rel=0.35)


def test_hes_initial_weights_of_a_resizing_layer_count_the_whole_kernel() -> None:
    g = new_generator(16, 32, channels=16, upsampling="resize", initializer="he")
    kernels = [g.get_layer(name).kernel.numpy() for name in ("up_1", "up_2")]
    assert [kernel.std() for kernel in kernels] == pytest.approx(
        [(2 / (9 * 32)) ** 0.5, (1 / (9 * 16)) ** 0.5], rel=0.05
    )


@pytest.mark.parametrize("head", get_args(Head))
def test_hes_initial_weights_keep_the_size_of_the_values_through_the_discriminator(head: Head) -> None:
    d = new_discriminator(64, 1, channels=16, norm="none", initializer="he", head=head)
    images = np.random.default_rng(0).normal(size=(8, 64, 64, 1)).astype(np.float32)
    features = keras.Model(d.input, d.get_layer("leaky_relu_3").output)(images).numpy()
    assert (features[:, 2:-2, 2:-2] ** 2).mean() == pytest.approx(1, rel=0.2)
    deviations = [layer.kernel.numpy().std() for layer in d.layers if layer.name == "logit"]
    inputs = {"conv": 16 * 128, "dense": 128, "gap": 128}[head]
    assert deviations == pytest.approx([inputs**-0.5], rel=0.25)


def test_a_sample_does_not_depend_on_the_rest_of_its_batch() -> None:
    model = new_generator(32, 1, channels=8)
    for layer in model.layers:
        if isinstance(layer, BatchNorm):  # statistics unlike those of any batch
            layer.set_weights([w + 0.3 for w in layer.get_weights()])
    sampler = Sampler(model)
    z = latent(range(64), 100)
    assert np.allclose(sampler(z[5:6])[0], sampler(z)[5], atol=1e-5)


def test_the_same_network_is_saved_as_the_same_bytes_and_loads_as_it_was(tmp_path: Path) -> None:
    z, images = latent(range(3), 100), np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 1)).astype(np.float32)
    for build, inputs in (
        (lambda: new_generator(16, 1, channels=2), z),
        (lambda: new_generator(16, 1, channels=2, upsampling="fractional", stem="dense", activation="maxout"), z),
        (lambda: new_discriminator(16, 1, channels=2, head="dense", norm="spectral", activation="elu"), images),
        (lambda: new_discriminator(16, 1, channels=2, head="gap", norm="layer"), images),
    ):
        model = build()
        a, b = tmp_path / "a.keras", tmp_path / "b.keras"
        saving.save(model, a)
        saving.save(build(), b)
        assert a.read_bytes() == b.read_bytes()
        assert np.array_equal(saving.load(a)(inputs), model(inputs))
    assert {p.name for p in tmp_path.iterdir()} == {"a.keras", "b.keras"}


def test_a_missing_or_damaged_model_file_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    with pytest.raises(StageError, match=r"x\.keras: missing"):
        saving.load(path)
    path.write_bytes(b"no zip")
    with pytest.raises(
        StageError, match=r"x\.keras: cannot be read as a Keras model \(it is not a \.keras file\); if it belongs"
    ):
        saving.load(path)


def test_a_model_file_that_contains_code_is_rejected(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "x.keras")
    with pytest.raises(StageError, match=r"x\.keras: cannot be read as a Keras model"):
        saving.load(tmp_path / "x.keras")


@pytest.mark.parametrize("size", [16, 32, 64])
def test_the_judge_returns_classes_and_features(size: int) -> None:
    judgement = Judge(judge(size, 3, 7, base_channels=4))(np.zeros((3, size, size, 3), np.float32))
    assert judgement.features.shape == (3, FEATURES)
    assert judgement.classes.shape == (3,)
    assert set(judgement.classes) <= set(range(7))


def trainable_parameters(model: keras.Model) -> int:
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def test_each_head_has_the_parameters_of_its_formula() -> None:
    """For 32 × 32 × 1 and 8 base channels, so that the 4 × 4 layer has 32."""
    conv, dense, gap = (new_discriminator(32, 1, channels=8, head=head) for head in get_args(Head))
    body = 16 * (8 + 8 * 16 + 16 * 32) + 8 + 2 * (16 + 32)
    assert trainable_parameters(conv) == body + 16 * 32 + 1
    assert trainable_parameters(dense) == body + 16 * 32 * 32 + 2 * 32 + 32 + 1, "a hidden layer of 32 with batch norm"
    assert trainable_parameters(gap) == body + 32 + 1


def test_each_stem_has_the_parameters_of_its_formula() -> None:
    """For 32 × 32 × 1 and 8 base channels, so that the 4 × 4 layer has 32."""
    conv, dense, both = (new_generator(32, 1, channels=8, stem=stem) for stem in get_args(Stem))
    body = 2 * (32 + 16 + 8) + 16 * (32 * 16 + 16 * 8 + 8) + 1
    assert trainable_parameters(conv) == body + 100 * 16 * 32
    assert trainable_parameters(dense) == body + 100 * 32 + 2 * 32 + 32 * 16 * 32
    assert trainable_parameters(both) == body + 100 * 32 + 2 * 32 + (32 + 100) * 16 * 32
    for network in (conv, dense, both):
        assert network(latent(range(2), 100)).shape == (2, 32, 32, 1)


def test_the_stem_both_is_the_sum_of_the_other_two() -> None:
    z = latent(range(3), 100)
    both = new_generator(32, 1, channels=8, stem="both")
    dense, conv = (new_generator(32, 1, channels=8, stem=stem) for stem in ("dense", "conv"))
    kernel = both.get_layer("stem").kernel.numpy()
    dense.get_layer("hidden").set_weights(both.get_layer("hidden").get_weights())
    dense.get_layer("stem").set_weights([kernel[:32]])
    of_z = kernel[32:].reshape(100, 4, 4, 32)
    conv.get_layer("stem").set_weights([of_z.transpose(1, 2, 3, 0)])

    def grid(network: keras.Model, layer: str) -> np.ndarray:
        return keras.Model(network.input, network.get_layer(layer).output)(z).numpy()

    parts = grid(dense, "stem_as_image") + grid(conv, "stem")
    assert np.allclose(grid(both, "stem_as_image"), parts, atol=1e-5)


def test_a_single_fully_connected_layer_is_the_same_map_as_a_4_by_4_convolution() -> None:
    conv = keras.layers.Conv2D(3, 4, padding="valid", use_bias=False)
    features = np.random.default_rng(0).normal(size=(2, 4, 4, 5)).astype(np.float32)
    outputs = conv(features).numpy().reshape(2, 3)
    kernel = conv.get_weights()[0].reshape(-1, 3)
    assert np.allclose(features.reshape(2, -1) @ kernel, outputs, atol=1e-5)


def test_global_average_pooling_accepts_any_size() -> None:
    d = new_discriminator(32, 3, channels=4, head="gap")
    for height, width in ((32, 32), (64, 64), (48, 80)):
        assert d(np.zeros((2, height, width, 3), np.float32)).shape == (2, 1)


@pytest.mark.parametrize("kind", get_args(Activation))
def test_an_activation_computes_its_formula(kind: Activation) -> None:
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(1, 2, 2, 6)
    formulas: dict[Activation, Callable[[np.ndarray], np.ndarray]] = {
        "relu": lambda v: np.maximum(v, 0),
        "leaky_relu": lambda v: np.where(v < 0, 0.2 * v, v),
        "elu": lambda v: np.where(v < 0, np.exp(v) - 1, v),
        "maxout": lambda v: v.reshape(1, 2, 2, 3, 2).max(-1),
        "tanh": np.tanh,
    }
    inputs = keras.Input((2, 2, 6))
    model = keras.Model(inputs, activate(inputs, kind, "a"))
    assert np.allclose(model(x), formulas[kind](x), atol=1e-6)


@pytest.mark.parametrize("kind", get_args(Activation))
def test_every_hidden_layer_has_the_chosen_activation(kind: Activation) -> None:
    g = new_generator(16, 1, channels=2, activation=kind)
    d = new_discriminator(16, 1, channels=2, activation=kind)
    for network in (g, d):
        assert len([layer for layer in network.layers if layer.name.startswith(kind)]) == 2
        assert len([layer for layer in network.layers if isinstance(layer, Maxout)]) == (2 if kind == "maxout" else 0)
    assert d(g(latent(range(3), 100))).shape == (3, 1)


def test_maxout_nearly_doubles_the_parameters() -> None:
    plain = new_discriminator(32, 1, channels=8)
    maxout = new_discriminator(32, 1, channels=8, activation="maxout")
    assert trainable_parameters(maxout) == 2 * (16 * (8 + 8 * 16 + 16 * 32) + 8 + 2 * (16 + 32)) + 16 * 32 + 1
    assert trainable_parameters(maxout) > 1.9 * trainable_parameters(plain)


@pytest.mark.parametrize("layer", [SpectralConv2D(6, 4, strides=2, padding="same"), SpectralDense(6)])
def test_spectral_norm_converges_to_division_by_the_largest_singular_value(layer: keras.layers.Layer) -> None:
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    layer(x)
    layer.kernel.assign(np.random.default_rng(1).normal(size=layer.kernel.shape))
    kernel = layer.kernel.numpy()
    for _ in range(100):
        layer(x, training=True)
    assert np.array_equal(layer.kernel.numpy(), kernel), "the kernel itself does not change"
    quotient = layer.normalised(False).numpy().reshape(-1, 6)
    assert np.linalg.svd(quotient)[1][0] == pytest.approx(1, rel=1e-3)
    assert np.allclose(
        quotient * np.linalg.svd(kernel.reshape(-1, 6))[1][0], kernel.reshape(-1, 6), rtol=1e-2, atol=1e-3
    )
    before = layer.u.numpy()
    layer(x, training=False)
    assert np.array_equal(layer.u.numpy(), before), "inference changes nothing"


def test_spectral_norm_replaces_batch_norm_and_applies_to_every_kernel_of_the_discriminator() -> None:
    for head in get_args(Head):
        d = new_discriminator(32, 1, channels=4, head=head, norm="spectral")
        weighted = [layer for layer in d.layers if layer.weights]
        assert weighted
        assert all(isinstance(layer, SpectralConv2D | SpectralDense) for layer in weighted)


def test_the_gradient_passes_through_the_spectral_norm() -> None:
    layer = SpectralDense(1, use_bias=False)
    x = np.array([[1.0, 2.0]], np.float32)
    layer(x)
    layer.kernel.assign([[3.0], [4.0]])
    with tf.GradientTape() as tape:
        value = layer(x)[0, 0]
    # One column: x·w/|w|, whose gradient is x/|w| − w(x·w)/|w|³.
    w = np.array([3.0, 4.0])
    expected = x[0] / 5 - w * (x[0] @ w) / 125
    assert np.allclose(tape.gradient(value, layer.kernel.value).numpy()[:, 0], expected, atol=1e-6)


def test_mixed_precision_keeps_weights_images_and_logits_in_float32() -> None:
    g = new_generator(16, 1, channels=4, compute="mixed_bfloat16")
    d = new_discriminator(16, 1, channels=4, compute="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32", "the global policy is restored"
    assert {w.dtype for w in [*g.weights, *d.weights]} == {"float32"}
    assert g.get_layer("up_1").compute_dtype == d.get_layer("down_1").compute_dtype == "bfloat16"
    images = g(latent(range(4), 100), training=True)
    assert images.dtype == d(images, training=True).dtype == tf.float32
    exact = new_generator(16, 1, channels=4)
    exact.set_weights(g.get_weights())
    assert np.allclose(exact(latent(range(4), 100)), g(latent(range(4), 100)), atol=0.02)


@pytest.fixture
def float64() -> Iterator[None]:
    """Keras computes in float64 during the test."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    with precision("float64"):  # type: ignore[arg-type]
        yield
    keras.config.set_floatx(before)


def slope(function: Callable[[], tf.Tensor], weight: tf.Variable, direction: np.ndarray) -> float:
    """The slope of a function of a weight along a direction, by central differences."""
    step, slopes = 1e-6, []
    for sign in (1, -1):
        weight.assign_add(sign * step * direction)
        slopes.append(sign * float(function()))
        weight.assign_sub(sign * step * direction)
    return sum(slopes) / (2 * step)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("norm", "minibatch_std"), [("none", False), ("spectral", False), ("layer", False), ("none", True)]
)
def test_gradients_equal_finite_differences(loss: str, norm: str, minibatch_std: bool) -> None:
    """Of the discriminator's loss, penalties included, and of the generator's: float64, tiny networks, tanh."""
    options: dict[str, Any] = {"channels": 1, "activation": "tanh", "compute": "float64"}
    d = new_discriminator(16, 1, norm=norm, minibatch_std=minibatch_std, **options)
    g = new_generator(16, 1, latent_dim=3, norm="layer" if norm == "layer" else "none", **options)
    random = np.random.default_rng(0)
    for weight in [*d.trainable_weights, *g.trainable_weights]:
        weight.assign(random.normal(0, 0.2, weight.shape))
    for _ in range(60 if norm == "spectral" else 0):
        d(np.zeros((1, 16, 16, 1)), training=True)  # the formula holds once the power iteration has converged
    real, z = random.uniform(-1, 1, (4, 16, 16, 1)), random.normal(size=(4, 3))
    mix = tf.constant(random.uniform(size=(4, 1, 1, 1)))
    objective = LOSSES[loss].formulas

    def d_loss() -> tf.Tensor:
        images = tf.constant(real), g(z)
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = [d(batch, training=minibatch_std) for batch in images]
        value = objective.discriminator(outputs[0], outputs[1], 0.0)
        value += sum(squared_slope(slopes) for slopes in tape.gradient(outputs, images))
        return value + 10 * gradient_penalty(d, *images, mix) if LOSSES[loss].penalty else value

    def g_loss() -> tf.Tensor:
        return objective.generator(*(d(batch, training=minibatch_std) for batch in (real, g(z))))

    for function, network in ((d_loss, d), (g_loss, g)):
        weights = [weight.value for weight in network.trainable_weights]
        with tf.GradientTape() as tape:
            value = function()
        for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
            direction = random.normal(size=weight.shape)
            expected = float(np.sum(gradient * direction))
            assert slope(function, weight, direction) == pytest.approx(expected, rel=1e-4, abs=1e-6)
