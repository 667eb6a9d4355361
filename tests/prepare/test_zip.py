"""Zip archives: false directory entries, unusual and damaged files."""

import bz2
import io
import itertools
import lzma
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.decode import RejectedError
from stages.prepare.settings import Settings
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


def special(name: str, kind: int) -> zipfile.ZipInfo:
    """A member of a zip that is not a regular file."""
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o755) << 16
    return info


@pytest.mark.parametrize(
    ("name", "kind", "left_out"),
    [
        ("odd.png", stat.S_IFLNK, {"link": 1}),
        ("folder.png/", stat.S_IFDIR, {}),
        ("pipe.png", stat.S_IFIFO, {"special": 1}),
        ("device.png", stat.S_IFBLK, {"special": 1}),
    ],
)
def test_what_is_no_file_of_a_zip_is_left_out_and_counted(
    tmp_path: Path, name: str, kind: int, left_out: dict[str, int]
) -> None:
    data = make_zip([(special(name, kind), b"/etc/passwd"), ("plain.png", b"data")])
    source = open_data_set(tmp_path, "archive", {"a.zip": data})
    assert contents(source) == {"plain.png": b"data"}
    assert source.index.left_out == left_out


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_symbolic_link_in_a_zip_is_followed_to_a_member(tmp_path: Path, how: int) -> None:
    links = {"a/l.png": "../d/1.png", "a/m.png": "l.png", "circle.png": "./circle.png", "out.png": "../d/1.png"}
    files = [(special(name, stat.S_IFLNK), target.encode()) for name, target in links.items()]
    source = open_data_set(tmp_path, "archive", {"a.zip": make_zip([*files, ("d/1.png", b"data" * 9)], how)})
    assert contents(source) == dict.fromkeys(["d/1.png", "a/l.png", "a/m.png"], b"data" * 9)
    assert source.index.left_out == {"link": 2}


def named(raw: bytes, extra: bytes = b"", flags: int = 0) -> bytes:
    """A zip with one empty member of this name."""
    placeholder = "#" * len(raw)
    local, entry = zip_member(placeholder, b""), zip_entry(placeholder, b"", extra=extra, flags=flags)
    return (local + end_of_zip(entry, 1, len(local))).replace(placeholder.encode(), raw)


