"""Zip archives: false directory entries, unusual and damaged files."""

import io
import itertools
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.decode import RejectedError
from tests.archive_files import (
    PICTURES,
    ZIP,
    Files,
    assert_named_as_damaged,
    contents,
    end_of_zip,
    make_zip,
    member,
    open_data_set,
    overwrite,
    streamed_zip,
    zip64,
    zip_entry,
    zip_member,
)


@pytest.mark.parametrize(("name", "mode"), [("odd.png", stat.S_IFLNK | 0o777), ("folder.png/", stat.S_IFDIR | 0o755)])
def test_only_regular_files_of_a_zip_are_members(tmp_path: Path, name: str, mode: int) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    data = make_zip([(info, b"" if name.endswith("/") else b"/etc/passwd"), ("plain.png", b"data")])
    assert contents(open_data_set(tmp_path, "archive", {"a.zip": data})) == {"plain.png": b"data"}


def zip_with_lie(data: bytes, **lies: Any) -> bytes:
    """A zip with one member, about which the directory has false values."""
    stored = zip_member("a.png", data)
    return stored + end_of_zip(zip_entry("a.png", data, **lies), 1, len(stored))


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


BOMB = deflated(bytes(50_000_000))
LIES: dict[str, tuple[bytes, str | bytes]] = {
    "the truth": (zip_with_lie(b"data"), b"data"),
    "deflated": (zip_with_lie(deflated(b"data"), size=4, method=8), b"data"),
    "a bomb with a small size": (zip_with_lie(BOMB, size=100, method=8), "corrupt"),
    "a bomb with its true size": (zip_with_lie(BOMB, size=(1 << 30) + 1, method=8), "too_large"),
    "a size that is too large": (zip_with_lie(b"data", size=5), "corrupt"),
    "a size that is too small": (zip_with_lie(b"data", size=3), "corrupt"),
    "deflated, with a size that is too large": (zip_with_lie(deflated(b"data"), size=5, method=8), "corrupt"),
    "not deflated": (zip_with_lie(b"data", size=4, method=8), "corrupt"),
    "a length beyond the archive": (zip_with_lie(b"data", length=1 << 20, size=1 << 20), "truncated"),
    "a length beyond any picture": (zip_with_lie(b"data", length=0xFFFFFFF0, size=0xFFFFFFF0), "too_large"),
    "an offset elsewhere": (zip_with_lie(b"data", offset=3), "corrupt"),
    "an offset beyond the end": (zip_with_lie(b"data", offset=1 << 31), "corrupt"),
    "an offset before the beginning": (
        zip_member("a.png", b"data")
        + end_of_zip(zip_entry("a.png", b"data"), 1, len(zip_member("a.png", b"data")) + 40),
        "corrupt",
    ),
    "a size of 2**64 - 1": (
        zip_with_lie(b"data", size=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 2**64 - 1)),
        "too_large",
    ),
    "an offset of 2**64 - 1": (
        zip_with_lie(b"data", offset=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 2**64 - 1)),
        "corrupt",
    ),
    "encrypted": (zip_with_lie(b"data", flags=1), "unsupported"),
    "bzip2": (make_zip([("a.png", b"data")], zipfile.ZIP_BZIP2), "unsupported"),
    "LZMA": (make_zip([("a.png", b"data")], zipfile.ZIP_LZMA), "unsupported"),
    "an unknown method": (zip_with_lie(b"data", method=99), "unsupported"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_false_directory_entry_rejects_only_its_member(tmp_path: Path, name: str) -> None:
    data, expected = LIES[name]
    assert contents(open_data_set(tmp_path, "archive", {"a.zip": data})) == {"a.png": expected}


def test_a_member_above_the_limit_is_rejected(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "archive", {"a.zip": make_zip([("a.png", bytes(1001))], zipfile.ZIP_DEFLATED)})
    assert len(archives.read(source.files[0], member(source, 0), limit=1001)) == 1001
    with pytest.raises(RejectedError, match="too_large"):
        archives.read(source.files[0], member(source, 0), limit=1000)


def with_comment(data: bytes) -> bytes:
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = b"A comment. " * 1000
    return out.getvalue()


LONG_EXTRA = zip_member("a.png", b"data" * 100, struct.pack("<HH", 0xCAFE, 60_000) + bytes(60_000))
UNUSUAL: dict[str, tuple[bytes, Files]] = {
    "with a comment": (with_comment(ZIP), PICTURES),
    "behind a program": (b"MZ this is a program" * 50 + ZIP, PICTURES),
    "streamed": (streamed_zip(PICTURES), PICTURES),
    "zip64": (zip64(PICTURES), PICTURES),
    "with a longer local header than its directory says": (
        LONG_EXTRA + end_of_zip(zip_entry("a.png", b"data" * 100), 1, len(LONG_EXTRA)),
        {"a.png": b"data" * 100},
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_zip_is_read(tmp_path: Path, name: str) -> None:
    data, expected = UNUSUAL[name]
    assert contents(open_data_set(tmp_path, "archive", {"a.zip": data})) == expected


def test_a_hundred_thousand_empty_members_are_read(tmp_path: Path) -> None:
    stored = [zip_member(f"{i}.png", b"") for i in range(100_000)]
    starts = list(itertools.accumulate(map(len, stored), initial=0))
    central = b"".join(zip_entry(f"{i}.png", b"", offset=start) for i, start in enumerate(starts[:-1]))
    whole = b"".join(stored)
    started = time.process_time()
    source = open_data_set(tmp_path, "archive", {"a.zip": whole + end_of_zip(central, 100_000, len(whole))})
    index = source.index
    columns = (column.tolist() for column in (index.offset, index.length, index.size, index.kind))
    members = map(Member, index.names, *columns)
    assert sum(archives.read(source.files[0], member) == b"" for member in members) == 100_000
    assert time.process_time() - started < 10, "seconds of this process"


def zip_with_extras(names: Iterable[str], comment: bytes = b"") -> bytes:
    """A zip of members with extra fields of several lengths."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for i, name in enumerate(names):
            info = zipfile.ZipInfo(name)
            info.extra = struct.pack("<HHI", 0xCAFE, 4, i) * (i % 3)
            archive.writestr(info, b"x" * (i % 5), zipfile.ZIP_DEFLATED if i % 2 else zipfile.ZIP_STORED)
    return out.getvalue()


@pytest.mark.parametrize(
    ("before", "name", "count", "comment"),
    [(b"", "{}.png", 66_000, b""), (b"MZ" * 999, "ä{}/日本.png", 10, b"a comment"), (b"", "", 0, b"")],
    ids=["more members than 16 bits can count", "behind a program, with a comment", "empty"],
)
def test_a_zip_has_the_members_that_zipfile_finds(
    before: bytes, name: str, count: int, comment: bytes, tmp_path: Path
) -> None:
    data = before + zip_with_extras(map(name.format, range(count)), comment)
    (tmp_path / "a.zip").write_bytes(data)
    members = [(m.name, m.offset, m.length, m.size) for m in archives.members(tmp_path / "a.zip")]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        expected = [(i.filename, i.header_offset, i.compress_size, i.file_size) for i in archive.infolist()]
    assert members == expected


DAMAGED: dict[str, bytes] = {
    "truncated.zip": ZIP[:-30],
    "half.zip": ZIP[: len(ZIP) // 2],
    "bad directory.zip": overwrite(ZIP, ZIP.index(b"PK\x01\x02"), b"XXXX"),
    "name that is not utf-8.zip": ZIP.replace("日".encode(), b"\xff\xff\xff"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_zip_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    assert_named_as_damaged(tmp_path, name, DAMAGED[name])
