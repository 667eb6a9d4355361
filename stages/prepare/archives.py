"""Archives as they lie in data/raw: where in a file each picture is, so that workers read them straight from there.

Nothing is ever extracted by the name it has in an archive; names are keys and no more. What is compressed as a whole
(a .tar.gz, an .idx.gz) is unpacked once, to one temporary file.
"""

import bz2
import functools
import gzip
import lzma
import os
import shutil
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
_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": zstandard.open,
}


class Member(NamedTuple):
    """One file within another: `length` bytes at `offset`; `kind` says how to read them, `size` what comes out."""

    name: str
    offset: int
    length: int
    size: int
    kind: int


PLAIN, ZIP_STORED, ZIP_DEFLATED, UNREADABLE = range(4)


def unpacked(path: Path, scratch: Path) -> Path:
    """The file itself, or where it is compressed as a whole what it unpacks to, in `scratch`.

    A file that an earlier run unpacked is used again. Raises StageError where it is torn, or unpacks to a hundred times
    its size.
    """
    with path.open("rb") as file:
        head = file.read(8)
    opener = next((opener for magic, opener in _COMPRESSED.items() if head.startswith(magic)), None)
    if opener is None:
        return path
    target = scratch / f"{path.name}.unpacked"
    if target.is_file():
        return target
    scratch.mkdir(parents=True, exist_ok=True)
    part = scratch / f"{path.name}.{os.getpid()}.part"
    most = _MOST_EXPANSION * path.stat().st_size + _EXPANSION_FREE
    try:
        with cast(IO[bytes], opener(path, "rb")) as packed, part.open("wb") as out:
            while chunk := packed.read(_CHUNK):
                out.write(chunk)
                if out.tell() > most:
                    raise StageError(f"{path}: unpacks to more than {most:,} bytes; that is no archive of pictures")
        part.replace(target)
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile) as error:
        raise StageError(f"{path}: torn or damaged ({error}); delete it and download it again") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def _zip_members(path: Path) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir() or (info.external_attr >> 16) & 0o170000 == 0o120000:  # a symbolic link
                    continue
                kind = {zipfile.ZIP_STORED: ZIP_STORED, zipfile.ZIP_DEFLATED: ZIP_DEFLATED}.get(info.compress_type)
                kind = UNREADABLE if kind is None or info.flag_bits & 1 else kind  # 1: encrypted
                yield Member(info.filename, info.header_offset, info.compress_size, info.file_size, kind)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise StageError(f"{path}: damaged ({error}); delete it and download it again") from None


def _tar_members(path: Path) -> Iterator[Member]:
    try:
        with tarfile.open(path, "r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined] # else it keeps a kilobyte for each
                if info.isreg() and not info.issparse():
                    yield Member(info.name, info.offset_data, info.size, info.size, PLAIN)
    except (tarfile.TarError, EOFError) as error:
        raise StageError(f"{path}: damaged ({error}); delete it and download it again") from None


def members(path: Path) -> Iterator[Member]:
    """Every regular file within a zip or an uncompressed tar, pictures and others, in stored order.

    Folders, links and devices are passed over. Raises StageError where the archive is damaged or of neither kind.
    """
    if zipfile.is_zipfile(path):
        return _zip_members(path)
    if tarfile.is_tarfile(path):
        return _tar_members(path)
    raise StageError(f"{path}: neither a zip nor a tar archive (nor one compressed by gzip, bzip2, xz or zstd)")


def extract_one(path: Path, name_ends: str, scratch: Path) -> Path:
    """The one member of a zip whose name ends so, as a temporary file. Raises StageError where there is none."""
    target = scratch / f"{path.name}.unpacked"
    if target.is_file():
        return target
    scratch.mkdir(parents=True, exist_ok=True)
    part = scratch / f"{path.name}.{os.getpid()}.part"
    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if info.filename.endswith(name_ends)]
            if len(found) != 1:
                raise StageError(f"{path}: expected one {name_ends} within, found {len(found)}")
            with archive.open(found[0]) as source, part.open("wb") as out:
                shutil.copyfileobj(source, out, _CHUNK)
        part.replace(target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise StageError(f"{path}: damaged ({error}); delete it and download it again") from None
    finally:
        part.unlink(missing_ok=True)
    return target


@functools.lru_cache(maxsize=64)
def _descriptor(path: str) -> int:
    """An open file of this process; a few archives, opened once each."""
    return os.open(path, os.O_RDONLY)


def read(path: str, offset: int, length: int, size: int, kind: int, most: int = 1 << 30) -> bytes:
    """The bytes of one member.

    Raises RejectedError where it is longer than `most` bytes, damaged, encrypted, or longer or shorter than it says.
    """
    if kind == UNREADABLE:
        raise RejectedError("unsupported")
    if length > most or size > most:
        raise RejectedError("too_large")
    file = _descriptor(path)
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
