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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from stages import artifacts, image_names, resume, shell, transfer
from stages.download.settings import OWN, Settings
from stages.errors import StageError
from stages.progress import Progress
from stages.transfer import without_credentials

_CHUNK = 1 << 20
_ATTEMPTS = 4
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hf": "hf"}
# What an archive begins with; a tar has its mark further in.
_PARQUET = b"PAR1"
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", _PARQUET)
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".tzst", ".tar.zst")
_NO_ARCHIVE = "neither a zip nor a tar (.gz, .bz2, .xz, .zst) nor a parquet file"
Opener = Callable[[], AbstractContextManager[Any]]
Entry = tuple[str, int | None, Opener]  # the path within, bytes where they are known, how to open it


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith(_MAGIC) or head[257:262] == b"ustar"


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_PARQUET)) == _PARQUET


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _whole(names: Iterable[str], endings: tuple[str, ...]) -> list[str]:
    """The names of a folder that end so, but for hidden ones, in order."""
    return sorted(n for n in names if n.endswith(endings) and not _is_hidden(n))


def _say_left_out(names: Iterable[str]) -> None:
    """Tell of what lies among the pictures and is none, by its name; hidden files nobody misses."""
    if others := sorted(name for name in names if not image_names.is_image_name(name) and not _is_hidden(name)):
        shell.say(f"left out, being no pictures by their names: {len(others):,} files (first: {repr(others[0])[1:-1]})")


def _flat(names: Sequence[str]) -> dict[str, str]:
    """Names in one folder for paths: the folders that all are in left out, the others joined on. Raises SourceError."""
    parts = [name.split("/") for name in names]
    shared = 0
    while parts and all(len(path) > shared + 1 and path[shared] == parts[0][shared] for path in parts):
        shared += 1
    flat = {name: "-".join(path[shared:]) for name, path in zip(names, parts, strict=True)}
    if len(set(flat.values())) < len(flat):
        raise transfer.SourceError(f"two of these files would have the same name: {', '.join(names)}")
    return flat


def _chunks(opened: Opener, name: str, have: int, size: int | None, attempts: int) -> Iterator[bytes]:
    """A file's bytes from `have` on, opened anew where the reading breaks off. Raises SourceError naming the file."""
    for attempt in range(attempts):
        try:
            with opened() as source:
                if have:
                    source.seek(have)
                while chunk := source.read(_CHUNK):
                    have += len(chunk)
                    yield chunk
            if size is not None and have != size:
                raise OSError(f"{have:,} of {size:,} bytes came")
            return
        except Exception as error:  # each store's library has exceptions of its own
            if attempt == attempts - 1 or isinstance(error, (FileNotFoundError, PermissionError)):
                tries = f" (tries: {attempt + 1})" if attempts > 1 else ""
                raise transfer.SourceError(f"{name}: {error or type(error).__name__}{tries}") from error
            shell.say(f"{name}: {error or type(error).__name__}; trying again in {2**attempt} s")
            time.sleep(2**attempt)


