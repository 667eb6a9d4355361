"""Data sets, zips and tars for the tests, made by hand or with Python's own libraries."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from stages import artifacts
from stages.errors import StageError
from stages.prepare import plan, shards
from stages.prepare.archives import Member
from stages.prepare.decode import REASONS, RejectedError
from stages.prepare.settings import Settings
from stages.prepare.sources import formats
from stages.prepare.sources.facts import read_facts
from stages.prepare.sources.index import Source

Files = dict[str, bytes]
Entry = tuple[str | tarfile.TarInfo, bytes]


def write_source(folder: Path, format: str, files: Files, classes: Sequence[str] = ()) -> None:
    """Write a data set as the download stage does."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, data in files.items():
        (folder / name).write_bytes(data)
        listed.append({"name": name, "bytes": len(data), "sha256": artifacts.sha256(folder / name)})
    facts = {"name": "own", "title": "Own", "homepage": "", "licence": "MIT", "citation": "", "format": format}
    artifacts.write_json(folder / "source.json", {**facts, "classes": list(classes), "files": listed})


def open_data_set(
    folder: Path, format: str, files: Files, settings: Settings | None = None, classes: Sequence[str] = ()
) -> Source:
    """Write a data set of these files to `folder`/raw and open it, with `folder`/scratch for temporary files."""
    write_source(folder / "raw", format, files, classes)
    raw = folder / "raw"
    return formats.open_source(read_facts(raw), raw, folder / "scratch", settings or Settings())


def assert_named_as_damaged(folder: Path, name: str, data: bytes) -> None:
    """Check that the error for a damaged archive names it, and that no partly unpacked file remains."""
    with pytest.raises(StageError) as caught:
        open_data_set(folder, "archive", {name: data})
    assert str(caught.value).startswith(f"{folder / 'raw' / name}: "), "not the unpacked copy"
    assert not list((folder / "scratch").glob("*.part"))


def member(source: Source, at: int) -> Member:
    """Where one picture is."""
    index = source.index
    offset, length, size, kind = (int(column[at]) for column in (index.offset, index.length, index.size, index.kind))
    return Member(index.names[at], offset, length, size, kind)


def read(source: Source, at: int) -> bytes:
    """The bytes of one picture. Raises RejectedError."""
    return source.read(source.files[source.index.file[at]], member(source, at))


def outcome(source: Source, at: int) -> bytes | str:
    """The bytes of one picture, or the reason why it is rejected."""
    try:
        return read(source, at)
    except RejectedError as error:
        assert error.reason in REASONS
        return error.reason


def contents(source: Source) -> dict[str, bytes | str]:
    """The outcome for each key of a source."""
    return {key: outcome(source, at) for at, key in enumerate(source.index.names)}


def decoded(source: Source, settings: Settings) -> dict[str, np.ndarray]:
    """The decoded picture under each key, as a worker reads it."""
    parts = plan.parts(source, settings)
    return {key: shards.read_picture(part, at, settings) for part in parts for at, key in enumerate(part.keys)}


def splits_of(source: Source) -> dict[str, str]:
    """The official split of each key."""
    return {key: source.splits[n] for key, n in zip(source.index.names, source.index.split, strict=True)}


def classes_of(source: Source) -> dict[str, str]:
    """The class of each key."""
    return {key: source.classes[n] for key, n in zip(source.index.names, source.index.label, strict=True)}


def make_zip(files: Iterable[tuple[str | zipfile.ZipInfo, bytes]], how: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these files, in this order."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", how) as archive:
        warnings.simplefilter("ignore")  # about repeated names
        for name, data in files:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name  # dated 1980, not today
            archive.writestr(info, data, how)
    return out.getvalue()


def make_tar(files: Iterable[Entry], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these files, in this order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in files:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def packed_by_pzstd(data: bytes) -> bytes:
    """The zstd file of `data` in two frames: a skippable frame is before each, and one more is at the end."""
    halves = [zstandard.ZstdCompressor().compress(half) for half in (data[:1000], data[1000:])]
    skipped = [b"\x50\x2a\x4d\x18" + struct.pack("<II", 4, len(half)) for half in halves]
    return skipped[0] + halves[0] + skipped[1] + halves[1] + b"\x5e\x2a\x4d\x18" + struct.pack("<I", 3) + b"end"


PICTURES: Files = {
    "cat/1.png": b"one" * 1000,
    "dog/2.png": b"",
    f"dog/{'deep/' * 40}3.JPG": np.random.default_rng(0).bytes(70_000),
    "dog/日本 ä.png": b"four",
}
ZIP, TAR = make_zip(PICTURES.items()), make_tar(PICTURES.items())
KINDS: dict[str, bytes] = {
    "stored.zip": ZIP,
    "deflated.zip": make_zip(PICTURES.items(), zipfile.ZIP_DEFLATED),
    "pax.tar": TAR,
    "gnu.tar": make_tar(PICTURES.items(), tarfile.GNU_FORMAT),
    "a.tar.gz": gzip.compress(TAR),
    "a.tar.bz2": bz2.compress(TAR),
    "a.tar.xz": lzma.compress(TAR),
    "a.tar.zst": zstandard.ZstdCompressor().compress(TAR),
    "pigz.tar.gz": gzip.compress(TAR[:1000]) + gzip.compress(TAR[1000:]),
    "pbzip2.tar.bz2": bz2.compress(TAR[:1000]) + bz2.compress(TAR[1000:]),
    "pxz.tar.xz": lzma.compress(TAR[:1000]) + lzma.compress(TAR[1000:]),
    "pzstd.tar.zst": packed_by_pzstd(TAR),
    "two frames.tar.zst": b"".join(zstandard.ZstdCompressor().compress(part) for part in (TAR[:1000], TAR[1000:])),
    "a name without an extension": gzip.compress(TAR),
    "a.zip.gz": gzip.compress(ZIP),
}


def zip_member(name: str, data: bytes, extra: bytes = b"") -> bytes:
    """A stored member of a zip: its local header and its bytes."""
    sizes = (zlib.crc32(data), len(data), len(data), len(name), len(extra))
    return struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, *sizes) + name.encode() + extra + data


def zip_entry(
    name: str,
    data: bytes,
    *,
    length: int | None = None,
    size: int | None = None,
    offset: int = 0,
    flags: int = 0,
    method: int = 0,
    extra: bytes = b"",
) -> bytes:
    """The entry of a member in a zip's directory, by default the true one."""
    stated = (len(data) if length is None else length, len(data) if size is None else size)
    fields = (zlib.crc32(data), *stated, len(name), len(extra), 0, 0, 0, 0, offset)
    head = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, flags, method, 0, 0, *fields)
    return head + name.encode() + extra


def end_of_zip(central: bytes, count: int, start: int) -> bytes:
    """A zip's directory and its end record."""
    count = min(count, 0xFFFF)
    return central + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(central), start, 0)


def streamed_zip(files: Files) -> bytes:
    """A zip written to a pipe: sizes and checksums follow the members."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return bytes(pipe.data)


def zip64(files: Files) -> bytes:
    """A zip with 64-bit sizes in its local headers, but not in its directory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(data)
    return out.getvalue()


def overwrite(data: bytes, where: int, put: bytes) -> bytes:
    """`data` with the bytes from offset `where` on replaced."""
    where = where if where >= 0 else len(data) + where
    return data[:where] + put + data[where + len(put) :]
