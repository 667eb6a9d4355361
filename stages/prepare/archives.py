"""Archives as they lie in data/raw: where in a file each picture is, so that workers read them straight from there.

Nothing is ever extracted by the name it has in an archive; names are keys and no more. What is compressed as a whole
(a .tar.gz, an .idx.gz) is unpacked once, to one temporary file.
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
# A whole picture archive that unpacks to more is no picture archive: pictures are compressed already.
_MOST_EXPANSION, _EXPANSION_FREE = 100, 1 << 30
_LOCAL_HEADER = 30  # of a zip's member, before its name and its extra field
# PKWARE's APPNOTE.TXT 4.3.12, 4.3.16, and 4.3.14 with 4.3.15 behind it; only what is used has a letter of its own.
_ZIP_ENTRY = struct.Struct("<8x2H8x2L3H4x2L")  # flags, method, length, size, 3 lengths of text, attributes, offset
_ZIP_END = struct.Struct("<10xH2LH")  # entries, size, offset, comment
_ZIP_END_64 = struct.Struct("<32x3Q20x")
_TAR_BLOCK = 512
_NO_SUCH_SIZE = 1 << 62  # sizes beyond are lies that a 64-bit column cannot hold
_TORN = "torn or damaged ({}); delete it and download it again"
# What zipfile and tarfile raise where an archive's own words make no sense, beside errors of their own.
_NONSENSE = (ValueError, OverflowError, LookupError, EOFError, RecursionError, NotImplementedError, struct.error)

# What unpacking raises: RuntimeError for what is encrypted.
_UNPACKING = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, RuntimeError)


def _unzstd(path: Path) -> Iterator[bytes]:
    """What the frames of a zstd file unpack to. The library's own file object says nothing of a torn end."""
    frame = None
    with path.open("rb") as file:
        data = b""
        while data := data or file.read(1 << 12):  # little: each of its bytes may become 32 KB
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(data)
            data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise EOFError("the file ends within a frame")


def _with(opener: Callable[..., Any], path: Path) -> Iterator[bytes]:
    with cast(IO[bytes], opener(path, "rb")) as packed:
        while chunk := packed.read(_CHUNK):
            yield chunk


_COMPRESSED: dict[bytes, Callable[[Path], Iterator[bytes]]] = {
    b"\x1f\x8b": functools.partial(_with, gzip.open),
    b"BZh": functools.partial(_with, bz2.open),
    b"\xfd7zXZ\x00": functools.partial(_with, lzma.open),
    b"\x28\xb5\x2f\xfd": _unzstd,
    b"\x50\x2a\x4d\x18": _unzstd,  # as pzstd writes it
}


class Member(NamedTuple):
    """One file within another: `length` bytes at `offset`; `kind` says how to read them, `size` what comes out."""

    name: str
    offset: int
    length: int
    size: int
    kind: int


PLAIN, ZIP_STORED, ZIP_DEFLATED, UNREADABLE = range(4)
_ZIP_METHODS = {zipfile.ZIP_STORED: ZIP_STORED, zipfile.ZIP_DEFLATED: ZIP_DEFLATED}


def _check_expansion(path: Path, size: int) -> None:
    """Raise StageError where `size` is more than pictures in an archive of that file's size can unpack to."""
    most = _MOST_EXPANSION * path.stat().st_size + _EXPANSION_FREE
    if size > most:
        raise StageError(f"{path}: unpacks to more than {most:,} bytes; that is no archive of pictures")


