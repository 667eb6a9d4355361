"""Layers that Keras lacks, registered so that saved models load wherever this package is installed."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from stages.networks.choices import Activation, Precision

# Radford, Metz, Chintala 2016 (arXiv:1511.06434), section 4: weights from a normal distribution of this deviation.
_WEIGHT_STD = 0.02
# The DCGAN code's running average and ε. Keras' own 0.99 is so slow that samples in inference mode are spoilt.
BATCH_NORM_MOMENTUM = 0.9
_BATCH_NORM_EPSILON = 1e-5
# Radford, Metz, Chintala 2016, section 4: "the slope of the leak was set to 0.2 in all models".
_LEAK = 0.2
_MAXOUT_PIECES = 2


@contextlib.contextmanager
def precision(policy: Precision) -> Iterator[None]:
    """Within it, layers are made to compute so. Weights are float32 in both; bfloat16 halves what convolutions read."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Initializers:
    """Gives each initializer of a network a seed of its own: the same network twice has the same weights."""

    def __init__(self, seed: int) -> None:
        self._next = seed * 1000

    def normal(self) -> keras.initializers.Initializer:
        """The DCGAN's N(0, 0.02)."""
        self._next += 1
        return keras.initializers.RandomNormal(0.0, _WEIGHT_STD, seed=self._next)

    def he(self) -> keras.initializers.Initializer:
        """He et al. 2015's normal, for ReLU networks trained by themselves."""
        self._next += 1
        return keras.initializers.HeNormal(seed=self._next)


