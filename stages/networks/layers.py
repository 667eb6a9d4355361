"""The building blocks of the networks: the layers that Keras lacks, initial weights and precision.

Each layer is registered with Keras, so that saved networks load wherever this package is installed. To add a layer,
write a registered class here, with `get_config` if its constructor takes arguments, and its equivalent in plain.py:
published models have Keras' own layers only.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from stages.networks.choices import Activation, DiscriminatorNorm, GeneratorNorm, Initializer, Precision
from stages.networks.settings import MINIBATCH_STD_GROUP

# Radford, Metz, Chintala 2016 (arXiv:1511.06434), section 4: weights from a normal distribution of this deviation.
_WEIGHT_STD = 0.02
# The momentum and ε of the original DCGAN code. Keras' default momentum of 0.99 is so slow that it spoils samples.
BATCH_NORM_MOMENTUM = 0.9
NORM_EPSILON = 1e-5
# Radford, Metz, Chintala 2016, section 4: "the slope of the leak was set to 0.2 in all models".
_LEAK = 0.2
_MAXOUT_PIECES = 2
# 1/√E[f(y)²] of each activation f, for y ~ N(0, 1).
_GAINS: dict[Activation, float] = {
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + _LEAK**2)),
    "elu": 1.2452,
    "maxout": 1.0,
    "tanh": 1.5925,
}


@contextlib.contextmanager
def precision(policy: Precision) -> Iterator[None]:
    """Layers built inside the block compute in this precision. Weights are float32 in either case.

    bfloat16 halves the memory traffic of convolutions.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Initializers:
    """The initializers of a network, each with a different seed. The same network seed gives the same weights."""

    def __init__(self, seed: int, scheme: Initializer = "dcgan") -> None:
        self._next, self._scheme = seed * 1000, scheme

    def kernel(self, fan_in: float, activation: Activation | None = None) -> keras.initializers.Initializer:
        """The normal distribution of a GAN's kernel: of deviation 0.02 (dcgan), or gain/√fan_in (he).

        He et al. 2015 (arXiv:1502.01852), section 2.2. `fan_in` is the number of products in one output value, on
        average over the output: a layer that doubles the sides of an image by a stride has a quarter of its kernel's
        inputs. The gain keeps the mean square of the values from the layer's input to the output of the `activation`
        after it; without one it is 1.
        """
        self._next += 1
        gain = _GAINS[activation] if activation else 1.0
        deviation = _WEIGHT_STD if self._scheme == "dcgan" else gain / math.sqrt(fan_in)
        return keras.initializers.RandomNormal(0.0, deviation, seed=self._next)

    def embedding(self) -> keras.initializers.Initializer:
        """The distribution of z, for the vector that joins z."""
        self._next += 1
        return keras.initializers.RandomNormal(0.0, 1.0, seed=self._next)

    def he(self) -> keras.initializers.Initializer:
        """The normal distribution of He et al. 2015, for ReLU networks that are not trained against another one."""
        self._next += 1
        return keras.initializers.HeNormal(seed=self._next)


@dataclass(frozen=True)
class Condition:
    """The second input of a conditional generator: `values` (N, K).

    They are weights of classes with a sum of 1 or, if `of_attributes`, a number from 0 to 1 for each attribute. These
    can all be 0, so what is linear in them needs a bias.
    """

    values: keras.KerasTensor
    of_attributes: bool


@keras.saving.register_keras_serializable(package="dcgan")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation over N, H and W of NHWC (Ioffe, Szegedy 2015, algorithm 1), by TensorFlow's fused kernel.

    It differs from Keras' layer in two ways. The running variance is unbiased (n − 1), as the kernel computes it. And a
    training step is a tenth faster, because Keras' layer reads the tensor once per operation. On several devices the
    statistics are those of the whole batch; each device holds an equal part of it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"momentum": BATCH_NORM_MOMENTUM, "epsilon": NORM_EPSILON, **options})

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Normalise NHWC by the batch's statistics and update the running ones (training), or by the running ones."""
        if not training:
            return super().call(inputs, training=False, mask=mask)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            outputs, mean, variance = self._across_replicas(inputs)
        else:
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
            )
        for average, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + current * (1 - self.momentum))
        return outputs

    def _across_replicas(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The fused kernel's results for the whole batch of all replicas: outputs, mean, variance (n − 1)."""
        context = tf.distribute.get_replica_context()
        x = tf.cast(inputs, tf.float32)
        moments = tf.stack([tf.reduce_mean(x, (0, 1, 2)), tf.reduce_mean(tf.square(x), (0, 1, 2))])
        mean, square = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.MEAN, moments))
        variance = tf.maximum(square - tf.square(mean), 0.0)
        outputs = tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self.epsilon)
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]) * context.num_replicas_in_sync, tf.float32)
        return tf.cast(outputs, inputs.dtype), mean, variance * count / tf.maximum(count - 1, 1)


