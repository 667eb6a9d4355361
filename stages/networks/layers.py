"""Layers that Keras lacks, registered so that saved models load wherever this package is installed."""

import math
from typing import Any

import keras
import tensorflow as tf

# Radford, Metz, Chintala 2016 (arXiv:1511.06434), section 4: weights from a normal distribution of this deviation.
_WEIGHT_STD = 0.02
# The DCGAN code's running average and ε. Keras' own 0.99 is so slow that samples in inference mode are spoilt.
BATCH_NORM_MOMENTUM = 0.9
_BATCH_NORM_EPSILON = 1e-5


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
    because Keras' own passes over the tensor once per operation; the step is a tenth faster.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"momentum": BATCH_NORM_MOMENTUM, "epsilon": _BATCH_NORM_EPSILON, **options})

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Normalise NHWC by the batch's statistics (training, and remember them) or by the remembered ones."""
        if not training:
            return super().call(inputs, training=False, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for average, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + now * (1 - self.momentum))
        return outputs


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


def doublings(size: int) -> int:
    """How often 4 has to be doubled to reach `size`. Raises ValueError unless it is a power of two from 16 up."""
    if size < 16 or size & (size - 1):
        raise ValueError(f"an image's size must be a power of two from 16 up, got {size}")
    return int(math.log2(size // 4))
