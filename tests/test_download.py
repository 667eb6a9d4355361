"""Downloads, against a server on loopback that behaves well and badly."""

import dataclasses
import gzip
import hashlib
import http.server
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from stages import params
from stages import transfer as transport
from stages.download import catalog, named
from stages.download.catalog import DataSet, DebianPackage, File
from stages.download.settings import Settings
from stages.errors import ParamsError, StageError
from stages.prepare import sources
from tests.conftest import Project

CONTENT = random.Random(0).randbytes(600_000)  # noqa: S311 - not a secret
PACKED = gzip.compress(CONTENT)


class Server:
    """Serves `body` at every path in the way that `behaviour` names, with `headers`; notes what was asked for."""

    def __init__(self) -> None:
        self.behaviour = "good"
        self.body = PACKED
        self.headers: dict[str, str] = {}
        self.requests: list[str | None] = []
        self.conditions: list[str | None] = []
        self.paths: list[str] = []
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
        self.conditions.append(request.headers.get("If-Range"))
        self.paths.append(request.path)
        versions = (None, self.headers.get("ETag"), self.headers.get("Last-Modified"))
        if self.conditions[-1] not in versions and self.behaviour != "no conditions":
            asked = None  # the beginning that the client has is of another file (RFC 9110, 13.1.5)
        body, start = self.body, 0
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
            body = self.body[:-20]
        if self.behaviour == "bomb":
            body = gzip.compress(bytes(50 << 20))
        if asked and self.behaviour != "no ranges":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(body)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        for name, value in self.headers.items():
            request.send_header(name, value)
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
    monkeypatch.setattr(transport.time, "sleep", lambda seconds: None)
    serving = Server()
    yield serving
    serving.close()


def data_set(address: str, debian: DebianPackage | None = None) -> DataSet:
    file = File("pictures", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), unpack=True)
    addresses = (address,) if address else ()
    return DataSet("Test set", "http://home.invalid", "MIT", "", "idx", 1, (), (file,), addresses, debian)


def get(server: Server, tmp_path: Path) -> Path:
    return get_file(tmp_path, data_set(server.address))


def get_file(tmp_path: Path, asked: DataSet) -> Path:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    named.fetch("test", asked, out, tmp_path / "manual")
    return out / asked.files[0].name


def with_file(address: str, file: File) -> DataSet:
    """The test set, of another file."""
    return dataclasses.replace(data_set(address), files=(file,))


# The stage, with the catalog of its folder.
WITH_CATALOG = """
import pathlib, runpy
from stages.download import catalog
catalog._FILE = pathlib.Path("catalog.yaml")
runpy.run_module("stages.download", run_name="__main__")
"""


def write_project(folder: Path, name: str, entry: DataSet) -> None:
    """A catalog of one data set, and params that ask for it."""
    (folder / "catalog.yaml").write_text(json.dumps({name: dataclasses.asdict(entry)}))
    (folder / "params.yaml").write_text(f"dataset: {{source: {name}}}")


