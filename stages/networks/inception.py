"""Inception: the graph of 2015 whose features published Fréchet distances use. It is read as data, never as code.

Heusel et al. 2017 (arXiv:1706.08500) take the 2048 means of its last feature maps (`pool_3`). Their values hold for
this file only: later ports of the network resize, pool or round differently, so their distances differ.
"""

import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from stages import artifacts
from stages.pixels import over, to_uint8

FILE = "inception.pb"
FACTS = "inception.json"
REFERENCE = "reference.npz"
FEATURES = 2048
_BATCH = 50

# The nodes for the pixels, float32 (N, H, W, 3) in [0,255], and the features (N, 1, 1, 2048). Between them the graph
# resizes to 299 × 299. The nodes before (they decode one JPEG) and after (they classify) are not used.
_PIXELS, _POOL = "ExpandDims", "pool_3"
# The operations of the published graph between those two (TensorFlow's documentation of summarize_graph counts them).
# All of them are arithmetic. Any other operation is rejected, so a graph from any source cannot read or write a file,
# open a connection or call Python.
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
        raise ValueError(f"not a GraphDef: {error}") from None
    if graph.library.function or graph.library.gradient:
        raise ValueError("it defines functions, which are not allowed")
    return graph


def _cut(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """Extract the part of a graph that computes the features from the pixels.

    It keeps the graph's version, because newer versions lack this batch norm. It drops the shapes stored in the
    graph, because they are those of a single image. Raises ValueError for a missing node or a forbidden operation.
    """
    nodes = {node.name: node for node in graph.node}
    kept = tf.compat.v1.GraphDef(versions=graph.versions)
    waiting, visited = [_POOL], {_PIXELS}
    while waiting:
        name = waiting.pop()
        if name in visited:
            continue
        visited.add(name)
        if name not in nodes:
            raise ValueError(f"it has no node {name!r}")
        if nodes[name].op not in _OPERATIONS:
            raise ValueError(f"its node {name!r} has the operation {nodes[name].op!r}, which is not allowed")
        node = kept.node.add()
        node.CopyFrom(nodes[name])
        node.attr.pop("_output_shapes", None)
        # The prefix ^ marks an input that only has to run before this node.
        waiting += [source.removeprefix("^").partition(":")[0] for source in node.input]
    return kept


class Inception:
    """Inception in inference mode."""

    def __init__(self, content: bytes) -> None:
        """Load the bytes of classify_image_graph_def.pb. Raises ValueError, with the reason, for another graph."""
        part = _cut(_parsed(content))
        # A session, because tf.function would use the newest GraphDef version, which lacks this batch norm.
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
            raise ValueError(f"it does not run: {' '.join(str(error).split())}") from None
        if features.shape != (2, 1, 1, FEATURES):
            raise ValueError(f"it returns {features.shape} for two images, expected (2, 1, 1, {FEATURES})")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images float32 NHWC in [-1,1] => their features float32 (N, 2048), in batches of 50.

        As for published distances, pixels are rounded to integers in [0,255], and gray becomes three equal channels.
        The graph stretches images to a square. Images with alpha are placed on white, like icons on a page.
        """
        batches = []
        for i in range(0, len(images), _BATCH):
            pixels = over(to_uint8(images[i : i + _BATCH]), 255)
            colour = np.broadcast_to(pixels, (*pixels.shape[:3], 3)).astype(np.float32)
            batches.append(self._run(colour).reshape(-1, FEATURES))
        return np.concatenate(batches)


def load(folder: Path) -> Inception | None:
    """Load the network from models/inception; None if the params do not choose it.

    Raises StageError, naming the file, if one is missing or is not the features stage's output.
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
