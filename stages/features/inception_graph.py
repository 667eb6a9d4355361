"""Get the Inception graph: placed by hand or downloaded, read from its archive, verified."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import urlsplit

from stages import resume, shell
from stages.errors import StageError
from stages.features.settings import Settings
from stages.networks.inception import Inception
from stages.transfer import (
    MANUAL_FOLDER,
    SourceError,
    download,
    first_available,
    is_web_page,
    without_credentials,
)

MEMBER = "classify_image_graph_def.pb"
_MAX_BYTES = 256 << 20  # of a file, packed or unpacked; the published archive has 88,931,400
_Verified: TypeAlias = tuple[bytes, Inception]  # the graph as published, and loaded


def _within_limit(content: bytes) -> bytes:
    if len(content) > _MAX_BYTES:
        raise SourceError(f"more than {_MAX_BYTES:,} bytes")
    return content


def _graph(path: Path) -> bytes:
    """The bytes of the graph in a .tgz, or of a file that is not gzip. Raises SourceError.

    Reads the member by its name; extracts nothing to a path from the archive. Unpacks the whole archive first, which
    checks its end and its checksum.
    """
    if is_web_page(path):
        raise SourceError("got a web page instead of the file (an error or quota page?)")
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not is_gzip:
                return _within_limit(file.read(_MAX_BYTES + 1))
            with gzip.open(file) as stream:
                unpacked = io.BytesIO(_within_limit(stream.read(_MAX_BYTES + 1)))
        with tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member) if PurePosixPath(member.name).name == MEMBER else None
                if content is not None and not member.issparse():  # a sparse member can claim any size
                    return content.read()
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, KeyError) as error:
        raise SourceError(f"incomplete, or not a .tgz ({error})") from error
    raise SourceError(f"the archive has no {MEMBER}")


def _verified(path: Path, expected: str) -> _Verified:
    """The graph in a file. Raises SourceError if its hash is not the expected one, or if it is not Inception."""
    content = _graph(path)
    digest = hashlib.sha256(content).hexdigest()
    if expected and digest != expected:
        raise SourceError(f"the SHA-256 of {MEMBER} is {digest}, expected {expected} (features.inception_sha256)")
    try:
        return content, Inception(content)
    except ValueError as error:
        raise SourceError(f"not the Inception graph: {error}") from error


def _from_folder(place: Path, name: str, settings: Settings) -> _Verified:
    """The graph from a folder with the archive or the unpacked graph. Raises SourceError."""
    path = next((place / file for file in (name, MEMBER) if (place / file).is_file()), None)
    if path is None:
        raise SourceError(f"neither {name} nor {MEMBER} is there")
    return _verified(path, settings.inception_sha256)


def _from_address(name: str, settings: Settings) -> _Verified:
    """The graph from its address. The state folder keeps an unfinished download. Raises SourceError."""
    key = hashlib.sha256(settings.inception_url.encode()).hexdigest()[:16]
    with resume.unfinished("features", key, wait=shell.say) as folder:
        part = folder / f"{name}.part"
        download(settings.inception_url, part, pinned=False)
        try:
            return _verified(part, settings.inception_sha256)
        except SourceError:
            part.unlink()  # complete, but wrong: resuming it would never help
            raise


def fetch(settings: Settings, target: Path) -> Inception:
    """The Inception network that the settings name, loaded. Writes its graph, as published, to `target`.

    Tries the folder for files placed by hand, then the address. Raises a StageError that lists the places
    tried and says how to place the file by hand.
    """
    manual, url = MANUAL_FOLDER / "inception", settings.inception_url
    name = Path(urlsplit(url).path).name or "inception.tgz"
    places: dict[str, Callable[[], _Verified]] = {
        str(manual): partial(_from_folder, manual, name, settings),
        without_credentials(url): partial(_from_address, name, settings),
    }
    try:
        place, (content, network) = first_available(places)
    except SourceError as error:
        raise StageError(
            f"features.network: inception: the graph {error}\n"
            f"To place it by hand: get {name} (or the {MEMBER} in it),\n"
            f"put it into {manual}/ and run the same command again. `features.network: judge` needs no download."
        ) from None
    target.write_bytes(content)
    check = "has the expected hash" if settings.inception_sha256 else "dvc.lock records its hash"
    shell.say(f"Inception graph from {place}, {len(content):,} bytes; {check}")
    return network
