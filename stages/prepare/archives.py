"""Zip and tar archives: where in the file each member is, so that workers read pictures directly from the archive.

Nothing is ever extracted under its name in an archive: names are only keys. A file that is compressed as a whole
(.tar.gz, .idx.gz) is unpacked once, to one temporary file.
"""

import bz2
import contextlib
import functools
import gzip
import lzma
import os
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import zstandard

from stages.errors import StageError
from stages.prepare.decode import RejectedError

_CHUNK = 1 << 20
# Pictures are compressed already, so an archive of pictures never unpacks to more than this times its size, plus this.
_MAX_EXPANSION, _EXPANSION_ALLOWANCE = 100, 1 << 30
_MAX_MEMBER = 1 << 30  # bytes of a picture
_LOCAL_HEADER = 30  # bytes of a zip member's local header, before the name and the extra field
# PKWARE's APPNOTE.TXT 4.3.12, 4.3.16, and 4.3.14 followed by 4.3.15, without the fields that are not used here.
_ZIP_ENTRY = struct.Struct("<8x2H8x2L3H4x2L")  # flags, method, length, size, 3 text lengths, attributes, offset
_ZIP_END = struct.Struct("<10xH2LH")  # entries, size, offset, comment
_ZIP_END_64 = struct.Struct("<32x3Q20x")
_TAR_BLOCK = 512
_SIZE_LIMIT = 1 << 62  # a larger size is false, and would not fit in the index's 64-bit columns
_DAMAGED = "truncated or damaged ({}); delete it and download it again"
# zipfile and tarfile raise these for malformed archives, as well as their own errors.
_MALFORMED_ERRORS = (
    ValueError,
    OverflowError,
    LookupError,
    EOFError,
    RecursionError,
    NotImplementedError,
    struct.error,
)
# RuntimeError: an encrypted member.
_UNPACKING_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, RuntimeError)


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """The unpacked content of a zstd file. The library's own file object does not report a truncated file."""
    frame = None
    with path.open("rb") as file:
        data = b""
        while data := data or file.read(1 << 12):  # small: each byte may unpack to 32 KB
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(data)
            data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise EOFError("the file ends inside a frame")


def _chunks(open_packed: Callable[..., Any], path: Path) -> Iterator[bytes]:
    """The unpacked content of a file that a library's `open` unpacks."""
    with cast(IO[bytes], open_packed(path, "rb")) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


# The first bytes of a compressed file => how to unpack it.
_COMPRESSED: dict[bytes, Callable[[Path], Iterator[bytes]]] = {
    b"\x1f\x8b": functools.partial(_chunks, gzip.open),
    b"BZh": functools.partial(_chunks, bz2.open),
    b"\xfd7zXZ\x00": functools.partial(_chunks, lzma.open),
    b"\x28\xb5\x2f\xfd": _zstd_chunks,
    b"\x50\x2a\x4d\x18": _zstd_chunks,  # as pzstd writes it
}


class Member(NamedTuple):
    """A file within a file: `length` bytes at `offset`, `size` bytes once unpacked; `kind` says how to unpack them."""

    name: str
    offset: int
    length: int
    size: int
    kind: int


Reader = Callable[[str, Member], bytes]
"""Reads a member of the file with this path. Raises RejectedError."""

PLAIN, ZIP_STORED, ZIP_DEFLATED, UNREADABLE = range(4)
_ZIP_METHODS = {zipfile.ZIP_STORED: ZIP_STORED, zipfile.ZIP_DEFLATED: ZIP_DEFLATED}


def _check_expansion(path: Path, size: int) -> None:
    """Raise StageError if an archive of pictures cannot unpack to `size` bytes."""
    limit = _MAX_EXPANSION * path.stat().st_size + _EXPANSION_ALLOWANCE
    if size > limit:
        raise StageError(f"{path}: unpacks to more than {limit:,} bytes; that is not an archive of pictures")


