"""Archives and data sets as they come: hostile, damaged, lying; and where in them each picture is."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import stat
import struct
import tarfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from PIL import Image

from stages import artifacts, image_names
from stages.errors import StageError
from stages.prepare import archives, shards, sources
from stages.prepare.decode import REASONS, RejectedError
from stages.prepare.settings import Settings
from stages.prepare.sources import Source
from tests.conftest import write_idx
from tests.test_decode import mutated

Files = dict[str, bytes]
Entry = tuple[str | tarfile.TarInfo, bytes]


def write_source(folder: Path, format: str, files: Files, classes: Sequence[str] = ()) -> None:
    """A data set as the download stage leaves one."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, data in files.items():
        (folder / name).write_bytes(data)
        listed.append({"name": name, "bytes": len(data), "sha256": artifacts.sha256(folder / name)})
    facts = {"name": "own", "title": "Own", "homepage": "", "licence": "MIT", "citation": "", "format": format}
    artifacts.write_json(folder / "source.json", {**facts, "classes": list(classes), "files": listed})


def open_set(
    folder: Path, format: str, files: Files, settings: Settings | None = None, classes: Sequence[str] = ()
) -> Source:
    """A data set of these files, written to `folder`/raw and opened with `folder`/scratch."""
    write_source(folder / "raw", format, files, classes)
    facts = sources.facts_of(folder / "raw")
    return sources.open_source(folder / "raw", facts, settings or Settings(), folder / "scratch")


def read(source: Source, at: int) -> bytes:
    """The bytes of one picture. Raises RejectedError."""
    index = source.index
    where = (int(column[at]) for column in (index.offset, index.length, index.size, index.kind))
    return archives.read(source.files[index.file[at]], *where)


def outcome(source: Source, at: int) -> bytes | str:
    """The bytes of one picture, or the reason why there are none."""
    try:
        return read(source, at)
    except RejectedError as error:
        assert error.reason in REASONS
        return error.reason


def contents(source: Source) -> dict[str, bytes | str]:
    """What each key of a source leads to."""
    return {key: outcome(source, at) for at, key in enumerate(source.index.names)}


def decoded(source: Source, settings: Settings) -> dict[str, np.ndarray]:
    """The decoded picture that a worker sees under each key."""
    parts = shards.parts(source, settings)
    return {key: shards._picture(part, at, settings) for part in parts for at, key in enumerate(part.keys)}


def splits_of(source: Source) -> dict[str, str]:
    """The name of each key's official split."""
    return {key: source.splits[n] for key, n in zip(source.index.names, source.index.split, strict=True)}


def classes_of(source: Source) -> dict[str, str]:
    """The name of each key's class."""
    return {key: source.classes[n] for key, n in zip(source.index.names, source.index.label, strict=True)}


def make_zip(files: Iterable[tuple[str | zipfile.ZipInfo, bytes]], how: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these files, in this order."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", how) as archive:
        warnings.simplefilter("ignore")  # of names that come again
        for name, data in files:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name  # its date is 1980, and not today
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
    """Two frames, each behind a skippable one, and one more at the end."""
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
    "a name that says nothing": gzip.compress(TAR),
    "a.zip.gz": gzip.compress(ZIP),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_archive_gives_the_same_keys_and_bytes(tmp_path: Path, name: str) -> None:
    source = open_set(tmp_path, "archive", {name: KINDS[name]})
    assert contents(source) == PICTURES
    assert list(source.index.names) == list(PICTURES), "in stored order"
    assert source.classes == ("cat", "dog")


def test_several_archives_are_one_data_set(tmp_path: Path) -> None:
    parts = {"1.zip": make_zip([("a/1.png", b"1")]), "2.tar": make_tar([("b/2.png", b"2"), ("a/1.png", b"3")])}
    source = open_set(tmp_path, "archive", parts)
    assert contents(source) == {"a/1.png": b"1", "b/2.png": b"2", "a/1.png#2": b"3"}


def test_what_is_no_picture_is_counted_and_left_out(tmp_path: Path) -> None:
    files = {"a.png": b"1", "readme.txt": b"2", ".hidden.png": b"3", "__MACOSX/._a.png": b"4", "Thumbs.db": b"5"}
    source = open_set(tmp_path, "archive", {"a.zip": make_zip(files.items())})
    assert contents(source) == {"a.png": b"1"}
    assert source.ignored == 4


# --- names ---

NAMES = {
    "../../evil.png": "evil.png",
    "/etc/evil.png": "etc/evil.png",
    "a/../../b.png": "a/b.png",
    "..\\..\\evil.png": "evil.png",
    "C:\\temp\\evil.png": "C:/temp/evil.png",
    "./a.png": "a.png",
    "a//b.png": "a/b.png",
    "a\nb.png": "a\nb.png",
    "<script>alert(1)</script>.png": "<script>alert(1)</script>.png",
    '"quoted", and.png': '"quoted", and.png',
    "日本語/картина.png": "日本語/картина.png",
    "\u202egnp.exe.png": "\u202egnp.exe.png",
    "a" * 255 + ".png": "a" * 255 + ".png",
    "CON.png": "CON.png",
    "a b\t.png": "a b\t.png",
}


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_a_key_that_leads_nowhere(
    tmp_path: Path, name: str, make: Callable[[list[tuple[str, bytes]]], bytes]
) -> None:
    source = open_set(tmp_path, "archive", {"a": make([(name, b"data")])})
    assert contents(source) == {NAMES[name]: b"data"}


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_a_name_in_a_tar_that_is_no_utf_8_is_kept_byte_for_byte(tmp_path: Path, format: int) -> None:
    name = b"d/\xff\xe9.png".decode("utf-8", "surrogateescape")
    source = open_set(tmp_path, "archive", {"a.tar": make_tar([(name, b"data")], format)})
    assert contents(source) == {name: b"data"}


def test_names_that_come_to_the_same_are_told_apart_by_numbers(tmp_path: Path) -> None:
    names = ["a.png", "./a.png", "b/a.png", "/a.png", "..\\a.png", "b//a.png"]
    source = open_set(tmp_path, "archive", {"a.zip": make_zip((n, n.encode()) for n in names)})
    assert list(source.index.names) == ["a.png", "a.png#2", "b/a.png", "a.png#3", "a.png#4", "b/a.png#2"]
    assert list(contents(source).values()) == [name.encode() for name in names]


