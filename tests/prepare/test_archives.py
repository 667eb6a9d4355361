"""Archives of every kind: keys, unpacking, damage, and mutated files."""

import bz2
import gzip
import itertools
import lzma
import os
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import packed
from stages.prepare.decode import REASONS, RejectedError
from stages.prepare.settings import Settings
from stages.prepare.sources import formats
from stages.prepare.sources.facts import read_facts
from tests.archive_files import (
    KINDS,
    PICTURES,
    assert_named_as_damaged,
    contents,
    end_of_zip,
    make_tar,
    make_zip,
    open_data_set,
    overwrite,
    streamed_zip,
    write_source,
    zip64,
    zip_entry,
    zip_member,
)
from tests.prepare.test_mutations import mutated


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_archive_gives_the_same_keys_and_bytes(tmp_path: Path, name: str) -> None:
    source = open_data_set(tmp_path, "archive", {name: KINDS[name]})
    assert contents(source) == PICTURES
    assert list(source.index.names) == list(PICTURES), "in stored order"
    assert source.classes == ("cat", "dog")


def test_several_archives_are_one_data_set(tmp_path: Path) -> None:
    parts = {"1.zip": make_zip([("a/1.png", b"1")]), "2.tar": make_tar([("b/2.png", b"2"), ("a/1.png", b"3")])}
    source = open_data_set(tmp_path, "archive", parts)
    assert contents(source) == {"a/1.png": b"1", "b/2.png": b"2", "a/1.png#2": b"3"}


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_files_that_are_not_pictures_are_left_out_and_counted_by_reason(
    tmp_path: Path, make: Callable[[Iterable[tuple[str, bytes]]], bytes]
) -> None:
    files = {"a.png": b"1", "readme.txt": b"2", ".hidden.png": b"3", "__MACOSX/._a.png": b"4", "Thumbs.db": b"5"}
    source = open_data_set(tmp_path, "archive", {"a": make(files.items()), "b": make([("b.txt", b"")])})
    assert contents(source) == {"a.png": b"1"}
    assert source.index.left_out == {"other_type": 2, "hidden": 1, "program": 2}


def test_composed_and_decomposed_letters_are_one_class(tmp_path: Path) -> None:
    files = {"caf\u00e9/1.png": b"1", "cafe\u0301/2.png": b"2", "dog/3.png": b"3"}
    source = open_data_set(tmp_path, "archive", {"a.zip": make_zip(files.items())})
    assert source.classes == ("caf\u00e9", "dog")
    assert source.index.label.tolist() == [0, 0, 1]


def test_a_class_with_an_escape_sequence_in_its_name_stays_one_class(tmp_path: Path) -> None:
    names = ["a\x1b[31m/1.png", "a\x1b[32m/2.png"]
    source = open_data_set(tmp_path, "archive", {"a.tar": make_tar((name, b"") for name in names)})
    assert source.classes == ("a\\x1b[31m", "a\\x1b[32m")


NAMES = {
    "../../evil.png": "evil.png",
    "/etc/evil.png": "etc/evil.png",
    "a/../../b.png": "a/b.png",
    "..\\..\\evil.png": "evil.png",
    "C:\\temp\\evil.png": "C:/temp/evil.png",
    "./a.png": "a.png",
    "a//b.png": "a/b.png",
    "a\nb.png": "a\\nb.png",
    "red \x1b[31m.png": "red \\x1b[31m.png",
    "line\u2028break\x85\x7f.png": "line\\u2028break\\x85\\x7f.png",
    "e\u0301.png": "\u00e9.png",
    "\N{MAN}\u200d\N{ROCKET} \u3000.png": "\N{MAN}\u200d\N{ROCKET} \u3000.png",
    "<script>alert(1)</script>.png": "<script>alert(1)</script>.png",
    '"quoted", and.png': '"quoted", and.png',
    "日本語/картина.png": "日本語/картина.png",
    "\u202egnp.exe.png": "\\u202egnp.exe.png",
    "a" * 255 + ".png": "a" * 255 + ".png",
    "CON.png": "CON.png",
    "a b\t.png": "a b\\t.png",
}


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_a_plain_relative_path_as_people_read_it(
    tmp_path: Path, name: str, make: Callable[[list[tuple[str, bytes]]], bytes]
) -> None:
    source = open_data_set(tmp_path, "archive", {"a": make([(name, b"data")])})
    assert contents(source) == {NAMES[name]: b"data"}


def test_repeated_names_get_numbers(tmp_path: Path) -> None:
    names = ["a.png", "./a.png", "b/a.png", "/a.png", "..\\a.png", "b//a.png"]
    source = open_data_set(tmp_path, "archive", {"a.zip": make_zip((n, n.encode()) for n in names)})
    assert list(source.index.names) == ["a.png", "a.png#2", "b/a.png", "a.png#3", "a.png#4", "b/a.png#2"]
    assert list(contents(source).values()) == [name.encode() for name in names]


@pytest.mark.parametrize("names", sorted(set(itertools.permutations(["a", "a", "a#2", "a#2", "a#3"]))))
def test_keys_are_unique_even_if_names_look_numbered(tmp_path: Path, names: tuple[str, ...]) -> None:
    source = open_data_set(tmp_path, "archive", {"a.zip": make_zip((n, b"") for n in names)})
    assert len(set(source.index.names)) == 5


