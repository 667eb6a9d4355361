"""The stage names unsupported formats, and says when 16-bit values use a small part of the range."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import manifest
from stages.errors import StageError
from stages.prepare import archives, tables
from stages.prepare.results import ShardResult
from tests.image_files import file
from tests.prepare.test_prepare import MANY, write_project

SETTINGS = "size: 16, channels: 3, max_rejected: 0.1, labels: none"
PSD = b"8BPS\0\1"


def deep(seed: int, bits: int) -> bytes:
    """A gray 16-bit PNG whose values have this number of bits."""
    wide = np.random.default_rng(seed).integers(0, 1 << bits, (30, 40), np.uint16)
    wide[0, 0] = (1 << bits) - 1
    return file(Image.fromarray(wide), "PNG")


def result(depths: dict[str, int]) -> ShardResult:
    """The result of a shard with these depths, and nothing else."""
    none = np.zeros(0)
    return ShardResult({}, none, none, none, {}, [], {}, depths, none)


def test_unsupported_formats_are_named_in_the_table_and_on_the_screen(tmp_path: Path) -> None:
    odd = {"a.psd": PSD, "b.psd": PSD, "c.svg": b"<svg/>", "d.jpg": b"text"}
    project = write_project(tmp_path, {**MANY, **odd}, SETTINGS)
    run = project.run("prepare")
    assert run.returncode == 0
    assert "unsupported: 2 PSD; 1 SVG\n" in run.stderr
    table = pd.read_csv(tmp_path / "data/prepared/quarantine.csv", index_col="key").fillna("")
    assert table["detail"].to_dict() == {"a.psd": "PSD", "b.psd": "PSD", "c.svg": "SVG", "d.jpg": ""}


def test_pillows_warnings_are_not_printed(tmp_path: Path) -> None:
    exif = b"\xff\xe1\0\x20Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(14)
    damaged = file(Image.new("RGB", (20, 20)), "JPEG")
    project = write_project(tmp_path, {**MANY, "a.jpg": damaged[:2] + exif + damaged[2:]}, SETTINGS)
    run = project.run("prepare")
    assert f"{len(MANY) + 1} kept" in run.stderr
    assert "Warning" not in run.stderr


def test_the_table_of_rejected_pictures_has_no_details_if_all_formats_are_supported(tmp_path: Path) -> None:
    project = write_project(
        tmp_path, {**MANY, "a.jpg": b"text"}, "size: 16, channels: 3, max_rejected: 0.1, labels: none"
    )
    assert "unsupported" not in project.run("prepare").stderr
    assert (tmp_path / "data/prepared/quarantine.csv").read_text().startswith("key,reason,width,height\n")


def test_the_error_for_heic_names_the_extra() -> None:
    heic = "HEIC, which needs the extra heif: ..."
    rows = [("a.heic", "unsupported", 0, 0, heic), ("b.psd", "unsupported", 0, 0, "PSD")]
    table = tables.quarantine([dataclasses.replace(result({}), rejected=rows)])
    with pytest.raises(StageError) as caught:
        tables.check_rejected(table, 10, 0.01, "quarantine.csv")
    assert "unsupported: 2 (1 HEIC, which needs the extra heif: ...; 1 PSD) (first: a.heic, b.psd)" in str(caught.value)
    assert "Convert them to PNG or JPEG, or remove them, or raise prepare.max_rejected" in str(caught.value)


def test_the_error_for_members_of_unread_compression_says_to_unpack_them() -> None:
    detail = archives.why_unreadable(-9)
    table = tables.quarantine([dataclasses.replace(result({}), rejected=[("a.jpg", "unsupported", 0, 0, detail)])])
    with pytest.raises(
        StageError, match=r"Deflate64(?s:.*)Their compression is not read: unpack the archive"
    ) as caught:
        tables.check_rejected(table, 10, 0.01, "quarantine.csv")
    assert "remove" not in str(caught.value)


def test_the_next_run_reads_the_heic_that_a_run_without_the_extra_rejected(tmp_path: Path) -> None:
    heic = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(40)
    project = write_project(tmp_path, {**MANY, "a.heic": heic}, "size: 16, channels: 3, max_rejected: 0, labels: none")
    (tmp_path / "without").mkdir()
    (tmp_path / "without/sitecustomize.py").write_text("import sys\nsys.modules['pillow_heif'] = None\n")
    assert project.run_process("prepare", first_on_path=tmp_path / "without").returncode == 1
    (tmp_path / "with").mkdir()
    (tmp_path / "with/pillow_heif.py").write_text(
        "from PIL import Image\n"
        "def register_heif_opener(**options):\n"
        "    Image.register_open('HEIF', lambda *file: Image.new('RGB', (64, 48)), lambda start: b'heic' in start)\n"
    )
    run = project.run_process("prepare", first_on_path=tmp_path / "with")
    assert run.returncode == 0, run.stderr
    assert f"{len(MANY) + 1} kept, 0 rejected" in run.stderr


@pytest.mark.parametrize(
    ("depths", "white", "expected"),
    [
        ({"12": 300}, 65535, "300 of 300 pictures with 16-bit values use only a small part of the range, 0 to 4,095"),
        ({"14": 5}, 65535, "set prepare.white: 16383"),
        ({"10": 2, "12": 7, "16": 9}, 65535, "9 of 18 pictures"),
        ({"10": 40}, 4095, "0 to 1,023 of 4,095"),
        ({"12": 300}, 4095, ""),
        ({"15": 300}, 65535, ""),
        ({"12": 3, "16": 9}, 65535, ""),
        ({}, 65535, ""),
    ],
)
def test_dark_16_bit_values_give_a_warning(depths: dict[str, int], white: int, expected: str) -> None:
    half = {bits: count // 2 for bits, count in depths.items()}
    rest = {bits: count - half[bits] for bits, count in depths.items()}
    warning = tables.dark([result(half), result(rest)], white)
    assert expected in warning
    assert bool(warning) == bool(expected)


def test_prepare_warns_of_12_bit_values_and_white_makes_them_bright(tmp_path: Path) -> None:
    project = write_project(tmp_path, {f"{i}.png": deep(i, 12) for i in range(40)}, "size: 16")
    run = project.run("prepare")
    assert "40 of 40 pictures with 16-bit values use only a small part of the range, 0 to 4,095 of 65,535" in run.stderr
    dark = manifest.read(tmp_path / "data/prepared")
    assert "white" not in dark.params, "the manifest of data with the default has no new key"
    assert dark.mean[0] < -0.9
    (tmp_path / "params.yaml").write_text("prepare: {size: 16, white: 4095}\nvalidate: {}\n")
    assert "prepare.white" not in project.run("prepare").stderr
    bright = manifest.read(tmp_path / "data/prepared")
    assert bright.params["white"] == 4095
    assert bright.mean[0] == pytest.approx(0, abs=0.05)