@pytest.mark.parametrize("names", sorted(set(itertools.permutations(["a", "a", "a#2", "a#2", "a#3"]))))
def test_no_two_keys_are_the_same_though_names_look_like_numbered_ones(tmp_path: Path, names: tuple[str, ...]) -> None:
    source = open_set(tmp_path, "archive", {"a.zip": make_zip((n, b"") for n in names)})
    assert len(set(source.index.names)) == 5


def test_many_names_alike_are_told_apart_in_no_time(tmp_path: Path) -> None:
    member = entry("a.png", b"")
    data = member + ended(directory("a.png", b"") * 30_000, 30_000, len(member))
    started = time.perf_counter()
    source = open_set(tmp_path, "archive", {"a.zip": data})
    assert len(set(source.index.names)) == 30_000
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_nothing_is_written_but_in_the_scratch_folder(
    tmp_path: Path, make: Callable[[list[tuple[str, bytes]]], bytes]
) -> None:
    names = [f"{tmp_path}/absolute.png", "../up.png", "../../upper.png", "plain.png", "..\\windows.png"]
    write_source(tmp_path / "raw", "archive", {"a.gz": gzip.compress(make([(name, b"data") for name in names]))})
    before = set(tmp_path.rglob("*"))
    facts = sources.facts_of(tmp_path / "raw")
    source = sources.open_source(tmp_path / "raw", facts, Settings(), tmp_path / "scratch")
    assert len(contents(source)) == 5
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "scratch", tmp_path / "scratch/a.gz.unpacked"}


# --- what is no regular file ---


def special(kind: bytes, name: str = "odd.png") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


SPECIAL = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "folder": tarfile.DIRTYPE,
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_in_a_tar_only_regular_files_are_seen(tmp_path: Path, kind: str) -> None:
    data = make_tar([(special(SPECIAL[kind]), b""), ("plain.png", b"data")])
    assert contents(open_set(tmp_path, "archive", {"a.tar": data})) == {"plain.png": b"data"}


def linked(name: str, target: str) -> Entry:
    """A hard link in a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.LNKTYPE, target
    return info, b""


def test_a_hard_link_in_a_tar_is_the_picture_that_it_links_to(tmp_path: Path) -> None:
    files: list[Entry] = [
        ("./a.png", b"one"),
        linked("b.png", "a.png"),
        linked("c.png", "./b.png"),
        ("notes.txt", b"two"),
    ]
    files += [linked("d.png", "notes.txt"), ("a.png", b"three"), linked("e.png", "a.png")]
    expected = {"a.png": b"one", "a.png#2": b"three", "b.png": b"one", "c.png": b"one", "d.png": b"two"}
    source = open_set(tmp_path, "archive", {"a.tar": make_tar(files)})
    assert contents(source) == {**expected, "e.png": b"three"}


@pytest.mark.parametrize("target", ["odd.png", "later.png", "../plain.png", "/plain.png", "link.png", "", "folder"])
def test_a_hard_link_in_a_tar_that_leads_to_no_earlier_file_is_passed_over(tmp_path: Path, target: str) -> None:
    folder, symbolic = special(tarfile.DIRTYPE, "folder"), special(tarfile.SYMTYPE, "link.png")
    files: list[Entry] = [
        (folder, b""),
        (symbolic, b""),
        ("plain.png", b"1"),
        linked("odd.png", target),
        ("later.png", b"2"),
    ]
    expected = {"plain.png": b"1", "later.png": b"2"}
    assert contents(open_set(tmp_path, "archive", {"a.tar": make_tar(files)})) == expected


@pytest.mark.parametrize(("name", "mode"), [("odd.png", stat.S_IFLNK | 0o777), ("folder.png/", stat.S_IFDIR | 0o755)])
def test_in_a_zip_only_regular_files_are_seen(tmp_path: Path, name: str, mode: int) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    data = make_zip([(info, b"" if name.endswith("/") else b"/etc/passwd"), ("plain.png", b"data")])
    assert contents(open_set(tmp_path, "archive", {"a.zip": data})) == {"plain.png": b"data"}


def test_a_tar_whose_last_member_is_a_zip_is_a_tar(tmp_path: Path) -> None:
    data = make_tar([("a.png", b"data"), ("inner.zip", ZIP)])[: -tarfile.RECORDSIZE // 2]
    assert zipfile.is_zipfile(io.BytesIO(data)), "by its end it is a zip"
    assert contents(open_set(tmp_path, "archive", {"a.tar": data})) == {"a.png": b"data"}


# --- zips by hand ---


def entry(name: str, data: bytes, extra: bytes = b"") -> bytes:
    """A member of a zip, stored: its local header and its bytes."""
    sizes = (zlib.crc32(data), len(data), len(data), len(name), len(extra))
    return struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, *sizes) + name.encode() + extra + data


def directory(
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
    """What the directory of a zip says of a member; by default the truth."""
    stated = (len(data) if length is None else length, len(data) if size is None else size)
    fields = (zlib.crc32(data), *stated, len(name), len(extra), 0, 0, 0, 0, offset)
    head = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, flags, method, 0, 0, *fields)
    return head + name.encode() + extra


def ended(central: bytes, count: int, start: int) -> bytes:
    """A zip's directory and its end."""
    count = min(count, 0xFFFF)
    return central + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(central), start, 0)


def lying(data: bytes, **lies: Any) -> bytes:
    """A zip of one member of whose directory entry something is not true."""
    member = entry("a.png", data)
    return member + ended(directory("a.png", data, **lies), 1, len(member))


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


