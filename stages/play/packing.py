"""Turn a network into plain data that the page's engine computes: a list of layers, and float16 weights.

The page needs no class of Keras or of this project: every layer that the params allow becomes one of the kinds in
stages/play/engine/network.js. A spectrally normalised kernel is stored after the division by its norm.
"""

import base64
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages import artifacts
from stages.errors import StageError
from stages.networks.layers import NORM_EPSILON, LayerNorm, Maxout, SpectralConv2D, SpectralDense, ZeroInsertion2D

Layer = dict[str, Any]
"""A layer as JSON: its name, its kind, the settings of the kind, and its tensors."""


class Weights:
    """The tensors of the networks, one after another, as float16 or float32.

    A tensor of layers' kernels is float16: half of the page's size, with a relative error of at most 2⁻¹¹. Each is
    divided by a power of two, which loses nothing, so that its largest value is in [1, 2), far from float16's limits.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, tensor: np.ndarray, *, half: bool) -> dict[str, Any]:
        """Append a tensor and return where it is: byte offset, shape, type, and the factor to multiply it with.

        Raises ValueError for a value that is not finite.
        """
        values = np.asarray(tensor, np.float32)
        if not np.isfinite(values).all():
            raise ValueError("a weight is not finite")
        largest = float(np.abs(values).max(initial=0))
        factor = 2.0 ** math.floor(math.log2(largest)) if half and largest else 1.0
        part = (values / factor).astype("<f2" if half else "<f4").tobytes()
        part += bytes(-len(part) % 4)
        place = {"offset": self._length, "shape": list(values.shape), "half": half, "factor": factor}
        self._parts.append(part)
        self._length += len(part)
        return place

    def base64(self) -> str:
        """All tensors as base64."""
        return base64.b64encode(b"".join(self._parts)).decode()


def _kernel(layer: keras.layers.Layer) -> np.ndarray:
    """The kernel that the layer multiplies with in inference."""
    if isinstance(layer, SpectralConv2D | SpectralDense):
        return np.asarray(layer.normalised(training=False))
    return np.asarray(layer.kernel)


def _linear(kind: str, layer: keras.layers.Layer, weights: Weights, **options: Any) -> Layer:
    tensors = {"kernel": weights.add(_kernel(layer), half=True)}
    if layer.use_bias:
        tensors["bias"] = weights.add(layer.bias, half=False)
    return {"kind": kind, **options, "tensors": tensors}


def _convolution(kind: str, layer: keras.layers.Layer, weights: Weights) -> Layer:
    return _linear(kind, layer, weights, stride=layer.strides[0], padding=layer.padding)


def _norm(kind: str, layer: keras.layers.Layer, weights: Weights, epsilon: float, **tensors: Any) -> Layer:
    tensors = {"scale": layer.gamma, "offset": layer.beta, **tensors}
    return {
        "kind": kind,
        "epsilon": epsilon,
        "tensors": {name: weights.add(tensor, half=False) for name, tensor in tensors.items()},
    }


def _batch_norm(layer: keras.layers.BatchNormalization, weights: Weights) -> Layer:
    statistics = {"mean": layer.moving_mean, "variance": layer.moving_variance}
    return _norm("batch_norm", layer, weights, layer.epsilon, **statistics)


def _activation(layer: keras.layers.Activation, weights: Weights) -> Layer:
    if layer.activation is not keras.activations.tanh:
        raise ValueError(f"the activation {layer.activation.__name__}")
    return {"kind": "tanh"}


def _zero_insertion(layer: ZeroInsertion2D, _: Weights) -> Layer:
    # The strided `same` convolution pads k − stride pixels, the smaller half first (stages/networks/layers.py).
    cut = (layer.kernel_size - layer.stride) // 2
    return _zeros(layer.stride, layer.kernel_size - 1 - cut, layer.stride - 1 + cut)


def _zeros(stride: int, before: int, after: int) -> Layer:
    return {"kind": "zeros", "stride": stride, "before": before, "after": after}


def _group_norm(layer: keras.layers.GroupNormalization, weights: Weights) -> Layer:
    if layer.groups != 1:
        raise ValueError(f"a norm of {layer.groups} groups")
    return _norm("layer_norm", layer, weights, layer.epsilon)


def _pooling(layer: keras.layers.MaxPooling2D, _: Weights) -> Layer:
    """A pooling that takes the channels of NHWC for the width."""
    if layer.data_format != "channels_first" or layer.pool_size[0] != 1:
        raise ValueError("a pooling of pixels")
    return {"kind": "maxout", "pieces": layer.pool_size[1]}


# The first row whose class a layer is an instance of packs it.
_PACKERS: tuple[tuple[type[keras.layers.Layer], Callable[[Any, Weights], Layer]], ...] = (
    (keras.layers.Reshape, lambda layer, _: {"kind": "reshape", "shape": list(layer.target_shape)}),
    (keras.layers.Conv2DTranspose, lambda layer, weights: _convolution("transposed", layer, weights)),
    (keras.layers.Conv2D, lambda layer, weights: _convolution("convolution", layer, weights)),
    (keras.layers.Dense, lambda layer, weights: _linear("dense", layer, weights)),
    (ZeroInsertion2D, _zero_insertion),
    (keras.layers.UpSampling2D, lambda layer, _: {"kind": "nearest", "factor": layer.size[0]}),
    (keras.layers.BatchNormalization, _batch_norm),
    (keras.layers.GroupNormalization, _group_norm),
    (LayerNorm, lambda layer, weights: _norm("layer_norm", layer, weights, NORM_EPSILON)),
    (Maxout, lambda layer, _: {"kind": "maxout", "pieces": layer.pieces}),
    (keras.layers.MaxPooling2D, _pooling),
    (keras.layers.LeakyReLU, lambda layer, _: {"kind": "leaky_relu", "slope": layer.negative_slope}),
    (keras.layers.ReLU, lambda layer, _: {"kind": "relu"}),
    (keras.layers.ELU, lambda layer, _: {"kind": "elu"}),
    (keras.layers.Activation, _activation),
    (keras.layers.GlobalAveragePooling2D, lambda layer, _: {"kind": "mean"}),
    (keras.layers.Concatenate, lambda layer, _: {"kind": "concatenate"}),
    (keras.layers.Multiply, lambda layer, _: {"kind": "multiply"}),
    (keras.layers.Add, lambda layer, _: {"kind": "add"}),
    (keras.layers.Dot, lambda layer, _: {"kind": "dot"}),
)


def _pack(layer: keras.layers.Layer, weights: Weights) -> Layer:
    pack = next((packer for kind, packer in _PACKERS if isinstance(layer, kind)), None)
    if pack is None:
        raise ValueError(f"the layer {layer.name} ({type(layer).__name__})")
    return {"tensors": {}, **pack(layer, weights)}


def _inputs(layer: keras.layers.Layer) -> list[Any]:
    return list(layer.input) if isinstance(layer.input, list | tuple) else [layer.input]


def _plain_zeros(first: keras.layers.Layer, users: dict[int, keras.layers.Layer]) -> list[keras.layers.Layer]:
    """The layers of Keras that insert zeros, of which `first` is the first: they end with a crop and a padding."""
    chain = [first]
    while not isinstance(chain[-2:][0], keras.layers.Cropping2D):
        user = users.get(id(chain[-1].output))
        if not isinstance(user, keras.layers.ZeroPadding2D | keras.layers.Reshape | keras.layers.Cropping2D):
            raise ValueError(f"the layer {first.name} ({type(first).__name__})")
        chain.append(user)
    return chain


def _packed(model: keras.Model, weights: Weights) -> Iterator[Layer]:
    """Each layer, after those whose outputs it gets. Raises ValueError for a layer that the engine cannot compute.

    `from` are the indices of the layers before it. What several layers of Keras compute to insert zeros is one layer.
    """
    users = {id(tensor): layer for layer in model.layers for tensor in _inputs(layer)}
    indices: dict[int, int] = {}
    inner: set[str] = set()
    for layer in model.layers:
        if layer.name in inner:
            continue
        last, packed = layer, Layer()
        if isinstance(layer, keras.layers.InputLayer):
            number = next(i for i, tensor in enumerate(model.inputs) if tensor is layer.output)
            packed = {"kind": "input", "input": number, "tensors": {}}
        elif isinstance(layer, keras.layers.ZeroPadding2D):
            chain = _plain_zeros(layer, users)
            inner |= {other.name for other in chain}
            *_, crop, last = chain
            (before, after), _ = last.padding
            packed = {**_zeros(crop.cropping[0][1] + 1, before, after), "tensors": {}}
        else:
            packed = _pack(layer, weights)
        is_input = packed["kind"] == "input"
        yield {"name": last.name, "from": [] if is_input else [indices[id(t)] for t in _inputs(layer)], **packed}
        indices[id(last.output)] = len(indices)


def network(model: keras.Model, shape: tuple[int, ...], weights: Weights, path: Path) -> dict[str, Any]:
    """A network as JSON: the shapes of its inputs (without N), its layers, and the index of the one that is its output.

    `shape`: that of the first input, which the model may leave open. The tensors are appended to `weights`. Raises
    StageError, naming the file `path`, for a network with weights that are not finite, or with a layer that the engine
    cannot compute.
    """
    try:
        layers = list(_packed(model, weights))
    except ValueError as error:
        if "finite" in str(error):
            raise artifacts.damaged(path, error) from None
        raise StageError(f"{path}: the page cannot compute {error}; add it to stages/play/packing.py") from None
    inputs = [list(shape), *(list(tensor.shape[1:]) for tensor in model.inputs[1:])]
    return {"inputs": inputs, "layers": layers, "output": len(layers) - 1}
