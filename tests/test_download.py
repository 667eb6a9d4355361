"""Downloads, against a server on loopback that behaves well and badly."""

import dataclasses
import gzip
import hashlib
import http.server
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.download import catalog, fetch
from stages.download.catalog import DataSet, DebianPackage, File
from stages.errors import StageError
from tests.conftest import Project

CONTENT = random.Random(0).randbytes(600_000)  # noqa: S311 - not a secret
PACKED = gzip.compress(CONTENT)


class Server:
    """Serves PACKED at every path in the way that `behaviour` names; notes what was asked for."""

    def __init__(self) -> None:
        self.behaviour = "good"
        self.requests: list[str | None] = []
        self.stalled = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request in the way of the day."""
        asked = request.headers.get("Range")
        self.requests.append(asked)
        body, start = PACKED, 0
        if self.behaviour == "redirect" and not request.path.startswith("/moved"):
            request.send_response(302)
            request.send_header("Location", "/moved" + request.path)
            request.end_headers()
            return
        if self.behaviour in ("missing", "busy"):
            request.send_error(404 if self.behaviour == "missing" else 503)
            return
        if self.behaviour == "busy once":
            self.behaviour = "good"
            request.send_error(503)
            return
        if self.behaviour == "page":
            body = b"<!DOCTYPE html><html><title>Quota exceeded</title></html>"
        if self.behaviour == "other":
            body = gzip.compress(CONTENT[::-1])
        if self.behaviour == "torn gzip":
            body = PACKED[:-20]
        if self.behaviour == "bomb":
            body = gzip.compress(bytes(50 << 20))
        if asked and self.behaviour != "no ranges":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                request.send_error(416)
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        if self.behaviour != "no length":
            request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        end = len(body)
        if self.behaviour == "stalls":
            request.wfile.write(body[: end // 2])
            self.stalled.wait(30)
            return
        if self.behaviour == "breaks" or (self.behaviour == "breaks once" and not asked):
            end = start + (len(body) - start) // 2
        request.wfile.write(body[start:end])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    serving = Server()
    yield serving
    serving.close()


def data_set(address: str, debian: DebianPackage | None = None) -> DataSet:
    file = File("pictures", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    addresses = (address,) if address else ()
    return DataSet("Test set", "http://home.invalid", "MIT", "", "idx", (), (file,), addresses, debian)


def get(server: Server, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    fetch.fetch("test", data_set(server.address), out, tmp_path / "manual")
    return out / "pictures"


@pytest.mark.parametrize("behaviour", ["good", "redirect", "busy once", "breaks once", "no ranges", "no length"])
def test_the_file_arrives_whole(server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour = behaviour
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert not (tmp_path / ".state" / "download" / "test").exists(), "unfinished downloads are cleared away"


def test_a_broken_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.behaviour = "breaks once"
    get(server, tmp_path)
    first, second = server.requests
    assert first is None
    assert second is not None
    assert 0 <= len(PACKED) // 2 - int(second[6:-1]) < fetch._CHUNK


def test_what_arrived_in_an_earlier_run_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    server.behaviour = "breaks"
    with pytest.raises(StageError, match="the connection failed or broke off"):
        get(server, tmp_path)
    have = (tmp_path / ".state" / "download" / "test" / "pictures.gz.part").stat().st_size
    assert 0 < have < len(PACKED)
    server.behaviour, server.requests = "good", []
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [f"bytes={have}-"]


@pytest.mark.parametrize(
    ("behaviour", "complaint"),
    [
        ("missing", "the server answered 404"),
        ("busy", "the server answered 503"),
        ("page", "a web page came instead of the file"),
        ("other", "the SHA-256 is"),
        ("torn gzip", "torn or not gzip"),
        ("bomb", f"more than {len(CONTENT):,} bytes"),
    ],
)
def test_a_bad_source_is_named_with_its_reason_and_nothing_is_kept(
    server: Server, tmp_path: Path, behaviour: str, complaint: str
) -> None:
    server.behaviour = behaviour
    with pytest.raises(StageError) as caught:
        get(server, tmp_path)
    message = str(caught.value)
    assert f"{server.address}: pictures.gz: " in message
    assert complaint in message
    assert "To place it by hand: get pictures[.gz] (see http://home.invalid)" in message
    assert not (tmp_path / "out" / "pictures").exists()


def test_a_page_is_not_gone_on_from(server: Server, tmp_path: Path) -> None:
    server.behaviour = "page"
    with pytest.raises(StageError):
        get(server, tmp_path)
    server.behaviour, server.requests = "good", []
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None]


@pytest.mark.parametrize("packed", [True, False])
def test_files_placed_by_hand_come_first(server: Server, tmp_path: Path, packed: bool) -> None:
    place = tmp_path / "manual" / "test"
    place.mkdir(parents=True)
    (place / ("pictures.gz" if packed else "pictures")).write_bytes(PACKED if packed else CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert not server.requests


def test_an_installed_debian_package_will_do(tmp_path: Path) -> None:
    place = tmp_path / "usr"
    place.mkdir()
    (place / "pictures.gz").write_bytes(PACKED)
    (tmp_path / "out").mkdir()
    origin = fetch.fetch("test", data_set("", DebianPackage("some-set", str(place))), tmp_path / "out")
    assert origin == "Debian package some-set"
    assert (tmp_path / "out" / "pictures").read_bytes() == CONTENT


def test_no_network_and_no_package_lists_all_that_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    (tmp_path / "out").mkdir()
    asked = data_set("http://does-not-resolve.invalid", DebianPackage("some-set", str(tmp_path / "none")))
    with pytest.raises(StageError) as caught:
        fetch.fetch("test", asked, tmp_path / "out", tmp_path / "manual")
    lines = str(caught.value).splitlines()
    assert lines[0] == "Test set could not be had from anywhere. Tried:"
    assert "pictures[.gz] is not there" in lines[1]
    assert "pictures.gz: the address does not resolve (no network?) (tries: 1)" in lines[2]
    assert "Debian package some-set: not installed, and there is no apt-get here" in lines[3]
    assert str(tmp_path / "manual" / "test") in lines[5]


def test_apts_own_complaint_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name, body in (
        ("apt-get", "echo 'W: hm' >&2; echo 'E: Unable to locate package' >&2; exit 100"),
        ("dpkg-deb", ""),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with (
        pytest.raises(fetch.SourceError, match="apt-get failed: E: Unable to locate package"),
        fetch.debian_folder("some-set", tmp_path / "none"),
    ):
        pass
    assert not (tmp_path / ".state" / "apt").exists()


def test_an_unknown_name_lists_the_known_ones() -> None:
    assert catalog.known_name("fashion_mnist") == "fashion_mnist"
    with pytest.raises(ValueError, match=r"expected one of fashion_mnist.*, got 'fashion'"):
        catalog.known_name("fashion")


def test_a_whole_part_of_an_earlier_run_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    parts = tmp_path / ".state" / "download" / "test"
    parts.mkdir(parents=True)
    (parts / "pictures.gz.part").write_bytes(PACKED)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(PACKED)}-"], "answered with 416, and not fetched again"


def test_what_an_address_left_goes_when_another_source_gives_the_files(server: Server, tmp_path: Path) -> None:
    server.behaviour = "breaks"
    with pytest.raises(StageError):
        get(server, tmp_path)
    place = tmp_path / "manual" / "test"
    place.mkdir(parents=True)
    (place / "pictures").write_bytes(CONTENT)
    get(server, tmp_path)
    assert not (tmp_path / ".state" / "download" / "test").exists()


def test_each_further_try_is_said(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server.behaviour = "busy once"
    get(server, tmp_path)
    assert "pictures.gz: the server answered 503 Service Unavailable; trying again in 1 s" in capfd.readouterr().err


def test_ctrl_c_leaves_what_arrived_for_the_next_run_and_nothing_half_written(server: Server, tmp_path: Path) -> None:
    server.behaviour = "stalls"
    entry = dataclasses.asdict(data_set(server.address)) | {"debian": None}
    (tmp_path / "catalog.yaml").write_text(json.dumps({"test": entry}))
    (tmp_path / "params.yaml").write_text("dataset: {name: test}")
    script = """
import pathlib, runpy
from stages.download import catalog
catalog._FILE = pathlib.Path("catalog.yaml")
runpy.run_module("stages.download", run_name="__main__")
"""
    project = Project(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=project.environment(), stderr=subprocess.PIPE, text=True
    )
    part = tmp_path / ".state/download/test/pictures.gz.part"
    while not (part.exists() and part.stat().st_size) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    server.stalled.set()
    assert process.returncode == 130, complaint
    assert "download: interrupted; nothing half-written is left" in complaint
    assert not (tmp_path / "data").exists()
    assert part.stat().st_size > 0


def test_every_catalog_entry_is_pinned() -> None:
    for name, entry in catalog.load().items():
        assert entry.licence, name
        assert entry.homepage.startswith("https://"), name
        for file in entry.files:
            assert len(bytes.fromhex(file.sha256)) == 32, (name, file.name)
            assert file.bytes > 0