BOMB = deflated(bytes(50_000_000))
LIES: dict[str, tuple[bytes, str | bytes]] = {
    "the truth": (lying(b"data"), b"data"),
    "deflated": (lying(deflated(b"data"), size=4, method=8), b"data"),
    "a bomb that says it is small": (lying(BOMB, size=100, method=8), "corrupt"),
    "a bomb that says what it is": (lying(BOMB, size=(1 << 30) + 1, method=8), "too_large"),
    "larger than it is": (lying(b"data", size=5), "corrupt"),
    "smaller than it is": (lying(b"data", size=3), "corrupt"),
    "deflated, larger than it is": (lying(deflated(b"data"), size=5, method=8), "corrupt"),
    "not deflated": (lying(b"data", size=4, method=8), "corrupt"),
    "longer than the archive": (lying(b"data", length=1 << 20, size=1 << 20), "truncated"),
    "longer than any picture": (lying(b"data", length=0xFFFFFFF0, size=0xFFFFFFF0), "too_large"),
    "elsewhere": (lying(b"data", offset=3), "corrupt"),
    "beyond the end": (lying(b"data", offset=1 << 31), "corrupt"),
    "before the beginning": (
        entry("a.png", b"data") + ended(directory("a.png", b"data"), 1, len(entry("a.png", b"data")) + 40),
        "corrupt",
    ),
    "of 2**64 - 1 bytes": (
        lying(b"data", size=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 2**64 - 1)),
        "too_large",
    ),
    "at 2**64 - 1": (lying(b"data", offset=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 2**64 - 1)), "corrupt"),
    "encrypted": (lying(b"data", flags=1), "unsupported"),
    "by bzip2": (make_zip([("a.png", b"data")], zipfile.ZIP_BZIP2), "unsupported"),
    "by LZMA": (make_zip([("a.png", b"data")], zipfile.ZIP_LZMA), "unsupported"),
    "by a method that nobody knows": (lying(b"data", method=99), "unsupported"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_one_member_rejects_it_alone(tmp_path: Path, name: str) -> None:
    data, expected = LIES[name]
    assert contents(open_set(tmp_path, "archive", {"a.zip": data})) == {"a.png": expected}


def test_more_than_was_allowed_is_not_read(tmp_path: Path) -> None:
    source = open_set(tmp_path, "archive", {"a.zip": make_zip([("a.png", bytes(1001))], zipfile.ZIP_DEFLATED)})
    index = source.index
    where = (int(index.offset[0]), int(index.length[0]), int(index.size[0]), int(index.kind[0]))
    assert len(archives.read(source.files[0], *where, most=1001)) == 1001
    with pytest.raises(RejectedError, match="too_large"):
        archives.read(source.files[0], *where, most=1000)


def streamed(files: Files) -> bytes:
    """A zip written to a pipe: sizes and sums are behind the members."""

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


def of_64_bits(files: Files) -> bytes:
    """A zip whose local headers have the 64-bit sizes that its directory does without."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(data)
    return out.getvalue()


def with_comment(data: bytes) -> bytes:
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = b"A comment. " * 1000
    return out.getvalue()


LONG_EXTRA = entry("a.png", b"data" * 100, struct.pack("<HH", 0xCAFE, 60_000) + bytes(60_000))
UNUSUAL: dict[str, tuple[bytes, Files]] = {
    "with a comment": (with_comment(ZIP), PICTURES),
    "behind a program": (b"MZ this is a program" * 50 + ZIP, PICTURES),
    "streamed": (streamed(PICTURES), PICTURES),
    "zip64": (of_64_bits(PICTURES), PICTURES),
    "with more before the bytes than its directory says": (
        LONG_EXTRA + ended(directory("a.png", b"data" * 100), 1, len(LONG_EXTRA)),
        {"a.png": b"data" * 100},
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_zip_is_read_all_the_same(tmp_path: Path, name: str) -> None:
    data, expected = UNUSUAL[name]
    assert contents(open_set(tmp_path, "archive", {"a.zip": data})) == expected


def test_a_hundred_thousand_empty_entries_are_each_found_and_empty(tmp_path: Path) -> None:
    members = [entry(f"{i}.png", b"") for i in range(100_000)]
    starts = itertools.accumulate((len(member) for member in members), initial=0)
    central = b"".join(directory(f"{i}.png", b"", offset=start) for i, start in enumerate(starts) if i < 100_000)
    whole = b"".join(members)
    started = time.perf_counter()
    source = open_set(tmp_path, "archive", {"a.zip": whole + ended(central, 100_000, len(whole))})
    index = source.index
    where = zip(*(column.tolist() for column in (index.offset, index.length, index.size, index.kind)), strict=True)
    assert sum(archives.read(source.files[0], *place) == b"" for place in where) == 100_000
    assert time.perf_counter() - started < 10


def test_any_number_of_archives_does_not_use_up_the_open_files(tmp_path: Path) -> None:
    files = {f"{i}.zip": make_zip([(f"{i}.png", b"%d" % i)]) for i in range(150)}
    source = open_set(tmp_path, "archive", files)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(2):
        assert contents(source) == {f"{i}.png": b"%d" % i for i in range(150)}
    assert len(os.listdir("/proc/self/fd")) - before <= 64  # noqa: PTH208


# --- damaged ---


def at(data: bytes, where: int, put: bytes) -> bytes:
    """Bytes with others put in their place."""
    where = where if where >= 0 else len(data) + where
    return data[:where] + put + data[where + len(put) :]


def raw_header(name: str, kind: bytes, size: bytes) -> bytes:
    """A tar's header with any size, its sum right."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157], block[148:156] = size.ljust(12, b"\0"), kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax_header(records: bytes) -> bytes:
    """A tar's extended header with these records, its sum right."""
    padded = records + bytes(-len(records) % 512)
    return raw_header("pax", b"x", b"%011o" % len(records)) + padded


NEGATIVE = b"\xff" * 10 + b"\xfe\x00"  # -512, as GNU writes what octal digits cannot
HUGE = b"\x80" + b"\x7f" * 11
PLAIN_HEADER = raw_header("a.png", b"0", b"%011o" % 4) + b"data" + bytes(508)
ZST = KINDS["a.tar.zst"]
DAMAGED: dict[str, bytes] = {
    "torn.zip": ZIP[:-30],
    "half.zip": ZIP[: len(ZIP) // 2],
    "bad directory.zip": at(ZIP, ZIP.index(b"PK\x01\x02"), b"XXXX"),
    "name that is no utf-8.zip": ZIP.replace("日".encode(), b"\xff\xff\xff"),
    "torn.tar": TAR[:75_000],
    "bad header.tar": TAR.replace(b"dog/2.png", b"dog/X.png"),
    "bad header in the middle.tar": PLAIN_HEADER + b"X" * 512 + PLAIN_HEADER,
    "half a header.tar": PLAIN_HEADER + PLAIN_HEADER[:100],
    "negative size.tar": raw_header("a.png", b"0", NEGATIVE) + PLAIN_HEADER,
    "negative size of a later one.tar": PLAIN_HEADER + raw_header("a.png", b"0", NEGATIVE) + PLAIN_HEADER,
    "negative size by pax.tar": PLAIN_HEADER + pax_header(b"13 size=-999\n") + PLAIN_HEADER,
    "negative long name.tar": raw_header("a", b"L", NEGATIVE[:-2] + b"\x00\x00") + PLAIN_HEADER,
    "huge size.tar": raw_header("a.png", b"0", HUGE) + PLAIN_HEADER,
    "huge long name.tar": raw_header("a.png", b"L", HUGE) + PLAIN_HEADER,
    "pax size that is no number.tar": pax_header(b"12 size=abc\n") + PLAIN_HEADER,
    "pax record of no length.tar": pax_header(b"0 a=b\n") + PLAIN_HEADER,
    "sparse by pax, badly.tar": pax_header(b"22 GNU.sparse.major=x\n25 GNU.sparse.map=1,2,3,z\n") + PLAIN_HEADER,
    "endless long names.tar": (raw_header("a", b"L", b"%011o" % 4) + b"name" + bytes(508)) * 3000 + PLAIN_HEADER,
    "torn.tar.gz": KINDS["a.tar.gz"][:-20],
    "bad sum.tar.gz": at(KINDS["a.tar.gz"], -8, b"XXXX"),
    "bad block.tar.gz": at(KINDS["a.tar.gz"], 200, b"XXXX"),
    "trailing.tar.gz": KINDS["a.tar.gz"] + b"garbage",
    "torn.tar.bz2": KINDS["a.tar.bz2"][:-20],
    "bad block.tar.bz2": at(KINDS["a.tar.bz2"], 200, b"XXXX"),
    "only its mark.tar.bz2": b"BZh",
    "torn.tar.xz": KINDS["a.tar.xz"][:-20],
    "bad block.tar.xz": at(KINDS["a.tar.xz"], 200, b"XXXX"),
    "torn.tar.zst": ZST[:-20],
    "half.tar.zst": ZST[: len(ZST) // 2],
    "bad header.tar.zst": at(ZST, 4, b"\xff\xff\xff\xff"),
    "trailing.tar.zst": ZST + b"garbage",
    "no archive": b"hello",
    "no archive.png": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "nothing": b"",
    "twice.tar.gz": gzip.compress(KINDS["a.tar.gz"]),
    "nothing.tar.gz": gzip.compress(b""),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_named_in_the_error_and_leaves_no_part(tmp_path: Path, name: str) -> None:
    with pytest.raises(StageError) as caught:
        open_set(tmp_path, "archive", {name: DAMAGED[name]})
    assert str(caught.value).startswith(f"{tmp_path / 'raw' / name}: "), "not the unpacked one"
    assert not list((tmp_path / "scratch").glob("*.part"))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tar.zst"])
def test_a_bomb_is_not_unpacked_to_its_end_and_leaves_no_part(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_EXPANSION_FREE", 50_000)
    monkeypatch.setattr(archives, "_MOST_EXPANSION", 2)
    bomb = make_tar([("a.png", bytes(20_000_000))])
    pack: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    data = pack.get(name[6:], zstandard.ZstdCompressor().compress)(bomb)
    most = 2 * len(data) + 50_000
    with pytest.raises(StageError, match=rf"{name}: unpacks to more than {most:,} bytes"):
        open_set(tmp_path, "archive", {name: data})
    assert not list((tmp_path / "scratch").iterdir())


def test_what_an_earlier_run_unpacked_is_used_again(tmp_path: Path) -> None:
    open_set(tmp_path, "archive", {"a.tar.gz": KINDS["a.tar.gz"]})
    (unpacked,) = (tmp_path / "scratch").iterdir()
    before = unpacked.stat().st_ino, unpacked.stat().st_mtime_ns
    open_set(tmp_path, "archive", {"a.tar.gz": KINDS["a.tar.gz"]})
    assert (unpacked.stat().st_ino, unpacked.stat().st_mtime_ns) == before


def fuzz(folder: Path, numbers: Iterable[int]) -> Counter[str]:
    """Index and read mutated archives: how often each outcome came."""
    small = {"a.png": b"1" * 700, f"{'d/' * 80}b.png": b"2" * 100, "é.png": b"3" * 2000}
    whole = [make_tar(small.items(), format)[:10_240] for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    whole += [make_zip(small.items(), how) for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    whole += [of_64_bits(small), streamed(small)]
    outcomes = Counter[str]()
    for number in numbers:
        path = folder / str(number)
        path.write_bytes(mutated(whole, np.random.default_rng(number)))
        started = time.perf_counter()
        try:
            for member in archives.members(path):
                try:
                    archives.read(str(path), *member[1:])
                    outcomes["read"] += 1
                except RejectedError as error:
                    assert error.reason in REASONS
                    outcomes[error.reason] += 1
                assert time.perf_counter() - started < 5, f"mutation {number} goes in circles"
        except StageError as error:
            assert path.name in str(error)
            outcomes["damaged"] += 1
        except Exception as error:
            raise AssertionError(f"mutation {number}: {error!r}") from error
        path.unlink()
    return outcomes


def test_a_mutated_archive_is_indexed_or_damaged(tmp_path: Path) -> None:
    outcomes = fuzz(tmp_path, range(400))
    assert {"read", "damaged", "corrupt"} <= set(outcomes)


@pytest.mark.slow
def test_twenty_thousand_mutated_archives_are_indexed_or_damaged(tmp_path: Path) -> None:
    outcomes = fuzz(tmp_path, range(1000, 21_000))
    assert {"read", "damaged", "corrupt", "truncated", "too_large", "unsupported"} <= set(outcomes)


# --- what folders tell ---


FOLDERS: dict[str, tuple[list[str], list[str], list[str]]] = {  # names => the split and the class of each, or none
    "flat": (["a.png", "b.png"], [], []),
    "classes": (["cat/1.png", "dog/2.png", "cat/3.png"], [], ["cat", "dog", "cat"]),
    "classes below a common folder": (["all/x/cat/1.png", "all/x/dog/2.png"], [], ["cat", "dog"]),
    "folders below classes": (["cat/a/1.png", "cat/b/2.png", "dog/3.png"], [], ["cat", "cat", "dog"]),
    "one folder": (["only/1.png", "only/2.png"], [], []),
    "some without a folder": (["1.png", "cat/2.png", "dog/3.png"], [], []),
    "some without a folder, below a common one": (["set/1.png", "set/cat/2.png"], [], []),
    "splits": (["train/1.png", "test/2.png", "train/3.png"], ["train", "test", "train"], []),
    "the only part held out is the test split": (["train/1.png", "val/2.png"], ["train", "test"], []),
    "three splits": (["test/1.png", "train/2.png", "val/3.png"], ["test", "train", "val"], []),
    "splits by other words": (["Training/1.png", "VALID/2.png", "testing/3.png"], ["train", "val", "test"], []),
    "splits, then classes": (["d/train/cat/1.png", "d/test/dog/2.png"], ["train", "test"], ["cat", "dog"]),
    "splits, only one with classes": (["train/cat/1.png", "test/2.png"], ["train", "test"], []),
    "only one split": (["train/1.png", "train/2.png"], [], []),
    "no training split": (["val/1.png", "test/2.png"], [], ["val", "test"]),
    "a class that is called train": (["train/1.png", "cat/2.png"], [], ["train", "cat"]),
    "splits, and one beside them": (["test/1.png", "train/2.png", "2.png"], [], []),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_tell_splits_and_classes(name: str) -> None:
    names, splits, classes = FOLDERS[name]
    found_splits, split, found_classes, label, _ = sources.from_folders(names)
    assert found_splits == [word for word in ("train", "val", "test") if word in splits]
    assert split.tolist() == ([found_splits.index(word) for word in splits] or [-1] * len(names))
    assert found_classes == sorted(set(classes))
    assert label.tolist() == ([found_classes.index(word) for word in classes] or [-1] * len(names))


@pytest.mark.parametrize(
    ("names", "loose"),
    [
        (["cat/1.png", "dog/2.png", "3.png", "owl/4.png", "5.png"], ["3.png", "5.png"]),
        (["set/cat/1.png", "set/dog/2.png", "set/3.png"], ["set/3.png"]),
        (["train/cat/1.png", "train/2.png", "test/dog/3.png"], ["train/2.png"]),
        (["train/1.png", "test/2.png", "3.png"], ["3.png"]),
        (["cat/1.png", "dog/2.png", "dog/more/3.png"], []),
        (["cat/1.png", "2.png"], []),  # one class is none, wherever the other lies
        (["1.png", "2.png"], []),
        (["train/1.png", "test/2.png"], []),
        ([], []),
    ],
)
def test_pictures_beside_folders_that_would_be_classes_are_loose(names: list[str], loose: list[str]) -> None:
    assert [names[i] for i in sources.from_folders(names)[4]] == loose


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((f"a{ending}", True) for ending in (".jpg", ".JPEG", ".png", ".webp", ".gif", ".bmp", ".tif", ".ppm", "")),
        *((f"a{ending}", True) for ending in (".avif", ".heic", ".svg", ".eps")),  # seen, and then rejected by content
        *((f"a{ending}", False) for ending in (".txt", ".json", ".py", ".zip", ".db", ".png.txt", ".", ".jpg~")),
        ("folder.d/name", True),
        ("folder/.hidden.png", False),
        (".hidden/a.png", False),
        ("__MACOSX/a.png", False),
        ("folder/__MACOSX/._a.png", False),
        ("../a.png", True),
        ("./a.png", True),
        (".png", False),
    ],
)
def test_names_tell_which_files_are_looked_at(name: str, expected: bool) -> None:
    assert image_names.is_image_name(name) == expected


# --- the facts ---


def test_a_file_that_is_not_the_one_of_the_facts_is_named(tmp_path: Path) -> None:
    write_source(tmp_path, "archive", {"a.zip": ZIP})
    (tmp_path / "a.zip").write_bytes(ZIP[:-1])
    with pytest.raises(StageError, match=r"a\.zip: missing or damaged"):
        sources.facts_of(tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_source(tmp_path, "archive", {"a.zip": ZIP})
    (tmp_path / "a.zip").unlink()
    with pytest.raises(StageError, match=r"a\.zip: missing or damaged"):
        sources.facts_of(tmp_path)


def test_a_format_that_nobody_knows_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"unknown format 'tarball'; known: .*celeba"):
        open_set(tmp_path, "tarball", {"a.zip": ZIP})


def test_an_archive_without_pictures_says_how_much_else_it_holds(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"no pictures in Own \(2 other files\)"):
        open_set(tmp_path, "archive", {"a.zip": make_zip([("a.txt", b"1"), ("b.txt", b"2")])})


def test_labels_that_are_not_asked_for_are_left_out(tmp_path: Path) -> None:
    source = open_set(tmp_path, "archive", {"a.zip": ZIP}, Settings(labels="none"))
    assert source.classes == ()
    assert (source.index.label == -1).all()


# --- idx ---

IMAGES = np.random.default_rng(1).integers(0, 256, (7, 5, 4), np.uint8)
LABELS = np.array([1, 0, 2, 1, 0, 2, 2], np.uint8)


def idx_files(tmp_path: Path, images: np.ndarray, labels: np.ndarray, packed: bool = False) -> Files:
    """Five pictures to train on and the rest to test with."""
    files = {}
    for prefix, part in (("train", slice(5)), ("t10k", slice(5, None))):
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            write_idx(tmp_path / "idx", array[part])
            data = (tmp_path / "idx").read_bytes()
            files[f"{prefix}-{name}{'.gz' * packed}"] = gzip.compress(data) if packed else data
    return files


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_give_pixels_labels_and_splits(tmp_path: Path, packed: bool) -> None:
    source = open_set(tmp_path, "idx", idx_files(tmp_path, IMAGES, LABELS, packed), classes=["x", "y", "z"])
    keys = [f"train-images-idx3-ubyte#{i}" for i in range(5)] + [f"t10k-images-idx3-ubyte#{i}" for i in range(2)]
    assert list(source.index.names) == keys
    assert source.index.label.tolist() == LABELS.tolist()
    assert list(splits_of(source).values()) == ["train"] * 5 + ["test"] * 2
    seen = decoded(source, Settings())
    assert all(np.array_equal(seen[key][..., 0], image) for key, image in zip(keys, IMAGES, strict=True))


IDX_DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "torn": ("train-images-idx3-ubyte", lambda data: data[:-1], "115 bytes, its header says 116"),
    "of no header": ("t10k-images-idx3-ubyte", lambda data: data[:3], "not an idx file of bytes in 3 dimensions"),
    "of other numbers": (
        "train-labels-idx1-ubyte",
        lambda data: b"\0\0\x0d" + data[3:],
        "not an idx file of bytes in 1",
    ),
    "of too many sizes": (
        "train-images-idx3-ubyte",
        lambda data: data[:4] + b"\x80\0\0\0" * 3 + data[16:],
        "its header says 9,903,520,314,283,042,199,192,993,808",
    ),
    "of fewer labels": ("train-labels-idx1-ubyte", lambda d: d[:7] + b"\x04" + d[8:-1], "5 images, but 4 labels"),
    "of an unknown label": ("train-labels-idx1-ubyte", lambda d: d[:-1] + b"\x09", "a label is 9, but there are 3"),
    "of another size": (
        "t10k-images-idx3-ubyte",
        lambda d: d[:8] + b"\0\0\0\x04\0\0\0\x05" + d[16:],
        r"images of \(4, 5\), but \(5, 4\)",
    ),
}


@pytest.mark.parametrize("name", IDX_DAMAGE)
def test_a_damaged_idx_file_is_named(tmp_path: Path, name: str) -> None:
    file, damage, complaint = IDX_DAMAGE[name]
    files = idx_files(tmp_path, IMAGES, LABELS)
    with pytest.raises(StageError, match=complaint):
        open_set(tmp_path, "idx", {**files, file: damage(files[file])}, classes=["x", "y", "z"])


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    files = idx_files(tmp_path, IMAGES, LABELS)
    del files["t10k-labels-idx1-ubyte"]
    with pytest.raises(StageError, match="expected one file …t10k-labels-idx1-ubyte, found 0"):
        open_set(tmp_path, "idx", files, classes=["x", "y", "z"])


# --- CIFAR ---


def cifar_archive(batches: dict[str, bytes]) -> Files:
    members = {f"cifar-10-batches-bin/{name}": data for name, data in batches.items()}
    return {"cifar-10-binary.tar.gz": gzip.compress(make_tar({**members, "cifar-10-batches-bin/readme": b"x"}.items()))}


def cifar_records(labels: Sequence[int], first: int) -> tuple[bytes, np.ndarray]:
    """Records of these labels, and their pixels (N, 32, 32, 3)."""
    pixels = np.random.default_rng(first).integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(labels), -1)
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, planes, strict=True)), pixels


def test_cifar_gives_planar_pixels_labels_and_splits(tmp_path: Path) -> None:
    first, first_pixels = cifar_records([3, 1], 1)
    second, second_pixels = cifar_records([0], 2)
    test, test_pixels = cifar_records([2, 2], 3)
    batches = {"test_batch.bin": test, "data_batch_2.bin": second, "data_batch_1.bin": first}
    source = open_set(tmp_path, "cifar", cifar_archive(batches), classes=["a", "b", "c", "d"])
    places = ["data_batch_1.bin#0", "data_batch_1.bin#1", "data_batch_2.bin#0", "test_batch.bin#0", "test_batch.bin#1"]
    keys = [f"cifar-10-batches-bin/{place}" for place in places]
    assert classes_of(source) == dict(zip(keys, "dbacc", strict=True))
    assert list(splits_of(source).values()) == ["train"] * 3 + ["test"] * 2
    seen = decoded(source, Settings())
    expected = np.concatenate([first_pixels, second_pixels, test_pixels])
    assert np.array_equal(np.stack([seen[key] for key in keys]), expected)


@pytest.mark.parametrize(
    ("batches", "complaint"),
    [
        ({"data_batch_1.bin": bytes(3072)}, "data_batch_1.bin: 3,072 bytes, no multiple of 3,073"),
        ({"data_batch_1.bin": b"\x07" + bytes(3072)}, "a label is 7, but there are 2 classes"),
        ({"data_batch_1.txt": b""}, "no .bin files within"),
    ],
)
def test_what_is_no_cifar_archive_is_named(tmp_path: Path, batches: dict[str, bytes], complaint: str) -> None:
    with pytest.raises(StageError, match=rf"cifar-10-binary\.tar\.gz: (cifar-10-batches-bin/)?{complaint}"):
        open_set(tmp_path, "cifar", cifar_archive(batches), classes=["a", "b"])


# --- CelebA ---

ATTRIBUTES = """4
Bald Male Smiling
000001.jpg -1  1  1
000002.jpg -1 -1 -1
000003.jpg  1  1 -1
000004.jpg -1 -1  1
"""
PARTITION = "000001.jpg 0\n000002.jpg 2\n000003.jpg 1\n000004.jpg 0\n"
FACES = make_zip([("img_align_celeba/", b""), *((f"img_align_celeba/00000{i}.jpg", b"%d" % i) for i in range(1, 5))])
CELEBA: Files = {
    "img_align_celeba.zip": FACES,
    "list_attr_celeba.txt": ATTRIBUTES.encode(),
    "list_eval_partition.txt": PARTITION.encode(),
}


def by_number(values: dict[str, str]) -> str:
    """The values of img_align_celeba/00000N.jpg, in order."""
    assert list(values) == [f"img_align_celeba/00000{i}.jpg" for i in range(1, 5)]
    return "; ".join(values.values())


def test_celeba_has_the_official_partition_and_no_labels_of_itself(tmp_path: Path) -> None:
    source = open_set(tmp_path, "celeba", CELEBA)
    assert by_number(splits_of(source)) == "train; test; val; train"
    assert source.classes == ()
    assert (source.index.label == -1).all()
    assert list(contents(source).values()) == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("Male",), "Male; not Male; Male; not Male"),
        (("Smiling",), "Smiling; not Smiling; not Smiling; Smiling"),
        (("Male", "Smiling"), "Male, Smiling; not Male, not Smiling; Male, not Smiling; not Male, Smiling"),
    ],
)
def test_attributes_of_celeba_become_classes(tmp_path: Path, labels: tuple[str, ...], expected: str) -> None:
    source = open_set(tmp_path, "celeba", CELEBA, Settings(labels=labels))
    assert by_number(classes_of(source)) == expected
    assert len(source.classes) == 2 ** len(labels)