def _pack(entries: Sequence[Entry], target: Path, attempts: int = 1) -> None:
    """A zip of the entries: stored, in the order of the names, without dates. Raises SourceError naming the file."""
    total = sum(size or 0 for _, size, _ in entries)
    # What is no UTF-8 in a name is written as \xff and the like: every library reads that.
    named = [(n.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), s, o) for n, s, o in entries]
    with (
        Progress("gather", total, "bytes") as progress,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, size, opened in sorted(named, key=lambda entry: entry[0]):
            info = zipfile.ZipInfo(name)  # its date is 1980
            with archive.open(info, "w", force_zip64=True) as out:
                for chunk in _chunks(opened, name, 0, size, attempts):
                    out.write(chunk)
                    progress.advance(len(chunk))


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder (resolved), through links to files too.

    Links to folders of the same tree are passed over: they may go in circles. Raises SourceError for one that leads out
    of it, since DVC would not see a change behind it.
    """

    def stop(error: OSError) -> None:
        raise error  # os.walk would pass over what it must not read

    for place, folders, names in os.walk(folder, onerror=stop):
        for name in folders:
            link = Path(place) / name
            shown_as = link.relative_to(folder).as_posix()
            if link.is_symlink() and not _is_hidden(shown_as) and not link.resolve().is_relative_to(folder):
                raise transfer.SourceError(
                    f"{shown_as}: a link to a folder, behind which DVC would not see a change; copy the pictures here, "
                    f"or set dataset.own to the folder that holds them all (which itself may be a link)"
                )
        for name in names:
            if (path := Path(place) / name).is_file():
                yield path


def _from_disk(path: Path, folder: Path) -> list[str]:
    """A folder of pictures, or an archive of them (alone or in a folder), of this machine. Raises SourceError."""
    if path.is_file():
        if not _is_archive(path):
            raise transfer.SourceError(f"neither a folder nor an archive: {_NO_ARCHIVE}")
        shutil.copyfile(path, folder / path.name)
        return [path.name]
    if not path.is_dir():
        raise transfer.SourceError("there is no such folder or archive")
    root = path.resolve()
    files = {file.relative_to(root).as_posix(): file for file in _walk(root)}
    entries: list[Entry] = [
        (name, file.stat().st_size, functools.partial(file.open, "rb"))
        for name, file in files.items()
        if image_names.is_image_name(name)
    ]
    if entries:
        _say_left_out(files)
        _pack(entries, folder / "pictures.zip")
        return ["pictures.zip"]
    kept = _flat(_whole(files, (".parquet",)) or _whole(files, _ARCHIVES))
    if not kept:
        raise transfer.SourceError(
            "no pictures in it (.jpg, .png, .webp, .gif, .bmp, .tif and the like), and no archive of them; "
            "copy pictures there, or set dataset.own to where they are"
        )
    for name, flat in kept.items():
        if not _is_archive(files[name]):
            raise transfer.SourceError(f"{name}: {_NO_ARCHIVE}")
        shutil.copyfile(files[name], folder / flat)
    return list(kept.values())


def _from_web(url: str, folder: Path, parts: Path) -> list[str]:
    """An archive from a web server. Raises SourceError."""
    name = Path(urlsplit(url).path).name
    name = "pictures" if name in ("", "..", "source.json") else name
    part = parts / f"{name}.part"
    transfer.download(url, part, pinned=False)
    if transfer.is_web_page(part):
        part.unlink()
        raise transfer.SourceError("a web page came instead of an archive (an error, a quota or a confirmation page?)")
    if not _is_archive(part):
        part.unlink()
        raise transfer.SourceError(f"what came is {_NO_ARCHIVE}")
    shutil.move(part, folder / name)
    return [name]


def _copy(system: Any, place: str, part: Path) -> None:
    """One file from a store that fsspec knows, going on where an earlier try stopped. Raises SourceError."""
    try:
        about = system.info(place)
    except Exception as error:  # each store's library has exceptions of its own
        raise transfer.SourceError(f"{place}: {type(error).__name__}: {error}") from error
    size = about.get("size")
    stamp = part.with_name(f"{part.name}.stamp")
    now = repr([about.get(name) for name in ("size", "ETag", "etag", "LastModified", "mtime", "blob_id")])
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != now:
        part.unlink(missing_ok=True)
        stamp.write_text(now, encoding="utf-8")
    have = part.stat().st_size if part.exists() else 0
    with part.open("ab") as out, Progress(f"download {part.stem}", size or 0, "bytes") as progress:
        progress.advance(have)
        for chunk in _chunks(functools.partial(system.open, place, "rb"), place, have, size, _ATTEMPTS):
            out.write(chunk)
            progress.advance(len(chunk))


def _from_store(url: str, folder: Path, parts: Path) -> list[str]:
    """An archive, parquet tables or a folder of pictures from anything that fsspec knows. Raises SourceError."""
    scheme = url.split("://")[0]
    try:
        system, root = fsspec.core.url_to_fs(url)
    except Exception as error:  # each store's library has exceptions of its own
        extra = _EXTRAS.get(scheme) if isinstance(error, ImportError) else None
        hint = f"; .venv/bin/pip install -e '.[{extra}]'" if extra else ""
        raise transfer.SourceError(f"{error}{hint}") from error
    try:
        if system.isfile(root):
            found = {root: system.info(root)}
        else:
            found = {path: about for path, about in system.find(root, detail=True).items() if about["type"] == "file"}
    except Exception as error:  # each store's library has exceptions of its own
        raise transfer.SourceError(f"{type(error).__name__}: {error}") from error
    if not found:
        raise transfer.SourceError("nothing is there")
    files = {path.removeprefix(root).lstrip("/") or path.rsplit("/", 1)[-1]: path for path in found}
    candidates = [name for name in files if image_names.is_image_name(name)]
    whole = list(files) if list(found) == [root] else _whole(files, (".parquet",))
    kept = _flat(whole or ([] if candidates else _whole(files, _ARCHIVES)))
    if not kept and not candidates:
        raise transfer.SourceError("no pictures, no archive and no parquet tables there")
    if not kept:
        entries: list[Entry] = [
            (name, found[files[name]].get("size"), functools.partial(system.open, files[name], "rb"))
            for name in candidates
        ]
        _say_left_out(files)
        _pack(entries, folder / "pictures.zip", _ATTEMPTS)
        return ["pictures.zip"]
    for name, flat in kept.items():
        part = parts / f"{flat}.part"
        _copy(system, files[name], part)
        if not _is_archive(part):
            raise transfer.SourceError(f"{name}: {_NO_ARCHIVE}")
    for flat in kept.values():  # when all are there: until then the next run finds in `parts` what this one got
        shutil.move(parts / f"{flat}.part", folder / flat)
    return list(kept.values())


def _hashes(settings: Settings, folder: Path, files: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of each file. Raises StageError where another is asked for."""
    hashes = {name: artifacts.sha256(folder / name) for name in files}
    if settings.sha256 and list(hashes.values()) != [settings.sha256]:
        came = ", ".join(f"{name} {value}" for name, value in hashes.items())
        raise StageError(f"dataset.sha256: expected {settings.sha256}, got {came}")
    return hashes


Get = Callable[[str, Path, Path], list[str]]


def _from_address(get: Get, settings: Settings, folder: Path, parts: Path) -> tuple[list[str], dict[str, str]]:
    """The files that come from an address, by way of `parts`, and their SHA-256. Raises SourceError and StageError."""
    begun = any(parts.iterdir())
    files = get(settings.source, folder, parts)
    try:
        return files, _hashes(settings, folder, files)
    except StageError as error:
        if begun:
            for left in parts.iterdir():
                left.unlink()
            raise StageError(f"{error}\nEarlier runs had got a part of it: the next run gets all of it anew.") from None
        for file in files:  # for the next run: it may be the params that are wrong
            shutil.move(folder / file, parts / f"{file}.part")
        raise


def fetch_own(settings: Settings, folder: Path) -> dict[str, Any]:
    """What `settings.source` points to, into `folder`; returns what source.json says of it.

    Raises StageError with the reason, and how to bring the pictures in by hand.
    """
    source = settings.source
    if source == OWN:
        path = Path(settings.own)
        name, homepage = path.name or OWN, ""
        try:
            files = _from_disk(path, folder)
        except (transfer.SourceError, PermissionError) as error:
            raise StageError(f"dataset.own: {path}: {error}") from None
        hashes = _hashes(settings, folder, files)
    else:
        address = urlsplit(source)
        name = Path(address.path).name or urlsplit(without_credentials(source)).netloc
        homepage = without_credentials(source) if address.scheme.startswith("http") else ""
        get = _from_web if address.scheme in ("http", "https") else _from_store
        key = hashlib.sha256(source.encode()).hexdigest()[:16]
        with resume.unfinished("download", key, wait=shell.say) as parts:
            try:
                files, hashes = _from_address(get, settings, folder, parts)
            except transfer.SourceError as error:
                raise StageError(
                    f"{without_credentials(source)}: {error}\n"
                    f"To bring the pictures in by hand: put the archive, or the pictures, into data/own (or name "
                    f"another place as dataset.own), set dataset.source: {OWN} and run the same command again."
                ) from None
    return {
        "name": name,
        "title": settings.title or ("own pictures" if name == OWN else name),
        "homepage": homepage,
        "licence": settings.licence or "not stated",
        "citation": "",
        "format": "parquet" if all(_is_parquet(folder / name) for name in files) else "archive",
        "classes": [],
        "files": [{"name": n, "bytes": (folder / n).stat().st_size, "sha256": hashes[n]} for n in files],
    }
