"""Your own data set, one that is not in the catalog: from this machine, a web server or a store.

data/raw then holds the archive or the tables unchanged, or a folder's pictures as one zip.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from stages import resume, shell
from stages.download import disk, packing, store, web
from stages.download.facts import FileFacts, SourceFacts, file_facts
from stages.download.packing import Fetched
from stages.download.settings import OWN, Settings
from stages.errors import StageError
from stages.transfer import SourceError, without_credentials

Fetch = Callable[[str, Path, Path], Fetched]

Files = tuple[list[FileFacts], Mapping[str, int]]
"""The facts of the new files, and the number of files that were left out, by reason."""


def _verified(settings: Settings, folder: Path, names: Sequence[str]) -> list[FileFacts]:
    """The facts of the files. Raises StageError if their hash is not the expected one."""
    files = file_facts([folder / name for name in names])
    if settings.sha256 and [file.sha256 for file in files] != [settings.sha256]:
        hashes = ", ".join(f"{file.name} {file.sha256}" for file in files)
        raise StageError(f"dataset.sha256: expected {settings.sha256}, got {hashes}")
    return files


def _fetch_verified(fetch: Fetch, settings: Settings, folder: Path, parts: Path) -> Files:
    """Download to `parts`, move into `folder`, verify. Raises SourceError and StageError.

    A complete file of the wrong hash stays in `parts`, because the params can be wrong. It is deleted if an earlier run
    began it, because its first bytes may be from another version.
    """
    resumed = any(parts.iterdir())
    names, left_out = fetch(settings.source, folder, parts)
    try:
        return _verified(settings, folder, names), left_out
    except StageError as error:
        if resumed:
            for part in parts.iterdir():
                part.unlink()
            raise StageError(
                f"{error}\nThis run resumed an earlier download. The next run downloads everything again."
            ) from None
        for name in names:
            shutil.move(folder / name, parts / f"{name}.part")
        raise


def _from_disk(settings: Settings, folder: Path) -> Files:
    """Copy the pictures of `dataset.own` into `folder`. Raises StageError."""
    path = Path(settings.own)
    try:
        names, left_out = disk.fetch(path, folder)
    except (SourceError, PermissionError) as error:
        raise StageError(f"dataset.own: {path}: {error}") from None
    return _verified(settings, folder, names), left_out


def _from_address(settings: Settings, folder: Path) -> Files:
    """Download the pictures of an address into `folder`. Raises a StageError that says how to place them by hand."""
    address = settings.source
    fetch = web.fetch if _is_on_web(address) else store.fetch
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    with resume.unfinished("download", key, wait=shell.say) as parts:
        try:
            return _fetch_verified(fetch, settings, folder, parts)
        except SourceError as error:
            raise StageError(
                f"{without_credentials(address)}: {error}\n"
                f"To place the pictures by hand: put the archive or the pictures into data/own (or set dataset.own to "
                f"their path), set dataset.source: {OWN} and run the same command again."
            ) from None


def _is_on_web(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https")


def _name(settings: Settings) -> str:
    """The data set's name: the last part of its path, or the server."""
    if settings.source == OWN:
        return Path(settings.own).name or OWN
    return Path(urlsplit(settings.source).path).name or urlsplit(without_credentials(settings.source)).netloc


def fetch(settings: Settings, folder: Path) -> SourceFacts:
    """Put the pictures of `settings.source` into `folder`. Returns their facts.

    Raises StageError with the reason, and how to place the pictures by hand.
    """
    files, left_out = (_from_disk if settings.source == OWN else _from_address)(settings, folder)
    name = _name(settings)
    return SourceFacts(
        name=name,
        title=settings.title or ("own pictures" if name == OWN else name),
        homepage=without_credentials(settings.source) if _is_on_web(settings.source) else "",
        licence=settings.licence or "not stated",
        citation="",
        format=packing.format_of(folder / file.name for file in files),
        classes=[],
        files=files,
        left_out=left_out,
    )
