"""What a file is, by its content and its name."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stages import containers
from tests.archive_files import KINDS, TAR, ZIP, make_zip, overwrite

OLD_TAR = io.BytesIO()  # as the tar of Unix V7 wrote it: without a signature
with tarfile.open(fileobj=OLD_TAR, mode="w", format=tarfile.USTAR_FORMAT) as archive:
    archive.addfile(tarfile.TarInfo("a.png"))
V7 = bytearray(OLD_TAR.getvalue())
V7[257:345] = bytes(88)
V7[148:156] = b" " * 8
V7[148:156] = b"%06o\0 " % sum(V7[:512])
NPZ = io.BytesIO()
np.savez(NPZ, x=np.zeros(3))

READABLE = {
    **dict.fromkeys(("stored.zip", "deflated.zip"), "zip"),
    **dict.fromkeys(("pax.tar", "gnu.tar"), "tar"),
    "a.tar.gz": "gzip",
    "a.tar.bz2": "bzip2",
    "a.tar.xz": "xz",
    "a.tar.zst": "zstd",
    "pzstd.tar.zst": "zstd",
}
CONTENT: dict[str, tuple[str, bytes]] = {
    **{name: (kind, KINDS[name]) for name, kind in READABLE.items()},
    "behind a program": ("zip", b"MZ" * 5000 + ZIP),
    "before a signature": ("zip", b"\x7fELF" * 100 + ZIP + bytes(5000)),
    "a comment like a record": ("zip", overwrite(ZIP, -2, b"\4\0") + b"PK\x05\x06 here"),
    "an old tar": ("tar", bytes(V7)),
    "an empty tar": ("tar", bytes(10_240)),
    "npz": ("npz", NPZ.getvalue()),
    "a truncated npz": ("npz", NPZ.getvalue()[:-30]),
    "an array before pictures": ("zip", make_zip([("labels.npy", b"x"), ("a.png", b"x")])),
    "MATLAB 7.3": ("matlab", b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n"),
    "HDF5 behind a user block": ("hdf5", bytes([1] * 512) + b"\x89HDF\r\n\x1a\n"),
    "idx": ("idx", b"\0\0\x08\3" + bytes(12)),
    "idx.gz": ("idx", gzip.compress(b"\0\0\x0d\3" + bytes(12))),
    "a damaged gzip": ("gzip", b"\x1f\x8b" + bytes(20)),
    "PyTorch": ("pytorch", make_zip([("archive/data.pkl", b"x"), ("archive/version", b"3")])),
    "the last part of a split zip": ("split zip", overwrite(ZIP, -18, b"\2\0")),
    "the first part of a split zip": ("split zip", b"PK\x07\x08" + ZIP),
    "RAR 4": ("rar", b"Rar!\x1a\x07\x00" + bytes(100)),
    "text": ("", b"hello"),
    "a picture": ("", b"\x89PNG\r\n\x1a\n" + bytes(600)),
    "empty": ("", b""),
}


@pytest.mark.parametrize("name", CONTENT)
def test_the_content_decides_what_a_file_is(tmp_path: Path, name: str) -> None:
    kind, data = CONTENT[name]
    (tmp_path / "file").write_bytes(data)
    assert containers.kind(tmp_path / "file") == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "split zip") for name in ("a.z01", "a.Z17")),
        *((name, "piece") for name in ("a.zip.001", "a.7z.002", "a.tar.gz.003", "a.tar.aa", "a.tar.gz.ab")),
        *((name, "piece") for name in ("a.tar.part1", "a.zip.partaa")),
        *((name, "tar") for name in ("a.tar", "a.tar.gz", "a.001", "zip.1", "a.tar.xz")),
    ],
)
def test_the_name_tells_a_piece_of_an_archive(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(TAR)
    assert containers.kind(tmp_path / name) == kind


def test_every_kind_that_is_not_read_says_what_to_do() -> None:
    kinds = {kind for _, _, kind in containers._SIGNATURES} | {"pytorch", "piece"}
    for kind in kinds - containers.READABLE:
        problem = containers.problem(kind)
        assert problem != containers.NO_CONTAINER, kind
        assert "; " in problem
        assert "mend" not in problem
    assert {containers.problem(kind) for kind in containers.READABLE} == {""}


def test_python_agrees_that_the_samples_are_archives(tmp_path: Path) -> None:
    (tmp_path / "tar").write_bytes(V7)
    assert tarfile.is_tarfile(tmp_path / "tar")
    assert zipfile.is_zipfile(io.BytesIO(CONTENT["before a signature"][1]))
