"""Tar archives: links and special files, and damaged headers."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.archive_files import TAR, ZIP, Entry, assert_named_as_damaged, contents, make_tar, open_data_set


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_a_name_in_a_tar_that_is_not_utf_8_is_kept_byte_for_byte(tmp_path: Path, format: int) -> None:
    name = b"d/\xff\xe9.png".decode("utf-8", "surrogateescape")
    source = open_data_set(tmp_path, "archive", {"a.tar": make_tar([(name, b"data")], format)})
    assert contents(source) == {name: b"data"}


def special_file(kind: bytes, name: str = "odd.png") -> tarfile.TarInfo:
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
def test_only_regular_files_of_a_tar_are_members(tmp_path: Path, kind: str) -> None:
    data = make_tar([(special_file(SPECIAL[kind]), b""), ("plain.png", b"data")])
    assert contents(open_data_set(tmp_path, "archive", {"a.tar": data})) == {"plain.png": b"data"}


def hard_link(name: str, target: str) -> Entry:
    """A hard link in a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.LNKTYPE, target
    return info, b""


def test_a_hard_link_in_a_tar_is_the_picture_that_it_links_to(tmp_path: Path) -> None:
    files: list[Entry] = [
        ("./a.png", b"one"),
        hard_link("b.png", "a.png"),
        hard_link("c.png", "./b.png"),
        ("notes.txt", b"two"),
    ]
    files += [hard_link("d.png", "notes.txt"), ("a.png", b"three"), hard_link("e.png", "a.png")]
    expected = {"a.png": b"one", "a.png#2": b"three", "b.png": b"one", "c.png": b"one", "d.png": b"two"}
    source = open_data_set(tmp_path, "archive", {"a.tar": make_tar(files)})
    assert contents(source) == {**expected, "e.png": b"three"}


@pytest.mark.parametrize("target", ["odd.png", "later.png", "../plain.png", "/plain.png", "link.png", "", "folder"])
def test_a_hard_link_in_a_tar_without_an_earlier_target_is_skipped(tmp_path: Path, target: str) -> None:
    folder, symbolic = special_file(tarfile.DIRTYPE, "folder"), special_file(tarfile.SYMTYPE, "link.png")
    files: list[Entry] = [
        (folder, b""),
        (symbolic, b""),
        ("plain.png", b"1"),
        hard_link("odd.png", target),
        ("later.png", b"2"),
    ]
    expected = {"plain.png": b"1", "later.png": b"2"}
    assert contents(open_data_set(tmp_path, "archive", {"a.tar": make_tar(files)})) == expected


def test_a_tar_whose_last_member_is_a_zip_is_a_tar(tmp_path: Path) -> None:
    data = make_tar([("a.png", b"data"), ("inner.zip", ZIP)])[: -tarfile.RECORDSIZE // 2]
    assert zipfile.is_zipfile(io.BytesIO(data)), "its end is that of a zip"
    assert contents(open_data_set(tmp_path, "archive", {"a.tar": data})) == {"a.png": b"data"}


def raw_header(name: str, kind: bytes, size: bytes) -> bytes:
    """A tar's header with any size and the right checksum."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157], block[148:156] = size.ljust(12, b"\0"), kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax_header(records: bytes) -> bytes:
    """A tar's extended header with these records and the right checksum."""
    padded = records + bytes(-len(records) % 512)
    return raw_header("pax", b"x", b"%011o" % len(records)) + padded


NEGATIVE = b"\xff" * 10 + b"\xfe\x00"  # -512, in GNU tar's encoding of numbers that octal digits cannot hold
HUGE = b"\x80" + b"\x7f" * 11
PLAIN_HEADER = raw_header("a.png", b"0", b"%011o" % 4) + b"data" + bytes(508)


DAMAGED: dict[str, bytes] = {
    "truncated.tar": TAR[:75_000],
    "bad header.tar": TAR.replace(b"dog/2.png", b"dog/X.png"),
    "bad header in the middle.tar": PLAIN_HEADER + b"X" * 512 + PLAIN_HEADER,
    "half a header.tar": PLAIN_HEADER + PLAIN_HEADER[:100],
    "negative size.tar": raw_header("a.png", b"0", NEGATIVE) + PLAIN_HEADER,
    "negative size of a later member.tar": PLAIN_HEADER + raw_header("a.png", b"0", NEGATIVE) + PLAIN_HEADER,
    "negative size by pax.tar": PLAIN_HEADER + pax_header(b"13 size=-999\n") + PLAIN_HEADER,
    "negative long name.tar": raw_header("a", b"L", NEGATIVE[:-2] + b"\x00\x00") + PLAIN_HEADER,
    "huge size.tar": raw_header("a.png", b"0", HUGE) + PLAIN_HEADER,
    "huge long name.tar": raw_header("a.png", b"L", HUGE) + PLAIN_HEADER,
    "pax size that is not a number.tar": pax_header(b"12 size=abc\n") + PLAIN_HEADER,
    "pax record of no length.tar": pax_header(b"0 a=b\n") + PLAIN_HEADER,
    "malformed sparse map by pax.tar": pax_header(b"22 GNU.sparse.major=x\n25 GNU.sparse.map=1,2,3,z\n") + PLAIN_HEADER,
    "endless long names.tar": (raw_header("a", b"L", b"%011o" % 4) + b"name" + bytes(508)) * 3000 + PLAIN_HEADER,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_tar_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    assert_named_as_damaged(tmp_path, name, DAMAGED[name])
