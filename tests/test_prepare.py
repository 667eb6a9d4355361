"""Shards, whoever makes them; statistics; what is rejected, repeated, split; the schema."""

import io
import json
import os
import re
import signal
import struct
import subprocess
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import artifacts, manifest, pixels, records
from stages.artifacts import sha256
from stages.errors import StageError
from stages.prepare import archives, shards, sources, tables
from stages.prepare.decode import decode
from stages.prepare.settings import Settings
from stages.prepare.store import Store
from tests.conftest import CLASSES, Project, write_idx, write_raw


def picture(seed: int, width: int = 40, height: int = 30) -> bytes:
    """A PNG of a seed."""
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write_archive(folder: Path, files: dict[str, bytes]) -> None:
    """A data set of one zip, as the download stage leaves one."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    file = {"name": "pictures.zip", "bytes": 1, "sha256": sha256(folder / "pictures.zip")}
    facts = {"name": "own", "title": "Own", "homepage": "", "licence": "MIT", "citation": "", "format": "archive"}
    artifacts.write_json(folder / "source.json", {**facts, "classes": [], "files": [file]})


def project(folder: Path, files: dict[str, bytes], prepare: str = "size: 16, channels: 3") -> Project:
    """A project with these pictures in its data/raw."""
    write_archive(folder / "data/raw", files)
    (folder / "params.yaml").write_text(f"prepare: {{{prepare}}}\nvalidate: {{}}\n")
    return Project(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every output of the stage, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("data/prepared", "reports/data")
        for path in sorted((folder / name).iterdir())
    }


def keys_of(folder: Path, split: str) -> list[str]:
    """The keys of a split's records, in stored order."""
    import tensorflow as tf

    data = manifest.read(folder / "data/prepared")
    found = []
    for shard in data.splits[split].shards:
        for record in tf.data.TFRecordDataset(str(folder / "data/prepared" / shard.name)):
            feature = tf.train.Example.FromString(record.numpy()).features.feature
            found.append(feature["key"].bytes_list.value[0].decode())
    return found


MANY = {f"{'cat' if i % 2 else 'dog'}/{i:03d}.png": picture(i) for i in range(120)}


@pytest.mark.parametrize(("count", "per_shard", "expected"), [(10, 4, 3), (8, 4, 2), (3, 100, 1), (60_000, 8192, 8)])
def test_the_plan_holds_every_record_once_in_even_shards(count: int, per_shard: int, expected: int) -> None:
    plans = shards.plan("train", count, per_shard, seed=0)
    assert [p.name for p in plans] == [f"{i:05d}-of-{expected:05d}" for i in range(expected)]
    sizes = [len(p.indices) for p in plans]
    assert max(sizes) <= per_shard
    assert max(sizes) - min(sizes) <= 1
    together = np.concatenate([p.indices for p in plans])
    assert sorted(together) == list(range(count))
    assert list(together) != list(range(count)), "a class-sorted source must not give class-sorted shards"


def test_the_seed_decides_the_order() -> None:
    def order(seed: int) -> list[int]:
        return shards.plan("train", 100, 1000, seed)[0].indices.tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_shard_has_the_same_bytes_every_time_and_holds_what_was_prepared(tmp_path: Path, dtype: str) -> None:
    write_raw(tmp_path / "raw")
    settings = Settings(size=16, dtype=dtype, records_per_shard=1000)  # type: ignore[arg-type]
    source = sources.open_source(tmp_path / "raw", sources.facts_of(tmp_path / "raw"), settings, tmp_path)
    _, part = shards.parts(source, settings)
    results = [shards.build_shard(part, settings, Store(str(tmp_path / name))) for name in ("a", "b")]
    assert results[0].shards == results[1].shards
    assert results[0].to_bytes() == results[1].to_bytes()
    shard = results[0].shards["test"]
    data = manifest.Manifest(
        (16, 16, 1), settings.dtype, tuple(CLASSES), {"test": manifest.Split(80, (), (shard,))}, {}, {}, {}
    )
    ((images, labels),) = records.batches(tmp_path / "a", data, "test", 100)
    pictures = sources.read_idx(tmp_path / "raw/t10k-images-idx3-ubyte", 3)[..., None]
    places = [int(key.rpartition("#")[2]) for key in part.keys]
    expected = [pixels.normalise(shards.prepare_image(np.asarray(pictures[i]), settings)) for i in places]
    assert np.array_equal(images.numpy(), np.stack(expected))
    assert labels.numpy().tolist() == [i % len(CLASSES) for i in places]