CELEBA_DAMAGE: dict[str, tuple[str, str, str]] = {
    "an attribute of one picture too few": (
        "list_attr_celeba.txt",
        ATTRIBUTES.replace("-1 -1 -1", "-1 -1"),
        "list_attr_celeba.txt: 000002.jpg has no 3 values",
    ),
    "a picture without attributes": (
        "list_attr_celeba.txt",
        ATTRIBUTES.replace("000003.jpg", "000009.jpg"),
        "no attributes of 000003.jpg",
    ),
    "no attributes": ("list_attr_celeba.txt", "", "CelebA has no attribute 'Male'"),
    "a picture in no partition": (
        "list_eval_partition.txt",
        PARTITION.replace("000003.jpg 1\n", ""),
        "000003.jpg is in no partition",
    ),
    "a partition that there is not": (
        "list_eval_partition.txt",
        PARTITION.replace("jpg 1", "jpg 3"),
        "list_eval_partition.txt: '000003.jpg 3' is no name and 0, 1 or 2",
    ),
    "a partition without a number": (
        "list_eval_partition.txt",
        PARTITION.replace("jpg 1", "jpg"),
        "list_eval_partition.txt: '000003.jpg' is no name and 0, 1 or 2",
    ),
    "no text": ("list_eval_partition.txt", "\udcff\udcfe", "list_eval_partition.txt: cannot be read"),
}


