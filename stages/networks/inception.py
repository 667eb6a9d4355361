"""Inception: the graph of 2015 in whose features published Fréchet distances are measured, as data and never as code.

Heusel et al. 2017 (arXiv:1706.08500) take the 2048 means of its last feature maps (`pool_3`). Their values hold for
this file only: later ports of the network resize, pool or round otherwise, and give other distances.
"""

import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from stages import artifacts
from stages.pixels import to_uint8

FILE = "inception.pb"
FACTS = "inception.json"
REFERENCE = "reference.npz"
FEATURES = 2048
_BATCH = 50

# From the pixels, as float32 (N, H, W, 3) in [0,255], to the features (N, 1, 1, 2048); in between the graph resizes to
# 299 × 299. What comes before the pixels (it decodes one JPEG) and after the features (classes) is left out.
_PIXELS, _POOL = "ExpandDims", "pool_3"
# The operations of the published graph between those two (TensorFlow's documentation of summarize_graph counts them):
# arithmetic, each of them. Anything else is refused; so no graph can read or write a file, open a connection or call
# Python here, whatever it says and wherever it came from.
_OPERATIONS = frozenset(
    {
        "AvgPool",
        "BatchNormWithGlobalNormalization",
        "CheckNumerics",
        "Concat",
        "Const",
        "Conv2D",
        "Identity",
        "MaxPool",
        "Mul",
        "Relu",
        "ResizeBilinear",
        "Sub",
    }
)


def _parsed(content: bytes) -> tf.compat.v1.GraphDef:
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(content)
    except DecodeError as error:
        raise ValueError(f"no GraphDef: {error}") from None
    if graph.library.function or graph.library.gradient:
        raise ValueError("it brings functions of its own, which are not let in")
    return graph


def _cut(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """The part of a graph that computes the features from the pixels. Raises ValueError for what is not let in.

    The graph's versions are kept: its batch norm was removed from newer ones. The shapes noted in it are not, since
    they say that there is one image.
    """
    nodes = {node.name: node for node in graph.node}
    kept = tf.compat.v1.GraphDef(versions=graph.versions)
    waiting, seen = [_POOL], {_PIXELS}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in nodes:
            raise ValueError(f"it has no node {name!r}")
        if nodes[name].op not in _OPERATIONS:
            raise ValueError(f"its node {name!r} is a {nodes[name].op!r}, which is not let in")
        node = kept.node.add()
        node.CopyFrom(nodes[name])
        node.attr.pop("_output_shapes", None)
        waiting += [source.removeprefix("^").partition(":")[0] for source in node.input]  # ^: only to be run before
    return kept


class Inception:
    """The network at work."""

    def __init__(self, content: bytes) -> None:
        """Take the bytes of classify_image_graph_def.pb. Raises ValueError with the reason where they are not fit."""
        part = _cut(_parsed(content))
        # A session, and no tf.function: that would run as the newest GraphDef version, which has not this batch norm.
        graph = tf.Graph()
        try:
            with graph.as_default():
                pixels = tf.compat.v1.placeholder(tf.float32, [None, None, None, 3])
                (pooled,) = tf.graph_util.import_graph_def(
                    part, input_map={f"{_PIXELS}:0": pixels}, return_elements=[f"{_POOL}:0"], name=""
                )
            self._run = tf.compat.v1.Session(graph=graph).make_callable(pooled, [pixels])
            features = self._run(np.zeros((2, 8, 8, 3), np.float32))
        except (ValueError, tf.errors.OpError) as error:
            raise ValueError(f"it cannot be run: {' '.join(str(error).split())}") from None
        if features.shape != (2, 1, 1, FEATURES):
            raise ValueError(f"it gives {features.shape} for two images, expected (2, 1, 1, {FEATURES})")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images float32 NHWC in [-1,1] => their features float32 (N, 2048), in batches of 50.

        As published distances have it: pixels rounded to whole numbers of [0,255], gray as three equal channels.
        """
        batches = []
        for i in range(0, len(images), _BATCH):
            pixels = to_uint8(images[i : i + _BATCH])
            colour = np.broadcast_to(pixels, (*pixels.shape[:3], 3)).astype(np.float32)
            batches.append(self._run(colour).reshape(-1, FEATURES))
        return np.concatenate(batches)


def load(folder: Path) -> Inception | None:
    """The network in models/inception; None where the params did not ask for it.

    Raises StageError naming the file that is missing or is not what the features stage wrote.
    """
    facts = artifacts.read_json(folder / FACTS, "network")
    if facts["network"] == "none":
        return None
    path = folder / FILE
    if not path.is_file():
        raise artifacts.missing(path)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != facts.get("sha256"):
        raise artifacts.damaged(path, f"its SHA-256 is not the one in {FACTS}")
    try:
        return Inception(content)
    except ValueError as error:
        raise artifacts.damaged(path, error) from None