def test_statistics_are_those_of_the_pixels(tiny: Project) -> None:
    folder = tiny.folder / "data" / "prepared"
    table = pd.read_csv(tiny.folder / "reports/data/classes.csv")
    assert list(table["split"].unique()) == ["train", "test"]
    assert list(table["class"].unique()) == [*CLASSES, "all"]
    data = manifest.read(folder)
    batches = list(records.batches(folder, data, "train", 1000))
    images, labels = batches[0][0].numpy(), batches[0][1].numpy()
    for label, row in table[table["split"] == "train"].reset_index().iterrows():
        pixels = images if row["class"] == "all" else images[labels == label]
        assert row["images"] == len(pixels)
        found = [row["mean"], row["std"], row["min"], row["max"]]
        assert found == pytest.approx([pixels.mean(), pixels.std(), pixels.min(), pixels.max()], abs=2e-6)
    assert data.mean == pytest.approx([images.mean()], abs=2e-6)
    assert data.std == pytest.approx([images.std()], abs=2e-6)


def test_statistics_of_colour_are_per_channel(tmp_path: Path) -> None:
    made = project(tmp_path, MANY)
    assert made.run("prepare").returncode == 0
    data = manifest.read(tmp_path / "data/prepared")
    batches = records.batches(tmp_path / "data/prepared", data, "train", 50)
    images = np.concatenate([x.numpy() for x, _ in batches]).astype(float)
    assert data.mean == pytest.approx(images.mean(axis=(0, 1, 2)), abs=2e-6)
    assert data.std == pytest.approx(images.std(axis=(0, 1, 2)), abs=2e-6)
    table = pd.read_csv(tmp_path / "reports/data/classes.csv").set_index(["split", "class"])
    assert table.loc[("train", "all"), "mean"] == pytest.approx(images.mean(), abs=2e-6)
    assert table.loc[("train", "all"), "std"] == pytest.approx(images.std(), abs=2e-6)
    assert table["images"].xs("all", level="class").sum() == len(MANY)
    assert pd.read_csv(tmp_path / "reports/data/sizes.csv").to_dict("list") == {"pixels": ["16 to 31"], "images": [120]}


def test_the_manifest_tells_what_is_there(tiny: Project) -> None:
    folder = tiny.folder / "data" / "prepared"
    data = manifest.read(folder)
    assert data.shape == (16, 16, 1)
    assert data.classes == tuple(CLASSES)
    assert {name: split.records for name, split in data.splits.items()} == {"train": 320, "test": 80}
    assert data.splits["train"].labels == (80, 80, 80, 80)
    assert {p.name for p in folder.iterdir()} == {
        *("manifest.json", "quarantine.csv", "duplicates.csv"),
        *(shard.name for split in data.splits.values() for shard in split.shards),
    }
    for split in data.splits.values():
        for shard in split.shards:
            assert sha256(folder / shard.name) == shard.sha256
    assert data.counts["found"] == data.counts["kept"] == 400
    assert set(data.tools) == {"opencv", "pillow", "simplejpeg"}


def test_one_worker_two_workers_and_an_address_give_the_same_bytes(tmp_path: Path) -> None:
    made = project(tmp_path, MANY, "size: 16, channels: 3, records_per_shard: 16")
    found = []
    for variables in ({"PREPARE_WORKERS": "1"}, {"PREPARE_WORKERS": "2"}, {"PREPARE_STORE": f"file://{tmp_path}/x"}):
        result = subprocess.run(
            made.command("prepare"), cwd=tmp_path, env={**made.environment(), **variables}, check=False
        )
        assert result.returncode == 0
        found.append(contents(tmp_path))
    assert found[0] == found[1] == found[2]
    assert sum(name.endswith(".tfrecord") for name in found[0]) >= 8
    assert not list((tmp_path / ".state/prepare").iterdir()), "nothing unfinished is left"
    assert not list((tmp_path / "x").rglob("*.*"))


def test_prepare_gives_the_same_bytes_again(tiny: Project, tmp_path: Path) -> None:
    assert tiny.run("prepare", "--out", str(tmp_path)).returncode == 0
    assert contents(tmp_path) == contents(tiny.folder)


