"""Zip and tar archives: where in the file each member is, so that workers read pictures directly from the archive.

Nothing is ever extracted under its name in an archive: names are only keys. A file that is compressed as a whole
(.tar.gz, .idx.gz) is unpacked once, to one temporary file.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from stages import containers
from stages.errors import StageError
from stages.prepare.archives import tar, zip
from stages.prepare.archives.member import (
    ENCRYPTED,
    LINK,
    PACKED_BY,
    PLAIN,
    SPECIAL,
    UNPACK_AGAIN,
    ZIP_DEFLATED,
    ZIP_STORED,
    Member,
    Reader,
    is_readable,
    why_unreadable,
)
from stages.prepare.archives.packed import CHUNK, check_expansion, unpacked, write_unpacked
from stages.prepare.archives.reading import read

__all__ = [
    "ENCRYPTED",
    "LINK",
    "PACKED_BY",
    "PLAIN",
    "SPECIAL",
    "UNPACK_AGAIN",
    "ZIP_DEFLATED",
    "ZIP_STORED",
    "Member",
    "Reader",
]
__all__ += ["extract_one", "is_readable", "members", "read", "unpacked", "why_unreadable"]


def members(path: Path, origin: Path | None = None) -> Iterator[Member]:
    """Every file in a zip or an uncompressed tar, pictures and others: in stored order, then the links.

    A link is the file of the same archive that it leads to. Links to anything else, devices and the like are members
    that cannot be read. Folders are skipped. Raises StageError if the archive is damaged or neither a zip nor a tar;
    the message names `origin`, the file that `path` was unpacked from.
    """
    origin = origin or path
    kind = containers.kind(path, origin.name)
    if kind in ("zip", "npz"):
        return zip.members(path, origin)
    if kind == "tar":
        return tar.members(path, origin)
    raise StageError(f"{origin}: {containers.problem(kind) or 'not an archive of pictures'}")


def _member_chunks(path: Path, ending: str) -> Iterator[bytes]:
    """The unpacked content of the one member of a zip whose name ends in `ending`."""
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if info.filename.endswith(ending)]
        if len(infos) != 1:
            raise StageError(f"{path}: expected one {ending} in it, found {len(infos)}")
        check_expansion(path, infos[0].file_size)  # before anything is written
        with archive.open(infos[0]) as file:
            while chunk := file.read(CHUNK):
                yield chunk


def extract_one(path: Path, ending: str, scratch: Path) -> Path:
    """The one member of a zip whose name ends in `ending`, as a file in `scratch`.

    Raises StageError if there is not exactly one, or if the zip is damaged.
    """
    return write_unpacked(path, scratch, _member_chunks(path, ending))
