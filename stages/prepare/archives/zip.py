"""The members of a zip, from its central directory."""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from stages.errors import StageError
from stages.prepare.archives import links, reading
from stages.prepare.archives.member import (
    DAMAGED,
    ENCRYPTED,
    LINK,
    MALFORMED_ERRORS,
    SPECIAL,
    ZIP_BZIP2,
    ZIP_DEFLATED,
    ZIP_LZMA,
    ZIP_STORED,
    ZIP_XZ,
    ZIP_ZSTD,
    Member,
)
from stages.prepare.archives.packed import CHUNK
from stages.prepare.decode import RejectedError

# PKWARE's APPNOTE.TXT 4.3.12, 4.3.16, and 4.3.14 followed by 4.3.15, without the fields that are not used here.
_ENTRY = struct.Struct("<8x2H8x2L3H4x2L")  # flags, method, length, size, 3 text lengths, attributes, offset
_END = struct.Struct("<10xH2LH")  # entries, size, offset, comment
_END_64 = struct.Struct("<32x3Q20x")
_SIZE_LIMIT = 1 << 62  # a larger size is false, and would not fit in the index's 64-bit columns
_MAX_LINK = 1 << 12  # bytes of the path in a symbolic link
# APPNOTE.TXT 4.4.5; zstd was 20 before it became 93.
_METHODS = {0: ZIP_STORED, 8: ZIP_DEFLATED, 12: ZIP_BZIP2, 14: ZIP_LZMA, 20: ZIP_ZSTD, 93: ZIP_ZSTD, 95: ZIP_XZ}
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # types of extra fields


class _Directory(NamedTuple):
    """Where the central directory is, and what to add to its offsets: the bytes before a self-extracting archive."""

    start: int
    size: int
    shift: int


def _directory_at(file: IO[bytes], tail: bytes, at: int, end: int) -> _Directory | None:
    """The directory that the end record at offset `at` of the tail describes; None if no directory is there."""
    entries, size, offset, _ = _END.unpack_from(tail, at)
    stop = end - len(tail) + at
    file.seek(max(0, stop - _END_64.size))
    wide = file.read(min(stop, _END_64.size))
    if len(wide) == _END_64.size and wide[-20:].startswith(b"PK\x06\x07") and wide.startswith(b"PK\x06\x06"):
        entries, size, offset = _END_64.unpack(wide)
        stop -= _END_64.size
    for start in (stop - size, offset):  # where it is, and where the record says it is, if bytes follow it
        if 0 <= start <= stop - size and (size == entries == 0 or _begins_a_directory(file, start)):
            return _Directory(start, size, start - offset)
    return None


def _begins_a_directory(file: IO[bytes], start: int) -> bool:
    file.seek(start)
    return file.read(4) == b"PK\x01\x02"


def _directory(file: IO[bytes]) -> _Directory:
    """The central directory of a zip. Raises BadZipFile.

    The last end record with a directory counts, or else the last of an empty archive: a comment, or bytes behind the
    archive, may look like a record.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _END.size - 0xFFFF))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06", 0, len(tail) - _END.size + 4)
    if at < 0:
        raise zipfile.BadZipFile(f"no end of the directory in the last {len(tail):,} bytes")
    directories = []
    while at >= 0:
        if directory := _directory_at(file, tail, at, end):
            directories.append(directory)
        at = tail.rfind(b"PK\x05\x06", 0, at + 3)
    if not directories:
        raise zipfile.BadZipFile("no directory where its end says it is")
    return next((directory for directory in directories if directory.size), directories[0])


def _extra(extra: bytes, wanted: int) -> bytes:
    """The extra field of a type; empty if there is none."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == wanted:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""


def _wide(extra: bytes, *values: int) -> list[int]:
    """The size, length and offset of a member. Those beyond 32 bits come from the extra field of Zip64."""
    field = _extra(extra, _ZIP64)
    wide = iter(struct.unpack_from(f"<{len(field) // 8}Q", field))
    return [min(next(wide, value), _SIZE_LIMIT) if value == 0xFFFFFFFF else value for value in values]


def _decoded(name: bytes) -> str:
    """A name that is UTF-8 even without its flag, as Unix programs write it, else cp437 (APPNOTE.TXT, D.1)."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def _name(raw: bytes, extra: bytes) -> str:
    """A member's name: that of Info-ZIP's Unicode Path field if it belongs to the raw name (APPNOTE.TXT 4.6.9)."""
    if b"up" in extra and len(field := _extra(extra, _UNICODE_PATH)) > 5:
        version, checksum = struct.unpack_from("<BL", field)
        if version == 1 and checksum == zlib.crc32(raw):
            raw = field[5:]
    return _decoded(raw).partition("\0")[0]


def _kind(flags: int, method: int, mode: int) -> int:
    """How to unpack a member with these flags, this compression method and this Unix mode."""
    if stat.S_IFMT(mode) in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
        return SPECIAL
    if flags & 1:
        return ENCRYPTED
    return _METHODS.get(method, -min(method, 99))


def _entries(path: Path) -> Iterator[tuple[Member, bool]]:
    """Each file of a zip, and whether it is a symbolic link. Raises BadZipFile and MALFORMED_ERRORS.

    Python's zipfile takes three times as long and half a kilobyte per member.
    """
    end = path.stat().st_size
    with path.open("rb", buffering=CHUNK) as file:
        start, remaining, shift = _directory(file)
        file.seek(start)
        while remaining > 0:
            head = file.read(_ENTRY.size)
            if len(head) < _ENTRY.size or not head.startswith(b"PK\x01\x02"):
                raise zipfile.BadZipFile(f"a bad entry of the directory at byte {file.tell() - len(head):,}")
            flags, method, length, size, names, extras, comments, attributes, offset = _ENTRY.unpack(head)
            text = file.read(names + extras + comments)
            remaining -= _ENTRY.size + len(text)
            extra = text[names : names + extras]
            name = _name(text[:names], extra)
            if name.endswith("/"):
                continue
            if 0xFFFFFFFF in (size, length, offset):
                size, length, offset = _wide(extra, size, length, offset)
            mode = attributes >> 16
            offset = offset + shift if 0 <= offset + shift < end else end
            yield Member(name, offset, length, size, _kind(flags, method, mode)), stat.S_ISLNK(mode)


def _link_target(path: Path, link: Member) -> str:
    """The path that a symbolic link leads to; empty if it cannot be read."""
    try:
        return links.target(link.name, reading.read(str(path), link, _MAX_LINK).decode())
    except (RejectedError, UnicodeDecodeError):
        return ""


def members(path: Path, origin: Path) -> Iterator[Member]:
    """The files of a zip in stored order, then its symbolic links. Raises StageError, naming `origin`.

    A link is the last file that it leads to, under the name of the link, or a member of the kind LINK.
    """
    targets: dict[str, str] = {}
    names: dict[str, str] = {}
    try:
        for member, is_link in _entries(path):
            if is_link:
                names[links.normal(member.name)] = member.name
                targets[links.normal(member.name)] = _link_target(path, member)
            else:
                yield member
        ends = links.ends(targets)
        wanted = set(ends.values())
        files = {
            name: member
            for member, is_link in (_entries(path) if targets else ())
            if not is_link and (name := links.normal(member.name)) in wanted
        }
    except (zipfile.BadZipFile, *MALFORMED_ERRORS) as error:
        raise StageError(f"{origin}: {DAMAGED.format(error)}") from None
    for link, name in names.items():
        file = files.get(ends.get(link, ""), Member(name, 0, 0, 0, LINK))
        yield file._replace(name=name)