def test_without_an_official_split_the_pixels_decide_and_equal_ones_never_straddle(tmp_path: Path) -> None:
    copies = {f"{name}-{i}.png": data for name, data in MANY.items() for i in range(2)}
    made = project(tmp_path, copies, "size: 16, channels: 3, test_share: 0.3, records_per_shard: 40")
    assert made.run("prepare").returncode == 0
    data = manifest.read(tmp_path / "data/prepared")
    splits = {name: {key.partition(".")[0] for key in keys_of(tmp_path, name)} for name in ("train", "test")}
    assert not splits["train"] & splits["test"]
    assert len(splits["train"] | splits["test"]) == 120
    assert 20 <= len(splits["test"]) <= 52, "of 120, with a chance of 0.3"
    assert data.counts["duplicates"] == 120
    assert data.counts["straddling"] == 0
    table = pd.read_csv(tmp_path / "data/prepared/duplicates.csv")
    assert len(table) == 240
    assert not table["straddles"].any()


def test_an_official_split_is_kept_and_straddlers_are_listed(tmp_path: Path) -> None:
    files = {f"train/{i}.png": picture(i) for i in range(20)} | {f"test/{i}.png": picture(100 + i) for i in range(10)}
    made = project(tmp_path, {**files, "test/again.png": picture(3), "train/twice.png": picture(5)})
    assert made.run("prepare").returncode == 0
    assert sorted(keys_of(tmp_path, "test")) == sorted(name for name in [*files, "test/again.png"] if "test" in name)
    table = pd.read_csv(tmp_path / "data/prepared/duplicates.csv")
    assert table[table["straddles"]]["key"].tolist() == ["test/again.png", "train/3.png"]
    assert table[~table["straddles"]]["key"].tolist() == ["train/5.png", "train/twice.png"]
    counts = manifest.read(tmp_path / "data/prepared").counts
    assert (counts["duplicates"], counts["straddling"]) == (2, 1)


def test_a_picture_is_a_duplicate_by_its_pixels_and_not_by_its_file(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(picture(0))) as opened:
        out = io.BytesIO()
        opened.save(out, "BMP")
    files = {**MANY, "dog/same-as-000.bmp": out.getvalue()}
    assert project(tmp_path, files).run("prepare").returncode == 0
    table = pd.read_csv(tmp_path / "data/prepared/duplicates.csv")
    assert table["key"].tolist() == ["dog/000.png", "dog/same-as-000.bmp"]


BAD = {
    "cat/empty.png": b"",
    "dog/text.jpg": b"hello",
    "dog/torn.png": picture(7)[:300],
    "dog/tiny.png": picture(1, 3, 2),
}


def test_what_is_rejected_is_listed_and_all_adds_up(tmp_path: Path) -> None:
    made = project(
        tmp_path, {**MANY, **BAD, "dog/notes.txt": b"x"}, "size: 16, channels: 3, min_size: 4, max_rejected: 0.1"
    )
    assert made.run("prepare").returncode == 0
    counts = manifest.read(tmp_path / "data/prepared").counts
    assert (counts["found"], counts["kept"], counts["rejected"], counts["ignored"]) == (124, 120, 4, 1)
    table = pd.read_csv(tmp_path / "data/prepared/quarantine.csv", index_col="key")
    assert table["reason"].to_dict() == {
        "cat/empty.png": "empty",
        "dog/text.jpg": "not_an_image",
        "dog/tiny.png": "too_small",
        "dog/torn.png": "truncated",
    }
    assert (table["width"]["dog/tiny.png"], table["height"]["dog/tiny.png"]) == (3, 2)
    summary = pd.read_csv(tmp_path / "reports/data/rejected.csv").set_index("reason")["images"]
    assert summary.sum() == 4
    assert summary["too_small"] == 1
    assert set(keys_of(tmp_path, "train")) | set(keys_of(tmp_path, "test")) == set(MANY)


