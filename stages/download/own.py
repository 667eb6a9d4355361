"""Pictures from anywhere: a folder or an archive of this machine, or what an address holds.

What ends up in data/raw is an archive (or parquet tables) as it came; a folder becomes a zip, uncompressed, with the
same bytes for the same files. So a year later `dvc pull` gives back one file and not two hundred thousand.
"""

import functools
import hashlib
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from stages import artifacts, pictures, shell
from stages.artifacts import state_folder
from stages.download import fetch
from stages.download.settings import OWN, Settings
from stages.errors import StageError
from stages.progress import Progress

_CHUNK = 1 << 20
_ATTEMPTS = 4
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hf": "hf"}
# What an archive begins with; a tar has its mark further in.
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PAR1")
Entry = tuple[str, int, Callable[[], AbstractContextManager[Any]]]


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith(_MAGIC) or head[257:262] == b"ustar"


def _pack(entries: Sequence[Entry], target: Path) -> None:
    """A zip of (name, bytes, how to open it) entries: stored, in the order of the names, without dates."""
    total = sum(size for _, size, _ in entries)
    with (
        Progress("gather", total, "bytes") as progress,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, _, opened in sorted(entries, key=lambda entry: entry[0]):
            info = zipfile.ZipInfo(name)  # its date is 1980
            with opened() as source, archive.open(info, "w", force_zip64=True) as out:
                while chunk := source.read(_CHUNK):
                    out.write(chunk)
                    progress.advance(len(chunk))


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder; links to files are followed, links to folders are not (they may go in circles)."""
    for place, _, names in os.walk(folder):
        for name in names:
            if (path := Path(place) / name).is_file():
                yield path


def _from_disk(path: Path, folder: Path) -> list[str]:
    """A folder of pictures, or an archive of them, of this machine."""
    if path.is_file():
        if not _is_archive(path):
            raise StageError(
                f"dataset.own: {path}: neither a folder nor a zip, tar (.gz, .bz2, .xz, .zst) or parquet file"
            )
        shutil.copyfile(path, folder / path.name)
        return [path.name]
    if not path.is_dir():
        raise StageError(f"dataset.own: {path}: there is no such folder or archive")
    root = path.resolve()
    entries: list[Entry] = []
    for file in _walk(root):
        name = file.relative_to(root).as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if pictures.is_candidate(name):
            entries.append((name, file.stat().st_size, functools.partial(file.open, "rb")))
    if not entries:
        raise StageError(f"dataset.own: {path}: no pictures in it ({', '.join(sorted(pictures.EXTENSIONS - {''}))})")
    _pack(entries, folder / "pictures.zip")
    return ["pictures.zip"]


def _from_web(url: str, folder: Path, parts: Path) -> list[str]:
    """An archive from a web server. Raises SourceError."""
    name = Path(urlsplit(url).path).name or "pictures"
    part = parts / f"{name}.part"
    fetch.fetch_address(url, part)
    if fetch.is_page(part):
        part.unlink()
        raise fetch.SourceError("a web page came instead of an archive (an error, a quota or a confirmation page?)")
    if not _is_archive(part):
        part.unlink()
        raise fetch.SourceError("what came is neither a zip, a tar (.gz, .bz2, .xz, .zst) nor a parquet file")
    shutil.move(part, folder / name)
    return [name]


def _copy(system: Any, place: str, part: Path) -> None:
    """One file from a store that fsspec knows, going on where an earlier try stopped. Raises SourceError."""
    about = system.info(place)
    stamp = part.with_name(f"{part.name}.stamp")
    now = repr([about.get(name) for name in ("size", "ETag", "etag", "LastModified", "mtime", "blob_id")])
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != now:
        part.unlink(missing_ok=True)
        stamp.write_text(now, encoding="utf-8")
    for attempt in range(_ATTEMPTS):
        try:
            have = part.stat().st_size if part.exists() else 0
            with (
                system.open(place, "rb") as source,
                part.open("ab") as out,
                Progress(f"download {part.stem}", about["size"], "bytes") as progress,
            ):
                source.seek(have)
                progress.advance(have)
                while chunk := source.read(_CHUNK):
                    out.write(chunk)
                    progress.advance(len(chunk))
            if part.stat().st_size != about["size"]:
                raise OSError(f"{part.stat().st_size:,} of {about['size']:,} bytes")
            stamp.unlink()
            return
        except OSError as error:
            if attempt == _ATTEMPTS - 1 or isinstance(error, (FileNotFoundError, PermissionError)):
                raise fetch.SourceError(f"{error} (tries: {attempt + 1})") from error
            shell.say(f"{place}: {error}; trying again in {2**attempt} s")
            time.sleep(2**attempt)


def _from_store(url: str, folder: Path, parts: Path) -> list[str]:
    """An archive, parquet tables or a folder of pictures from anything that fsspec knows. Raises SourceError."""
    scheme = url.split("://")[0]
    try:
        system, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(scheme)
        hint = f"; .venv/bin/pip install -e '.[{extra}]'" if extra else ""
        raise fetch.SourceError(f"{error}{hint}") from error
    try:
        if system.isfile(root):
            found = {root: system.info(root)}
        else:
            found = {path: about for path, about in system.find(root, detail=True).items() if about["type"] == "file"}
    except Exception as error:  # each store's library has exceptions of its own
        raise fetch.SourceError(f"{type(error).__name__}: {error}") from error
    names = {path: path.removeprefix(root).lstrip("/") or path.rsplit("/", 1)[-1] for path in found}
    tables = [path for path in found if path.endswith(".parquet")]
    if tables or list(found) == [root]:
        written = []
        for path in sorted(tables or found):
            name = names[path].replace("/", "-")
            _copy(system, path, parts / f"{name}.part")
            if not _is_archive(parts / f"{name}.part"):
                raise fetch.SourceError(f"{path}: neither a zip, a tar (.gz, .bz2, .xz, .zst) nor a parquet file")
            shutil.move(parts / f"{name}.part", folder / name)
            written.append(name)
        return written
    entries: list[Entry] = [
        (names[path], about["size"], functools.partial(system.open, path, "rb"))
        for path, about in found.items()
        if pictures.is_candidate(names[path])
    ]
    if not entries:
        raise fetch.SourceError("no pictures, no archive and no parquet tables there")
    _pack(entries, folder / "pictures.zip")
    return ["pictures.zip"]


def fetch_own(settings: Settings, folder: Path) -> dict[str, Any]:
    """What `settings.source` points to, into `folder`; returns what source.json says of it.

    Raises StageError with the reason, and how to bring the pictures in by hand.
    """
    source = settings.source
    if source == OWN:
        path = Path(settings.own).expanduser()
        files, name, homepage = _from_disk(path, folder), path.name, ""
    else:
        address = urlsplit(source)
        name, homepage = Path(address.path).name or address.netloc, source if address.scheme.startswith("http") else ""
        parts = state_folder() / "download" / hashlib.sha256(source.encode()).hexdigest()[:16]
        parts.mkdir(parents=True, exist_ok=True)
        get = _from_web if address.scheme in ("http", "https") else _from_store
        try:
            files = get(source, folder, parts)
        except fetch.SourceError as error:
            raise StageError(
                f"{source}: {error}\n"
                f"To bring the pictures in by hand: put the archive, or the pictures, into data/own (or name another "
                f"place as dataset.own), set dataset.source: {OWN} and run the same command again."
            ) from None
        shutil.rmtree(parts, ignore_errors=True)
    hashes = {name: artifacts.sha256(folder / name) for name in files}
    if settings.sha256 and list(hashes.values()) != [settings.sha256]:
        came = ", ".join(f"{name} {value}" for name, value in hashes.items())
        raise StageError(f"dataset.sha256: expected {settings.sha256}, got {came}")
    return {
        "name": name,
        "title": settings.title or name,
        "homepage": homepage,
        "licence": settings.licence or "not stated",
        "citation": "",
        "format": "parquet" if all(name.endswith(".parquet") for name in files) else "archive",
        "classes": [],
        "files": [{"name": n, "bytes": (folder / n).stat().st_size, "sha256": hashes[n]} for n in files],
    }
