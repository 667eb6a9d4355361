"""A file within a file: where its bytes are, and how they are packed."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import zstandard


class Member(NamedTuple):
    """A file within a file: `length` bytes at `offset`, `size` bytes once unpacked; `kind` says how to unpack them."""

    name: str
    offset: int
    length: int
    size: int
    kind: int


Reader = Callable[[str, Member], bytes]
"""Reads a member of the file with this path. Raises RejectedError."""

# The kinds of members. PLAIN is the bytes as they are; the others follow a zip's local header.
PLAIN, ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA, ZIP_ZSTD, ZIP_XZ = range(7)
# Kinds that cannot be read. The negative number of a zip's compression method is one, too (-9: Deflate64).
LINK, SPECIAL, ENCRYPTED = -126, -127, -128
PACKED_BY = "compressed by"
UNPACK_AGAIN = "unpack the archive (7z x) and set dataset.own to the folder"
# Other compression methods by number (PKWARE's APPNOTE.TXT 4.4.5).
_METHODS = {1: "Shrink", 2: "Reduce", 3: "Reduce", 4: "Reduce", 5: "Reduce", 6: "Implode", 9: "Deflate64"}
_METHODS |= {10: "IBM's TERSE", 18: "IBM's TERSE", 19: "LZ77", 94: "MP3", 96: "JPEG", 97: "WavPack", 98: "PPMd"}

# zipfile and tarfile raise these for malformed archives, as well as their own errors.
MALFORMED_ERRORS = (
    ValueError,
    OverflowError,
    LookupError,
    EOFError,
    RecursionError,
    NotImplementedError,
    struct.error,
)
# RuntimeError: an encrypted member.
UNPACKING_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, RuntimeError)
DAMAGED = "truncated or damaged ({}); delete it and download it again"


def is_readable(kind: int) -> bool:
    """Whether a member of this kind can be read."""
    return kind >= 0


def why_unreadable(kind: int) -> str:
    """What hinders the reading of members of this kind: the end of the sentence "they are …"."""
    if kind == ENCRYPTED:
        return "encrypted and need a password"
    return f"{PACKED_BY} {_METHODS.get(-kind, f'method {-kind}')}, which is not read"
