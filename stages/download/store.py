"""Pictures from any store that fsspec knows: S3, Google Cloud Storage, the Hugging Face hub and others."""

import functools
import shutil
from pathlib import Path
from typing import Any

import fsspec

from stages import image_names
from stages.download import packing
from stages.download.packing import Fetched, Picture
from stages.progress import Progress
from stages.transfer import ATTEMPTS, SourceError, note_version, version_of

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hf": "hf"}  # scheme => extra of pyproject.toml
_VERSION_KEYS = ("size", "ETag", "etag", "LastModified", "mtime", "blob_id")  # each store has some of them


def _connect(url: str) -> tuple[Any, str]:
    """The store of an address, and the path in it. Raises SourceError, naming the extra of a missing library."""
    try:
        return fsspec.core.url_to_fs(url)
    except Exception as error:  # each store's library has exceptions of its own
        extra = _EXTRAS.get(url.split("://")[0]) if isinstance(error, ImportError) else None
        hint = f"; .venv/bin/pip install -e '.[{extra}]'" if extra else ""
        raise SourceError(f"{error}{hint}") from error


def _list(store: Any, root: str) -> dict[str, dict[str, Any]]:
    """The files at or below a path, with the store's information on each. Raises SourceError."""
    try:
        if store.isfile(root):
            return {root: store.info(root)}
        return {path: info for path, info in store.find(root, detail=True).items() if info["type"] == "file"}
    except Exception as error:  # each store's library has exceptions of its own
        raise SourceError(f"{type(error).__name__}: {error}") from error


def _download_file(store: Any, path: str, part: Path) -> None:
    """Download one file to `part`, resuming an earlier try if the file has not changed. Raises SourceError."""
    try:
        info = store.info(path)
    except Exception as error:  # each store's library has exceptions of its own
        raise SourceError(f"{path}: {type(error).__name__}: {error}") from error
    size = info.get("size")
    version = repr([info.get(key) for key in _VERSION_KEYS])
    if version_of(part) != version:
        part.unlink(missing_ok=True)
        note_version(part, version)
    start = part.stat().st_size if part.exists() else 0
    with part.open("ab") as out, Progress(f"download {part.stem}", size or 0, "bytes") as progress:
        progress.advance(start)
        for chunk in packing.read_chunks(functools.partial(store.open, path, "rb"), path, start, size, ATTEMPTS):
            out.write(chunk)
            progress.advance(len(chunk))


def _download_files(store: Any, paths: dict[str, str], folder: Path, parts: Path) -> list[str]:
    """Download tables or archives (name => path in the store) into `folder`. Returns their names. Raises SourceError.

    Moves them from `parts` only when all are complete, so the run after an interrupt finds the finished ones there.
    """
    kept = packing.flat_names(list(paths))
    for name, flat in kept.items():
        part = parts / f"{flat}.part"
        _download_file(store, paths[name], part)
        packing.check_container(part, name)
    for flat in kept.values():
        shutil.move(parts / f"{flat}.part", folder / flat)
    return list(kept.values())


def fetch(url: str, folder: Path, parts: Path) -> Fetched:
    """Download a file, parquet tables, pictures (as one zip), archives or arrays into `folder`.

    A folder's tables come first, then its pictures, then its archives, then its arrays. Raises SourceError.
    """
    store, root = _connect(url)
    infos = _list(store, root)
    if not infos:
        raise SourceError("no files there")
    paths = {path.removeprefix(root).lstrip("/") or path.rsplit("/", 1)[-1]: path for path in infos}
    if list(infos) == [root]:
        return Fetched(_download_files(store, paths, folder, parts))
    reasons = {name: image_names.left_out(name) for name in paths}
    tables = packing.tables(paths)
    pictures = [] if tables else packing.pictures_and_labels(reasons)
    containers = tables or ([] if pictures else packing.archives(paths))
    if not (pictures or containers):
        raise SourceError("no pictures, archives, parquet tables or arrays there")
    left_out = packing.report_left_out(reasons, {*pictures, *containers})
    if containers:
        return Fetched(_download_files(store, {name: paths[name] for name in containers}, folder, parts), left_out)
    opened = [
        Picture(name, infos[paths[name]].get("size"), functools.partial(store.open, paths[name], "rb"))
        for name in pictures
    ]
    return Fetched(packing.pack(opened, folder, ATTEMPTS), left_out)
