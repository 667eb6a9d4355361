"""Pack a folder's pictures and their labels, from a disk or a store, into one zip. Tables and archives stay unchanged.

The zip is uncompressed, and the same pictures give the same bytes. It lets DVC store one file instead of two hundred
thousand.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, NamedTuple

from stages import containers, shell
from stages.image_names import is_hidden
from stages.progress import Progress
from stages.transfer import SourceError, pause_or_give_up

TABLES = (".parquet",)
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".tzst", ".tar.zst")
ARRAYS = (".npz", ".npy", ".h5", ".hdf5", "-ubyte", "-ubyte.gz", ".idx", ".idx.gz")
KINDS = (frozenset(("parquet",)), containers.ARCHIVES, containers.ARRAYS)
"""The kinds of containers, by what is preferred: tables, archives, arrays."""
ZIP_NAME = "pictures.zip"
_CHUNK = 1 << 20
Opener = Callable[[], AbstractContextManager[Any]]


class Picture(NamedTuple):
    """A picture to pack: its path in the zip, its size in bytes if known, and the function that opens it."""

    name: str
    size: int | None
    open: Opener


class Fetched(NamedTuple):
    """The names of new files in data/raw, and how many other files there were, by the reason to leave them out."""

    names: list[str]
    left_out: Mapping[str, int] = {}


def check_container(path: Path, name: str) -> None:
    """Raise SourceError, saying what it is and what to do, if a file is no container of pictures that can be read."""
    if problem := containers.problem(containers.kind(path, name)):
        raise SourceError(f"{name}: {problem}")


def format_of(paths: Iterable[Path]) -> str:
    """The format of source.json for these files, by their content."""
    kinds = {containers.kind(path) for path in paths}
    if kinds == {"parquet"}:
        return "parquet"
    return "arrays" if kinds and kinds <= containers.ARRAYS else "archive"


def tables(names: Iterable[str]) -> list[str]:
    """The tables, sorted. One beside an archive of the same name holds only addresses, as img2dataset writes it."""
    archives = {name.partition(".")[0] for name in names_ending(names, ARCHIVES)}
    return [name for name in names_ending(names, TABLES) if name.partition(".")[0] not in archives]


def archives(names: Iterable[str]) -> list[str]:
    """The archives, sorted; without any, the files of arrays. Raises SourceError, naming it, for a piece of a file."""
    for name in sorted(names):
        if (kind := containers.piece(name)) and not is_hidden(name):
            raise SourceError(f"{name}: {containers.problem(kind)}")
    return names_ending(names, ARCHIVES) or names_ending(names, ARRAYS)


def names_ending(names: Iterable[str], endings: tuple[str, ...]) -> list[str]:
    """The names with one of the endings, in capitals or not; sorted, without hidden files."""
    return sorted(name for name in names if name.lower().endswith(endings) and not is_hidden(name))


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
        raise SourceError(f"two of these files would get the same name: {', '.join(map(shell.printable, paths))}")
    return flat


def pictures_and_labels(reasons: Mapping[str, str | None]) -> list[str]:
    """The names of pictures, and of files that may contain labels; none without pictures.

    `reasons` holds why each name is left out, see `image_names.left_out`.
    """
    has_pictures = None in reasons.values()
    return [name for name, reason in reasons.items() if has_pictures and reason in (None, "labels")]


def report_left_out(reasons: Mapping[str, str | None], used: Collection[str]) -> Mapping[str, int]:
    """Print and return how many files are left out for each reason: all but the `used` names.

    `reasons` holds why each name is left out, None for a picture.
    """
    others = {name: reason or "other_type" for name, reason in reasons.items() if name not in used}
    counts = Counter(others.values())
    first = {reason: min(name for name, why in others.items() if why == reason) for reason in sorted(counts)}
    if counts:
        parts = (f"{counts[reason]:,} {reason} (first: {shell.printable(name)})" for reason, name in first.items())
        shell.say(f"left out: {', '.join(parts)}")
    return dict(sorted(counts.items()))


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
    """A name that every zip library can read: bytes that are not UTF-8 are written as %FF and the like."""
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name)


def _pack_one(picture: Picture, name: str, out: IO[bytes], progress: Progress, attempts: int) -> None:
    for chunk in read_chunks(picture.open, name, 0, picture.size, attempts):
        out.write(chunk)
        progress.advance(len(chunk))


def pack(pictures: Sequence[Picture], folder: Path, attempts: int = 1) -> list[str]:
    """Write the pictures to a zip in `folder`, uncompressed, sorted by name, without dates. Returns its name.

    Raises SourceError naming the picture that cannot be read.
    """
    total = sum(picture.size or 0 for picture in pictures)
    by_name = sorted(((_text_name(picture.name), picture) for picture in pictures), key=lambda pair: pair[0])
    with (
        Progress("pack pictures", total, "bytes") as progress,
        zipfile.ZipFile(folder / ZIP_NAME, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, picture in by_name:
            entry = zipfile.ZipInfo(name)  # its default date is 1980
            entry.file_size = picture.size or 0  # decides on ZIP64; with force_zip64, Pythons write different bytes
            with archive.open(entry, "w") as out:
                _pack_one(picture, name, out, progress, attempts)
    return [ZIP_NAME]
