"""Tar archives: links and special files, and damaged headers."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.archive_files import TAR, ZIP, Entry, assert_named_as_damaged, contents, make_tar, open_data_set


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_a_name_in_a_tar_that_is_not_utf_8_shows_its_bytes(tmp_path: Path, format: int) -> None:
    name = b"d/\xff\xe9.png".decode("utf-8", "surrogateescape")
    source = open_data_set(tmp_path, "archive", {"a.tar": make_tar([(name, b"data")], format)})
    assert contents(source) == {r"d/\xff\xe9.png": b"data"}


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
def test_what_is_no_file_of_a_tar_is_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    data = make_tar([(special_file(SPECIAL[kind]), b""), ("plain.png", b"data")])
    source = open_data_set(tmp_path, "archive", {"a.tar": data})
    assert contents(source) == {"plain.png": b"data"}
    reason = "link" if "link" in kind else "special"
    assert source.index.left_out == ({} if kind == "folder" else {reason: 1})


def link(kind: bytes, name: str, target: str) -> Entry:
    """A link in a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def hard_link(name: str, target: str) -> Entry:
    """A hard link in a tar."""
    return link(tarfile.LNKTYPE, name, target)


def symbolic_link(name: str, target: str) -> Entry:
    """A symbolic link in a tar."""
    return link(tarfile.SYMTYPE, name, target)


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


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("l.png", "d/a.png"),
        ("d/l.png", "a.png"),
        ("e/l.png", "../d/a.png"),
        ("e/f/l.png", "../.././d/../d/a.png"),
        ("l.png", "second.png"),
        ("l.png", "hard.png"),
        ("l.png", "./later.png"),
    ],
)
def test_a_symbolic_link_in_a_tar_is_followed_to_a_member(tmp_path: Path, name: str, target: str) -> None:
    files = [symbolic_link(name, target), ("d/a.png", b"data"), hard_link("hard.png", "d/a.png")]
    files += [symbolic_link("second.png", "third.png"), symbolic_link("third.png", "./d/a.png"), ("later.png", b"data")]
    outcome = contents(open_data_set(tmp_path, "archive", {"a.tar": make_tar(files)}))
    assert len(outcome) == 6
    assert outcome[name] == b"data"


@pytest.mark.parametrize(
    "target", ["l.png", "m.png", "none.png", "d", "../a.png", "/a.png", "../../etc/passwd", "", "folder/a.png"]
)
def test_a_symbolic_link_that_leads_to_no_member_is_left_out_and_counted(tmp_path: Path, target: str) -> None:
    files = [symbolic_link("l.png", target), symbolic_link("m.png", "l.png"), ("a.png", b"data"), ("d/a.png", b"2")]
    source = open_data_set(tmp_path, "archive", {"a.tar": make_tar([*files, symbolic_link("folder", "d")])})
    assert contents(source) == {"a.png": b"data", "d/a.png": b"2"}
    assert source.index.left_out == {"link": 3}


def test_concatenated_tars_are_read_to_their_end(tmp_path: Path) -> None:
    parts = [make_tar([(f"{i}.png", b"%d" % i)]) for i in range(3)]
    data = parts[0] + bytes(5120) + parts[1] + parts[2] + b"bytes behind the end do not count"
    assert contents(open_data_set(tmp_path, "archive", {"a.tar": data})) == {f"{i}.png": b"%d" % i for i in range(3)}


@pytest.mark.parametrize(
    "field", [100, 108, 116, 136, 329, 337], ids=["mode", "owner", "group", "date", "major", "minor"]
)
def test_an_odd_field_that_nobody_needs_does_not_damage_a_tar(tmp_path: Path, field: int) -> None:
    header = bytearray(raw_header("a.png", b"0", b"%011o" % 4))
    header[field : field + 8] = b"-1 ?\xff\xfe.\0"
    header = bytearray(with_checksum(bytes(header)))
    data = PLAIN_HEADER.replace(b"a.png", b"b.png")
    with pytest.raises(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    first = {"a.tar": bytes(header) + b"data" + bytes(508) + with_checksum(data)}
    assert contents(open_data_set(tmp_path, "archive", first)) == {"a.png": b"data", "b.png": b"data"}


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


def with_checksum(data: bytes) -> bytes:
    """A tar whose first header has the right checksum."""
    block = bytearray(data)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


def raw_header(name: str, kind: bytes, size: bytes) -> bytes:
    """A tar's header with any size and the right checksum."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157] = size.ljust(12, b"\0"), kind
    return with_checksum(bytes(block))


def pax_header(records: bytes) -> bytes:
    """A tar's extended header with these records and the right checksum."""
    padded = records + bytes(-len(records) % 512)
    return raw_header("pax", b"x", b"%011o" % len(records)) + padded


FAR_NEGATIVE = b"\xff" * 9 + b"\xf0\x00\x00"  # -2**20, which leads to before the file
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
    "far negative size.tar": raw_header("a.png", b"0", FAR_NEGATIVE) + PLAIN_HEADER,
    "far negative size of a later member.tar": PLAIN_HEADER + raw_header("b", b"0", FAR_NEGATIVE) + PLAIN_HEADER,
    "far negative size by pax.tar": PLAIN_HEADER + pax_header(b"17 size=-9999999\n") + PLAIN_HEADER,
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
