"""Data sets from Debian packages, without root: apt downloads the package, dpkg-deb unpacks it."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from stages import shell
from stages.download.catalog import DebianPackage
from stages.resume import state_folder
from stages.transfer import SourceError


@contextlib.contextmanager
def package_folders(packages: Sequence[DebianPackage], names: Collection[str]) -> Iterator[list[Path]]:
    """The folder of each package: where it is installed, else a temporary folder with a downloaded copy.

    A package is installed if its folder has a file of one of these names: other packages can use the same folder.
    Raises SourceError if apt is missing, the network is down, or apt does not know a package.
    """
    installed = {package: Path(package.folder) for package in packages}
    missing = [package for package, folder in installed.items() if not any((folder / name).is_file() for name in names)]
    if not missing:
        yield list(installed.values())
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SourceError(f"{missing[0].package} is not installed, and apt-get is not available to download it")
    private = state_folder() / "apt"
    tree = private / "tree"
    try:
        for archive in _download([package.package for package in missing], private):
            _run(["dpkg-deb", "--extract", str(archive), str(tree)], private)
        yield [tree / folder.relative_to("/") if at in missing else folder for at, folder in installed.items()]
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _download(packages: Sequence[str], private: Path) -> list[Path]:
    """Download packages. apt's lists, cache and state are in `private`, and apt checks the archives' signatures."""
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (private / name).mkdir(parents=True, exist_ok=True)
    options = [
        *("-o", f"Dir::State={private}/state", "-o", f"Dir::Cache={private}/cache"),
        *("-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "Debug::NoLocking=1"),
        *("-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=3"),
    ]
    plural = "s" if len(packages) > 1 else ""
    shell.say(f"looking for the Debian package{plural} {' and '.join(packages)} ...")
    update_log = _run(["apt-get", *options, "-qq", "update"], private)
    try:
        quiet = "-q=0" if sys.stderr.isatty() else "-q"
        _run(["apt-get", *options, quiet, "download", *packages], private / "packages")
    except SourceError as error:
        # If the lists cannot be downloaded, `update` only warns, and `download` then does not know the packages.
        warnings = [line for line in update_log.splitlines() if line.startswith("W:")]
        raise SourceError(f"{error}; {warnings[0]}" if warnings else str(error)) from error
    archives = sorted((private / "packages").glob("*.deb"))
    if len(archives) < len(packages):
        raise SourceError(f"apt-get downloaded {len(archives)} of {len(packages)} packages")
    return archives


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