def unicode_path(raw: bytes, name: str, version: int = 1) -> bytes:
    """Info-ZIP's Unicode Path field, behind a field of another type."""
    data = struct.pack("<BL", version, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HHI", 0xCAFE, 4, 0) + struct.pack("<HH", 0x7075, len(data)) + data


NAMES: dict[str, tuple[bytes, str]] = {
    "the Unicode field": (named(b"#U72ac.png", unicode_path(b"#U72ac.png", "犬.png")), "犬.png"),
    "the Unicode field before the flag": (named(b"x.png", unicode_path(b"x.png", "犬.png"), 0x800), "犬.png"),
    "the Unicode field of another name": (named(b"x.png", unicode_path(b"y.png", "犬.png")), "x.png"),
    "the Unicode field of another version": (named(b"x.png", unicode_path(b"x.png", "犬.png", 2)), "x.png"),
    "an empty Unicode field": (named(b"x.png", unicode_path(b"x.png", "")), "x.png"),
    "UTF-8 with the flag": (named("犬.png".encode(), flags=0x800), "犬.png"),
    "UTF-8 without the flag": (named("犬.png".encode()), "犬.png"),
    "cp437": (named("caf\u00e9.png".encode("cp437")), "caf\u00e9.png"),
    "cp437 with the flag of UTF-8": (named("caf\u00e9.png".encode("cp437"), flags=0x800), "caf\u00e9.png"),
    "an escape sequence": (named(b"\x1b]0;x\x07.png"), r"\x1b]0;x\x07.png"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_that_of_the_unicode_field_else_utf_8_else_cp437(tmp_path: Path, name: str) -> None:
    data, expected = NAMES[name]
    assert contents(open_data_set(tmp_path, "archive", {"a.zip": data})) == {expected: b""}


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
    "bzip2": (make_zip([("a.png", b"data")], zipfile.ZIP_BZIP2), b"data"),
    "LZMA": (make_zip([("a.png", b"data" * 999)], zipfile.ZIP_LZMA), b"data" * 999),
    "zstd": (zip_with_lie(zstandard.compress(b"data"), size=4, method=93), b"data"),
    "zstd under its old number": (zip_with_lie(zstandard.compress(b"data"), size=4, method=20), b"data"),
    "xz": (zip_with_lie(lzma.compress(b"data"), size=4, method=95), b"data"),
    "not bzip2": (zip_with_lie(b"data", method=12), "corrupt"),
    "not LZMA": (zip_with_lie(b"data", method=14), "corrupt"),
    "not zstd": (zip_with_lie(b"data", method=93), "corrupt"),
    "not xz": (zip_with_lie(b"data", method=95), "corrupt"),
    "truncated bzip2": (zip_with_lie(bz2.compress(b"data")[:20], size=4, method=12), "corrupt"),
    "truncated xz": (zip_with_lie(lzma.compress(b"data" * 99)[:40], size=396, method=95), "corrupt"),
    "a zstd bomb": (zip_with_lie(zstandard.compress(bytes(50_000_000)), size=100, method=93), "corrupt"),
    "a bzip2 bomb": (zip_with_lie(bz2.compress(bytes(5_000_000)), size=100, method=12), "corrupt"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_member_is_read_or_rejected_whatever_the_directory_says(tmp_path: Path, name: str) -> None:
    data, expected = LIES[name]
    assert contents(open_data_set(tmp_path, "archive", {"a.zip": data})) == {"a.png": expected}


UNREADABLE: dict[str, tuple[dict[str, int], str]] = {
    "encrypted": ({"flags": 1}, "are encrypted and need a password"),
    "encrypted by AES": ({"flags": 1, "method": 99}, "are encrypted and need a password"),
    "Deflate64": ({"method": 9}, "are compressed by Deflate64, which is not read"),
    "Implode": ({"method": 6}, "are compressed by Implode, which is not read"),
    "PPMd": ({"method": 98}, "are compressed by PPMd, which is not read"),
    "unknown": ({"method": 77}, "are compressed by method 77, which is not read"),
    "beyond all methods": ({"method": 60_000}, "are compressed by method 99, which is not read"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_zip_that_cannot_be_unpacked_says_why(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lies, reason = UNREADABLE[name]
    with pytest.raises(StageError, match=rf"^a\.zip: 1 of 1 pictures {reason} \(first: a\.png\); unpack the archive"):
        open_data_set(tmp_path, "archive", {"a.zip": zip_with_lie(b"data", **lies)})
    both = {"a.zip": zip_with_lie(b"data", **lies), "b.zip": ZIP}
    source = open_data_set(tmp_path, "archive", both, Settings(labels="none"))
    assert capsys.readouterr().err.startswith(f"a.zip: 1 of 5 pictures {reason} (first: a.png); unpack the archive")
    assert contents(source) == {"a.png": "encrypted" if "flags" in lies else "unsupported", **PICTURES}


def test_a_member_above_the_limit_is_rejected(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "archive", {"a.zip": make_zip([("a.png", bytes(1001))], zipfile.ZIP_DEFLATED)})
    assert len(archives.read(source.files[0], member(source, 0), limit=1001)) == 1001
    with pytest.raises(RejectedError, match="too_large"):
        archives.read(source.files[0], member(source, 0), limit=1000)


def with_comment(data: bytes, comment: bytes = b"A comment. " * 1000) -> bytes:
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = comment
    return out.getvalue()


LONG_EXTRA = zip_member("a.png", b"data" * 100, struct.pack("<HH", 0xCAFE, 60_000) + bytes(60_000))
UNUSUAL: dict[str, tuple[bytes, Files]] = {
    "with a comment": (with_comment(ZIP), PICTURES),
    "behind a program": (b"MZ this is a program" * 50 + ZIP, PICTURES),
    "before other bytes": (ZIP + b"a signature" * 1000, PICTURES),
    "before bytes that look like the end of a zip": (ZIP + b"PK\x05\x06" + bytes(40), PICTURES),
    "between other bytes": (b"#!/bin/sh" * 99 + ZIP + b"\n" * 99, PICTURES),
    "with a comment that holds another zip": (with_comment(ZIP, make_zip([("b.png", b"")])[:-22]), PICTURES),
    "with one name that is neither UTF-8 nor the flag's": (
        ZIP.replace("日".encode(), b"\xff\xff\xff"),
        {name.replace("日本 ä", "\u00a0\u00a0\u00a0µ£¼ ├ñ"): data for name, data in PICTURES.items()},
    ),
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
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_zip_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    assert_named_as_damaged(tmp_path, name, DAMAGED[name])
