"""What a file is, by its content and its name: a container of pictures that can be read, or one of another kind."""

import contextlib
import gzip
import re
import zipfile
import zlib
from pathlib import Path

ARCHIVES = frozenset(("zip", "tar", "gzip", "bzip2", "xz", "zstd"))
ARRAYS = frozenset(("npz", "npy", "hdf5", "idx"))
READABLE = ARCHIVES | ARRAYS | {"parquet"}
NO_CONTAINER = "neither a zip nor a tar (.gz, .bz2, .xz, .zst), nor a parquet table, nor arrays (.npz, .npy, .h5, idx)"

_HEAD = 1 << 10
_HDF5 = b"\x89HDF\r\n\x1a\n"
# The offset and the bytes there => the kind. The first that fits decides.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x07\x08", "split zip"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\x50\x2a\x4d\x18", "zstd"),  # as pzstd writes it
    (0, b"PAR1", "parquet"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"MATLAB", "matlab"),  # before hdf5, which version 7.3 contains
    (0, _HDF5, "hdf5"),
    (512, _HDF5, "hdf5"),
    (257, b"ustar", "tar"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"MSCF", "cab"),
    (0, b"\x1f\x9d", "compress"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"LZIP", "lzip"),
    (0, b"\x5d\x00\x00", "lzma"),
    (0, b"SQLite format 3", "sqlite"),
    (16, b"\xde\xc0\xef\xbe", "lmdb"),
    (0, b"%PDF", "pdf"),
    (0, b"ARROW1", "arrow"),
    (0, b"version https://git-lfs", "lfs"),
    (0, b"\x80\x02", "pickle"),
    (0, b"\x80\x03", "pickle"),
    (0, b"\x80\x04", "pickle"),
    (0, b"\x80\x05", "pickle"),
)
# The types of idx values (LeCun, THE MNIST DATABASE), in the third byte; the fourth is the number of dimensions.
_IDX = re.compile(rb"\0\0[\x08\x09\x0b-\x0e][\x01-\x05]")
_UNPACK = "unpack it with {}, then set dataset.own to the folder"
# A kind that is not read => what it is; what to do.
_OTHERS = {
    "split zip": "a part of a split zip; join its parts first: zip -s 0 NAME.zip --out whole.zip",
    "piece": "a piece of a larger file; join the pieces first: cat NAME.* > NAME",
    "7z": f"a 7-Zip archive, which is not read; {_UNPACK.format('7z x')}",
    "rar": f"a RAR archive, which is not read; {_UNPACK.format('unrar x')}",
    "cab": f"a Windows cabinet, which is not read; {_UNPACK.format('cabextract')}",
    "compress": f"compressed by Unix compress (.Z), which is not read; {_UNPACK.format('uncompress')}",
    "lz4": f"compressed by LZ4, which is not read; {_UNPACK.format('lz4 -d')}",
    "lzip": f"compressed by lzip, which is not read; {_UNPACK.format('lzip -d')}",
    "lzma": f"compressed by LZMA without a container (.lzma), which is not read; {_UNPACK.format('unlzma')}",
    "matlab": "a MATLAB file, which is not read; save its arrays with scipy.io.loadmat and numpy.savez",
    "sqlite": "an SQLite database, which is not read; save its pictures as files",
    "lmdb": "an LMDB database, which is only read for LSUN; save its pictures as files",
    "pdf": "a PDF, which is not read; save its pictures as files (pdfimages -all)",
    "arrow": "an Arrow table, which is not read; save it as parquet",
    "lfs": "a Git LFS pointer, not the file itself; run git lfs pull in its repository",
    "pickle": "a Python pickle, which can run a program and is not read; save its arrays with numpy.savez",
    "pytorch": "a PyTorch file, which holds a pickle and is not read; save its arrays with numpy.savez",
}
_SPLIT_ZIP = re.compile(r"\.z\d\d$", re.IGNORECASE)
_PIECE = re.compile(r"\.(zip|7z|rar|tar|tgz|tar\.\w+)\.(\d{2,4}|part\w+|a[a-z])$", re.IGNORECASE)


def _zip_kind(path: Path, head: bytes) -> str:
    """Whether a zip holds only NumPy's files, or PyTorch's. The name of the first member decides whether to look."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.endswith(b".npy"):
        with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:  # it may be malformed in any way,
            return "npz" if all(name.endswith(".npy") for name in archive.namelist()) else "zip"
        return "npz"  # which its reader reports
    return "pytorch" if name.endswith(b"/data.pkl") else "zip"


def _gzip_kind(path: Path) -> str:
    """Whether a gzip file holds an idx file."""
    try:
        with gzip.open(path) as file:
            return "idx" if _IDX.match(file.read(4)) else "gzip"
    except (OSError, EOFError, zlib.error):
        return "gzip"  # damaged, which the reader reports


def _kind_by_end(path: Path) -> str:
    """ "zip" if a zip's end record is near the end of a file, "split zip" if it says that other parts exist, else "".

    The end record (PKWARE's APPNOTE.TXT 4.3.16) holds the number of its part, from 0.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 0x1_0100))
        _, *records = file.read().split(b"PK\x05\x06")
    is_whole = any(record[:2] in (b"\0\0", b"\xff\xff") for record in records)  # a comment may look like a record
    return "" if not records else "zip" if is_whole else "split zip"


def is_tar_header(block: bytes) -> bool:
    """Whether a block of 512 bytes is the header of a tar's member: its checksum is right (POSIX.1-1988, ustar).

    The sum counts the checksum's own eight bytes as spaces. Some old programs summed signed bytes.
    """
    try:
        checksum = int(block[148:156].split(b"\0")[0], 8)
    except ValueError:
        return False
    total = 256 + sum(block[:148]) + sum(block[156:512])
    negative = 256 * sum(byte > 127 for byte in block[:148] + block[156:512])
    return len(block) >= 512 and checksum in (total, total - negative)


def signature(head: bytes) -> str:
    """The kind by a file's first bytes; empty if none fits. Blocks of zeros begin an empty tar."""
    if kind := next((kind for at, magic, kind in _SIGNATURES if head.startswith(magic, at)), ""):
        return kind
    if _IDX.match(head):
        return "idx"
    return "tar" if is_tar_header(head[:512]) or (len(head) >= 512 and not head[:512].strip(b"\0")) else ""


def piece(name: str) -> str:
    """The kind of a file whose name is that of a piece of an archive (a.z01, a.zip.001); empty for any other name."""
    return "split zip" if _SPLIT_ZIP.search(name) else "piece" if _PIECE.search(name) else ""


def kind(path: Path, name: str = "") -> str:
    """The kind of a file, one of READABLE or another; empty if it is unknown. `name` is its name if not the path's."""
    if kind := piece(name or path.name):
        return kind
    with path.open("rb") as file:
        head = file.read(_HEAD)
    by_signature = signature(head)
    if by_signature == "zip":
        return "split zip" if _kind_by_end(path) == "split zip" else _zip_kind(path, head)
    if by_signature == "gzip":
        return _gzip_kind(path)
    return by_signature or _kind_by_end(path)


def problem(kind: str) -> str:
    """Why a file of this kind is not read as a container of pictures, and what to do; empty for one that is."""
    return "" if kind in READABLE else _OTHERS.get(kind, NO_CONTAINER)
