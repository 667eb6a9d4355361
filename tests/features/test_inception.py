"""Inception, with a stand-in that has the published graph's names and operations, from its download to the report."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import tensorflow as tf

from stages import manifest, params, records, reference, transfer
from stages.errors import ParamsError, StageError
from stages.features import inception_graph
from stages.features.settings import Settings
from stages.latent import Sampler
from stages.metrics import kid
from stages.metrics.frechet import frechet_distance, gaussian
from stages.networks import inception
from stages.networks.inception import FACTS, FEATURES, FILE, REFERENCE, Inception
from stages.pixels import to_uint8
from tests.conftest import Project, metrics_of
from tests.servers import Server

GraphDef: TypeAlias = tf.compat.v1.GraphDef
ARCHIVE = "inception-2015-12-05.tgz"
_STRIDE, _KERNEL, _SIDE = 37, 4, 8  # 299 → 8 × 8, as the published graph's last feature maps are


def add(graph: GraphDef, name: str, op: str, *inputs: str, **attributes: object) -> None:
    """Add a node. Its attributes are numbers, text, types or lists of integers."""
    node = graph.node.add(name=name, op=op, input=inputs)
    for key, value in attributes.items():
        attribute = node.attr[key]
        if isinstance(value, tf.DType):
            attribute.type = value.as_datatype_enum
        elif isinstance(value, bool):
            attribute.b = value
        elif isinstance(value, int):
            attribute.i = value
        elif isinstance(value, float):
            attribute.f = value
        elif isinstance(value, str):
            attribute.s = value.encode()
        elif isinstance(value, list):
            attribute.list.i.extend(value)


def const(graph: GraphDef, name: str, value: object) -> None:
    """Add a constant: an array, or bytes."""
    array = tf.constant(value)
    add(graph, name, "Const", dtype=array.dtype)
    graph.node[-1].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))


def weights() -> dict[str, np.ndarray]:
    """The weights of the stand-in's only convolution: 3 → 1024 channels."""
    draw = np.random.default_rng(0)
    shape = (_KERNEL, _KERNEL, 3, FEATURES // 2)
    values = {"conv2d_params": draw.normal(0, 0.2, shape)}
    for name, low, high in (("moving_mean", -1, 1), ("moving_variance", 0.5, 2), ("beta", -1, 1), ("gamma", 0.5, 2)):
        values[name] = draw.uniform(low, high, FEATURES // 2)
    return {name: value.astype(np.float32) for name, value in values.items()}


def stand_in() -> GraphDef:
    """A graph with the published one's operations, names, version, shapes (of one image) and 2048 features.

    It resizes and normalises, applies one convolution with batch norm, joins the maps with their max-pooled copies, and
    takes the means.
    """
    graph = GraphDef()
    graph.versions.producer = 8
    f = {"T": tf.float32}
    const(graph, "DecodeJpeg/contents", b"")
    add(graph, "DecodeJpeg", "DecodeJpeg", "DecodeJpeg/contents", channels=3)
    add(graph, "Cast", "Cast", "DecodeJpeg", SrcT=tf.uint8, DstT=tf.float32)
    const(graph, "ExpandDims/dim", 0)
    add(graph, "ExpandDims", "ExpandDims", "Cast", "ExpandDims/dim", Tdim=tf.int32, **f)
    const(graph, "ResizeBilinear/size", [299, 299])
    add(graph, "ResizeBilinear", "ResizeBilinear", "ExpandDims", "ResizeBilinear/size", align_corners=False, **f)
    const(graph, "Sub/y", 128.0)
    add(graph, "Sub", "Sub", "ResizeBilinear", "Sub/y", **f)
    const(graph, "Mul/y", 1 / 128)
    add(graph, "Mul", "Mul", "Sub", "Mul/y", **f)
    names = {name: f"conv/{name}" if name == "conv2d_params" else f"conv/batchnorm/{name}" for name in weights()}
    for name, value in weights().items():
        const(graph, names.pop(name), value)
    conv = {"strides": [1, _STRIDE, _STRIDE, 1], "padding": "VALID"}
    add(graph, "conv/Conv2D", "Conv2D", "Mul", "conv/conv2d_params", **conv, **f)
    parts = [f"conv/batchnorm/{name}" for name in ("moving_mean", "moving_variance", "beta", "gamma")]
    norm = {"variance_epsilon": 0.001, "scale_after_normalization": True}
    add(graph, "conv/batchnorm", "BatchNormWithGlobalNormalization", "conv/Conv2D", *parts, **norm, **f)
    add(graph, "conv/CheckNumerics", "CheckNumerics", "conv/batchnorm", message="conv", **f)
    add(graph, "conv/control_dependency", "Identity", "conv/batchnorm", "^conv/CheckNumerics", **f)
    add(graph, "conv", "Relu", "conv/control_dependency", **f)
    one_image = graph.node[-1].attr["_output_shapes"].list.shape.add()
    for side in (1, _SIDE, _SIDE, FEATURES // 2):
        one_image.dim.add(size=side)
    window = {"ksize": [1, 3, 3, 1], "strides": [1, 1, 1, 1], "padding": "SAME"}
    add(graph, "pool", "MaxPool", "conv", **window, **f)
    const(graph, "mixed_10/join/concat_dim", 3)
    add(graph, "mixed_10/join", "Concat", "mixed_10/join/concat_dim", "conv", "pool", N=2, **f)
    window = {"ksize": [1, _SIDE, _SIDE, 1], "strides": [1, 1, 1, 1], "padding": "VALID"}
    add(graph, "pool_3", "AvgPool", "mixed_10/join", **window, **f)
    const(graph, "pool_3/_reshape/shape", [1, FEATURES])
    add(graph, "pool_3/_reshape", "Reshape", "pool_3", "pool_3/_reshape/shape", Tshape=tf.int32, **f)
    add(graph, "softmax", "Softmax", "pool_3/_reshape", **f)
    return graph


def resized(pixels: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) => (N, 299, 299, 3), bilinear as in TensorFlow 1: output i samples input i · H / 299."""
    for axis in (1, 2):
        side = pixels.shape[axis]
        position = np.arange(299) * (side / 299)
        low = position.astype(int)
        rest = (position - low).reshape(-1, *[1] * (3 - axis))
        above = pixels.take(np.minimum(low + 1, side - 1), axis)
        pixels = pixels.take(low, axis) * (1 - rest) + above * rest
    return pixels


def expected(images: np.ndarray) -> np.ndarray:
    """The stand-in's features of images in [-1,1], computed without TensorFlow: float64 (N, 2048)."""
    pixels = np.rint((images.astype(np.float64) + 1) * 127.5)
    x = (resized(pixels.repeat(3 // images.shape[3], 3)) - 128) / 128
    w = {name: value.astype(np.float64) for name, value in weights().items()}
    starts = range(0, _SIDE * _STRIDE, _STRIDE)
    patches = np.stack([[x[:, i : i + _KERNEL, j : j + _KERNEL] for j in starts] for i in starts])
    y = np.einsum("ijnhwc,hwco->nijo", patches, w["conv2d_params"], optimize=True)
    y = (y - w["moving_mean"]) / np.sqrt(w["moving_variance"] + 0.001) * w["gamma"] + w["beta"]
    y = np.maximum(y, 0)
    around = np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [around[:, i : i + _SIDE, j : j + _SIDE] for i in range(3) for j in range(3)]
    return np.concatenate([y, np.max(windows, axis=0)], 3).mean((1, 2))


def packed(graph: bytes, name: str = inception_graph.MEMBER) -> bytes:
    """An archive like the published one: the graph among other files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member, content in (("LICENSE", b"some words"), (name, graph), ("cropped_panda.jpg", bytes(1000))):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


GRAPH = stand_in().SerializeToString()
PACKED = packed(GRAPH)
SHA256 = hashlib.sha256(GRAPH).hexdigest()


def spoilt(change: Callable[[GraphDef], None]) -> bytes:
    """The bytes of the stand-in after a change."""
    graph = stand_in()
    change(graph)
    return graph.SerializeToString()


@pytest.fixture(scope="module")
def network() -> Inception:
    return Inception(GRAPH)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)
    serving = Server()
    serving.body = PACKED
    serving.headers = {"ETag": '"one"'}
    yield serving
    serving.close()


def settings(server: Server, sha256: str = "") -> Settings:
    return Settings(network="inception", inception_url=f"{server.address}/{ARCHIVE}", inception_sha256=sha256)


def images(count: int, channels: int = 3, size: int = 32) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, size, size, channels)).astype(np.float32)


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 32), (3, 16), (3, 299)])
def test_the_features_are_those_of_an_independent_computation(network: Inception, channels: int, size: int) -> None:
    inputs = images(4, channels, size)
    features = network(inputs)
    assert (features.shape, features.dtype) == ((4, FEATURES), np.float32)
    assert np.allclose(features, expected(inputs), atol=1e-4)


def test_an_image_has_the_same_features_alone_and_in_a_batch(network: Inception) -> None:
    inputs = images(inception._BATCH + 3, size=16)
    features = network(inputs)
    for i in (0, inception._BATCH - 1, inception._BATCH + 2):
        assert np.allclose(network(inputs[i : i + 1]), features[i], atol=1e-5)


def test_a_gray_image_has_the_features_of_three_equal_channels(network: Inception) -> None:
    gray = images(3, channels=1)
    assert np.array_equal(network(gray), network(gray.repeat(3, 3)))


def test_an_image_with_alpha_has_the_features_of_itself_on_white(network: Inception) -> None:
    image = images(3, channels=4)
    colour, alpha = np.split(to_uint8(image).astype(int), [3], axis=3)
    flat = colour * alpha + 255 * (255 - alpha)
    assert np.array_equal(network(image), network(((flat + 127) // 255 / 127.5 - 1).astype(np.float32)))


def test_pixels_are_rounded_to_integers(network: Inception) -> None:
    level = np.full((1, 16, 16, 3), 100 / 127.5 - 1, np.float32)
    assert np.array_equal(network(level), network(level + np.float32(0.4 / 127.5)))
    assert not np.array_equal(network(level), network(level + np.float32(0.6 / 127.5)))


def hostile(name: str) -> Callable[[GraphDef], None]:
    """Let the features depend on an operation that does more than arithmetic."""

    def change(graph: GraphDef) -> None:
        const(graph, "path", b"written")
        const(graph, "text", b"by the graph")
        if name == "WriteFile":
            add(graph, "evil", "WriteFile", "path", "text")
        elif name == "ReadFile":
            add(graph, "evil", "ReadFile", "path")
        else:
            add(graph, "evil", name, token="pyfunc_0")  # noqa: S106 - the name of a function
        next(node for node in graph.node if node.name == "conv").input.append("^evil")

    return change


@pytest.mark.parametrize("name", ["WriteFile", "ReadFile", "PyFunc", "EagerPyFunc", "PartitionedCall", "NoSuchOp"])
def test_an_operation_that_does_more_than_arithmetic_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=f"its node 'evil' has the operation '{name}', which is not allowed"):
        Inception(spoilt(hostile(name)))


def test_a_node_that_the_features_do_not_need_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def change(graph: GraphDef) -> None:
        const(graph, "path", b"written")
        add(graph, "evil", "WriteFile", "path", "path")

    inputs = images(2)
    assert np.allclose(Inception(spoilt(change))(inputs), expected(inputs), atol=1e-4)
    assert not list(tmp_path.iterdir())


def without(name: str) -> Callable[[GraphDef], None]:
    def change(graph: GraphDef) -> None:
        kept = [node for node in graph.node if node.name != name]
        del graph.node[:]
        graph.node.extend(kept)

    return change


def narrowed(graph: GraphDef) -> None:
    next(node for node in graph.node if node.name == "pool_3").input[0] = "conv"


def blind(graph: GraphDef) -> None:
    const(graph, "picture", np.zeros((2, 9, 9, 3), np.float32))
    next(node for node in graph.node if node.name == "ResizeBilinear").input[0] = "picture"


def torn(graph: GraphDef) -> None:
    next(node for node in graph.node if node.name == "Sub").input[0] = "conv/conv2d_params"


def newer(graph: GraphDef) -> None:
    graph.versions.producer = 9


def infinite(graph: GraphDef) -> None:
    next(node for node in graph.node if node.name == "Mul/y").attr["value"].tensor.float_val[0] = np.inf


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda graph: graph.library.function.add(), "it defines functions, which are not allowed"),
        (lambda graph: graph.library.gradient.add(), "it defines functions, which are not allowed"),
        (without("pool_3"), "no node 'pool_3'"),
        (without("conv/CheckNumerics"), "no node 'conv/CheckNumerics'"),
        (narrowed, r"it returns \(2, 1, 1, 1024\) for two images, expected \(2, 1, 1, 2048\)"),
        (blind, "it does not run: .*ExpandDims"),
        (torn, "it does not run: .*is not a multiple of input depth"),
        (newer, "it does not run: .*BatchNormWithGlobalNormalization"),
        (infinite, "it does not run: .*conv : Tensor had NaN values"),
    ],
    ids=["function", "gradient", "no features", "no input", "few features", "no pixels", "shapes", "version", "NaN"],
)
def test_another_graph_is_rejected_with_the_reason(change: Callable[[GraphDef], None], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Inception(spoilt(change))


@pytest.mark.parametrize("content", [b"", b"no graph", GRAPH[: len(GRAPH) // 2], bytes(1000)])
def test_bytes_that_are_not_a_graph_are_rejected(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a GraphDef|no node 'pool_3'"):
        Inception(content)


def test_the_network_is_loaded_from_its_folder(tmp_path: Path, network: Inception) -> None:
    (tmp_path / FACTS).write_text(json.dumps({"network": "inception", "sha256": SHA256}))
    (tmp_path / FILE).write_bytes(GRAPH)
    loaded = inception.load(tmp_path)
    assert loaded is not None
    assert np.array_equal(loaded(images(2)), network(images(2)))


def test_a_missing_graph_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / FACTS).write_text(json.dumps({"network": "inception", "sha256": SHA256}))
    with pytest.raises(StageError, match=r"inception\.pb: missing; run `dvc repro` to make it"):
        inception.load(tmp_path)


def test_missing_facts_are_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"inception\.json: missing"):
        inception.load(tmp_path)


def test_no_network_is_loaded_if_the_facts_name_none(tmp_path: Path) -> None:
    (tmp_path / FACTS).write_text(json.dumps({"network": "none"}))
    assert inception.load(tmp_path) is None


@pytest.mark.parametrize("content", [GRAPH + b"\0", b""])
def test_a_graph_whose_bytes_have_changed_is_named_in_the_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FACTS).write_text(json.dumps({"network": "inception", "sha256": SHA256}))
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StageError, match=r"inception\.pb: damaged \(its SHA-256 is not the one in inception\.json\)"):
        inception.load(tmp_path)


def test_a_hostile_graph_with_a_matching_hash_is_rejected(tmp_path: Path) -> None:
    content = spoilt(hostile("WriteFile"))
    facts = {"network": "inception", "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / FACTS).write_text(json.dumps(facts))
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StageError, match=r"inception\.pb: damaged \(its node 'evil' has the operation 'WriteFile'"):
        inception.load(tmp_path)


@pytest.mark.parametrize("behaviour", ["good", "redirect", "busy once", "breaks once", "no ranges", "no length"])
def test_the_downloaded_graph_has_the_published_bytes(server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour = behaviour
    network = inception_graph.fetch(settings(server, SHA256), tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == GRAPH
    assert network(images(1)).shape == (1, FEATURES)
    assert not list((tmp_path / ".state/features").iterdir()), "the unfinished download is deleted"


def test_the_next_run_resumes_a_broken_download(server: Server, tmp_path: Path) -> None:
    server.behaviour = "breaks"
    with pytest.raises(StageError, match=r"the connection failed or broke off .* \(tries: 4\)"):
        inception_graph.fetch(settings(server), tmp_path / FILE)
    (part,) = (tmp_path / ".state/features").glob(f"*/{ARCHIVE}.part")
    have = part.stat().st_size
    assert 0 < have < len(PACKED)
    server.behaviour, server.requests = "good", []
    inception_graph.fetch(settings(server), tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == GRAPH
    assert server.requests == [f"bytes={have}-"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "got a web page instead of the file"),
        (PACKED[: len(PACKED) // 2], "incomplete, or not a .tgz (Compressed file ended before"),
        (PACKED[:-4], "incomplete, or not a .tgz (Compressed file ended before"),
        (PACKED[:-8] + bytes(8), "incomplete, or not a .tgz (CRC check failed"),
        (gzip.compress(b"no tar"), "incomplete, or not a .tgz"),
        (packed(GRAPH, "another.pb"), "the archive has no classify_image_graph_def.pb"),
        (packed(b"no graph"), "not the Inception graph: not a GraphDef"),
        (b"neither", "not the Inception graph: not a GraphDef"),
        (
            packed(spoilt(hostile("WriteFile"))),
            "not the Inception graph: its node 'evil' has the operation 'WriteFile'",
        ),
        (packed(spoilt(lambda graph: graph.library.function.add())), "it defines functions"),
    ],
    ids=["page", "half", "no end", "checksum", "no tar", "no member", "no graph", "no archive", "hostile", "functions"],
)
def test_a_file_that_is_not_the_graph_is_reported_and_not_kept(
    server: Server, tmp_path: Path, body: bytes, complaint: str
) -> None:
    server.body = body
    with pytest.raises(StageError) as caught:
        inception_graph.fetch(settings(server), tmp_path / FILE)
    message = str(caught.value)
    assert f"  - {server.address}/{ARCHIVE}: {complaint}" in message or complaint in message.splitlines()[2]
    assert "features.network: inception: the graph could not be downloaded. Tried:" in message
    assert f"get {ARCHIVE} (or the classify_image_graph_def.pb in it),\nput it into data/manual/inception/" in message
    assert "`features.network: judge` needs no download." in message
    assert not (tmp_path / FILE).exists()
    assert not list((tmp_path / ".state/features").glob("*/*.part")), "the next run does not resume it"


def test_a_graph_with_another_hash_is_rejected(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match=f"the SHA-256 of classify_image_graph_def.pb is {SHA256}, expected {'0' * 64}"
    ):
        inception_graph.fetch(settings(server, "0" * 64), tmp_path / FILE)
    assert not (tmp_path / FILE).exists()


def test_a_gzip_bomb_is_stopped_early(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception_graph, "_MAX_BYTES", 10 << 20)
    server.body = gzip.compress(bytes(11 << 20))
    with pytest.raises(StageError, match="more than 10,485,760 bytes"):
        inception_graph.fetch(settings(server), tmp_path / FILE)


@pytest.mark.parametrize(
    ("name", "content"), [(ARCHIVE, PACKED), (inception_graph.MEMBER, GRAPH)], ids=["archive", "graph"]
)
def test_a_file_placed_by_hand_comes_first(server: Server, tmp_path: Path, name: str, content: bytes) -> None:
    place = tmp_path / "data/manual/inception"
    place.mkdir(parents=True)
    (place / name).write_bytes(content)
    inception_graph.fetch(settings(server), tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == GRAPH
    assert not server.requests


@pytest.mark.parametrize(
    ("address", "complaint"),
    [("http://does-not-resolve.invalid/a.tgz", "the address does not resolve"), ("ftp://a/b.tgz", "invalid address")],
)
def test_an_address_that_cannot_work_is_reported(server: Server, tmp_path: Path, address: str, complaint: str) -> None:
    with pytest.raises(StageError) as caught:
        inception_graph.fetch(Settings(network="inception", inception_url=address), tmp_path / FILE)
    message = str(caught.value)
    assert "  - data/manual/inception: neither" in message
    assert f"  - {address}: {complaint}" in message


def test_a_server_that_does_not_answer_is_reported(server: Server, tmp_path: Path) -> None:
    server.close()
    with pytest.raises(StageError, match=r"the connection failed or broke off \(ConnectionError\) \(tries: 4\)"):
        inception_graph.fetch(settings(server), tmp_path / FILE)


@pytest.mark.parametrize(
    "text", ["network: resnet", "inception_sha256: abc", "inception_url: ''", "inception_url: 'http://[::1/a.tgz'"]
)
def test_an_invalid_setting_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(f"features: {{{text}}}")
    with pytest.raises(ParamsError, match=rf"features\.{text.split(':')[0]}: "):
        params.load(tmp_path / "params.yaml", "features", Settings)


def params_with_inception(tiny: Project, folder: Path, url: str) -> str:
    """The path of a copy of the project's params that choose Inception at an address."""
    text = (tiny.folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(
        text.replace("features: {", f"features: {{network: inception, inception_url: {url}, ")
    )
    return str(folder / "params.yaml")


@pytest.fixture(scope="module")
def measured(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of the features stage for the tiny project with Inception."""
    out = tmp_path_factory.mktemp("measured")
    serving = Server()
    serving.body = PACKED
    try:
        result = tiny.run(
            "features", "--params", params_with_inception(tiny, out, f"{serving.address}/{ARCHIVE}"), "--out", str(out)
        )
    finally:
        serving.close()
    assert result.returncode == 0, result.stderr
    assert f"Inception graph from {serving.address}/{ARCHIVE}, {len(GRAPH):,} bytes" in result.stderr
    return out


@pytest.mark.slow
def test_the_stage_writes_the_graph_and_its_facts(measured: Path) -> None:
    folder = measured / "models/inception"
    assert {path.name for path in folder.iterdir()} == {FILE, FACTS, REFERENCE}
    assert (folder / FILE).read_bytes() == GRAPH
    facts = json.loads((folder / FACTS).read_text())
    assert facts.pop("url").endswith(f"/{ARCHIVE}")
    assert facts == {
        "network": "inception",
        "sha256": SHA256,
        "features": FEATURES,
        "train_images": 320,
        "test_images": 80,
    }


@pytest.mark.slow
def test_the_reference_holds_the_features_of_all_images(tiny: Project, measured: Path) -> None:
    real = reference.load(measured / "models/inception" / REFERENCE)
    assert real is not None
    prepared = tiny.folder / "data/prepared"
    data = manifest.read(prepared)
    (train,) = (batch.numpy() for batch, _ in records.batches(prepared, data, "train", 1000))
    (test,) = (batch.numpy() for batch, _ in records.batches(prepared, data, "test", 1000))
    features = expected(train)
    assert np.allclose(real.train.mean, features.mean(0), atol=1e-4)
    assert np.allclose(real.train.covariance, np.cov(features, rowvar=False), atol=1e-3)
    assert np.allclose(real.held_out, expected(test), atol=1e-4)
    assert real.held_out.dtype == np.float32


@pytest.mark.slow
def test_the_judge_does_not_depend_on_the_feature_network(tiny: Project, measured: Path) -> None:
    """Otherwise choosing Inception would make a trained GAN stale."""
    for name in ("data/reference.npz", "models/features/judge.keras", "models/features/features.json"):
        assert (measured / name).read_bytes() == (tiny.folder / name).read_bytes(), name


@pytest.mark.slow
def test_samples_are_measured_in_inceptions_features_and_the_report_says_so(tiny: Project, measured: Path) -> None:
    for stage in ("evaluate", "report"):
        result = tiny.run(stage, "--out", str(measured), "--base", str(tiny.folder))
        assert result.returncode == 0, result.stderr
    metrics, judge_metrics = (metrics_of(folder) for folder in (measured, tiny.folder))
    assert metrics["protocol"]["feature_network"] == "inception"
    assert metrics["protocol"]["feature_network_sha256"] == SHA256
    sampler = Sampler.load(tiny.folder / "models/generator.keras")
    samples = expected(np.concatenate(list(sampler.batches(range(1_000_000, 1_000_128)))))
    real = reference.load(measured / "models/inception" / REFERENCE)
    assert real is not None
    assert metrics["fid"] == pytest.approx(frechet_distance(gaussian(samples), real.train), rel=1e-3)
    assert metrics["kid"] == pytest.approx(kid.compute(samples[:80], real.held_out)["kid"], rel=1e-3)
    for name in ("modes_covered", "mode_kl", "swd", "ms_ssim", "memorization"):
        assert metrics[name] == judge_metrics[name], "independent of the feature network"
    page = (measured / "reports/report.html").read_text()
    assert "in Inception&#39;s features" in page
    assert SHA256 in page[page.index("SHA-256 of the data") :]


def test_without_inception_the_facts_name_no_network(tiny: Project) -> None:
    folder = tiny.folder / "models/inception"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {FACTS: '{\n  "network": "none"\n}\n'}


def test_a_hostile_graph_makes_the_stage_fail_without_outputs(tiny_copy: Project, tmp_path: Path) -> None:
    place = tiny_copy.folder / "data/manual/inception"
    place.mkdir(parents=True)
    (place / inception_graph.MEMBER).write_bytes(spoilt(hostile("WriteFile")))
    for left in ("models", "reports/features.json", "data/reference.npz"):
        path = tiny_copy.folder / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    params = params_with_inception(tiny_copy, tmp_path, "http://does-not-resolve.invalid/a.tgz")
    result = tiny_copy.run("features", "--params", params)
    assert result.returncode == 1
    assert "its node 'evil' has the operation 'WriteFile', which is not allowed" in result.stderr
    assert "http://does-not-resolve.invalid/a.tgz: the address does not resolve" in result.stderr
    assert "Traceback" not in result.stderr
    assert "train the judge" not in result.stderr
    for left in ("models/inception", "models/features", "reports/features.json", "data/reference.npz", "written"):
        assert not (tiny_copy.folder / left).exists(), left
    assert not list(tiny_copy.folder.glob(".state/staging/*"))
