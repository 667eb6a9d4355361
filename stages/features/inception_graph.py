"""Bring the Inception graph in: placed by hand or downloaded, taken out of its archive, verified."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from stages import resume, shell
from stages.errors import StageError
from stages.features.settings import Settings
from stages.networks.inception import Inception
from stages.transfer import MANUAL_FOLDER, SourceError, download, is_web_page, without_credentials

MEMBER = "classify_image_graph_def.pb"
_MOST = 256 << 20  # bytes that a file, or what it unpacks to, may have; the published archive has 88,931,400


def _limited(content: bytes) -> bytes:
    if len(content) > _MOST:
        raise SourceError(f"more than {_MOST:,} bytes")
    return content


def _graph(path: Path) -> bytes:
    """The bytes of the graph in a .tgz, or of a file that is no .tgz. Raises SourceError.

    The member is found by its name and read; nothing is extracted to where an archive says. All of the archive is
    unpacked before, so that its end and its checksum are seen.
    """
    if is_web_page(path):
        raise SourceError("a web page came instead of the file (an error or a quota page?)")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return _limited(file.read(_MOST + 1))
            with gzip.open(file) as stream:
                unpacked = io.BytesIO(_limited(stream.read(_MOST + 1)))
        with tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for member in archive:
                found = archive.extractfile(member) if PurePosixPath(member.name).name == MEMBER else None
                if found is not None and not member.issparse():  # a sparse one may be said to have any size
                    return found.read()
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, KeyError) as error:
        raise SourceError(f"torn, or no .tgz ({error})") from error
    raise SourceError(f"there is no {MEMBER} in it")


def _verified(path: Path, expected: str) -> tuple[bytes, Inception]:
    """The graph in a file, as bytes and at work. Raises SourceError where it has another hash or is not fit."""
    content = _graph(path)
    came = hashlib.sha256(content).hexdigest()
    if expected and came != expected:
        raise SourceError(f"the SHA-256 of {MEMBER} is {came}, expected {expected} (features.inception_sha256)")
    try:
        return content, Inception(content)
    except ValueError as error:
        raise SourceError(f"not the Inception graph: {error}") from error


def _from_folder(place: Path, name: str, settings: Settings) -> tuple[bytes, Inception]:
    """The graph from a folder that has the archive or what is in it. Raises SourceError."""
    found = [place / file for file in (name, MEMBER) if (place / file).is_file()]
    if not found:
        raise SourceError(f"neither {name} nor {MEMBER} is there")
    return _verified(found[0], settings.inception_sha256)


def _from_address(name: str, settings: Settings) -> tuple[bytes, Inception]:
    """The graph from its address; what has arrived of it waits in the state folder. Raises SourceError."""
    key = hashlib.sha256(settings.inception_url.encode()).hexdigest()[:16]
    with resume.unfinished("features", key, wait=shell.say) as folder:
        part = folder / f"{name}.part"
        download(settings.inception_url, part, pinned=False)
        try:
            return _verified(part, settings.inception_sha256)
        except SourceError:
            part.unlink()  # whole, and wrong: going on from it would never be right
            raise


def fetch(settings: Settings, target: Path) -> Inception:
    """The graph that the settings ask for, at work; its bytes, as published, go to `target`.

    Tries what was placed by hand, then the address. Raises StageError that lists what was tried and says how to place
    the file by hand.
    """
    place, url = MANUAL_FOLDER / "inception", settings.inception_url
    name = Path(urlsplit(url).path).name or "inception.tgz"
    sources: dict[str, Callable[[], tuple[bytes, Inception]]] = {
        str(place): partial(_from_folder, place, name, settings),
        without_credentials(url): partial(_from_address, name, settings),
    }
    tried = ""
    for source, get in sources.items():
        try:
            content, network = get()
        except SourceError as error:
            tried += f"  - {source}: {error}\n"
        else:
            target.write_bytes(content)
            pinned = "has its known hash" if settings.inception_sha256 else "dvc.lock holds its hash from now on"
            shell.say(f"Inception graph from {source}, {len(content):,} bytes; {pinned}")
            return network
    raise StageError(
        f"features.network: inception: its graph could not be had from anywhere. Tried:\n{tried}"
        f"To place it by hand: get {name} (or the {MEMBER} in it),\n"
        f"put it into {place}/ and run the same command again. `features.network: judge` needs no download."
    )