def run_with_catalog(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the stage in a folder that write_project filled."""
    return subprocess.run(
        [sys.executable, "-c", WITH_CATALOG],
        cwd=folder,
        env=Project(folder).environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def broken_off(server: Server, tmp_path: Path, asked: DataSet) -> int:
    """Let a first run break off; how many bytes of the file it left for the next one."""
    server.behaviour = "breaks"
    with pytest.raises(StageError):
        get_file(tmp_path, asked)
    server.behaviour, server.requests, server.conditions = "good", [], []
    return (tmp_path / ".state" / "download" / "test" / f"{asked.files[0].served}.part").stat().st_size


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
    assert 0 <= len(PACKED) // 2 - int(second[6:-1]) < transport.CHUNK


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
    origin = named.fetch("test", data_set("", DebianPackage("some-set", str(place))), tmp_path / "out")
    assert origin == "Debian package some-set"
    assert (tmp_path / "out" / "pictures").read_bytes() == CONTENT


def test_no_network_and_no_package_lists_all_that_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    (tmp_path / "out").mkdir()
    asked = data_set("http://does-not-resolve.invalid", DebianPackage("some-set", str(tmp_path / "none")))
    with pytest.raises(StageError) as caught:
        named.fetch("test", asked, tmp_path / "out", tmp_path / "manual")
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
        pytest.raises(transport.SourceError, match="apt-get failed: E: Unable to locate package"),
        named.debian_folder("some-set", tmp_path / "none"),
    ):
        pass
    assert not (tmp_path / ".state" / "apt").exists()


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
    write_project(tmp_path, "test", data_set(server.address))
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_CATALOG],
        cwd=tmp_path,
        env=Project(tmp_path).environment(),
        stderr=subprocess.PIPE,
        text=True,
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


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"one"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, '"one"'),
        ({"ETag": 'W/"one"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, "Sat, 01 Jan 2022 00:00:00 GMT"),
        ({"ETag": 'W/"one"'}, None),
    ],
    ids=["strong ETag", "date", "weak ETag only"],
)
def test_a_beginning_is_gone_on_from_under_the_condition_that_the_file_is_the_same(
    server: Server, tmp_path: Path, headers: dict[str, str], condition: str | None
) -> None:
    server.headers = headers
    have = broken_off(server, tmp_path, data_set(server.address))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert (server.requests, server.conditions) == ([f"bytes={have}-"], [condition])


@pytest.mark.parametrize("behaviour", ["good", "no conditions"])
def test_a_file_that_changed_on_the_server_is_fetched_from_its_beginning(
    server: Server, tmp_path: Path, behaviour: str
) -> None:
    asked = with_file(server.address, File("pictures"))  # no hash is known that would tell
    server.headers = {"ETag": '"one"'}
    assert broken_off(server, tmp_path, asked)
    server.headers, server.body = {"ETag": '"two"'}, PACKED[::-1]
    server.behaviour = behaviour
    assert get_file(tmp_path, asked).read_bytes() == server.body


def test_a_beginning_of_unknown_version_is_not_gone_on_from_without_a_hash(server: Server, tmp_path: Path) -> None:
    asked = with_file(server.address, File("pictures"))
    assert broken_off(server, tmp_path, asked)
    server.body = PACKED[::-1]
    assert get_file(tmp_path, asked).read_bytes() == server.body
    assert server.requests == [None]


def test_a_beginning_that_proves_to_be_of_another_file_is_given_up(server: Server, tmp_path: Path) -> None:
    assert broken_off(server, tmp_path, data_set(server.address))
    server.body = gzip.compress(CONTENT, compresslevel=1)  # the same content, packed differently, and no ETag
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] is None


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_an_archive_that_a_server_calls_encoded_stays_packed(server: Server, tmp_path: Path, encoding: str) -> None:
    server.headers = {"Content-Encoding": encoding}
    asked = with_file(server.address, File("pictures.tgz", len(PACKED), hashlib.sha256(PACKED).hexdigest()))
    assert get_file(tmp_path, asked).read_bytes() == PACKED


def test_a_file_that_is_not_to_be_unpacked_is_kept_packed(server: Server, tmp_path: Path) -> None:
    asked = with_file(server.address, File("pictures.gz", len(PACKED), hashlib.sha256(PACKED).hexdigest()))
    assert get_file(tmp_path, asked).read_bytes() == PACKED
    assert server.paths == ["/pictures.gz"]


@pytest.mark.parametrize("size", [None, len(PACKED)])
@pytest.mark.parametrize("digest", ["", hashlib.md5(PACKED, usedforsecurity=False).hexdigest()])
def test_a_file_is_held_against_what_is_known_of_it(
    server: Server, tmp_path: Path, size: int | None, digest: str
) -> None:
    asked = with_file(server.address, File("pictures.gz", size, md5=digest))
    assert get_file(tmp_path, asked).read_bytes() == PACKED


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        (File("pictures.gz", md5="0" * 32), f"the MD5 is {hashlib.md5(PACKED, usedforsecurity=False).hexdigest()}"),
        (File("pictures.gz", sha256="0" * 64), f"the SHA-256 is {hashlib.sha256(PACKED).hexdigest()}"),
        (File("pictures.gz", len(PACKED) + 1), f"{len(PACKED):,} bytes, expected {len(PACKED) + 1:,}"),
        (File("pictures.gz", len(PACKED) - 1), f"more than {len(PACKED) - 1:,} bytes"),
    ],
    ids=["MD5", "SHA-256", "too short", "too long"],
)
def test_what_a_file_is_not_is_named_and_nothing_is_kept(
    server: Server, tmp_path: Path, file: File, complaint: str
) -> None:
    with pytest.raises(StageError, match=re.escape(f"pictures.gz: {complaint}")):
        get_file(tmp_path, with_file(server.address, file))
    assert not list((tmp_path / "out").iterdir())


def test_a_page_is_told_from_a_file_of_which_nothing_is_known(server: Server, tmp_path: Path) -> None:
    server.behaviour = "page"
    with pytest.raises(StageError, match="a web page came instead of the file"):
        get_file(tmp_path, with_file(server.address, File("pictures.zip")))


def own_addresses(*addresses: str) -> DataSet:
    """A set whose one file has addresses of its own."""
    return with_file("", File("pictures.gz", sha256=hashlib.sha256(PACKED).hexdigest(), addresses=addresses))


def test_a_files_own_addresses_are_tried_in_turn(server: Server, tmp_path: Path) -> None:
    asked = own_addresses("http://does-not-resolve.invalid/a?b=c", f"{server.address}/download?id=1&confirm=t")
    assert get_file(tmp_path, asked).read_bytes() == PACKED
    assert server.paths == ["/download?id=1&confirm=t"]


def test_a_files_own_addresses_come_to_an_end_at_the_first_good_one(server: Server, tmp_path: Path) -> None:
    get_file(tmp_path, own_addresses(f"{server.address}/one", f"{server.address}/two"))
    assert server.paths == ["/one"]


def test_a_files_own_addresses_that_all_fail_are_one_source_that_failed(server: Server, tmp_path: Path) -> None:
    server.behaviour = "missing"
    with pytest.raises(StageError, match=r"the files' own addresses: pictures\.gz: the server answered 404"):
        get_file(tmp_path, own_addresses(f"{server.address}/one", f"{server.address}/two"))
    assert server.paths == ["/one", "/two"]


@pytest.mark.parametrize("address", ["http://", "http://a..b/", "http://[::1/"])
def test_an_address_that_is_none_is_not_tried_again(server: Server, tmp_path: Path, address: str) -> None:
    with pytest.raises(StageError, match=r"no address: .*\(tries: 1\)"):
        get_file(tmp_path, own_addresses(address))


CELEBA = {"img_align_celeba.zip": PACKED, "list_attr_celeba.txt": b"1\nSmiling\n", "list_eval_partition.txt": b"a 0\n"}


def write_celeba(folder: Path) -> None:
    """A project that asks for a CelebA of a few bytes, which no address has."""
    files = tuple(
        File(name, md5=hashlib.md5(content, usedforsecurity=False).hexdigest(), addresses=("http://home.invalid/x",))
        for name, content in CELEBA.items()
    )
    write_project(folder, "celeba", dataclasses.replace(catalog.load()["celeba"], files=files))


def test_celeba_is_taken_from_where_it_was_placed_by_hand(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    (tmp_path / "data" / "manual" / "celeba").mkdir(parents=True)
    for name, content in CELEBA.items():
        (tmp_path / "data" / "manual" / "celeba" / name).write_bytes(content)
    result = run_with_catalog(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "from data/manual/celeba" in result.stderr
    facts = json.loads((tmp_path / "data" / "raw" / "source.json").read_text())
    assert facts["format"] == "celeba"
    assert {file["name"]: file["sha256"] for file in facts["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in CELEBA.items()
    }


def test_celeba_that_cannot_be_had_says_what_to_place_where(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    result = run_with_catalog(tmp_path)
    assert result.returncode == 1
    assert f"get {', '.join(CELEBA)} (see https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)" in result.stderr
    assert "put them into data/manual/celeba/ and run the same command again" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", list(catalog.load()))
def test_a_catalog_entry_says_whose_it_is_and_how_to_read_it(name: str) -> None:
    entry = catalog.load()[name]
    assert entry.title
    assert entry.licence
    assert entry.citation
    assert entry.homepage.startswith("https://")
    assert entry.format in {*sources._FORMATS, "celeba"}


# Nobody publishes what these hash to.
UNPINNED = {"bedroom_train_lmdb.zip", "bedroom_val_lmdb.zip"}
FILES = [
    pytest.param(entry, file, id=f"{name}/{file.name}")
    for name, entry in catalog.load().items()
    for file in entry.files
]


@pytest.mark.parametrize(("entry", "file"), FILES)
def test_a_file_of_the_catalog_is_pinned(entry: DataSet, file: File) -> None:
    if file.name not in UNPINNED:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256) or re.fullmatch(r"[0-9a-f]{32}", file.md5)


@pytest.mark.parametrize(("entry", "file"), FILES)
def test_a_file_of_the_catalog_has_an_address(entry: DataSet, file: File) -> None:
    addresses = file.addresses or entry.addresses
    assert addresses
    assert all(re.match(r"https?://[^/]+/?", address) for address in addresses)


@pytest.mark.parametrize("source", [*catalog.load(), "own", "https://a.b/c.zip?d=e", "s3://a/b", "hf://datasets/a/b"])
def test_a_source_that_is_known_is_let_through(source: str) -> None:
    assert TypeAdapter(Settings).validate_python({"source": source}).source == source


@pytest.mark.parametrize("source", ["fashion", "Own", "data/own", "https:/a.b/c"])
def test_an_unknown_source_lists_the_known_ones(tmp_path: Path, source: str) -> None:
    (tmp_path / "params.yaml").write_text(f"dataset: {{source: '{source}'}}")
    known = ", ".join(catalog.load())
    with pytest.raises(ParamsError) as caught:
        params.load(tmp_path / "params.yaml", "dataset", Settings)
    message = str(caught.value)
    assert f"dataset.source: expected one of {known}, own (" in message
    assert message.endswith(f"got {source!r}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", "0" * 63),
        ("sha256", "0" * 65),
        ("sha256", "A" * 64),
        ("sha256", "0" * 64 + "\\n"),
        ("source", "http://[::1/a.zip"),
        ("source", ""),
        ("own", ""),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "params.yaml").write_text(f'dataset: {{{key}: "{value}"}}')
    with pytest.raises(ParamsError, match=f"dataset.{key}: "):
        params.load(tmp_path / "params.yaml", "dataset", Settings)


@pytest.mark.parametrize("value", ["", "0" * 64, hashlib.sha256(CONTENT).hexdigest()])
def test_a_hash_may_be_given_or_not(value: str) -> None:
    assert TypeAdapter(Settings).validate_python({"sha256": value}).sha256 == value