@keras.saving.register_keras_serializable(package="dcgan")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation over N, H and W of NHWC (Ioffe, Szegedy 2015, algorithm 1), by TensorFlow's fused kernel.

    The same as Keras' layer, but that the running variance is the unbiased one (n − 1), as the kernel gives it. Fused
    because Keras' own passes over the tensor once per operation; the step is a tenth faster. On several devices the
    statistics are those of the whole batch, each device holding an equal part of it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"momentum": BATCH_NORM_MOMENTUM, "epsilon": _BATCH_NORM_EPSILON, **options})

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Normalise NHWC by the batch's statistics (training, and remember them) or by the remembered ones."""
        if not training:
            return super().call(inputs, training=False, mask=mask)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            outputs, mean, variance = self._across_replicas(inputs)
        else:
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
            )
        for average, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + now * (1 - self.momentum))
        return outputs

    def _across_replicas(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What the fused kernel gives for the batch that all replicas hold together: output, mean, variance (n − 1)."""
        context = tf.distribute.get_replica_context()
        x = tf.cast(inputs, tf.float32)
        moments = tf.stack([tf.reduce_mean(x, (0, 1, 2)), tf.reduce_mean(tf.square(x), (0, 1, 2))])
        mean, square = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.MEAN, moments))
        variance = tf.maximum(square - tf.square(mean), 0.0)
        outputs = tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self.epsilon)
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]) * context.num_replicas_in_sync, tf.float32)
        return tf.cast(outputs, inputs.dtype), mean, variance * count / tf.maximum(count - 1, 1)


@keras.saving.register_keras_serializable(package="dcgan")
class Maxout(keras.layers.Layer):
    """The greatest of each `pieces` neighbouring channels: (…, C · pieces) => (…, C).

    Goodfellow et al. 2013 (arXiv:1302.4389): with the linear map before it a learned convex activation, at `pieces`
    times that map's parameters.
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
        """The shape that `call` gives."""
        channels = input_shape[-1]
        return (*input_shape[:-1], None if channels is None else channels // self.pieces)

    def get_config(self) -> dict[str, Any]:
        """What a saved model needs to make this layer again."""
        return {**super().get_config(), "pieces": self.pieces}


class _Spectral(keras.layers.Layer):
    """A layer whose kernel (…, C) is divided by its largest singular value, as a matrix of C columns, when it is used.

    Miyato et al. 2018 (arXiv:1802.05957), algorithm 1: one power iteration each time it is used in training, the
    gradient goes through the division. Keras' own wrapper overwrites the kernel with its quotient instead.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the kernel, and the vector that the power iteration goes on from."""
        super().build(input_shape)
        self.u = self.add_weight(
            name="u",
            shape=(1, self.kernel.shape[-1]),
            # Of the kernel's seed: the same network twice has the same vector.
            initializer=keras.initializers.RandomNormal(seed=getattr(self.kernel_initializer, "seed", None)),
            trainable=False,
            aggregation="only_first_replica",
            autocast=False,
        )

    def save_own_variables(self, store: Any) -> None:
        """Keras' own saves kernel and bias only."""
        super().save_own_variables(store)
        store["u"] = self.u

    def load_own_variables(self, store: Any) -> None:
        """What `save_own_variables` stored."""
        super().load_own_variables(store)
        self.u.assign(store["u"])

    def normalised(self, training: bool | None) -> tf.Tensor:
        """The kernel over its spectral norm, float32."""
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
        outputs = tf.linalg.matmul(inputs, tf.cast(self.normalised(training), inputs.dtype))
        return outputs + tf.cast(self.bias, outputs.dtype) if self.use_bias else outputs


@keras.saving.register_keras_serializable(package="dcgan")
class ZeroInsertion2D(keras.layers.Layer):
    """Put `stride` − 1 zeros between the pixels of NHWC and pad, so that a valid convolution up-samples.

    With the padding of this layer, a valid convolution with stride 1 of a kernel k × k makes `stride` times the height
    and width, and is the transposed convolution (`same`) with the kernel flipped: the fractionally-strided convolution
    of the literature.
    """

    def __init__(self, stride: int, kernel_size: int, **options: Any) -> None:
        super().__init__(**options)
        self.stride, self.kernel_size = stride, kernel_size

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) => (N, stride·H + k − 1, stride·W + k − 1, C)."""
        return insert_zeros(inputs, self.stride, self._padding())

    def _padding(self) -> tuple[int, int]:
        # The strided `same` convolution that this undoes pads k − stride in all, the smaller half first; what it pads,
        # the full convolution of its transpose must not.
        before = (self.kernel_size - self.stride) // 2
        return self.kernel_size - 1 - before, self.stride - 1 + before

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape that `call` gives."""
        sides = [None if n is None else n * self.stride + self.kernel_size - 1 for n in input_shape[1:3]]
        return (input_shape[0], *sides, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """What a saved model needs to make this layer again."""
        return {**super().get_config(), "stride": self.stride, "kernel_size": self.kernel_size}


def insert_zeros(images: tf.Tensor, stride: int, padding: tuple[int, int]) -> tf.Tensor:
    """(N, H, W, C) with `stride` − 1 zeros between neighbours, and padding (before, after) around."""
    height, width, channels = images.shape[1:]
    rows = tf.shape(images)[0]
    spread = tf.reshape(images, [rows, height, 1, width, 1, channels])
    spread = tf.pad(spread, [[0, 0], [0, 0], [0, stride - 1], [0, 0], [0, stride - 1], [0, 0]])
    spread = tf.reshape(spread, [rows, height * stride, width * stride, channels])
    spread = spread[:, : (height - 1) * stride + 1, : (width - 1) * stride + 1]
    return tf.pad(spread, [[0, 0], list(padding), list(padding), [0, 0]])


def width_before(activation: Activation, channels: int) -> int:
    """How many channels a linear map must give so that `channels` are left after the activation."""
    return channels * _MAXOUT_PIECES if activation == "maxout" else channels


def activate(x: keras.KerasTensor, activation: Activation, name: str) -> keras.KerasTensor:
    """The activation of that name. ELU is α(eˣ − 1) below 0 with α = 1 (Clevert et al. 2016), the leak of ReLU 0.2."""
    layer = {
        "relu": keras.layers.ReLU,
        "leaky_relu": lambda **options: keras.layers.LeakyReLU(_LEAK, **options),
        "elu": keras.layers.ELU,
        "maxout": Maxout,
        "tanh": lambda **options: keras.layers.Activation("tanh", **options),
    }[activation]
    return layer(name=name)(x)


def doublings(size: int) -> int:
    """How often 4 has to be doubled to reach `size`. Raises ValueError unless it is a power of two from 16 up."""
    if size < 16 or size & (size - 1):
        raise ValueError(f"an image's size must be a power of two from 16 up, got {size}")
    return int(math.log2(size // 4))