def test_too_many_rejected_name_the_reasons_and_the_first_keys_and_leave_nothing(tmp_path: Path) -> None:
    made = project(tmp_path, {**MANY, **BAD}, "size: 16, channels: 3, max_rejected: 0.01")
    result = made.run("prepare")
    assert result.returncode == 1
    assert "3 of 124 pictures were rejected, more than prepare.max_rejected (0.01) allows" in result.stderr
    assert "- truncated: 1 (first: dog/torn.png)" in result.stderr
    assert result.stderr.endswith("Mend or remove them, or raise prepare.max_rejected.\n")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data/prepared").exists()
    listed = tmp_path / ".state/prepare/quarantine.csv"
    assert str(listed) in result.stderr
    assert len(pd.read_csv(listed)) == 3
    (tmp_path / "params.yaml").write_text("prepare: {size: 16, channels: 3, max_rejected: 0.05}")
    assert made.run("prepare").returncode == 0
    assert not list((tmp_path / ".state/prepare").iterdir())


def test_all_rejected_though_all_may_be_are_told_with_their_reasons(tmp_path: Path) -> None:
    made = project(tmp_path, {f"{i}.png": b"no picture" for i in range(3)}, "size: 16, channels: 3, max_rejected: 1.0")
    result = made.run("prepare")
    assert result.returncode == 1
    assert "3 of 3 pictures were rejected:\n  - not_an_image: 3 (first: 0.png, 1.png, 2.png)\n" in result.stderr
    assert result.stderr.endswith("Mend or remove them.\n")
    assert len(pd.read_csv(tmp_path / ".state/prepare/quarantine.csv")) == 3


def test_a_crop_beyond_the_images_rejects_them(tiny: Project, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        (tiny.folder / "params.yaml").read_text().replace("size: 16,", "size: 16, crop: [0, 0, 40, 40],", 1)
    )
    result = tiny.run("prepare", "--params", str(params), "--out", str(tmp_path))
    assert result.returncode == 1
    assert "outside_crop: 400 (first: t" in result.stderr
    assert result.stderr.endswith("Check prepare.crop: the largest picture that is outside_crop has 28×28.\n")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_hundred_thousand_empty_entries_end_with_one_clear_error(tmp_path: Path) -> None:
    made = project(tmp_path, {f"{i}.png": b"" for i in range(100_000)})
    result = made.run("prepare")
    assert result.returncode == 1
    assert "100,000 of 100,000 pictures were rejected" in result.stderr
    assert "- empty: 100,000" in result.stderr
    assert result.stderr.endswith(" Mend or remove them.\n"), "with all of them allowed there would be no picture"


@pytest.mark.parametrize(
    ("reasons", "advice"),
    [
        ("too_small too_small corrupt", "Check prepare.min_size: the largest picture that is too_small has 30×40, or"),
        (
            "outside_crop outside_crop corrupt",
            "Check prepare.crop: the largest picture that is outside_crop has 30×40, or",
        ),
        ("corrupt corrupt too_small", "Mend or remove them, or raise prepare.max_rejected."),
    ],
)
def test_it_is_the_setting_that_most_rejected_pictures_do_not_meet_that_is_to_be_looked_at(
    reasons: str, advice: str
) -> None:
    sizes = {"width": [50, 30, 900], "height": [20, 40, 900]}
    table = pd.DataFrame({"key": list("abc"), "reason": reasons.split(), **sizes})
    with pytest.raises(StageError, match=re.escape(f"quarantine.csv. {advice}")):
        tables.check_rejected(table, 10, 0.1, "quarantine.csv")


def test_names_with_newlines_and_html_stay_in_their_cells(tmp_path: Path) -> None:
    odd = {'<b>x</b>\nnext,"row.png': b"", "日本/ä.png": b"", "../../etc/passwd": b""}
    made = project(tmp_path, {**{f"{i}.png": picture(i) for i in range(40)}, **odd}, "size: 16, max_rejected: 0.5")
    assert made.run("prepare").returncode == 0
    table = pd.read_csv(tmp_path / "data/prepared/quarantine.csv")
    assert sorted(table["key"]) == ['<b>x</b>\nnext,"row.png', "etc/passwd", "日本/ä.png"]


def test_a_set_too_small_for_a_test_split_says_so(tmp_path: Path) -> None:
    result = project(tmp_path, {"a.png": picture(0)}).run("prepare")
    assert result.returncode == 1
    assert re.search("no picture came to the (train|test) split; more pictures are needed", result.stderr)


def test_attributes_of_a_set_that_has_none_are_refused(tmp_path: Path) -> None:
    result = project(tmp_path, MANY, "size: 16, labels: [Male]").run("prepare")
    assert result.returncode == 1
    assert "prepare.labels: Own has no attributes" in result.stderr