def _write_unpacked(path: Path, scratch: Path, chunks: Iterator[bytes]) -> Path:
    """Write the unpacked content of `path` to a file in `scratch`, unless an earlier run has done so.

    Raises StageError if `path` is damaged or unpacks to far more than its size.
    """
    target = scratch / f"{path.name}.unpacked"
    if target.is_file():
        return target
    scratch.mkdir(parents=True, exist_ok=True)
    part = scratch / f"{path.name}.{os.getpid()}.part"
    try:
        with part.open("wb") as out:
            for chunk in chunks:
                out.write(chunk)
                _check_expansion(path, out.tell())
        part.replace(target)
    except (*_UNPACKING_ERRORS, *_MALFORMED_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's error; those of gzip and bz2 have no number
        raise StageError(f"{path}: {_DAMAGED.format(error)}") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def unpacked(path: Path, scratch: Path) -> Path:
    """The file itself, or its unpacked copy in `scratch` if it is compressed as a whole.

    A copy that an earlier run made is used again. Raises StageError if the file is damaged or unpacks to far more than
    its size.
    """
    with path.open("rb") as file:
        head = file.read(8)
    unpack = next((unpack for magic, unpack in _COMPRESSED.items() if head.startswith(magic)), None)
    return path if unpack is None else _write_unpacked(path, scratch, unpack(path))


def _zip_directory(file: IO[bytes]) -> tuple[int, int, int]:
    """The offset and size of a zip's central directory, and how much to add to the offsets in it.

    The addition is the length of any data before the archive, as in a self-extracting one. Raises BadZipFile.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _ZIP_END.size - 0xFFFF))
    tail = file.read()
    plain = len(tail) - _ZIP_END.size  # its offset if there is no comment
    at = plain if tail[plain:].startswith(b"PK\x05\x06") and tail.endswith(b"\0\0") else tail.rfind(b"PK\x05\x06")
    if at < 0 or at > plain:
        raise zipfile.BadZipFile("no end of the directory")
    _, size, offset, _ = _ZIP_END.unpack_from(tail, at)
    stop = end - len(tail) + at
    file.seek(max(0, stop - _ZIP_END_64.size))
    wide = file.read(min(stop, _ZIP_END_64.size))
    if len(wide) == _ZIP_END_64.size and wide[-20:].startswith(b"PK\x06\x07") and wide.startswith(b"PK\x06\x06"):
        _, size, offset = _ZIP_END_64.unpack(wide)
        stop -= _ZIP_END_64.size
    if size > stop:
        raise zipfile.BadZipFile("the directory begins before the file does")
    return stop - size, size, stop - size - offset


def _zip64(extra: bytes, *values: int) -> list[int]:
    """The size, length and offset of a member. Those beyond 32 bits come from the extra field of type 1."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, 4))
            return [min(next(wide, value), _SIZE_LIMIT) if value == 0xFFFFFFFF else value for value in values]
        extra = extra[4 + length :]
    return list(values)


def _zip_members(path: Path, origin: Path) -> Iterator[Member]:
    """The members of a zip. Python's zipfile takes three times as long and half a kilobyte per member."""
    end = path.stat().st_size
    try:
        with path.open("rb", buffering=_CHUNK) as file:
            start, remaining, shift = _zip_directory(file)
            file.seek(start)
            while remaining > 0:
                head = file.read(_ZIP_ENTRY.size)
                if len(head) < _ZIP_ENTRY.size or not head.startswith(b"PK\x01\x02"):
                    raise zipfile.BadZipFile("bad directory")
                flags, method, length, size, names, extras, comments, attributes, offset = _ZIP_ENTRY.unpack(head)
                text = file.read(names + extras + comments)
                remaining -= _ZIP_ENTRY.size + len(text)
                name = text[:names].decode("utf-8" if flags & 0x800 else "cp437").partition("\0")[0]
                if 0xFFFFFFFF in (size, length, offset):
                    size, length, offset = _zip64(text[names : names + extras], size, length, offset)
                if name.endswith("/") or (attributes >> 16) & 0o170000 == 0o120000:  # a symbolic link
                    continue
                kind = UNREADABLE if flags & 1 else _ZIP_METHODS.get(method, UNREADABLE)  # 1: encrypted
                offset = offset + shift if 0 <= offset + shift < end else end
                yield Member(name, offset, length, size, kind)
    except (zipfile.BadZipFile, *_MALFORMED_ERRORS) as error:
        raise StageError(f"{origin}: {_DAMAGED.format(error)}") from None


def _tar_entries(path: Path, origin: Path) -> Iterator[tuple[tarfile.TarInfo, Member | None]]:
    """Each header of a tar in stored order, with its member if it is a regular file."""
    end = path.stat().st_size
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined] # else tarfile keeps a kilobyte for each
                if archive.offset < info.offset_data:
                    raise tarfile.ReadError("a negative size")  # this would loop forever
                regular = info.isreg() and not info.issparse()
                if regular and info.offset_data + info.size > end:
                    raise tarfile.ReadError("unexpected end of data")
                yield info, Member(info.name, info.offset_data, info.size, info.size, PLAIN) if regular else None
            # tarfile mistakes an unreadable header for the end of the archive.
            file.seek(archive.offset)
            if file.read(_TAR_BLOCK).strip(b"\0"):
                raise tarfile.ReadError("a bad header")
    except (tarfile.TarError, *_MALFORMED_ERRORS) as error:
        raise StageError(f"{origin}: {_DAMAGED.format(error)}") from None


