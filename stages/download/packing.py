"""Pack a folder's pictures and their labels, from a disk or a store, into one zip. Tables and archives stay unchanged.

The zip is uncompressed, and the same pictures give the same bytes. It lets DVC store one file instead of two hundred
thousand.
"""

import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, NamedTuple

from stages import shell
from stages.image_names import is_hidden, is_image_name, is_label_name
from stages.progress import Progress
from stages.transfer import SourceError, pause_or_give_up

TABLES = (".parquet",)
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".tzst", ".tar.zst")
NOT_AN_ARCHIVE = "neither a zip nor a tar (.gz, .bz2, .xz, .zst) nor a parquet file"
ZIP_NAME = "pictures.zip"
_CHUNK = 1 << 20
_PARQUET = b"PAR1"
# First bytes of an archive. A tar has its signature at byte 257.
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", _PARQUET)
Opener = Callable[[], AbstractContextManager[Any]]


class Picture(NamedTuple):
    """A picture to pack: its path in the zip, its size in bytes if known, and the function that opens it."""

    name: str
    size: int | None
    open: Opener


def is_archive(path: Path) -> bool:
    """Whether a file's content is an archive or a parquet table."""
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith(_MAGIC) or head[257:262] == b"ustar"


def is_parquet(path: Path) -> bool:
    """Whether a file's content is a parquet table."""
    with path.open("rb") as file:
        return file.read(len(_PARQUET)) == _PARQUET


def names_ending(names: Iterable[str], endings: tuple[str, ...]) -> list[str]:
    """The names with one of the endings, sorted, without hidden files."""
    return sorted(name for name in names if name.endswith(endings) and not is_hidden(name))


def flat_names(paths: Sequence[str]) -> dict[str, str]:
    """A file name for each path, for keeping them in one folder. Raises SourceError if two would be the same.

    Drops the folders that all paths share and joins the others with "-": train/0.parquet => train-0.parquet.
    """
    split = [path.split("/") for path in paths]
    shared = 0
    while split and all(len(parts) > shared + 1 and parts[shared] == split[0][shared] for parts in split):
        shared += 1
    flat = {path: "-".join(parts[shared:]) for path, parts in zip(paths, split, strict=True)}
    if len(set(flat.values())) < len(flat):
        raise SourceError(f"two of these files would get the same name: {', '.join(paths)}")
    return flat


def pictures_and_labels(names: Iterable[str]) -> list[str]:
    """The names of pictures, and of files that may contain labels; none without pictures."""
    names = list(names)
    has_pictures = any(map(is_image_name, names))
    return [name for name in names if has_pictures and (is_image_name(name) or is_label_name(name))]


def report_skipped(names: Iterable[str]) -> None:
    """Print how many files are skipped because they have no image file name. Hidden files do not count."""
    others = (name for name in names if not (is_image_name(name) or is_label_name(name) or is_hidden(name)))
    if skipped := sorted(others):
        shell.say(f"skipped: {len(skipped):,} files without an image file name (first: {repr(skipped[0])[1:-1]})")


def read_chunks(open_file: Opener, name: str, start: int, size: int | None, attempts: int) -> Iterator[bytes]:
    """A file's bytes from `start` on. Reopens the file if reading breaks off. Raises SourceError naming the file."""
    for attempt in range(attempts):
        try:
            with open_file() as source:
                if start:
                    source.seek(start)
                while chunk := source.read(_CHUNK):
                    start += len(chunk)
                    yield chunk
            if size is not None and start != size:
                raise OSError(f"got {start:,} of {size:,} bytes")
            return
        except Exception as error:  # each store's library has its own exceptions
            final = isinstance(error, (FileNotFoundError, PermissionError))
            pause_or_give_up(attempt, f"{name}: {error or type(error).__name__}", attempts=attempts, final=final)


def _text_name(name: str) -> str:
    r"""A name that every zip library can read: bytes that are not UTF-8 are written as \xff and the like."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _pack_one(picture: Picture, name: str, out: IO[bytes], progress: Progress, attempts: int) -> None:
    for chunk in read_chunks(picture.open, name, 0, picture.size, attempts):
        out.write(chunk)
        progress.advance(len(chunk))


def pack(pictures: Sequence[Picture], folder: Path, attempts: int = 1) -> list[str]:
    """Write the pictures to a zip in `folder`, uncompressed, sorted by name, without dates. Returns the zip's name.

    Raises SourceError naming the picture that cannot be read.
    """
    total = sum(picture.size or 0 for picture in pictures)
    by_name = sorted(((_text_name(picture.name), picture) for picture in pictures), key=lambda pair: pair[0])
    with (
        Progress("pack pictures", total, "bytes") as progress,
        zipfile.ZipFile(folder / ZIP_NAME, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, picture in by_name:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as out:  # ZipInfo's default date is 1980
                _pack_one(picture, name, out, progress, attempts)
    return [ZIP_NAME]