def _kept(path: Path, scratch: Path, chunks: Iterator[bytes]) -> Path:
    """A temporary file in `scratch` of what `path` unpacks to; one that an earlier run made is used again.

    Raises StageError where `path` is torn, or unpacks to a hundred times its size.
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
    except (*_UNPACKING, *_NONSENSE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; those of gzip and bz2 have no number
        raise StageError(f"{path}: {_TORN.format(error)}") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def unpacked(path: Path, scratch: Path) -> Path:
    """The file itself, or where it is compressed as a whole what it unpacks to, in `scratch`.

    A file that an earlier run unpacked is used again. Raises StageError where it is torn, or unpacks to a hundred times
    its size.
    """
    with path.open("rb") as file:
        head = file.read(8)
    unpack = next((unpack for magic, unpack in _COMPRESSED.items() if head.startswith(magic)), None)
    return path if unpack is None else _kept(path, scratch, unpack(path))


def _zip_directory(file: IO[bytes]) -> tuple[int, int, int]:
    """Where a zip's central directory begins, its bytes, and by how much what it says of offsets is short.

    That is what lies before the archive, such as the program of one that extracts itself. Raises BadZipFile.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _ZIP_END.size - 0xFFFF))
    tail = file.read()
    plain = len(tail) - _ZIP_END.size  # where it begins without a comment
    at = plain if tail[plain:].startswith(b"PK\x05\x06") and tail.endswith(b"\0\0") else tail.rfind(b"PK\x05\x06")
    if at < 0 or at > plain:
        raise zipfile.BadZipFile("no end of a zip's directory")
    _, size, offset, _ = _ZIP_END.unpack_from(tail, at)
    stop = end - len(tail) + at
    file.seek(max(0, stop - _ZIP_END_64.size))
    wide = file.read(min(stop, _ZIP_END_64.size))
    if len(wide) == _ZIP_END_64.size and wide[-20:].startswith(b"PK\x06\x07") and wide.startswith(b"PK\x06\x06"):
        _, size, offset = _ZIP_END_64.unpack(wide)
        stop -= _ZIP_END_64.size
    if size > stop:
        raise zipfile.BadZipFile("its directory would begin before it")
    return stop - size, size, stop - size - offset


def _zip64(extra: bytes, *values: int) -> list[int]:
    """The size, the length and the offset of a member; those that 32 bits cannot hold from the extra field, type 1."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, 4))
            return [min(next(wide, value), _NO_SUCH_SIZE) if value == 0xFFFFFFFF else value for value in values]
        extra = extra[4 + length :]
    return list(values)


def _zip_members(path: Path, origin: Path) -> Iterator[Member]:
    """Not by zipfile, which takes three times as long and keeps more than half a kilobyte for each member."""
    end = path.stat().st_size
    try:
        with path.open("rb", buffering=_CHUNK) as file:
            start, left, shift = _zip_directory(file)
            file.seek(start)
            while left > 0:
                head = file.read(_ZIP_ENTRY.size)
                if len(head) < _ZIP_ENTRY.size or not head.startswith(b"PK\x01\x02"):
                    raise zipfile.BadZipFile("bad directory")
                flags, method, length, size, names, extras, comments, attributes, offset = _ZIP_ENTRY.unpack(head)
                text = file.read(names + extras + comments)
                left -= _ZIP_ENTRY.size + len(text)
                name = text[:names].decode("utf-8" if flags & 0x800 else "cp437").partition("\0")[0]
                if 0xFFFFFFFF in (size, length, offset):
                    size, length, offset = _zip64(text[names : names + extras], size, length, offset)
                if name.endswith("/") or (attributes >> 16) & 0o170000 == 0o120000:  # a symbolic link
                    continue
                kind = UNREADABLE if flags & 1 else _ZIP_METHODS.get(method, UNREADABLE)  # 1: encrypted
                offset = offset + shift if 0 <= offset + shift < end else end
                yield Member(name, offset, length, size, kind)
    except (zipfile.BadZipFile, *_NONSENSE) as error:
        raise StageError(f"{origin}: {_TORN.format(error)}") from None


def _tar_entries(path: Path, origin: Path) -> Iterator[tuple[tarfile.TarInfo, Member | None]]:
    """All that a tar lists, in stored order, with the member that it is where it is a regular file."""
    end = path.stat().st_size
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined] # else it keeps a kilobyte for each
                if archive.offset < info.offset_data:
                    raise tarfile.ReadError("a size below zero")  # it would go in circles
                regular = info.isreg() and not info.issparse()
                if regular and info.offset_data + info.size > end:
                    raise tarfile.ReadError("unexpected end of data")
                yield info, Member(info.name, info.offset_data, info.size, info.size, PLAIN) if regular else None
            # tarfile takes a header that it cannot read for the end.
            file.seek(archive.offset)
            if file.read(_TAR_BLOCK).strip(b"\0"):
                raise tarfile.ReadError("a bad header")
    except (tarfile.TarError, *_NONSENSE) as error:
        raise StageError(f"{origin}: {_TORN.format(error)}") from None


def _tar_members(path: Path, origin: Path) -> Iterator[Member]:
    """The regular files, then the hard links, each as the last file before it of the name that it links to.

    Links take a second pass: to keep the names of all files for their sake would take much memory.
    """
    targets = set()
    for info, member in _tar_entries(path, origin):
        if member:
            yield member
        elif info.islnk():
            targets.add(posixpath.normpath(info.linkname))
    found: dict[str, Member] = {}
    for info, member in _tar_entries(path, origin) if targets else ():
        if info.islnk() and (target := found.get(posixpath.normpath(info.linkname))):
            member = target._replace(name=info.name)
            yield member
        if member and (name := posixpath.normpath(info.name)) in targets:
            found[name] = member


def _is_tar(head: bytes) -> bool:
    """Whether a file that begins with this block is a tar, an empty one included."""
    if len(head) == _TAR_BLOCK and not head.strip(b"\0"):
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def members(path: Path, origin: Path | None = None) -> Iterator[Member]:
    """Every regular file within a zip or an uncompressed tar, pictures and others, in stored order.

    A hard link in a tar is the file that it links to, and comes after all that is stored. Folders, symbolic links and
    devices are passed over. Raises StageError where the archive is damaged or of neither kind; it names `origin`, the
    file that `path` was unpacked from.
    """
    origin = origin or path
    with path.open("rb") as file:
        head = file.read(_TAR_BLOCK)
    # By the beginning first: what ends like a zip may be a tar whose last member is one.
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(path, origin)
    if _is_tar(head):
        return _tar_members(path, origin)
    with contextlib.suppress(zipfile.BadZipFile):
        if zipfile.is_zipfile(path):
            return _zip_members(path, origin)
    raise StageError(f"{origin}: neither a zip nor a tar archive (nor one compressed by gzip, bzip2, xz or zstd)")


def _one_member(path: Path, name_ends: str) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        found = [info for info in archive.infolist() if info.filename.endswith(name_ends)]
        if len(found) != 1:
            raise StageError(f"{path}: expected one {name_ends} within, found {len(found)}")
        _check_expansion(path, found[0].file_size)  # before anything is written
        with archive.open(found[0]) as source:
            while chunk := source.read(_CHUNK):
                yield chunk


def extract_one(path: Path, name_ends: str, scratch: Path) -> Path:
    """The one member of a zip whose name ends so, as a temporary file. Raises StageError where there is none."""
    return _kept(path, scratch, _one_member(path, name_ends))


class _Opened:
    """A file's descriptor, closed when nobody holds this any more."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never opened
            os.close(self.number)