@pytest.mark.parametrize("name", CELEBA_DAMAGE)
def test_a_damaged_list_of_celeba_is_named(tmp_path: Path, name: str) -> None:
    file, text, complaint = CELEBA_DAMAGE[name]
    files = {**CELEBA, file: text.encode("utf-8", "surrogateescape")}
    with pytest.raises(StageError, match=complaint):
        open_set(tmp_path, "celeba", files, Settings(labels=("Male",)))


def test_an_attribute_that_celeba_has_not_is_named_with_those_that_it_has(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no attribute 'Happy'; it has Bald, Male, Smiling"):
        open_set(tmp_path, "celeba", CELEBA, Settings(labels=("Male", "Happy")))


def test_attributes_of_a_data_set_that_has_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"prepare\.labels: Own has no attributes; expected auto or none"):
        open_set(tmp_path, "archive", {"a.zip": ZIP}, Settings(labels=("Male",)))


# --- Flowers-102 ---


def matlab(**arrays: Any) -> bytes:
    from scipy.io import savemat

    out = io.BytesIO()
    savemat(out, {name: np.array([values]) for name, values in arrays.items()}, do_compression=True)
    return out.getvalue()


def flowers(labels: Sequence[int] = (3, 1, 1, 2), **sets: Sequence[int]) -> Files:
    made = [(f"jpg/image_0000{i}.jpg", b"%d" % i) for i in (2, 1, 4, 3)]
    return {
        "102flowers.tgz": gzip.compress(make_tar(made)),
        "imagelabels.mat": matlab(labels=labels),
        "setid.mat": matlab(**({"trnid": [4, 1], "valid": [3], "tstid": [2]} | sets)),
    }


