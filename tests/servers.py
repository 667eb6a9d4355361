"""Servers on loopback for the tests: real ones for DVC's remotes, and stand-ins for downloads."""

import base64
import contextlib
import gzip
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

LOOPBACK = "127.0.0.1"
CONTENT = random.Random(0).randbytes(600_000)  # noqa: S311 - not a secret
PACKED = gzip.compress(CONTENT, mtime=0)  # the date would change the names of tests


class _QuietHandler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


class _WebServer:
    """Answers at `address` until it is closed."""

    def _serve(self, handler: type[BaseHTTPRequestHandler]) -> None:
        """Start to answer requests, on a free port."""
        self._http = ThreadingHTTPServer((LOOPBACK, 0), handler)
        self.address = f"http://{LOOPBACK}:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()


class Server(_WebServer):
    """A web server with `body` at every path. `behaviour` names how it fails; the lists record the requests."""

    def __init__(self) -> None:
        self.behaviour = "good"
        self.body = PACKED
        self.headers: dict[str, str] = {}
        self.requests: list[str | None] = []  # the Range header of each
        self.conditions: list[str | None] = []  # the If-Range header of each
        self.paths: list[str] = []
        self.stalled = threading.Event()
        outer = self

        class Handler(_QuietHandler):
            def do_GET(self) -> None:
                outer.answer(self)

        self._serve(Handler)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Record a request and answer it in the way of `behaviour`."""
        byte_range, condition = request.headers.get("Range"), request.headers.get("If-Range")
        self.requests.append(byte_range)
        self.conditions.append(condition)
        self.paths.append(request.path)
        versions = (None, self.headers.get("ETag"), self.headers.get("Last-Modified"))
        if condition not in versions and self.behaviour != "no conditions":
            byte_range = None  # the client has the beginning of another version (RFC 9110, 13.1.5)
        if self.behaviour == "redirect" and not request.path.startswith("/moved"):
            request.send_response(302)
            request.send_header("Location", "/moved" + request.path)
            request.end_headers()
        elif self.behaviour in ("missing", "busy", "busy once"):
            request.send_error(404 if self.behaviour == "missing" else 503)
            self.behaviour = "good" if self.behaviour == "busy once" else self.behaviour
        else:
            self._send(request, self._bytes(), byte_range)

    def _bytes(self) -> bytes:
        """The file as this server has it: a web page, other content, incomplete, huge or good."""
        return {
            "page": lambda: b"<!DOCTYPE html><html><title>Quota exceeded</title></html>",
            "other": lambda: gzip.compress(CONTENT[::-1]),
            "torn gzip": lambda: self.body[:-20],
            "bomb": lambda: gzip.compress(bytes(50 << 20)),
        }.get(self.behaviour, lambda: self.body)()

    def _send(self, request: BaseHTTPRequestHandler, body: bytes, byte_range: str | None) -> None:
        """Send the body, or its end if the client asked for a range."""
        start = 0
        if byte_range and self.behaviour != "no ranges":
            start = int(byte_range.removeprefix("bytes=").removesuffix("-"))
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
        if self.behaviour == "breaks" or (self.behaviour == "breaks once" and not byte_range):
            end = start + (len(body) - start) // 2
        request.wfile.write(body[start:end])


class Hub(_WebServer):
    """The part of the Hugging Face hub's HTTP interface that its library uses: the data set me/pets in `revisions`."""

    def __init__(self) -> None:
        self.revisions: dict[str, dict[str, bytes]] = {}
        self.paths: list[str] = []
        outer = self

        class Handler(_QuietHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.paths.append(self.path)
                status, headers, body = outer.answer(self.path.partition("?")[0], self.headers.get("Range"))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        self._serve(Handler)

    def answer(self, path: str, byte_range: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if parts[:4] == ["datasets", "me", "pets", "resolve"] and parts[4] in self.revisions:
            return self._file(self.revisions[parts[4]].get("/".join(parts[5:])), byte_range)
        if parts[:4] != ["api", "datasets", "me", "pets"]:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        endpoint, revision = [*parts[4:6], "main"][:2] if len(parts) > 4 else ("revision", "main")
        if revision not in self.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if endpoint == "tree":
            return self._tree(self.revisions[revision], "/".join(parts[6:]))
        return 200, {}, json.dumps({"id": "me/pets", "sha": "0" * 40}).encode()

    def _file(self, content: bytes | None, byte_range: str | None) -> tuple[int, dict[str, str], bytes]:
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        if byte_range is None:
            return 200, {}, content
        start, _, end = byte_range.removeprefix("bytes=").partition("-")
        part = content[int(start) : int(end) + 1 if end else None]
        return 206, {"Content-Range": f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"}, part

    def _tree(self, files: dict[str, bytes], folder: str) -> tuple[int, dict[str, str], bytes]:
        start = f"{folder}/" if folder else ""
        rows: dict[str, dict[str, Any]] = {}
        for path, content in files.items():
            if path.startswith(start):
                oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
                rows[path] = {"type": "file", "path": path, "size": len(content), "oid": oid}
                for parent in [str(p) for p in Path(path).parents if str(p).startswith(start) and str(p) != "."]:
                    rows[parent] = {"type": "directory", "path": parent, "size": 0, "oid": "0" * 40}
        if not rows:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        return 200, {"Content-Type": "application/json"}, json.dumps(list(rows.values())).encode()


class ModelHub(_WebServer):
    """The part of the Hugging Face hub's HTTP interface that uploads a model: what it received is in `files`.

    Files that end with one of LARGE go to its store for large files, the others into the commit.
    """

    LARGE = (".keras", ".onnx", ".tflite")

    def __init__(self, name: str, token: str) -> None:
        self.files: dict[str, bytes] = {}
        self.summary = ""
        self._name, self._token, self._stored = name, token, {}  # type: ignore[var-annotated]
        outer = self

        class Handler(_QuietHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                allowed = self.command == "PUT" or self.headers.get("Authorization") == f"Bearer {outer._token}"
                status, answer = outer.answer(self.path.partition("?")[0], body) if allowed else (401, {"error": "no"})
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815

        self._serve(Handler)

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON for a request."""
        model = f"/api/models/{self._name}"
        if path == "/api/repos/create":
            return 200, {"url": f"{self.address}/{self._name}", "name": self._name}
        if path == "/api/validate-yaml":  # of a README.md
            return 200, {"errors": [], "warnings": []}
        if path == f"{model}/preupload/main":
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = ["lfs" if name.endswith(self.LARGE) else "regular" for name in names]
            files = zip(names, modes, strict=True)
            return 200, {"files": [{"path": n, "uploadMode": mode, "shouldIgnore": False} for n, mode in files]}
        if path == f"/{self._name}.git/info/lfs/objects/batch":
            objects = [{"oid": o["oid"], "size": o["size"]} for o in json.loads(body)["objects"]]
            actions = [{"upload": {"href": f"{self.address}/store/{o['oid']}"}} for o in objects]
            both = zip(objects, actions, strict=True)
            return 200, {"transfer": "basic", "objects": [{**o, "actions": action} for o, action in both]}
        if path.startswith("/store/"):
            self._stored[path.rpartition("/")[2]] = body
            return 200, {}
        if path == f"{model}/commit/main":
            self._commit([json.loads(line) for line in body.splitlines()])
            url = f"{self.address}/{self._name}/commit/{'0' * 40}"
            return 200, {"success": True, "commitOid": "0" * 40, "commitUrl": url}
        if path == model or path.startswith(f"{model}/revision"):
            return 200, {"id": self._name, "sha": "0" * 40, "siblings": []}
        return 404, {"error": f"no {path}"}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    self.summary = value["summary"]
                case "file":
                    self.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    self.files[value["path"]] = self._stored[value["oid"]]


def free_port() -> int:
    """A free port."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, **environment: str) -> Iterator[None]:
    """Run a server for the length of the block; enter the block when it listens on the port."""
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})
    try:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, "the server does not start"
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection((LOOPBACK, port)):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


class S3:
    """moto's S3 server behind a connection that can be cut, with a bucket `pictures` and one user with access."""

    def __init__(self, port: int, proxy: "Proxy") -> None:
        import boto3
        import requests

        self.address, self.proxy = f"http://{LOOPBACK}:{proxy.port}", proxy
        direct = f"http://{LOOPBACK}:{port}"
        options: dict[str, Any] = {"region_name": "us-east-1", "endpoint_url": direct}
        root = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        boto3.client("s3", **options, **root).create_bucket(Bucket="pictures")
        users = boto3.client("iam", **options, **root)
        users.create_user(UserName="ada")
        allowed = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
        users.put_user_policy(UserName="ada", PolicyName="s3", PolicyDocument=allowed)
        key = users.create_access_key(UserName="ada")["AccessKey"]
        self.credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        self.client = boto3.client("s3", **options, **{name.lower(): value for name, value in self.credentials.items()})
        requests.post(
            f"{direct}/moto-api/reset-auth", data="0", timeout=10
        ).raise_for_status()  # from now on the server checks keys

    def environment(self, **other: str) -> dict[str, str]:
        """The environment of the user with access."""
        region = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": self.address, "AWS_MAX_ATTEMPTS": "1"}
        return {**self.credentials, **region, **other}


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """Run the S3 server."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    with (
        running(command, port, folder / "s3.log", INITIAL_NO_AUTH_ACTION_COUNT="1000000"),
        contextlib.closing(Proxy(port)) as proxy,
    ):
        yield S3(port, proxy)


@contextlib.contextmanager
def ssh(folder: Path) -> Iterator[tuple[int, Path]]:
    """Run OpenSSH's sshd. Yields its port and the path of a key that it accepts."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if not sshd or not shutil.which("ssh-keygen"):
        pytest.skip("OpenSSH's server is not installed (Debian: openssh-server)")
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "key.pub", folder / "authorized")
    port = free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress {LOOPBACK}:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd started by root needs it
    with running([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], port, folder / "sshd.log"):
        yield port, folder / "key"


@contextlib.contextmanager
def webdav(folder: Path) -> Iterator[str]:
    """Run a WebDAV server (wsgidav) for a user ada with the password `lovelace`. Yields her folder's address."""
    (folder / "dav/dcgan").mkdir(parents=True)
    port = free_port()
    (folder / "wsgidav.yaml").write_text(
        f"host: {LOOPBACK}\nport: {port}\nserver: cheroot\nprovider_mapping: {{/: {folder}/dav}}\n"
        "simple_dc: {user_mapping: {'*': {ada: {password: lovelace}}}}\n"
    )
    command = [sys.executable, "-m", "wsgidav.server.server_cli", "--config", str(folder / "wsgidav.yaml")]
    with running(command, port, folder / "wsgidav.log"):
        yield f"webdav://{LOOPBACK}:{port}/dcgan"


@contextlib.contextmanager
def http(folder: Path, log: Path) -> Iterator[str]:
    """Run a read-only web server for a folder. Yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", LOOPBACK, "--directory", str(folder), str(port)]
    with running(command, port, log):
        yield f"http://{LOOPBACK}:{port}"


class Proxy:
    """A proxy to a local port that can break after a number of bytes of answers, and be repaired."""

    def __init__(self, target: int) -> None:
        self._target, self._lock, self._left = target, threading.Lock(), float("inf")
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listening.close()

    def break_after(self, count: int) -> None:
        """Pass on this many bytes of answers, then close the connections and accept no new ones."""
        self._left = count

    def repair(self) -> None:
        """Pass on everything again."""
        self._left = float("inf")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if self._left <= 0:
                    near.close()
                    continue
                far = socket.create_connection((LOOPBACK, self._target))
                threading.Thread(target=self._pass_on, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(1 << 16):
                if counted:
                    with self._lock:
                        self._left -= len(part)
                    if self._left <= 0:
                        break
                to.sendall(part)
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
