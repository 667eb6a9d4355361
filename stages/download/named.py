"""Get one file of a data set into its final form, verified: from a place by hand, an address, a Debian package.

Mirrors pack the same bytes differently, so what is kept and hashed is the decompressed file: the output of the stage is
then the same wherever it came from.
"""

import contextlib
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from stages import shell
from stages.download.catalog import DataSet, DebianPackage, File
from stages.errors import StageError
from stages.resume import state_folder, unfinished
from stages.transfer import CHUNK, MANUAL_FOLDER, SourceError, download, is_web_page


def _decompressed(stream: IO[bytes]) -> IO[bytes]:
    """The stream itself, or what it unpacks to where it begins as gzip does."""
    head = stream.read(2)
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream) if head == b"\x1f\x8b" else stream  # type: ignore[return-value]


def verified(source: Path, expected: File, target: Path) -> None:
    """Copy `source` to `target`, unpacked where it is to be, and hold it against the catalog.

    Raises SourceError where the content is torn, of another size, a web page, or has another hash; `target` is then not
    there. Never writes more than the expected size plus one chunk (a gzip bomb ends there).
    """
    hashes = {"SHA-256": (hashlib.sha256(), expected.sha256)}
    hashes["MD5"] = (hashlib.md5(usedforsecurity=False), expected.md5)
    size = 0
    try:
        if is_web_page(source):
            raise SourceError("a web page came instead of the file (an error or a quota page?)")
        with source.open("rb") as raw, target.open("wb") as out:
            stream = _decompressed(raw) if expected.unpack else raw
            while (expected.bytes is None or size <= expected.bytes) and (chunk := stream.read(CHUNK)):
                for digest, _ in hashes.values():
                    digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
        if expected.bytes is not None and size != expected.bytes:
            more = "more than " if size > expected.bytes else ""
            raise SourceError(f"{more}{min(size, expected.bytes):,} bytes, expected {expected.bytes:,}")
        for name, (digest, known) in hashes.items():
            if known and digest.hexdigest() != known:
                raise SourceError(f"the {name} is {digest.hexdigest()}, expected {known}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        target.unlink(missing_ok=True)
        raise SourceError(f"torn or not gzip ({error})") from error
    except SourceError:
        target.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def debian_folder(package: str, installed: Path) -> Iterator[Path]:
    """The folder of the files that a Debian package carries: installed, or downloaded and unpacked without root.

    apt gets lists, cache and state of its own in a private folder, and checks the archive's signatures as ever. Raises
    SourceError where there is no apt, no network or no such package.
    """
    if installed.is_dir():
        yield installed
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SourceError("not installed, and there is no apt-get here to download it")
    private = state_folder() / "apt"
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (private / name).mkdir(parents=True, exist_ok=True)
    options = [
        *("-o", f"Dir::State={private}/state", "-o", f"Dir::Cache={private}/cache"),
        *("-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "Debug::NoLocking=1"),
        *("-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=3"),
    ]
    try:
        shell.say(f"looking for the Debian package {package} ...")
        update = _run(["apt-get", *options, "-qq", "update"], private)
        try:
            quiet = "-q=0" if sys.stderr.isatty() else "-q"
            _run(["apt-get", *options, quiet, "download", package], private / "packages")
        except SourceError as error:
            # Where the lists could not be had, update only warns, and download then knows of no such package.
            warnings = [line for line in update.splitlines() if line.startswith("W:")]
            raise SourceError(f"{error}; {warnings[0]}" if warnings else str(error)) from error
        archives = sorted((private / "packages").glob(f"{package}_*.deb"))
        if not archives:
            raise SourceError("apt-get downloaded nothing")
        _run(["dpkg-deb", "--extract", str(archives[-1]), str(private / "tree")], private)
        yield private / "tree" / installed.relative_to("/")
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _run(command: list[str], folder: Path) -> str:
    """Run a command and return its complaints; what it tells of its progress goes to the person who watches.

    Raises SourceError with its last complaint where it fails.
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
        lines = [line for line in result.stderr.splitlines() if line.startswith(("E:", "dpkg"))] or ["no message"]
        raise SourceError(f"{command[0]} failed: {lines[-1]}")
    return result.stderr


def _from_folder(dataset: DataSet, place: Path, folder: Path) -> None:
    """Every file from a folder that has them, packed or not. Raises SourceError naming the file."""
    for file in dataset.files:
        names = dict.fromkeys((file.name, file.served))
        found = [place / name for name in names if (place / name).is_file()]
        if not found:
            raise SourceError(f"{_either(file)} is not there")
        try:
            verified(found[0], file, folder / file.name)
        except SourceError as error:
            raise SourceError(f"{found[0].name}: {error}") from error


def _either(file: File) -> str:
    return f"{file.name}[.gz]" if file.unpack else file.name


def _from_address(url: str, file: File, part: Path, target: Path) -> None:
    """One file from one address, by way of `part`. Raises SourceError."""
    begun = part.exists()
    download(url, part, pinned=file.pinned)
    try:
        verified(part, file, target)
    except SourceError:
        part.unlink()  # whole, and wrong: going on from it would never be right
        if not begun:
            raise
        _from_address(url, file, part, target)  # what another run or address had begun may be of other bytes


def _from_addresses(dataset: DataSet, address: str, folder: Path, parts: Path) -> None:
    """Every file from an address (or from addresses of their own), by way of `parts`. Raises SourceError naming it."""
    for file in dataset.files:
        part = parts / f"{file.served}.part"
        for i, url in enumerate(file.addresses or (f"{address}/{file.served}",)):
            try:
                _from_address(url, file, part, folder / file.name)
                break
            except SourceError as error:
                if i + 1 >= len(file.addresses):
                    raise SourceError(f"{file.served}: {error}") from error


def _from_debian(dataset: DataSet, package: DebianPackage, folder: Path) -> None:
    """Every file from a Debian package. Raises SourceError."""
    with debian_folder(package.package, Path(package.folder)) as place:
        _from_folder(dataset, place, folder)


def fetch(name: str, dataset: DataSet, folder: Path, manual: Path = MANUAL_FOLDER) -> str:
    """Every file of `dataset`, verified, into `folder`; returns where they came from.

    Tries what was placed by hand, then each address, then the Debian package. Raises StageError that lists what was
    tried and says how to place the files by hand.
    """
    with unfinished("download", name, wait=shell.say) as parts:
        sources: dict[str, Callable[[], None]] = {
            str(manual / name): partial(_from_folder, dataset, manual / name, folder),
            **{address: partial(_from_addresses, dataset, address, folder, parts) for address in dataset.addresses},
        }
        if all(file.addresses for file in dataset.files):
            sources["the files' own addresses"] = partial(_from_addresses, dataset, "", folder, parts)
        if dataset.debian is not None:
            sources[f"Debian package {dataset.debian.package}"] = partial(_from_debian, dataset, dataset.debian, folder)
        tried = ""
        for source, get in sources.items():
            try:
                get()
            except SourceError as error:
                tried += f"  - {source}: {error}\n"
            else:
                return source
        files = ", ".join(map(_either, dataset.files))
        raise StageError(
            f"{dataset.title} could not be had from anywhere. Tried:\n{tried}"
            f"To place it by hand: get {files} (see {dataset.homepage}),\n"
            f"put them into {manual / name}/ and run the same command again. They are checked by size and hash as far "
            f"as these are known."
        )
