"""Rebuild a network from Keras' own layers, so that its file loads wherever Keras is installed.

Training needs layers that Keras lacks (layers.py). In inference, each of them equals one layer of Keras or a few. Each
replacement does the same arithmetic in the same order, so on one machine, for one batch size, the outputs are equal to
the bit. There is one exception: layer norm in a fully connected layer. TensorFlow's graph optimizer adds its three
addends in another order there, so outputs differ by up to 10⁻⁵ times their size.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from stages.networks.layers import (
    NORM_EPSILON,
    BatchNorm,
    LayerNorm,
    Maxout,
    MinibatchStd,
    SpectralConv2D,
    SpectralDense,
    ZeroInsertion2D,
)

# Marks the name of a layer whose kernel has been divided by its spectral norm.
_NORMALISED = "_normalised"


def plain(model: keras.Model) -> keras.Model:
    """The same network in inference, built from Keras' own layers, with copies of the weights.

    In training it is another network: its batch norm is slower, and nothing normalises a kernel any more. A network
    that is plain already is rebuilt as it was. Raises ValueError for a layer that cannot be rebuilt.
    """

    def apply(layer: keras.layers.Layer, *inputs: Any, **options: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer(*inputs, **options)  # an operation, such as keras.ops.add
        first, *others = equivalent(layer)
        outputs = first(*inputs, **options)
        first.set_weights(_weights(layer))
        for other in others:
            outputs = other(outputs)
        return outputs

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=apply)


def equivalent(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """New layers of Keras that compute in inference, one after the other, what `layer` computes. Only the first has
    weights.
    """
    build = _EQUIVALENTS.get(type(layer))
    return build(layer) if build else [type(layer).from_config(layer.get_config())]


def _weights(layer: keras.layers.Layer) -> list[np.ndarray]:
    """The weights of the first of a layer's `equivalent` layers."""
    weights: list[np.ndarray] = layer.get_weights()
    if isinstance(layer, SpectralConv2D | SpectralDense):
        weights = [layer.normalised(training=False).numpy(), *weights[1:-1]]  # the last one is the power iteration's
    if isinstance(layer, MinibatchStd):
        channels = layer.input.shape[-1]
        weights = [np.eye(channels, channels + 1)[None, None], np.append(np.zeros(channels), weights[0])]
    return weights


def take_weights(network: keras.Model, other: keras.Model) -> None:
    """Give a network to train the weights of another one, which `equivalent` finds to be built alike.

    The other one may be plain. It then lacks the vectors from which spectral norms continue their power iteration. They
    are computed from the kernels. Raises ValueError for a kernel that was trained without the network's spectral norm:
    the norm would change what it computes.
    """
    layers, others = ([layer for layer in model.layers if layer.weights] for model in (network, other))
    for layer, source in zip(layers, others, strict=True):
        weights = source.get_weights()
        if isinstance(layer, SpectralConv2D | SpectralDense) and type(source) is not type(layer):
            if not source.name.endswith(_NORMALISED):
                raise ValueError(f"no spectral norm instead of one in the layer {layer.name}")
            weights.append(_leading_vector(weights[0]))
        if isinstance(layer, MinibatchStd) and type(source) is not type(layer):
            weights = [weights[1][-1]]  # of the bias
        layer.set_weights(weights)


def _leading_vector(kernel: np.ndarray) -> np.ndarray:
    """The right singular vector (1, C) of the largest singular value of a kernel as a matrix (…, C)."""
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    _, vectors = np.linalg.eigh(matrix.T @ matrix)  # in columns, by ascending eigenvalue
    return vectors[None, :, -1].astype(np.float32)


def _named(layer: keras.layers.Layer, part: str = "") -> dict[str, Any]:
    """The name and the precision for the equivalent of a layer, or for a part of it."""
    return {"name": f"{layer.name}_{part}" if part else layer.name, "dtype": layer.dtype_policy}


def _batch_norm(layer: BatchNorm) -> list[keras.layers.Layer]:
    return [keras.layers.BatchNormalization.from_config(layer.get_config())]


def _spectral(layer: SpectralConv2D | SpectralDense) -> list[keras.layers.Layer]:
    """The layer whose kernel is divided already."""
    kind = keras.layers.Conv2D if isinstance(layer, SpectralConv2D) else keras.layers.Dense
    return [kind.from_config({**layer.get_config(), "name": layer.name + _NORMALISED})]


def _layer_norm(layer: LayerNorm) -> list[keras.layers.Layer]:
    """One group of all channels: Keras then has a scale and an offset for each channel, as LayerNorm has."""
    return [keras.layers.GroupNormalization(groups=1, epsilon=NORM_EPSILON, **_named(layer))]


def _maxout(layer: Maxout) -> list[keras.layers.Layer]:
    """Pooling over the last axis of (N, H, W, C). In the order channels_first, Keras takes it for the width."""
    return [keras.layers.MaxPooling2D((1, layer.pieces), data_format="channels_first", **_named(layer))]


def _minibatch_std(layer: MinibatchStd) -> list[keras.layers.Layer]:
    """A convolution of single pixels that copies the channels. The bias of its last channel is the running mean."""
    return [keras.layers.Conv2D(layer.input.shape[-1] + 1, 1, **_named(layer))]


def _zero_insertion(layer: ZeroInsertion2D) -> list[keras.layers.Layer]:
    """Zeros after the channels of each pixel and after each row. Read as pixels again, they are between the pixels."""
    height, width, channels = layer.input.shape[1:]
    stride = layer.stride
    row = width * stride * channels
    return [
        _zeros_at_the_end(channels * (stride - 1), **_named(layer, "pixels")),
        keras.layers.Reshape((height, 1, row), **_named(layer, "rows")),
        _zeros_at_the_end(row * (stride - 1), **_named(layer, "between_rows")),
        keras.layers.Reshape((height * stride, width * stride, channels), **_named(layer, "image")),
        # Less padding would do instead of the crop, but TensorFlow merges the padding into the convolution, whose
        # rounding depends on the sizes.
        keras.layers.Cropping2D([(0, stride - 1)] * 2, **_named(layer, "cropped")),
        keras.layers.ZeroPadding2D([layer.padding] * 2, **_named(layer)),
    ]


def _zeros_at_the_end(count: int, **options: Any) -> keras.layers.Layer:
    """(N, H, W, C) => (N, H, W, C + count). In the order channels_first, Keras takes the last axis for the width."""
    return keras.layers.ZeroPadding2D(((0, 0), (0, count)), data_format="channels_first", **options)


_EQUIVALENTS: dict[type[keras.layers.Layer], Callable[[Any], list[keras.layers.Layer]]] = {
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    Maxout: _maxout,
    MinibatchStd: _minibatch_std,
    SpectralConv2D: _spectral,
    SpectralDense: _spectral,
    ZeroInsertion2D: _zero_insertion,
}
"""How to build the equivalent of each layer that Keras lacks."""