@keras.saving.register_keras_serializable(package="dcgan")
class LayerNorm(keras.layers.Layer):
    """Layer normalisation over H, W and C of each image of NHWC, with a scale and an offset for each channel.

    Ba et al. 2016 (arXiv:1607.06450). It does not mix the images of a batch, so Gulrajani et al. 2017 (section 4)
    recommend it for a discriminator with a gradient penalty. (Keras' layer has a scale and an offset for each pixel.)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the scale and the offset."""
        self.gamma = self.add_weight(name="gamma", shape=input_shape[-1:], initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=input_shape[-1:], initializer="zeros", autocast=False)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """NHWC => NHWC."""
        x = tf.cast(inputs, self.variable_dtype)
        # Not tf.nn.moments, which stops the gradient of the mean: wrong for the gradient of a gradient penalty.
        mean = tf.reduce_mean(x, (1, 2, 3), keepdims=True)
        variance = tf.reduce_mean(tf.square(x - mean), (1, 2, 3), keepdims=True)
        outputs = tf.nn.batch_normalization(x, mean, variance, self.beta.value, self.gamma.value, NORM_EPSILON)
        return tf.cast(outputs, inputs.dtype)


@keras.saving.register_keras_serializable(package="dcgan")
class Maxout(keras.layers.Layer):
    """The maximum of each group of `pieces` neighbouring channels: (…, C · pieces) => (…, C).

    Goodfellow et al. 2013 (arXiv:1302.4389): together with the linear layer before it, a learned convex activation. The
    linear layer has `pieces` times as many parameters.
    """

    def __init__(self, pieces: int = _MAXOUT_PIECES, **options: Any) -> None:
        super().__init__(**options)
        self.pieces = pieces

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(…, C · pieces) => (…, C)."""
        shape = tf.shape(inputs)
        split = tf.concat([shape[:-1], [shape[-1] // self.pieces, self.pieces]], 0)
        return tf.ensure_shape(tf.reduce_max(tf.reshape(inputs, split), -1), self.compute_output_shape(inputs.shape))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The output shape of `call`."""
        channels = input_shape[-1]
        return (*input_shape[:-1], None if channels is None else channels // self.pieces)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, for a saved model."""
        return {**super().get_config(), "pieces": self.pieces}


@keras.saving.register_keras_serializable(package="dcgan")
class MinibatchStd(keras.layers.Layer):
    """Append a channel that says how much images of a batch differ: (N, H, W, C) => (N, H, W, C + 1).

    Karras et al. 2018 (arXiv:1710.10196), section 3. The batch is split into groups of neighbours. In a group, each of
    the H·W·C values has a standard deviation; their mean is the channel of all its images. So a discriminator sees when
    samples are too much alike. In inference an image is alone, and the channel is the running mean of training.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the running mean."""
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", trainable=False, autocast=False)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Append the channel. In training, N is a multiple of the group's size, on each device."""
        ones = tf.ones_like(inputs[..., :1])
        if not training:
            return tf.concat([inputs, ones * tf.cast(self.moving_mean.value, inputs.dtype)], -1)
        x = tf.cast(inputs, self.variable_dtype)
        groups = tf.reshape(x, tf.concat([[-1, MINIBATCH_STD_GROUP], tf.shape(x)[1:]], 0))
        variance = tf.reduce_mean(tf.square(groups - tf.reduce_mean(groups, 1, keepdims=True)), 1)
        # ε, because the gradient of a square root is infinite at zero.
        deviations = tf.reduce_mean(tf.sqrt(variance + 1e-8), (1, 2, 3))
        mean = tf.reduce_mean(deviations)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            mean = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, mean)
        self.moving_mean.assign(self.moving_mean * BATCH_NORM_MOMENTUM + mean * (1 - BATCH_NORM_MOMENTUM))
        channel = ones * tf.cast(tf.repeat(deviations, MINIBATCH_STD_GROUP), inputs.dtype)[:, None, None, None]
        return tf.concat([inputs, channel], -1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The output shape of `call`."""
        channels = input_shape[-1]
        return (*input_shape[:-1], None if channels is None else channels + 1)


class _Spectral(keras.layers.Layer):
    """A layer that divides its kernel by the kernel's largest singular value, as a matrix (…, C) of C columns.

    Miyato et al. 2018 (arXiv:1802.05957), algorithm 1: one power iteration per call in training. The gradient passes
    through the division. (Keras' wrapper overwrites the kernel with the quotient instead.)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel, and the vector from which the power iteration continues."""
        super().build(input_shape)
        self.u = self.add_weight(
            name="u",
            shape=(1, self.kernel.shape[-1]),
            # The kernel's seed: the same network seed gives the same vector.
            initializer=keras.initializers.RandomNormal(seed=getattr(self.kernel_initializer, "seed", None)),
            trainable=False,
            aggregation="only_first_replica",
            autocast=False,
        )

    def save_own_variables(self, store: Any) -> None:
        """Save the vector too. Keras' method saves kernel and bias only."""
        super().save_own_variables(store)
        store["u"] = self.u

    def load_own_variables(self, store: Any) -> None:
        """Load the variables that `save_own_variables` saved."""
        super().load_own_variables(store)
        self.u.assign(store["u"])

    def normalised(self, training: bool | None) -> tf.Tensor:
        """The kernel divided by its spectral norm, float32."""
        kernel = tf.convert_to_tensor(self.kernel.value)
        matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
        u = tf.math.l2_normalize(tf.convert_to_tensor(self.u.value))
        fixed = tf.stop_gradient(matrix)
        v = tf.math.l2_normalize(tf.matmul(u, fixed, transpose_b=True))
        if training:
            u = tf.math.l2_normalize(tf.matmul(v, fixed))
            self.u.assign(u)
        return kernel / tf.matmul(tf.matmul(v, matrix), u, transpose_b=True)[0, 0]


@keras.saving.register_keras_serializable(package="dcgan")
class SpectralConv2D(_Spectral, keras.layers.Conv2D):
    """A convolution with a spectrally normalised kernel."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """NHWC => NHWC."""
        outputs = self.convolution_op(inputs, tf.cast(self.normalised(training), inputs.dtype))
        return outputs + tf.cast(self.bias, outputs.dtype) if self.use_bias else outputs


@keras.saving.register_keras_serializable(package="dcgan")
class SpectralDense(_Spectral, keras.layers.Dense):
    """A fully connected layer with a spectrally normalised kernel."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(…, C) => (…, units)."""
        outputs = keras.ops.matmul(inputs, tf.cast(self.normalised(training), inputs.dtype))
        return outputs + tf.cast(self.bias, outputs.dtype) if self.use_bias else outputs


@keras.saving.register_keras_serializable(package="dcgan")
class ZeroInsertion2D(keras.layers.Layer):
    """Put `stride` − 1 zeros between the pixels of NHWC and pad, so that a valid convolution up-samples.

    The two together are the fractionally-strided convolution of the literature. A valid k × k convolution after this
    layer multiplies height and width by `stride`. It equals the transposed convolution (padding `same`) with the kernel
    flipped.
    """

    def __init__(self, stride: int, kernel_size: int, **options: Any) -> None:
        super().__init__(**options)
        self.stride, self.kernel_size = stride, kernel_size

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) => (N, stride·H + k − 1, stride·W + k − 1, C)."""
        return insert_zeros(inputs, self.stride, self.padding)

    @property
    def padding(self) -> tuple[int, int]:
        """The zeros before and after the pixels of each row and column."""
        # The strided `same` convolution pads k − stride pixels, the smaller half first. Its transpose is a full
        # convolution (k − 1 pixels of padding) less those pixels.
        before = (self.kernel_size - self.stride) // 2
        return self.kernel_size - 1 - before, self.stride - 1 + before

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The output shape of `call`."""
        sides = [None if n is None else n * self.stride + self.kernel_size - 1 for n in input_shape[1:3]]
        return (input_shape[0], *sides, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, for a saved model."""
        return {**super().get_config(), "stride": self.stride, "kernel_size": self.kernel_size}


def insert_zeros(images: tf.Tensor, stride: int, padding: tuple[int, int]) -> tf.Tensor:
    """Put `stride` − 1 zeros between the pixels of (N, H, W, C), and zeros (before, after) around."""
    height, width, channels = images.shape[1:]
    rows = tf.shape(images)[0]
    spread = tf.reshape(images, [rows, height, 1, width, 1, channels])
    spread = tf.pad(spread, [[0, 0], [0, 0], [0, stride - 1], [0, 0], [0, stride - 1], [0, 0]])
    spread = tf.reshape(spread, [rows, height * stride, width * stride, channels])
    spread = spread[:, : (height - 1) * stride + 1, : (width - 1) * stride + 1]
    return tf.pad(spread, [[0, 0], list(padding), list(padding), [0, 0]])


def width_before(activation: Activation, channels: int) -> int:
    """How many channels a linear layer needs so that the activation outputs `channels`."""
    return channels * _MAXOUT_PIECES if activation == "maxout" else channels


def activate(x: keras.KerasTensor, activation: Activation, name: str) -> keras.KerasTensor:
    """Apply an activation. Below 0, ELU is eˣ − 1 (Clevert et al. 2016), and the slope of leaky ReLU is 0.2."""
    layer = {
        "relu": keras.layers.ReLU,
        "leaky_relu": lambda **options: keras.layers.LeakyReLU(_LEAK, **options),
        "elu": keras.layers.ELU,
        "maxout": Maxout,
        "tanh": lambda **options: keras.layers.Activation("tanh", **options),
    }[activation]
    return layer(name=name)(x)


def norm_after(norm: GeneratorNorm | DiscriminatorNorm, *, excluded: bool = False) -> type[keras.layers.Layer] | None:
    """The normalising layer after a linear layer, if any. Its offset takes the place of the linear layer's bias.

    `excluded`: whether the linear layer is the generator's last or the discriminator's first. Radford et al. 2016
    (section 3) leave batch norm out there.
    """
    if norm == "batch_all":
        return BatchNorm
    return None if excluded else {"batch": BatchNorm, "layer": LayerNorm}.get(norm)


def normalise_and_activate(
    x: keras.KerasTensor,
    norm: type[keras.layers.Layer] | None,
    activation: Activation,
    name: int | str,
    condition: Condition | None = None,
) -> keras.KerasTensor:
    """Apply the norm if there is one, then the scale and offset of a conditional norm, then the activation.

    `condition`: the classes or attributes, for a conditional norm.
    """
    if norm:
        x = norm(name=f"norm_{name}")(x)
        if condition:
            x = scale_by_class(x, condition, f"norm_{name}")
    return activate(x, activation, f"{activation}_{name}")


def scale_by_class(x: keras.KerasTensor, condition: Condition, name: str) -> keras.KerasTensor:
    """γ_y · x + β_y of (N, H, W, C) or (N, 1, 1, C), with a scale and an offset for each class and channel.

    After a batch norm this is conditional batch norm (Dumoulin et al. 2017, arXiv:1610.07629, equation 5). The norm
    keeps its own scale and offset, which the classes share. The weights of classes have a sum of 1, so a blend of
    classes has the blend of their scales and offsets. These are 1 and 0 at first. They are plain Keras layers.

    Each attribute changes the scale and the offset by its own amounts, which are 0 at first. A bias of 1 is the scale
    without attributes, which would else be 0.
    """
    channels = x.shape[-1]
    for kind, initial, join in (("scale", "ones", keras.layers.Multiply), ("offset", "zeros", keras.layers.Add)):
        options = {"use_bias": False, "kernel_initializer": initial}
        if condition.of_attributes:
            options = {"use_bias": True, "kernel_initializer": "zeros", "bias_initializer": initial}
        values = keras.layers.Dense(channels, name=f"{name}_{kind}", **options)(condition.values)
        values = keras.layers.Reshape((1, 1, channels), name=f"{name}_{kind}_as_pixel")(values)
        x = join(name=f"{name}_by_class_{kind}")([x, values])
    return x