def test_many_equal_names_are_numbered_quickly(tmp_path: Path) -> None:
    member = zip_member("a.png", b"")
    data = member + end_of_zip(zip_entry("a.png", b"") * 30_000, 30_000, len(member))
    started = time.process_time()
    source = open_data_set(tmp_path, "archive", {"a.zip": data})
    assert len(set(source.index.names)) == 30_000
    assert time.process_time() - started < 10, "seconds of this process"


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_files_are_only_written_to_the_scratch_folder(
    tmp_path: Path, make: Callable[[list[tuple[str, bytes]]], bytes]
) -> None:
    names = [f"{tmp_path}/absolute.png", "../up.png", "../../upper.png", "plain.png", "..\\windows.png"]
    write_source(tmp_path / "raw", "archive", {"a.gz": gzip.compress(make([(name, b"data") for name in names]))})
    before = set(tmp_path.rglob("*"))
    raw = tmp_path / "raw"
    source = formats.open_source(read_facts(raw), raw, tmp_path / "scratch", Settings())
    assert len(contents(source)) == 5
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "scratch", tmp_path / "scratch/a.gz.unpacked"}


def test_many_archives_do_not_exhaust_the_file_descriptors(tmp_path: Path) -> None:
    files = {f"{i}.zip": make_zip([(f"{i}.png", b"%d" % i)]) for i in range(150)}
    source = open_data_set(tmp_path, "archive", files)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(2):
        assert contents(source) == {f"{i}.png": b"%d" % i for i in range(150)}
    assert len(os.listdir("/proc/self/fd")) - before <= 64  # noqa: PTH208


ZST = KINDS["a.tar.zst"]
DAMAGED: dict[str, bytes] = {
    "truncated.tar.gz": KINDS["a.tar.gz"][:-20],
    "bad sum.tar.gz": overwrite(KINDS["a.tar.gz"], -8, b"XXXX"),
    "bad block.tar.gz": overwrite(KINDS["a.tar.gz"], 200, b"XXXX"),
    "trailing.tar.gz": KINDS["a.tar.gz"] + b"garbage",
    "truncated.tar.bz2": KINDS["a.tar.bz2"][:-20],
    "bad block.tar.bz2": overwrite(KINDS["a.tar.bz2"], 200, b"XXXX"),
    "only the magic number.tar.bz2": b"BZh",
    "truncated.tar.xz": KINDS["a.tar.xz"][:-20],
    "bad block.tar.xz": overwrite(KINDS["a.tar.xz"], 200, b"XXXX"),
    "truncated.tar.zst": ZST[:-20],
    "half.tar.zst": ZST[: len(ZST) // 2],
    "bad header.tar.zst": overwrite(ZST, 4, b"\xff\xff\xff\xff"),
    "trailing.tar.zst": ZST + b"garbage",
    "not an archive": b"hello",
    "not an archive.png": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "empty": b"",
    "compressed twice.tar.gz": gzip.compress(KINDS["a.tar.gz"]),
    "empty.tar.gz": gzip.compress(b""),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    assert_named_as_damaged(tmp_path, name, DAMAGED[name])


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tar.zst"])
def test_unpacking_a_bomb_stops_early_and_leaves_no_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "_EXPANSION_ALLOWANCE", 50_000)
    monkeypatch.setattr(packed, "_MAX_EXPANSION", 2)
    bomb = make_tar([("a.png", bytes(20_000_000))])
    pack: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    data = pack.get(name[6:], zstandard.ZstdCompressor().compress)(bomb)
    limit = 2 * len(data) + 50_000
    with pytest.raises(StageError, match=rf"{name}: unpacks to more than {limit:,} bytes"):
        open_data_set(tmp_path, "archive", {name: data})
    assert not list((tmp_path / "scratch").iterdir())


def test_an_unpacked_copy_of_an_earlier_run_is_used_again(tmp_path: Path) -> None:
    open_data_set(tmp_path, "archive", {"a.tar.gz": KINDS["a.tar.gz"]})
    (copy,) = (tmp_path / "scratch").iterdir()
    before = copy.stat().st_ino, copy.stat().st_mtime_ns
    open_data_set(tmp_path, "archive", {"a.tar.gz": KINDS["a.tar.gz"]})
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == before


def fuzz(folder: Path, numbers: Iterable[int]) -> Counter[str]:
    """Index and read mutated archives, and count the outcomes."""
    small = {"a.png": b"1" * 700, f"{'d/' * 80}b.png": b"2" * 100, "é.png": b"3" * 2000}
    whole = [make_tar(small.items(), format)[:10_240] for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    whole += [make_zip(small.items(), how) for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    whole += [zip64(small), streamed_zip(small)]
    outcomes = Counter[str]()
    for number in numbers:
        path = folder / str(number)
        path.write_bytes(mutated(whole, np.random.default_rng(number)))
        started = time.perf_counter()
        try:
            for member in archives.members(path):
                try:
                    archives.read(str(path), member)
                    outcomes["read"] += 1
                except RejectedError as error:
                    assert error.reason in REASONS
                    outcomes[error.reason] += 1
                assert time.perf_counter() - started < 5, f"mutation {number} loops"
        except StageError as error:
            assert path.name in str(error)
            outcomes["damaged"] += 1
        except Exception as error:
            raise AssertionError(f"mutation {number}: {error!r}") from error
        path.unlink()
    return outcomes


def test_a_mutated_archive_is_indexed_or_reported_as_damaged(tmp_path: Path) -> None:
    outcomes = fuzz(tmp_path, range(400))
    assert {"read", "damaged", "corrupt"} <= set(outcomes)


@pytest.mark.slow
def test_twenty_thousand_mutated_archives_are_indexed_or_reported_as_damaged(tmp_path: Path) -> None:
    outcomes = fuzz(tmp_path, range(1000, 21_000))
    assert {"read", "damaged", "corrupt", "truncated", "too_large", "unsupported"} <= set(outcomes)
