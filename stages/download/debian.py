"""Data sets from Debian packages, without root: apt downloads the package, dpkg-deb unpacks it."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from stages import shell
from stages.resume import state_folder
from stages.transfer import SourceError


@contextlib.contextmanager
def package_folder(package: str, installed: Path) -> Iterator[Path]:
    """The folder of a Debian package's files: `installed` if it exists, else a temporary folder with a downloaded copy.

    Raises SourceError if apt is missing, the network is down, or apt does not know the package.
    """
    if installed.is_dir():
        yield installed
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SourceError("not installed, and apt-get is not available to download it")
    private = state_folder() / "apt"
    try:
        archive = _download(package, private)
        _run(["dpkg-deb", "--extract", str(archive), str(private / "tree")], private)
        yield private / "tree" / installed.relative_to("/")
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _download(package: str, private: Path) -> Path:
    """Download a package. apt's lists, cache and state are in `private`, and apt checks the archive's signatures."""
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (private / name).mkdir(parents=True, exist_ok=True)
    options = [
        *("-o", f"Dir::State={private}/state", "-o", f"Dir::Cache={private}/cache"),
        *("-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "Debug::NoLocking=1"),
        *("-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=3"),
    ]
    shell.say(f"looking for the Debian package {package} ...")
    update_log = _run(["apt-get", *options, "-qq", "update"], private)
    try:
        quiet = "-q=0" if sys.stderr.isatty() else "-q"
        _run(["apt-get", *options, quiet, "download", package], private / "packages")
    except SourceError as error:
        # If the lists cannot be downloaded, `update` only warns, and `download` then does not know the package.
        warnings = [line for line in update_log.splitlines() if line.startswith("W:")]
        raise SourceError(f"{error}; {warnings[0]}" if warnings else str(error)) from error
    archives = sorted((private / "packages").glob(f"{package}_*.deb"))
    if not archives:
        raise SourceError("apt-get downloaded nothing")
    return archives[-1]


def _run(command: list[str], folder: Path) -> str:
    """Run a command and return its stderr; its stdout, the progress, goes to this process's stderr.

    Raises SourceError with its last error message if it fails.
    """
    result = subprocess.run(  # noqa: S603 - fixed commands
        command,
        cwd=folder,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith(("E:", "dpkg"))] or ["no message"]
        raise SourceError(f"{command[0]} failed: {errors[-1]}")
    return result.stderr
