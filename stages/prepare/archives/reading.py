"""Read a member directly from its archive."""

import bz2
import contextlib
import functools
import io
import lzma
import os
import zlib
from collections.abc import Callable

import zstandard

from stages.prepare.archives.member import (
    ENCRYPTED,
    PLAIN,
    UNPACKING_ERRORS,
    ZIP_BZIP2,
    ZIP_DEFLATED,
    ZIP_LZMA,
    ZIP_STORED,
    ZIP_XZ,
    ZIP_ZSTD,
    Member,
    is_readable,
    why_unreadable,
)
from stages.prepare.decode import RejectedError

_MAX_MEMBER = 1 << 30  # bytes of a picture
_MAX_DICTIONARY = 1 << 29  # bytes that LZMA may take
_LOCAL_HEADER = 30  # bytes of a zip member's local header, before the name and the extra field


def _inflate(data: bytes, size: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)


def _unzip_lzma(data: bytes, size: int) -> bytes:
    """A zip's LZMA (APPNOTE.TXT 5.8.8): two bytes of version, two of length, five of properties, then the stream."""
    alone = data[4:9] + b"\xff" * 8 + data[9:]  # as in a .lzma file of unknown size
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MAX_DICTIONARY)
    return unpacker.decompress(alone, size - 1)  # without an end mark, it would unpack a wrong byte behind the last


def _unzip_xz(data: bytes, size: int) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_DICTIONARY).decompress(data, size)


def _unzip_zstd(data: bytes, size: int) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(size)


# The kind of a member => its unpacker, which unpacks at most as many bytes as it is told.
_UNPACKERS: dict[int, Callable[[bytes, int], bytes]] = {
    ZIP_STORED: lambda data, size: data,
    ZIP_DEFLATED: _inflate,
    ZIP_BZIP2: lambda data, size: bz2.BZ2Decompressor().decompress(data, size),
    ZIP_LZMA: _unzip_lzma,
    ZIP_XZ: _unzip_xz,
    ZIP_ZSTD: _unzip_zstd,
}


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
    if not is_readable(member.kind):
        detail = why_unreadable(member.kind)
        raise RejectedError("encrypted") if member.kind == ENCRYPTED else RejectedError("unsupported", detail=detail)
    if member.length > limit or member.size > limit:
        raise RejectedError("too_large")
    file = _open_file(path)  # this reference keeps it open
    if member.kind == PLAIN:
        data = os.pread(file.number, member.length, member.offset)
        if len(data) != member.length:
            raise RejectedError("truncated")
        return data
    try:
        data = _UNPACKERS[member.kind](_read_packed(file.number, member), member.size + 1)
    except (*UNPACKING_ERRORS, ValueError, OSError, EOFError):
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