@functools.lru_cache(maxsize=64)
def _opened(path: str) -> _Opened:
    """An open file of this process; a few archives, opened once each."""
    return _Opened(path)


def read(path: str, offset: int, length: int, size: int, kind: int, most: int = 1 << 30) -> bytes:
    """The bytes of one member.

    Raises RejectedError where it is longer than `most` bytes, damaged, encrypted, or longer or shorter than it says.
    """
    if kind == UNREADABLE:
        raise RejectedError("unsupported")
    if length > most or size > most:
        raise RejectedError("too_large")
    opened = _opened(path)  # held by its name, so that it stays open
    file = opened.number
    if kind == PLAIN:
        data = os.pread(file, length, offset)
        if len(data) != length:
            raise RejectedError("truncated")
        return data
    # The local header's extra field may be of another length than the directory's: read on for a usual one, then look.
    block = os.pread(file, _LOCAL_HEADER + 256 + length, offset)
    start = _LOCAL_HEADER + int.from_bytes(block[26:28], "little") + int.from_bytes(block[28:30], "little")
    if block[:4] != b"PK\x03\x04":
        raise RejectedError("corrupt")
    data = block[start : start + length]
    if len(data) < length:
        data = os.pread(file, length, offset + start)
    if len(data) != length:
        raise RejectedError("truncated")
    if kind == ZIP_DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        except zlib.error:
            raise RejectedError("corrupt") from None
    if len(data) != size:
        raise RejectedError("corrupt")
    return data
