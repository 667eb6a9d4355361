"""Servers on loopback that DVC's remotes are tried against: real ones, each with a place of its own."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, **environment: str) -> Iterator[None]:
    """A server that listens on the port while the block lasts."""
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})
    try:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, "the server does not answer"
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection((LOOPBACK, port)):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


class S3:
    """An S3 server (moto's) behind a line that can be cut, with a bucket `pictures` and one user who may use it."""

    def __init__(self, port: int, line: "Line") -> None:
        import boto3
        import requests

        self.address, self.line = f"http://{LOOPBACK}:{line.port}", line
        direct = f"http://{LOOPBACK}:{port}"
        first: dict[str, Any] = {"region_name": "us-east-1", "endpoint_url": direct}
        known = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        boto3.client("s3", **first, **known).create_bucket(Bucket="pictures")
        users = boto3.client("iam", **first, **known)
        users.create_user(UserName="ada")
        allowed = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
        users.put_user_policy(UserName="ada", PolicyName="s3", PolicyDocument=allowed)
        key = users.create_access_key(UserName="ada")["AccessKey"]
        self.credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        self.client = boto3.client("s3", **first, **{name.lower(): value for name, value in self.credentials.items()})
        requests.post(f"{direct}/moto-api/reset-auth", data="0", timeout=10).raise_for_status()  # from here on it looks

    def environment(self, **other: str) -> dict[str, str]:
        """What a user has set who may use it."""
        region = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": self.address, "AWS_MAX_ATTEMPTS": "1"}
        return {**self.credentials, **region, **other}


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """The S3 server."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    with (
        running(command, port, folder / "s3.log", INITIAL_NO_AUTH_ACTION_COUNT="1000000"),
        contextlib.closing(Line(port)) as line,
    ):
        yield S3(port, line)


@contextlib.contextmanager
def ssh(folder: Path) -> Iterator[tuple[int, Path]]:
    """OpenSSH's sshd: its port, and the key that opens it."""
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
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd of root wants to be without rights
    with running([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], port, folder / "sshd.log"):
        yield port, folder / "key"


@contextlib.contextmanager
def webdav(folder: Path) -> Iterator[str]:
    """A WebDAV server (wsgidav) with a folder for a user ada with the password `lovelace`: that folder's address."""
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
    """A web server that gives the files of a folder and takes none: its address."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", LOOPBACK, "--directory", str(folder), str(port)]
    with running(command, port, log):
        yield f"http://{LOOPBACK}:{port}"


class Line:
    """A line to a local port that breaks after so many bytes of answers, and is mended again."""

    def __init__(self, target: int) -> None:
        self._target, self._lock, self._left = target, threading.Lock(), float("inf")
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no connection any more."""
        self._listening.close()

    def break_after(self, count: int) -> None:
        """Let so many bytes of answers through, then none, and no new connection."""
        self._left = count

    def mend(self) -> None:
        """Be whole again."""
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