def test_flowers_have_labels_and_splits_by_number(tmp_path: Path) -> None:
    source = open_set(tmp_path, "flowers", flowers())
    keys = [f"jpg/image_0000{i}.jpg" for i in (2, 1, 4, 3)]
    assert contents(source) == {key: key[-5:-4].encode() for key in keys}
    assert classes_of(source) == dict(zip(keys, ["1", "3", "2", "1"], strict=True))
    assert splits_of(source) == dict(zip(keys, ["test", "train", "train", "val"], strict=True))


FLOWER_DAMAGE: dict[str, Files] = {
    "too few labels": flowers([1, 2, 3]),
    "a picture in no split": flowers(tstid=[1]),
    "a split of pictures that there are not": flowers(tstid=[2, 5]),
    "no labels": {**flowers(), "imagelabels.mat": matlab(others=[1, 2, 3, 4])},
    "an empty file": {**flowers(), "imagelabels.mat": b""},
    "another file": {**flowers(), "setid.mat": b"hello" * 100},
    "a torn file": {**flowers(), "setid.mat": at(flowers()["setid.mat"], 150, b"XXXXXX")},
    "a name without a number": {**flowers(), "102flowers.tgz": gzip.compress(make_tar([("jpg/image.jpg", b"1")]))},
    "number zero": {**flowers(), "102flowers.tgz": gzip.compress(make_tar([("jpg/image_00000.jpg", b"1")]))},
}


