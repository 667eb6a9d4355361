"""Get the files of a data set of the catalog, verified: placed by hand, from an address, or from a Debian package.

Mirrors compress the same bytes differently. So the stage keeps and hashes the decompressed file if the catalog says
`unpack`, and its output is the same for every source. Only a file with a `git_blob` can have the bytes of either build.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from stages import shell
from stages.download import debian, kaggle
from stages.download.catalog import DataSet, File
from stages.errors import StageError
from stages.resume import unfinished
from stages.transfer import CHUNK, MANUAL_FOLDER, SourceError, download, first_available, is_web_page

_FROM_KAGGLE = ", as Kaggle has it"


def _decompressed(stream: IO[bytes]) -> IO[bytes]:
    """The stream, decompressed if it is gzip."""
    head = stream.read(2)
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream) if head == b"\x1f\x8b" else stream  # type: ignore[return-value]


def _git_blob(path: Path) -> str:
    """The ID of a file in a Git repository: the SHA-1 of a header and the content (git-hash-object)."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _copy_checked(stream: IO[bytes], expected: File, target: Path) -> None:
    """Copy a stream and compare its size and hashes with the catalog. Raises SourceError if one differs.

    Writes at most the expected size plus one chunk: this stops a gzip bomb.
    """
    hashes = {"SHA-256": (hashlib.sha256(), expected.sha256)}
    hashes["MD5"] = (hashlib.md5(usedforsecurity=False), expected.md5)
    size = 0
    with target.open("wb") as out:
        while (expected.bytes is None or size <= expected.bytes) and (chunk := stream.read(CHUNK)):
            for digest, _ in hashes.values():
                digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
    if expected.git_blob and _git_blob(target) == expected.git_blob:
        return
    if expected.bytes is not None and size != expected.bytes:
        more = "more than " if size > expected.bytes else ""
        raise SourceError(f"{more}{min(size, expected.bytes):,} bytes, expected {expected.bytes:,}")
    for name, (digest, expected_hash) in hashes.items():
        if expected_hash and digest.hexdigest() != expected_hash:
            raise SourceError(
                f"the {name} is {digest.hexdigest()}, expected {expected_hash}: another version, or damaged"
            )


def _copy_verified(source: Path, expected: File, target: Path) -> None:
    """Copy `source` to `target`, unpacked if the catalog says so, and verify it against the catalog.

    Raises SourceError and removes `target` if the file is incomplete, a web page, or of another size or hash.
    """
    try:
        if is_web_page(source):
            raise SourceError("got a web page instead of the file (an error or quota page?)")
        with source.open("rb") as raw:
            _copy_checked(_decompressed(raw) if expected.unpack else raw, expected, target)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        target.unlink(missing_ok=True)
        raise SourceError(f"incomplete or not gzip ({error})") from error
    except SourceError:
        target.unlink(missing_ok=True)
        raise


def _display_name(file: File) -> str:
    return f"{file.name}[.gz]" if file.unpack else file.name


def _from_folders(dataset: DataSet, places: Sequence[Path], folder: Path) -> None:
    """Copy every file from the folder that has it, packed or not. Raises SourceError naming the file."""
    for file in dataset.files:
        paths = [place / name for place in places for name in (file.name, file.served_name)]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise SourceError(f"{_display_name(file)} is missing")
        try:
            _copy_verified(path, file, folder / file.name)
        except SourceError as error:
            raise SourceError(f"{path.name}: {error}") from error


def _from_address(url: str, file: File, part: Path, target: Path) -> None:
    """Download one file from one address to `part`, and copy it to `target`. Raises SourceError."""
    resumed = part.exists()
    download(url, part, pinned=file.pinned)
    try:
        _copy_verified(part, file, target)
    except SourceError:
        part.unlink()  # complete, but wrong: resuming it would never help
        if not resumed:
            raise
        _from_address(url, file, part, target)  # another run or address may have begun `part` with other bytes


def _from_addresses(dataset: DataSet, address: str, folder: Path, parts: Path) -> None:
    """Download every file from below `address`, or from its own addresses. Raises SourceError naming the file."""
    for file in dataset.files:
        part = parts / f"{file.served_name}.part"
        for i, url in enumerate(file.addresses or (f"{address}/{file.served_name}",)):
            try:
                _from_address(url, file, part, folder / file.name)
                break
            except SourceError as error:
                if i + 1 >= len(file.addresses):
                    raise SourceError(f"{file.served_name}: {error}") from error


def _from_debian(dataset: DataSet, folder: Path) -> None:
    """Copy every file from the Debian packages. Raises SourceError."""
    names = {name for file in dataset.files for name in (file.name, file.served_name)}
    with debian.package_folders(dataset.debian, names) as places:
        _from_folders(dataset, places, folder)


def _places(name: str, dataset: DataSet, folder: Path, parts: Path, manual: Path) -> dict[str, Callable[[], None]]:
    """The places to try, in order, each with the function that gets all files from there."""
    by_hand = manual / name
    places: dict[str, Callable[[], None]] = {str(by_hand): partial(_from_folders, dataset, [by_hand], folder)}
    if dataset.kaggle:
        places[f"{by_hand}{_FROM_KAGGLE}"] = partial(kaggle.copy, dataset, by_hand, folder)
    for address in dataset.addresses:
        places[address] = partial(_from_addresses, dataset, address, folder, parts)
    if all(file.addresses for file in dataset.files):
        places["the files' own addresses"] = partial(_from_addresses, dataset, "", folder, parts)
    if dataset.debian:
        plural = "s" if len(dataset.debian) > 1 else ""
        packages = " and ".join(package.package for package in dataset.debian)
        places[f"Debian package{plural} {packages}"] = partial(_from_debian, dataset, folder)
    return places


def fetch(name: str, dataset: DataSet, folder: Path, manual: Path = MANUAL_FOLDER) -> tuple[str, bool]:
    """Put every file of `dataset`, verified, into `folder`.

    Returns the place that they came from, and whether every file has the expected hash.

    Tries the folder for files placed by hand, then each address, then the Debian packages. Raises a StageError that
    lists the places tried and says how to place the files by hand.
    """
    with unfinished("download", name, wait=shell.say) as parts:
        try:
            place, _ = first_available(_places(name, dataset, folder, parts, manual))
            return place, all(file.pinned for file in dataset.files) and not place.endswith(_FROM_KAGGLE)
        except SourceError as error:
            files = ", ".join(map(_display_name, dataset.files))
            files += ", or the zip and the CSV files of Kaggle" if dataset.kaggle else ""
            raise StageError(
                f"{dataset.title} {error}\n"
                f"To place the files by hand: get {files} (see {dataset.homepage}),\n"
                f"put them into {manual / name}/ and run the same command again. Their sizes and hashes are checked "
                f"where the catalog has them."
            ) from None
