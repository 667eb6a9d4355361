"""Files that are compressed as a whole (.tar.gz, .idx.gz): unpacked once, to one temporary file."""

import bz2
import functools
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from stages import containers
from stages.errors import StageError
from stages.prepare.archives.member import DAMAGED, MALFORMED_ERRORS, UNPACKING_ERRORS

CHUNK = 1 << 20
# Pictures are compressed already, so an archive of pictures never unpacks to more than this times its size, plus this.
_MAX_EXPANSION, _EXPANSION_ALLOWANCE = 100, 1 << 30


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
        while chunk := file.read(CHUNK):
            yield chunk


# The kind of a compressed file, by its signature => how to unpack it.
_COMPRESSED: dict[str, Callable[[Path], Iterator[bytes]]] = {
    "gzip": functools.partial(_chunks, gzip.open),
    "bzip2": functools.partial(_chunks, bz2.open),
    "xz": functools.partial(_chunks, lzma.open),
    "zstd": _zstd_chunks,
}


def check_expansion(path: Path, size: int) -> None:
    """Raise StageError if an archive of pictures cannot unpack to `size` bytes."""
    limit = _MAX_EXPANSION * path.stat().st_size + _EXPANSION_ALLOWANCE
    if size > limit:
        raise StageError(f"{path}: unpacks to more than {limit:,} bytes; that is not an archive of pictures")


def write_unpacked(path: Path, scratch: Path, chunks: Iterator[bytes]) -> Path:
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
                check_expansion(path, out.tell())
        part.replace(target)
    except (*UNPACKING_ERRORS, *MALFORMED_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's error; those of gzip and bz2 have no number
        raise StageError(f"{path}: {DAMAGED.format(error)}") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def unpacked(path: Path, scratch: Path) -> Path:
    """The file itself, or its unpacked copy in `scratch` if it is compressed as a whole.

    A copy that an earlier run made is used again. Raises StageError if the file is damaged or unpacks to far more than
    its size.
    """
    with path.open("rb") as file:
        unpack = _COMPRESSED.get(containers.signature(file.read(8)))
    return path if unpack is None else write_unpacked(path, scratch, unpack(path))