@pytest.mark.parametrize("name", FLOWER_DAMAGE)
def test_labels_that_do_not_fit_the_flowers_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StageError, match="the labels do not fit the images"):
        open_set(tmp_path, "flowers", FLOWER_DAMAGE[name])


# --- LSUN ---


def png(value: int) -> bytes:
    """A PNG of one gray value."""
    out = io.BytesIO()
    Image.new("L", (16, 16), value).save(out, "PNG")
    return out.getvalue()


def lsun(tmp_path: Path, name: str, pairs: dict[bytes, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of an LMDB, as LSUN's server has them."""
    import lmdb

    with lmdb.open(str(tmp_path / name), map_size=1 << 22) as environment, environment.begin(write=True) as database:
        for key, value in pairs.items():
            database.put(key, value)
    files = [(f"{name}/{file}", (tmp_path / name / file).read_bytes()) for file in ("data.mdb", "lock.mdb")]
    return make_zip([(f"{name}/", b""), *files], how)


def test_lsun_gives_pictures_by_key_and_the_part_held_out_is_the_test_split(tmp_path: Path) -> None:
    files = {
        "bedroom_train_lmdb.zip": lsun(tmp_path, "bedroom_train_lmdb", {b"0a1": png(10), b"0b2": png(20)}),
        "bedroom_val_lmdb.zip": lsun(tmp_path, "bedroom_val_lmdb", {b"0c3": png(30)}, zipfile.ZIP_STORED),
    }
    source = open_set(tmp_path, "lmdb", files)
    assert splits_of(source) == {"0a1": "train", "0b2": "train", "0c3": "test"}
    seen = decoded(source, Settings())
    assert {key: int(image[0, 0, 0]) for key, image in seen.items()} == {"0a1": 10, "0b2": 20, "0c3": 30}


def test_lsun_of_one_part_has_no_official_split(tmp_path: Path) -> None:
    source = open_set(tmp_path, "lmdb", {"bedroom_train_lmdb.zip": lsun(tmp_path, "x", {b"0a1": png(10)})})
    assert source.splits == ()
    assert source.index.split.tolist() == [-1]


DATABASE = entry("data.mdb", b"hello")
ENCRYPTED = DATABASE + ended(directory("data.mdb", b"hello", flags=1), 1, len(DATABASE))
LSUN_DAMAGE: dict[str, tuple[bytes, str]] = {
    "no database": (make_zip([("a/lock.mdb", b"")]), r"expected one data\.mdb within, found 0"),
    "two databases": (make_zip([("a/data.mdb", b""), ("b/data.mdb", b"")]), r"expected one data\.mdb within, found 2"),
    "another file": (make_zip([("a/data.mdb", b"hello" * 5000)]), "no LMDB within"),
    "an empty file": (make_zip([("a/data.mdb", b"")]), "no LMDB within"),
    "a bad sum": (make_zip([("a/data.mdb", b"hello")]).replace(b"hello", b"hallo"), "torn or damaged"),
    "encrypted": (ENCRYPTED, "torn or damaged"),
    "torn": (ZIP[:-30], "torn or damaged"),
    "no zip": (TAR, "torn or damaged"),
}


@pytest.mark.parametrize("name", LSUN_DAMAGE)
def test_what_is_no_database_of_lsun_is_named(tmp_path: Path, name: str) -> None:
    data, complaint = LSUN_DAMAGE[name]
    with pytest.raises(StageError, match=rf"bedroom_train_lmdb\.zip: ({complaint})"):
        open_set(tmp_path, "lmdb", {"bedroom_train_lmdb.zip": data})
    assert not list((tmp_path / "scratch").glob("*.part"))


def test_a_database_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_EXPANSION_FREE", 1000)
    monkeypatch.setattr(archives, "_MOST_EXPANSION", 2)
    data = make_zip([("a/data.mdb", bytes(1 << 20))], zipfile.ZIP_DEFLATED)
    with pytest.raises(StageError, match=r"x_train_x\.zip: unpacks to more than"):
        open_set(tmp_path, "lmdb", {"x_train_x.zip": data})
    assert not list((tmp_path / "scratch").iterdir())


# --- parquet ---


def table(
    data: Sequence[bytes | None], labels: Sequence[int | None] | None, names: Sequence[str] = (), first: str = "image"
) -> bytes:
    """A parquet table as the Hugging Face hub has them: a struct of bytes and path, and a label."""
    pa = pytest.importorskip("pyarrow", reason="parquet needs the extra [hf]")
    import pyarrow.parquet as pq

    columns = {"image": pa.array([{"bytes": d, "path": f"{i}.png"} for i, d in enumerate(data)])}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.int64())
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    made = pa.table({first: columns[first], **columns})
    if names:
        made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pq.write_table(made, out)
    return out.getvalue()


@pytest.mark.parametrize("first", ["image", "label"])
def test_parquet_gives_pictures_labels_and_the_names_of_classes(tmp_path: Path, first: str) -> None:
    data = table([b"1", b"22", None], [1, 0, 1], ["cat", "dog"], first)
    source = open_set(tmp_path, "parquet", {"a.parquet": data})
    assert contents(source) == {"a.parquet#0": b"1", "a.parquet#1": b"22", "a.parquet#2": b""}
    assert list(classes_of(source).values()) == ["dog", "cat", "dog"]
    assert source.splits == ()


def test_parquet_of_more_rows_than_are_read_at_once_keeps_them_all(tmp_path: Path) -> None:
    data = [b"%d" % i for i in range(700)]
    source = open_set(tmp_path, "parquet", {"a.parquet": table(data, None)})
    assert list(contents(source).values()) == data
    assert source.classes == ()


@pytest.mark.parametrize(
    ("names", "splits", "expected"),
    [
        (["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"], ("train", "test"), [0, 0, 1]),
        (["train-0", "validation-0", "test-0"], ("train", "val", "test"), [0, 1, 2]),
        (["train", "validation"], ("train", "test"), [0, 1]),
        (["Train_0", "valid.0"], ("train", "test"), [0, 1]),
        (["train-0", "extra-0"], (), [-1, -1]),
        (["train-0", "train-1"], (), [-1, -1]),
    ],
)
def test_parquet_files_tell_splits_by_their_names(
    tmp_path: Path, names: list[str], splits: tuple[str, ...], expected: list[int]
) -> None:
    source = open_set(tmp_path, "parquet", {f"{name}.parquet": table([b"1"], [0]) for name in names})
    assert source.splits == splits
    assert source.index.split.tolist() == expected


def test_parquet_labels_without_names_are_called_by_their_numbers(tmp_path: Path) -> None:
    source = open_set(tmp_path, "parquet", {"a.parquet": table([b"1", b"2"], [0, 2])})
    assert source.classes == ("0", "1", "2")


@pytest.mark.parametrize("label", [-1, None])
def test_parquet_with_a_row_without_a_label_has_no_classes(tmp_path: Path, label: int | None) -> None:
    source = open_set(tmp_path, "parquet", {"a.parquet": table([b"1", b"2"], [0, label], ["cat", "dog"])})
    assert source.classes == ()
    assert source.index.label.tolist() == [-1, -1]


def test_a_parquet_label_beyond_the_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="a label is 2, but there are 2 classes"):
        open_set(tmp_path, "parquet", {"a.parquet": table([b"1"], [2], ["cat", "dog"])})


def test_parquet_without_pictures_names_its_columns(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="parquet needs the extra [hf]")
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), out)
    with pytest.raises(StageError, match=r"a\.parquet: no column of pictures; it has text, label"):
        open_set(tmp_path, "parquet", {"a.parquet": out.getvalue()})


@pytest.mark.parametrize("kind", ["binary", "large_binary"])
def test_parquet_with_pictures_in_a_plain_column_is_read(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow", reason="parquet needs the extra [hf]")
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"jpg": pa.array([b"1"], getattr(pa, kind)())}), out)
    assert contents(open_set(tmp_path, "parquet", {"a.parquet": out.getvalue()})) == {"a.parquet#0": b"1"}


@pytest.mark.parametrize("damage", [lambda d: d[:-10], lambda d: at(d, 4, b"\xff\xff\xff"), lambda d: b"PAR1"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StageError, match=r"a\.parquet: "):
        open_set(tmp_path, "parquet", {"a.parquet": damage(table([b"1", b"2"], [0, 1]))})