def test_pictures_beside_the_classes_folders_are_named_since_they_take_all_classes_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    write_archive(raw, {**MANY, "loose.jpg": b"", "one\nmore.jpg": b""})
    facts = sources.facts_of(raw)
    assert sources.open_source(raw, facts, Settings(labels="none"), tmp_path).classes == ()
    assert capsys.readouterr().err == "", "it is meant"
    assert sources.open_source(raw, facts, Settings(), tmp_path).classes == ()
    assert capsys.readouterr().err == (
        "no classes, and so no judge and no FID in its features: 2 of 122 pictures lie beside the folders and in none "
        "of them (first: loose.jpg); move them into a class's folder, or set prepare.labels: none to say that it is "
        "meant\n"
    )


def test_labels_none_leaves_them_out(tmp_path: Path) -> None:
    assert project(tmp_path, MANY, "size: 16, labels: none").run("prepare").returncode == 0
    data = manifest.read(tmp_path / "data/prepared")
    assert data.classes == ()
    assert data.splits["train"].labels == ()


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"PREPARE_ENGINE": "dask"}, "PREPARE_ENGINE: expected one of local, ray, got 'dask'"),
        ({"PREPARE_WORKERS": "none"}, "PREPARE_WORKERS: expected a number from 1 up, got 'none'"),
        ({"PREPARE_STORE": "nowhere://x"}, "PREPARE_STORE: nowhere://x"),
    ],
)
def test_a_slip_in_the_environment_is_named(tmp_path: Path, variables: dict[str, str], complaint: str) -> None:
    made = project(tmp_path, MANY)
    environment = {**made.environment(), **variables}
    result = subprocess.run(
        made.command("prepare"), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_after_a_kill_the_finished_shards_are_used_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    files = {f"{i}.png": picture(i % 40, 900, 600) for i in range(60)}
    made = project(tmp_path, files, "size: 16, channels: 3, records_per_shard: 4")
    assert made.run("prepare").returncode == 0
    before = contents(tmp_path)
    for name in ("data/prepared", "reports/data"):
        for path in (tmp_path / name).iterdir():
            path.unlink()
    process = subprocess.Popen(made.command("prepare"), cwd=tmp_path, env=made.environment(), stderr=subprocess.DEVNULL)
    while len(done := list((tmp_path / ".state").glob("prepare/*/*.npz"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    time.sleep(1)  # its workers end with it
    assert len(done) >= 3, "the kill came while it was at work"
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / ".state").glob("prepare/*/*.npz")}
    assert len(kept) < 15
    torn, whole = sorted(kept)[:2]
    shard = next(torn.parent.glob(f"*-{torn.stem}.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    made_again = subprocess.Popen(made.command("prepare"), cwd=tmp_path, env=made.environment())
    times = {}
    while made_again.poll() is None:
        times.update({path: stat.st_mtime_ns for path in kept if (stat := _stat(path)) is not None})
        time.sleep(0.002)
    assert made_again.returncode == 0
    assert times[whole] == kept[whole], "a finished shard is not made again"
    assert contents(tmp_path) == before, "and a torn one is"


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


@pytest.mark.slow
def test_two_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    made = project(
        tmp_path, {f"{i}.png": picture(i % 40, 900, 600) for i in range(60)}, "size: 16, records_per_shard: 4"
    )
    first = subprocess.Popen(made.command("prepare"), cwd=tmp_path, env=made.environment(), stderr=subprocess.DEVNULL)
    while not list((tmp_path / ".state").glob("prepare/*/*.npz")) and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    second = made.run("prepare")
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert second.returncode == 1
    assert f"the same work is being done by process {first.pid}" in second.stderr


def test_where_all_of_the_first_shard_was_rejected_the_contact_sheet_is_of_the_next_one(tmp_path: Path) -> None:
    order = shards.plan("", 40, 1, seed=0)
    files = {f"{i:02d}.png": picture(i) for i in range(40)} | {f"{order[0].indices[0]:02d}.png": b"no picture"}
    made = project(tmp_path, files, "size: 16, channels: 3, records_per_shard: 1, max_rejected: 0.1")
    result = made.run("prepare")
    assert result.returncode == 0, result.stderr
    settings = Settings(size=16, channels=3)
    with Image.open(tmp_path / "reports/data/contact_sheet.png") as sheet:
        assert "The first 1 prepared pictures" in sheet.info["Description"]
        shown = np.asarray(sheet.convert("RGB"))
    expected = shards.prepare_image(decode(files[f"{order[1].indices[0]:02d}.png"], settings), settings)
    assert np.array_equal(shown[::4, ::4], expected), "each pixel is four times as large"


def test_a_result_of_a_shard_reads_back(tmp_path: Path) -> None:
    write_archive(tmp_path / "raw", {**MANY, **BAD})
    settings = Settings(size=16, channels=3)
    source = sources.open_source(tmp_path / "raw", sources.facts_of(tmp_path / "raw"), settings, tmp_path)
    result = shards.build_shard(next(shards.parts(source, settings)), settings, Store(str(tmp_path / "store")))
    again = shards.ShardResult.from_bytes(result.to_bytes())
    assert again.to_bytes() == result.to_bytes()
    assert again.rejected == result.rejected
    assert again.found == 124


def zipped(names: Iterable[str], comment: bytes = b"") -> bytes:
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
    ids=["more than 16 bits count", "behind a program, with a comment", "empty"],
)
def test_a_zip_has_the_members_that_zipfile_finds(
    before: bytes, name: str, count: int, comment: bytes, tmp_path: Path
) -> None:
    data = before + zipped(map(name.format, range(count)), comment)
    (tmp_path / "a.zip").write_bytes(data)
    found = [(m.name, m.offset, m.length, m.size) for m in archives.members(tmp_path / "a.zip")]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        expected = [(i.filename, i.header_offset, i.compress_size, i.file_size) for i in archive.infolist()]
    assert found == expected


def test_sums_of_many_images_are_exact() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    sums = shards._Sums()
    for part in (images[:1], images[1:33], images[33:]):
        sums.add("train/0", list(part))
    values = images.reshape(-1, 3).astype(np.int64)
    ends = [int(images.min()), int(images.max())]
    assert sums.total() == {"train/0": [40, *ends, *values.sum(axis=0).tolist(), *(values**2).sum(axis=0).tolist()]}


def test_a_damaged_source_file_is_named(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw")
    path = tmp_path / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StageError, match="train-labels-idx1-ubyte: missing or damaged"):
        sources.facts_of(tmp_path / "raw")


def test_idx_files_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello, this is no idx file")
    with pytest.raises(StageError, match="file: not an idx file of bytes in 3 dimensions"):
        sources.read_idx(path, 3)
    write_idx(path, np.zeros((2, 3, 4), np.uint8))
    assert sources.read_idx(path, 3).shape == (2, 3, 4)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StageError, match="39 bytes, its header says 40"):
        sources.read_idx(path, 3)


@pytest.mark.parametrize(
    ("schema", "difference"),
    [
        ("shape: [32, 32, 3]", "shape: expected 32, 32, 3, found 16, 16, 1"),
        ("classes: [a, b]", "classes: expected a, b, found disc, square"),
        ("classes: []", "classes: expected none, found disc"),
        ("images: {train: [1, 319]}", "images.train: expected 1 to 319, found 320"),
        ("images: {val: [1, 2]}", "images.val: no such split; there are train, test"),
        ("mean: [0.5, 0.6]", "mean: expected 0.5 to 0.6, found -0."),
        ("max_duplicates: 0", "max_duplicates: expected at most 0, found "),
    ],
)
def test_data_that_is_not_what_its_schema_says_fails_with_the_difference(
    tiny: Project, tmp_path: Path, schema: str, difference: str
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"validate: {{{schema}}}")
    result = tiny.run("validate", "--params", str(params), "--out", str(tmp_path / "out"), "--base", str(tiny.folder))
    assert result.returncode == 1
    assert f"  - {difference}" in result.stderr
    assert not (tmp_path / "out/reports").exists()


def test_every_difference_is_listed_at_once(tiny: Project, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("validate: {shape: [32, 32, 3], classes: [a], images: {train: [320, 320]}}")
    result = tiny.run("validate", "--params", str(params), "--out", str(tmp_path / "out"), "--base", str(tiny.folder))
    assert result.stderr.count("  - ") == 2


def test_validation_notes_what_the_data_is(tiny: Project) -> None:
    noted = json.loads((tiny.folder / "reports/validation.json").read_text())
    assert noted["train_images"] == 320
    assert noted["rejected"] == 0