def _tar_members(path: Path, origin: Path) -> Iterator[Member]:
    """The regular files, then the hard links. A link is the last file before it with the name that it links to.

    Links take a second pass. A single pass would keep the names of all files in memory.
    """
    targets = set()
    for info, member in _tar_entries(path, origin):
        if member:
            yield member
        elif info.islnk():
            targets.add(posixpath.normpath(info.linkname))
    linked: dict[str, Member] = {}
    for info, member in _tar_entries(path, origin) if targets else ():
        if info.islnk() and (target := linked.get(posixpath.normpath(info.linkname))):
            member = target._replace(name=info.name)
            yield member
        if member and (name := posixpath.normpath(info.name)) in targets:
            linked[name] = member


def _is_tar(head: bytes) -> bool:
    """Whether a file that begins with this block is a tar. A block of zeros begins an empty tar."""
    if len(head) == _TAR_BLOCK and not head.strip(b"\0"):
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def members(path: Path, origin: Path | None = None) -> Iterator[Member]:
    """Every regular file in a zip or an uncompressed tar, pictures and others, in stored order.

    Hard links in a tar follow at the end, each as the file that it links to. Folders, symbolic links and devices are
    skipped. Raises StageError if the archive is damaged or neither a zip nor a tar; the message names `origin`, the
    file that `path` was unpacked from.
    """
    origin = origin or path
    with path.open("rb") as file:
        head = file.read(_TAR_BLOCK)
    # Check the beginning first: a file that ends like a zip may be a tar whose last member is a zip.
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(path, origin)
    if _is_tar(head):
        return _tar_members(path, origin)
    with contextlib.suppress(zipfile.BadZipFile):
        if zipfile.is_zipfile(path):
            return _zip_members(path, origin)
    raise StageError(f"{origin}: neither a zip nor a tar archive (nor one compressed by gzip, bzip2, xz or zstd)")


def _member_chunks(path: Path, ending: str) -> Iterator[bytes]:
    """The unpacked content of the one member of a zip whose name ends in `ending`."""
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if info.filename.endswith(ending)]
        if len(infos) != 1:
            raise StageError(f"{path}: expected one {ending} in it, found {len(infos)}")
        _check_expansion(path, infos[0].file_size)  # before anything is written
        with archive.open(infos[0]) as file:
            while chunk := file.read(_CHUNK):
                yield chunk


def extract_one(path: Path, ending: str, scratch: Path) -> Path:
    """The one member of a zip whose name ends in `ending`, as a file in `scratch`.

    Raises StageError if there is not exactly one, or if the zip is damaged.
    """
    return _write_unpacked(path, scratch, _member_chunks(path, ending))


class _OpenFile:
    """A file's descriptor, closed when no reference to this object remains."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # os.open failed
            os.close(self.number)


@functools.lru_cache(maxsize=64)
def _open_file(path: str) -> _OpenFile:
    """A file that stays open in this process. Data sets have few archives, so each is opened once."""
    return _OpenFile(path)


def read(path: str, member: Member, limit: int = _MAX_MEMBER) -> bytes:
    """The bytes of a member of the file at `path`.

    Raises RejectedError if the member is longer than `limit` bytes, damaged, encrypted, or of another size than stated.
    """
    if member.kind == UNREADABLE:
        raise RejectedError("unsupported")
    if member.length > limit or member.size > limit:
        raise RejectedError("too_large")
    file = _open_file(path)  # this reference keeps it open
    if member.kind == PLAIN:
        data = os.pread(file.number, member.length, member.offset)
        if len(data) != member.length:
            raise RejectedError("truncated")
        return data
    data = _read_packed(file.number, member)
    if member.kind == ZIP_DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except zlib.error:
            raise RejectedError("corrupt") from None
    if len(data) != member.size:
        raise RejectedError("corrupt")
    return data


def _read_packed(file: int, member: Member) -> bytes:
    """The bytes of a zip's member as they are stored, which follow its local header. Raises RejectedError."""
    # The local header's extra field may be longer than the directory's. One read is enough for the usual length.
    block = os.pread(file, _LOCAL_HEADER + 256 + member.length, member.offset)
    start = _LOCAL_HEADER + int.from_bytes(block[26:28], "little") + int.from_bytes(block[28:30], "little")
    if block[:4] != b"PK\x03\x04":
        raise RejectedError("corrupt")
    data = block[start : start + member.length]
    if len(data) < member.length:
        data = os.pread(file, member.length, member.offset + start)
    if len(data) != member.length:
        raise RejectedError("truncated")
    return data
