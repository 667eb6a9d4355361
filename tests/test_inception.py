"""Inception: a stand-in of the published graph's names and operations, served on loopback and taken all the way."""

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
from stages.metrics.frechet import frechet_distance, gaussian
from stages.metrics.kid import kernel_distance
from stages.networks import inception
from stages.networks.inception import FACTS, FEATURES, FILE, REFERENCE, Inception
from tests.conftest import Project
from tests.test_download import Server

GraphDef: TypeAlias = tf.compat.v1.GraphDef
ARCHIVE = "inception-2015-12-05.tgz"
_STRIDE, _KERNEL, _SIDE = 37, 4, 8  # 299 → 8 × 8, as the published graph's last feature maps are


def add(graph: GraphDef, name: str, op: str, *inputs: str, **attributes: object) -> None:
    """Add a node. An attribute is a number, text, a type, or a list of integers."""
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
    """What the stand-in's one convolution is made of: 3 → 1024 channels."""
    draw = np.random.default_rng(0)
    shape = (_KERNEL, _KERNEL, 3, FEATURES // 2)
    found = {"conv2d_params": draw.normal(0, 0.2, shape)}
    for name, low, high in (("moving_mean", -1, 1), ("moving_variance", 0.5, 2), ("beta", -1, 1), ("gamma", 0.5, 2)):
        found[name] = draw.uniform(low, high, FEATURES // 2)
    return {name: value.astype(np.float32) for name, value in found.items()}


def stand_in() -> GraphDef:
    """A graph of the published one's operations, names, version and shapes (of one image), and 2048 features.

    Resize, normalise, one convolution with batch norm; its maps, and these max-pooled, joined; their means.
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
    """(N, H, W, 3) => (N, 299, 299, 3), bilinear as TensorFlow 1 had it: output i samples input i · H / 299."""
    for axis in (1, 2):
        side = pixels.shape[axis]
        at = np.arange(299) * (side / 299)
        low = at.astype(int)
        rest = (at - low).reshape(-1, *[1] * (3 - axis))
        above = pixels.take(np.minimum(low + 1, side - 1), axis)
        pixels = pixels.take(low, axis) * (1 - rest) + above * rest
    return pixels


def expected(images: np.ndarray) -> np.ndarray:
    """The stand-in's features of images in [-1,1], without TensorFlow: float64 (N, 2048)."""
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
    """The archive as it is published: the graph among other files."""
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
    """The stand-in with something changed about it."""
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
def test_features_are_those_of_an_independent_computation(network: Inception, channels: int, size: int) -> None:
    shown = images(4, channels, size)
    found = network(shown)
    assert (found.shape, found.dtype) == ((4, FEATURES), np.float32)
    assert np.allclose(found, expected(shown), atol=1e-4)


def test_a_batch_of_one_gives_its_row_of_a_batch(network: Inception) -> None:
    shown = images(inception._BATCH + 3, size=16)
    found = network(shown)
    for i in (0, inception._BATCH - 1, inception._BATCH + 2):
        assert np.allclose(network(shown[i : i + 1]), found[i], atol=1e-5)


def test_gray_is_its_copy_in_three_channels(network: Inception) -> None:
    gray = images(3, channels=1)
    assert np.array_equal(network(gray), network(gray.repeat(3, 3)))


def test_pixels_are_rounded_to_whole_numbers(network: Inception) -> None:
    level = np.full((1, 16, 16, 3), 100 / 127.5 - 1, np.float32)
    assert np.array_equal(network(level), network(level + np.float32(0.4 / 127.5)))
    assert not np.array_equal(network(level), network(level + np.float32(0.6 / 127.5)))


def hostile(name: str) -> Callable[[GraphDef], None]:
    """Put an operation on the way to the features that does more than arithmetic."""

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
def test_an_operation_that_is_more_than_arithmetic_is_not_let_in(name: str) -> None:
    with pytest.raises(ValueError, match=f"its node 'evil' is a '{name}', which is not let in"):
        Inception(spoilt(hostile(name)))


def test_what_the_features_do_not_need_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def change(graph: GraphDef) -> None:
        const(graph, "path", b"written")
        add(graph, "evil", "WriteFile", "path", "path")

    shown = images(2)
    assert np.allclose(Inception(spoilt(change))(shown), expected(shown), atol=1e-4)
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
        (lambda graph: graph.library.function.add(), "functions of its own"),
        (lambda graph: graph.library.gradient.add(), "functions of its own"),
        (without("pool_3"), "no node 'pool_3'"),
        (without("conv/CheckNumerics"), "no node 'conv/CheckNumerics'"),
        (narrowed, r"it gives \(2, 1, 1, 1024\) for two images, expected \(2, 1, 1, 2048\)"),
        (blind, "it cannot be run: .*ExpandDims"),
        (torn, "it cannot be run: .*is not a multiple of input depth"),
        (newer, "it cannot be run: .*BatchNormWithGlobalNormalization"),
        (infinite, "it cannot be run: .*conv : Tensor had NaN values"),
    ],
    ids=["function", "gradient", "no features", "no input", "few features", "no pixels", "shapes", "version", "NaN"],
)
def test_a_graph_that_is_not_the_expected_one_is_refused_with_the_reason(
    change: Callable[[GraphDef], None], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Inception(spoilt(change))


@pytest.mark.parametrize("content", [b"", b"no graph", GRAPH[: len(GRAPH) // 2], bytes(1000)])
def test_bytes_that_are_no_graph_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no GraphDef|no node 'pool_3'"):
        Inception(content)


def test_the_network_of_a_folder_is_found(tmp_path: Path, network: Inception) -> None:
    (tmp_path / FACTS).write_text(json.dumps({"network": "inception", "sha256": SHA256}))
    with pytest.raises(StageError, match=r"inception\.pb: missing; `dvc repro` makes it"):
        inception.load(tmp_path)
    (tmp_path / FILE).write_bytes(GRAPH)
    found = inception.load(tmp_path)
    assert found is not None
    assert np.array_equal(found(images(2)), network(images(2)))


def test_no_network_no_file_and_that_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"inception\.json: missing"):
        inception.load(tmp_path)
    (tmp_path / FACTS).write_text(json.dumps({"network": "none"}))
    assert inception.load(tmp_path) is None


@pytest.mark.parametrize("content", [GRAPH + b"\0", b""])
def test_a_graph_whose_bytes_have_changed_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FACTS).write_text(json.dumps({"network": "inception", "sha256": SHA256}))
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StageError, match=r"inception\.pb: damaged \(its SHA-256 is not the one in inception\.json\)"):
        inception.load(tmp_path)


def test_a_noted_graph_is_still_not_trusted(tmp_path: Path) -> None:
    content = spoilt(hostile("WriteFile"))
    facts = {"network": "inception", "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / FACTS).write_text(json.dumps(facts))
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StageError, match=r"inception\.pb: damaged \(its node 'evil' is a 'WriteFile'"):
        inception.load(tmp_path)


@pytest.mark.parametrize("behaviour", ["good", "redirect", "busy once", "breaks once", "no ranges", "no length"])
def test_the_graph_arrives_as_published(server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour = behaviour
    network = inception_graph.fetch(settings(server, SHA256), tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == GRAPH
    assert network(images(1)).shape == (1, FEATURES)
    assert not list((tmp_path / ".state/features").iterdir()), "unfinished downloads are cleared away"


def test_a_download_that_broke_off_is_gone_on_with(server: Server, tmp_path: Path) -> None:
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
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "a web page came instead of the file"),
        (PACKED[: len(PACKED) // 2], "torn, or no .tgz (Compressed file ended before"),
        (PACKED[:-4], "torn, or no .tgz (Compressed file ended before"),
        (PACKED[:-8] + bytes(8), "torn, or no .tgz (CRC check failed"),
        (gzip.compress(b"no tar"), "torn, or no .tgz"),
        (packed(GRAPH, "another.pb"), "there is no classify_image_graph_def.pb in it"),
        (packed(b"no graph"), "not the Inception graph: no GraphDef"),
        (b"neither", "not the Inception graph: no GraphDef"),
        (packed(spoilt(hostile("WriteFile"))), "not the Inception graph: its node 'evil' is a 'WriteFile'"),
        (packed(spoilt(lambda graph: graph.library.function.add())), "it brings functions of its own"),
    ],
    ids=["page", "half", "no end", "checksum", "no tar", "no member", "no graph", "no archive", "hostile", "functions"],
)
def test_what_is_not_the_graph_is_named_and_nothing_is_kept(
    server: Server, tmp_path: Path, body: bytes, complaint: str
) -> None:
    server.body = body
    with pytest.raises(StageError) as caught:
        inception_graph.fetch(settings(server), tmp_path / FILE)
    message = str(caught.value)
    assert f"  - {server.address}/{ARCHIVE}: {complaint}" in message or complaint in message.splitlines()[2]
    assert "features.network: inception: its graph could not be had from anywhere. Tried:" in message
    assert f"get {ARCHIVE} (or the classify_image_graph_def.pb in it),\nput it into data/manual/inception/" in message
    assert "`features.network: judge` needs no download." in message
    assert not (tmp_path / FILE).exists()
    assert not list((tmp_path / ".state/features").glob("*/*.part")), "it is not gone on from"


def test_a_graph_of_another_hash_is_not_taken(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match=f"the SHA-256 of classify_image_graph_def.pb is {SHA256}, expected {'0' * 64}"
    ):
        inception_graph.fetch(settings(server, "0" * 64), tmp_path / FILE)
    assert not (tmp_path / FILE).exists()


def test_a_bomb_ends_early(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception_graph, "_MOST", 10 << 20)
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
    [("http://does-not-resolve.invalid/a.tgz", "the address does not resolve"), ("ftp://a/b.tgz", "no address")],
)
def test_an_address_that_gives_nothing_is_named(server: Server, tmp_path: Path, address: str, complaint: str) -> None:
    with pytest.raises(StageError) as caught:
        inception_graph.fetch(Settings(network="inception", inception_url=address), tmp_path / FILE)
    message = str(caught.value)
    assert "  - data/manual/inception: neither" in message
    assert f"  - {address}: {complaint}" in message


def test_a_server_that_is_gone_is_named(server: Server, tmp_path: Path) -> None:
    server.close()
    with pytest.raises(StageError, match=r"the connection failed or broke off \(ConnectionError\) \(tries: 4\)"):
        inception_graph.fetch(settings(server), tmp_path / FILE)


@pytest.mark.parametrize(
    "text", ["network: resnet", "inception_sha256: abc", "inception_url: ''", "inception_url: 'http://[::1/a.tgz'"]
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(f"features: {{{text}}}")
    with pytest.raises(ParamsError, match=rf"features\.{text.split(':')[0]}: "):
        params.load(tmp_path / "params.yaml", "features", Settings)


def asking(tiny: Project, folder: Path, url: str) -> str:
    """The path of a copy of the project's params that ask for Inception from an address."""
    text = (tiny.folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(
        text.replace("features: {", f"features: {{network: inception, inception_url: {url}, ")
    )
    return str(folder / "params.yaml")


@pytest.fixture(scope="module")
def measured(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the features stage has run on the tiny project, asked for Inception."""
    out = tmp_path_factory.mktemp("measured")
    serving = Server()
    serving.body = PACKED
    try:
        result = tiny.run("features", "--params", asking(tiny, out, f"{serving.address}/{ARCHIVE}"), "--out", str(out))
    finally:
        serving.close()
    assert result.returncode == 0, result.stderr
    assert f"Inception graph from {serving.address}/{ARCHIVE}, {len(GRAPH):,} bytes" in result.stderr
    return out


@pytest.mark.slow
def test_the_stage_writes_the_graph_and_says_what_it_is(measured: Path) -> None:
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
def test_the_stages_reference_is_that_of_all_images(tiny: Project, measured: Path) -> None:
    real = reference.load(measured / "models/inception" / REFERENCE)
    assert real is not None
    prepared = tiny.folder / "data/prepared"
    data = manifest.read(prepared)
    (train,) = (batch.numpy() for batch, _ in records.batches(prepared, data, "train", 1000))
    (test,) = (batch.numpy() for batch, _ in records.batches(prepared, data, "test", 1000))
    known = expected(train)
    assert np.allclose(real.train.mean, known.mean(0), atol=1e-4)
    assert np.allclose(real.train.covariance, np.cov(known, rowvar=False), atol=1e-3)
    assert np.allclose(real.held_out, expected(test), atol=1e-4)
    assert real.held_out.dtype == np.float32


@pytest.mark.slow
def test_the_judge_is_the_same_whichever_network_is_asked_for(tiny: Project, measured: Path) -> None:
    """So that a trained GAN is not stale when samples are to be measured in Inception's features."""
    for name in ("data/reference.npz", "models/features/judge.keras", "models/features/features.json"):
        assert (measured / name).read_bytes() == (tiny.folder / name).read_bytes(), name


@pytest.mark.slow
def test_samples_are_measured_in_inceptions_features_and_the_report_says_so(tiny: Project, measured: Path) -> None:
    for stage in ("evaluate", "report"):
        result = tiny.run(stage, "--out", str(measured), "--base", str(tiny.folder))
        assert result.returncode == 0, result.stderr
    metrics, of_judge = (
        json.loads((folder / "reports/metrics.json").read_text()) for folder in (measured, tiny.folder)
    )
    assert metrics["protocol"]["feature_network"] == "inception"
    assert metrics["protocol"]["feature_network_sha256"] == SHA256
    sampler = Sampler.load(tiny.folder / "models/generator.keras")
    samples = expected(np.concatenate(list(sampler.of(range(1_000_000, 1_000_128)))))
    real = reference.load(measured / "models/inception" / REFERENCE)
    assert real is not None
    assert metrics["fid"] == pytest.approx(frechet_distance(gaussian(samples), real.train), rel=1e-3)
    assert metrics["kid"] == pytest.approx(kernel_distance(samples[:80], real.held_out)["kid"], rel=1e-3)
    for name in ("modes_covered", "mode_kl", "swd", "ms_ssim", "memorization"):
        assert metrics[name] == of_judge[name], "what Inception has no part in"
    page = (measured / "reports/report.html").read_text()
    assert "in Inception&#39;s features" in page
    assert SHA256 in page[page.index("SHA-256 of the data") :]


def test_without_inception_the_stage_says_so(tiny: Project) -> None:
    folder = tiny.folder / "models/inception"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {FACTS: '{\n  "network": "none"\n}\n'}


def test_a_stage_that_gets_a_hostile_graph_fails_and_leaves_nothing(tiny_copy: Project, tmp_path: Path) -> None:
    place = tiny_copy.folder / "data/manual/inception"
    place.mkdir(parents=True)
    (place / inception_graph.MEMBER).write_bytes(spoilt(hostile("WriteFile")))
    for left in ("models", "reports/features.json", "data/reference.npz"):
        path = tiny_copy.folder / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    params = asking(tiny_copy, tmp_path, "http://does-not-resolve.invalid/a.tgz")
    result = tiny_copy.run("features", "--params", params)
    assert result.returncode == 1
    assert "its node 'evil' is a 'WriteFile', which is not let in" in result.stderr
    assert "http://does-not-resolve.invalid/a.tgz: the address does not resolve" in result.stderr
    assert "Traceback" not in result.stderr
    assert "train the judge" not in result.stderr
    for left in ("models/inception", "models/features", "reports/features.json", "data/reference.npz", "written"):
        assert not (tiny_copy.folder / left).exists(), left
    assert not list(tiny_copy.folder.glob(".state/staging/*"))
