"""The prepare stage: its outputs, rejected and duplicate pictures, splits, errors and resuming."""

import io
import json
import os
import re
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import artifacts, manifest, params, records
from stages.artifacts import sha256
from stages.errors import ParamsError, StageError
from stages.prepare import plan, shards, tables
from stages.prepare.decode import decode
from stages.prepare.settings import Settings
from stages.prepare.sources import formats
from stages.prepare.sources.facts import read_facts
from tests.conftest import CLASSES, Project


def picture(seed: int, width: int = 40, height: int = 30) -> bytes:
    """The PNG of a seed, pure noise."""
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write_archive(folder: Path, files: dict[str, bytes]) -> None:
    """Write a data set of one zip as the download stage does."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    file = {"name": "pictures.zip", "bytes": 1, "sha256": sha256(folder / "pictures.zip")}
    facts = {"name": "own", "title": "Own", "homepage": "", "licence": "MIT", "citation": "", "format": "archive"}
    artifacts.write_json(folder / "source.json", {**facts, "classes": [], "files": [file]})


def write_project(folder: Path, files: dict[str, bytes], prepare: str = "size: 16, channels: 3") -> Project:
    """A project with these pictures in data/raw."""
    write_archive(folder / "data/raw", files)
    (folder / "params.yaml").write_text(f"prepare: {{{prepare}}}\nvalidate: {{}}\n")
    return Project(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """The content of every output of the stage, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("data/prepared", "reports/data")
        for path in sorted((folder / name).iterdir())
    }


def keys_of(folder: Path, split: str) -> list[str]:
    """The keys of a split's records, in stored order."""
    import tensorflow as tf

    data = manifest.read(folder / "data/prepared")
    keys = []
    for shard in data.splits[split].shards:
        for record in tf.data.TFRecordDataset(str(folder / "data/prepared" / shard.name)):
            feature = tf.train.Example.FromString(record.numpy()).features.feature
            keys.append(feature["key"].bytes_list.value[0].decode())
    return keys


MANY = {f"{'cat' if i % 2 else 'dog'}/{i:03d}.png": picture(i) for i in range(120)}


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
        statistics = [row["mean"], row["std"], row["min"], row["max"]]
        assert statistics == pytest.approx([pixels.mean(), pixels.std(), pixels.min(), pixels.max()], abs=2e-6)
    assert data.mean == pytest.approx([images.mean()], abs=2e-6)
    assert data.std == pytest.approx([images.std()], abs=2e-6)


def test_statistics_of_colour_are_per_channel(tmp_path: Path) -> None:
    project = write_project(tmp_path, MANY)
    assert project.run("prepare").returncode == 0
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


def test_the_manifest_describes_the_data(tiny: Project) -> None:
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
    project = write_project(tmp_path, MANY, "size: 16, channels: 3, records_per_shard: 16")
    outputs = []
    for variables in ({"PREPARE_WORKERS": "1"}, {"PREPARE_WORKERS": "2"}, {"PREPARE_STORE": f"file://{tmp_path}/x"}):
        result = subprocess.run(
            project.command("prepare"), cwd=tmp_path, env={**project.environment(), **variables}, check=False
        )
        assert result.returncode == 0
        outputs.append(contents(tmp_path))
    assert outputs[0] == outputs[1] == outputs[2]
    assert sum(name.endswith(".tfrecord") for name in outputs[0]) >= 8
    assert not list((tmp_path / ".state/prepare").iterdir()), "no unfinished work remains"
    assert not list((tmp_path / "x").rglob("*.*"))


def test_prepare_gives_the_same_bytes_again(tiny: Project, tmp_path: Path) -> None:
    assert tiny.run("prepare", "--out", str(tmp_path)).returncode == 0
    assert contents(tmp_path) == contents(tiny.folder)


def test_without_an_official_split_equal_pictures_get_the_same_split(tmp_path: Path) -> None:
    copies = {f"{name}-{i}.png": data for name, data in MANY.items() for i in range(2)}
    project = write_project(tmp_path, copies, "size: 16, channels: 3, test_share: 0.3, records_per_shard: 40")
    assert project.run("prepare").returncode == 0
    data = manifest.read(tmp_path / "data/prepared")
    splits = {name: {key.partition(".")[0] for key in keys_of(tmp_path, name)} for name in ("train", "test")}
    assert not splits["train"] & splits["test"]
    assert len(splits["train"] | splits["test"]) == 120
    assert 20 <= len(splits["test"]) <= 52, "of 120, each with a probability of 0.3"
    assert data.counts["duplicates"] == 120
    assert data.counts["straddling"] == 0
    table = pd.read_csv(tmp_path / "data/prepared/duplicates.csv")
    assert len(table) == 240
    assert not table["straddles"].any()


def test_an_official_split_is_kept_and_duplicates_across_splits_are_listed(tmp_path: Path) -> None:
    files = {f"train/{i}.png": picture(i) for i in range(20)} | {f"test/{i}.png": picture(100 + i) for i in range(10)}
    project = write_project(tmp_path, {**files, "test/again.png": picture(3), "train/twice.png": picture(5)})
    assert project.run("prepare").returncode == 0
    assert sorted(keys_of(tmp_path, "test")) == sorted(name for name in [*files, "test/again.png"] if "test" in name)
    table = pd.read_csv(tmp_path / "data/prepared/duplicates.csv")
    assert table[table["straddles"]]["key"].tolist() == ["test/again.png", "train/3.png"]
    assert table[~table["straddles"]]["key"].tolist() == ["train/5.png", "train/twice.png"]
    counts = manifest.read(tmp_path / "data/prepared").counts
    assert (counts["duplicates"], counts["straddling"]) == (2, 1)


def test_equal_pixels_make_a_duplicate_even_if_the_files_differ(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(picture(0))) as opened:
        out = io.BytesIO()
        opened.save(out, "BMP")
    files = {**MANY, "dog/same-as-000.bmp": out.getvalue()}
    assert write_project(tmp_path, files).run("prepare").returncode == 0
    table = pd.read_csv(tmp_path / "data/prepared/duplicates.csv")
    assert table["key"].tolist() == ["dog/000.png", "dog/same-as-000.bmp"]


BAD = {
    "cat/empty.png": b"",
    "dog/text.jpg": b"hello",
    "dog/truncated.png": picture(7)[:300],
    "dog/tiny.png": picture(1, 3, 2),
}


def test_rejected_pictures_are_listed_and_counted(tmp_path: Path) -> None:
    project = write_project(
        tmp_path, {**MANY, **BAD, "dog/notes.txt": b"x"}, "size: 16, channels: 3, min_size: 4, max_rejected: 0.1"
    )
    facts = tmp_path / "data/raw/source.json"  # the download stage has left out some files of a folder
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"left_out": {"link": 2, "other_type": 3}}))
    result = project.run("prepare")
    assert result.returncode == 0
    counts = manifest.read(tmp_path / "data/prepared").counts
    assert (counts["found"], counts["kept"], counts["rejected"], counts["ignored"]) == (124, 120, 4, 6)
    table = pd.read_csv(tmp_path / "data/prepared/quarantine.csv", index_col="key")
    assert table["reason"].to_dict() == {
        "cat/empty.png": "empty",
        "dog/text.jpg": "not_an_image",
        "dog/tiny.png": "too_small",
        "dog/truncated.png": "truncated",
    }
    assert (table["width"]["dog/tiny.png"], table["height"]["dog/tiny.png"]) == (3, 2)
    files = pd.read_csv(tmp_path / "reports/data/files.csv", keep_default_na=False).set_index(["outcome", "reason"])
    assert files["files"].sum() == 130
    assert files["files"].groupby("outcome").sum().to_dict() == {"kept": 120, "left out": 6, "rejected": 4}
    assert (files["files"]["rejected", "too_small"], files["files"]["left out", "other_type"]) == (1, 4)
    reasons = "1 empty, 1 not_an_image, 1 truncated, 1 too_small"
    assert f"130 files: 120 kept, 4 rejected ({reasons}), 6 left out (4 other_type, 2 link)\n" in result.stderr
    assert set(keys_of(tmp_path, "train")) | set(keys_of(tmp_path, "test")) == set(MANY)


def test_the_error_for_too_many_rejected_pictures_names_the_reasons_and_the_first_keys(tmp_path: Path) -> None:
    project = write_project(tmp_path, {**MANY, **BAD}, "size: 16, channels: 3, max_rejected: 0.01")
    result = project.run("prepare")
    assert result.returncode == 1
    assert "3 of 124 pictures were rejected, more than prepare.max_rejected (0.01) allows" in result.stderr
    assert "- truncated: 1 (first: dog/truncated.png)" in result.stderr
    assert result.stderr.endswith("Fix or remove them, or raise prepare.max_rejected.\n")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data/prepared").exists()
    listed = tmp_path / ".state/prepare/quarantine.csv"
    assert str(listed) in result.stderr
    assert len(pd.read_csv(listed)) == 3
    (tmp_path / "params.yaml").write_text("prepare: {size: 16, channels: 3, max_rejected: 0.05}")
    assert project.run("prepare").returncode == 0
    assert not list((tmp_path / ".state/prepare").iterdir())


def test_the_stage_fails_if_all_pictures_are_rejected_whatever_max_rejected_allows(tmp_path: Path) -> None:
    project = write_project(
        tmp_path, {f"{i}.png": b"no picture" for i in range(3)}, "size: 16, channels: 3, max_rejected: 1.0"
    )
    result = project.run("prepare")
    assert result.returncode == 1
    assert "3 of 3 pictures were rejected:\n  - not_an_image: 3 (first: 0.png, 1.png, 2.png)\n" in result.stderr
    assert result.stderr.endswith("Fix or remove them.\n")
    assert len(pd.read_csv(tmp_path / ".state/prepare/quarantine.csv")) == 3


def test_pictures_smaller_than_the_crop_are_rejected(tiny: Project, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        (tiny.folder / "params.yaml").read_text().replace("size: 16,", "size: 16, crop: [0, 0, 40, 40],", 1)
    )
    result = tiny.run("prepare", "--params", str(params), "--out", str(tmp_path))
    assert result.returncode == 1
    assert "outside_crop: 400 (first: t" in result.stderr
    assert result.stderr.endswith(
        "Check prepare.crop: the largest picture rejected as outside_crop has 28×28 pixels.\n"
    )
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_hundred_thousand_empty_pictures_give_one_short_error(tmp_path: Path) -> None:
    project = write_project(tmp_path, {f"{i}.png": b"" for i in range(100_000)})
    result = project.run("prepare")
    assert result.returncode == 1
    assert "100,000 of 100,000 pictures were rejected" in result.stderr
    assert "- empty: 100,000" in result.stderr
    assert result.stderr.endswith(" Fix or remove them.\n"), "raising max_rejected would not help"


@pytest.mark.parametrize(
    ("reasons", "advice"),
    [
        (
            "too_small too_small corrupt",
            "Check prepare.min_size: the largest picture rejected as too_small has 30×40 pixels, or",
        ),
        (
            "outside_crop outside_crop corrupt",
            "Check prepare.crop: the largest picture rejected as outside_crop has 30×40 pixels, or",
        ),
        ("corrupt corrupt too_small", "Fix or remove them, or raise prepare.max_rejected."),
    ],
)
def test_the_advice_is_about_the_most_frequent_reason(reasons: str, advice: str) -> None:
    sizes = {"width": [50, 30, 900], "height": [20, 40, 900]}
    table = pd.DataFrame({"key": list("abc"), "reason": reasons.split(), **sizes})
    with pytest.raises(StageError, match=re.escape(f"quarantine.csv lists all of them. {advice}")):
        tables.check_rejected(table, 10, 0.1, "quarantine.csv")


def test_odd_keys_stay_in_their_cells_and_show_control_characters_escaped(tmp_path: Path) -> None:
    odd = {'<b>x</b>\nnext,"row\x1b[31m.png': b"", "日本/ä.png": b"", "../../etc/passwd": b""}
    project = write_project(
        tmp_path, {**{f"{i}.png": picture(i) for i in range(40)}, **odd}, "size: 16, max_rejected: 0.5"
    )
    assert project.run("prepare").returncode == 0
    table = pd.read_csv(tmp_path / "data/prepared/quarantine.csv")
    assert sorted(table["key"]) == ['<b>x</b>\\nnext,"row\\x1b[31m.png', "etc/passwd", "日本/ä.png"]


def test_the_error_for_an_empty_split_names_it(tmp_path: Path) -> None:
    result = write_project(tmp_path, {"a.png": picture(0)}).run("prepare")
    assert result.returncode == 1
    assert re.search("prepare: the (train|test) split is empty; add pictures", result.stderr)


def test_a_warning_names_pictures_outside_the_class_folders_since_they_remove_all_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    write_archive(raw, {**MANY, "\nloose.jpg": b"", "one\nmore.jpg": b""})
    facts = read_facts(raw)
    assert formats.open_source(facts, raw, tmp_path, Settings(labels="none")).classes == ()
    assert capsys.readouterr().err == "", "it is intended"
    assert formats.open_source(facts, raw, tmp_path, Settings()).classes == ()
    assert capsys.readouterr().err == (
        "no classes, so the judge will learn from the pictures alone: 2 of 122 pictures are outside every class folder "
        "(first: \\nloose.jpg); move them into a class folder, or set prepare.labels: none if this is intended\n"
    )


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        (
            {f"{split}/{name}/{i}.png": picture(i) for split in ("train", "test") for name in "ab" for i in range(3)},
            ["labels: 2 folders", "2 classes (train, test): a: 3, 3; b: 3, 3"],
        ),
        (
            {f"train2017/{i}.png": picture(i) for i in range(4)} | {f"val2017/{i}.png": picture(i) for i in range(2)},
            ["splits: train from train2017; test from val2017", "no classes"],
        ),
        (
            {f"{split}/{i:02d}/{i}.png": picture(i) for split in ("train", "test") for i in range(30)}
            | {f"{split}/00/x.png": picture(31) for split in ("train", "test")},
            [
                "labels: 30 folders",
                "30 classes (train, test): 00: 2, 2; 01: 1, 1; ",
                "10 others in reports/data/classes.csv",
            ],
        ),
    ],
)
def test_classes_and_their_counts_are_printed(tmp_path: Path, files: dict[str, bytes], lines: list[str]) -> None:
    result = write_project(tmp_path, files, "size: 16, labels: auto").run("prepare")
    assert result.returncode == 0, result.stderr
    for line in lines:
        assert line in result.stderr


def test_labels_of_a_column_are_in_the_manifest(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(60)]
    table = "name,age,kind\n" + "\n".join(f"{name},{i % 7},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(names))
    files = {name: picture(i) for i, name in enumerate(names)} | {"labels.csv": table.encode()}
    project = write_project(tmp_path, files, "size: 16, labels: {file: labels.csv, column: kind}")
    result = project.run("prepare")
    assert result.returncode == 0, result.stderr
    assert "labels: column 'kind' of labels.csv" in result.stderr
    data = manifest.read(tmp_path / "data/prepared")
    assert data.classes == ("cat", "dog")
    assert data.params["labels"] == {"file": "labels.csv", "column": "kind"}
    assert np.sum([split.labels for split in data.splits.values()], axis=0).tolist() == [30, 30]


@pytest.mark.parametrize(
    "labels",
    ["folder", "[]", "[1]", "[a, b, c, d, e]", "{file: a.csv}", "{column: 1}", "{column: ''}", "{columns: a}", "3"],
)
def test_an_invalid_choice_of_labels_is_named(tmp_path: Path, labels: str) -> None:
    (tmp_path / "params.yaml").write_text(f"prepare: {{labels: {labels}}}")
    with pytest.raises(
        ParamsError, match=r"prepare\.labels: expected auto, none, folders, \{file: labels\.csv, column: "
    ):
        params.load(tmp_path / "params.yaml", "prepare", Settings)


def test_max_images_is_recorded_only_where_it_is_set(tmp_path: Path) -> None:
    project = write_project(tmp_path, MANY, "size: 16, max_images: 40")
    result = project.run("prepare")
    assert "prepare.max_images: 40 of 120 pictures, chosen by a hash of their names\n" in result.stderr
    data = manifest.read(tmp_path / "data/prepared")
    assert (data.counts["found"], data.counts["kept"], data.params["max_images"]) == (40, 40, 40)
    assert "max_images" not in Settings().recorded, "manifests from before this key keep their bytes"


def test_labels_none_prepares_data_without_labels(tmp_path: Path) -> None:
    assert write_project(tmp_path, MANY, "size: 16, labels: none").run("prepare").returncode == 0
    data = manifest.read(tmp_path / "data/prepared")
    assert data.classes == ()
    assert data.splits["train"].labels == ()


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"PREPARE_ENGINE": "dask"}, "PREPARE_ENGINE: expected one of local, ray, got 'dask'"),
        ({"PREPARE_WORKERS": "none"}, "PREPARE_WORKERS: expected a positive integer, got 'none'"),
        ({"PREPARE_STORE": "nowhere://x"}, "PREPARE_STORE: nowhere://x"),
    ],
)
def test_a_mistake_in_an_environment_variable_is_named(
    tmp_path: Path, variables: dict[str, str], complaint: str
) -> None:
    project = write_project(tmp_path, MANY)
    environment = {**project.environment(), **variables}
    result = subprocess.run(
        project.command("prepare"), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_after_a_kill_the_next_run_keeps_finished_shards_and_gives_the_same_bytes(tmp_path: Path) -> None:
    files = {f"{i}.png": picture(i % 40, 900, 600) for i in range(60)}
    project = write_project(tmp_path, files, "size: 16, channels: 3, records_per_shard: 4")
    assert project.run("prepare").returncode == 0
    before = contents(tmp_path)
    for name in ("data/prepared", "reports/data"):
        for path in (tmp_path / name).iterdir():
            path.unlink()
    process = subprocess.Popen(
        project.command("prepare"), cwd=tmp_path, env=project.environment(), stderr=subprocess.DEVNULL
    )
    while len(done := list((tmp_path / ".state").glob("prepare/*/*.npz"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    time.sleep(1)  # its workers end, too
    assert len(done) >= 3, "it was killed while it worked"
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / ".state").glob("prepare/*/*.npz")}
    assert len(kept) < 15
    damaged, whole = sorted(kept)[:2]
    shard = next(damaged.parent.glob(f"*-{damaged.stem}.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    second = subprocess.Popen(project.command("prepare"), cwd=tmp_path, env=project.environment())
    times = {}
    while second.poll() is None:
        times.update({path: stat.st_mtime_ns for path in kept if (stat := _stat(path)) is not None})
        time.sleep(0.002)
    assert second.returncode == 0
    assert times[whole] == kept[whole], "a finished shard is not built again"
    assert contents(tmp_path) == before, "a damaged one is"


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


@pytest.mark.slow
def test_a_second_run_of_the_same_work_fails_at_once(tmp_path: Path) -> None:
    project = write_project(
        tmp_path, {f"{i}.png": picture(i % 40, 900, 600) for i in range(60)}, "size: 16, records_per_shard: 4"
    )
    first = subprocess.Popen(
        project.command("prepare"), cwd=tmp_path, env=project.environment(), stderr=subprocess.DEVNULL
    )
    while not list((tmp_path / ".state").glob("prepare/*/*.npz")) and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    second = project.run("prepare")
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert second.returncode == 1
    assert f"process {first.pid} is doing the same work" in second.stderr


def test_if_the_whole_first_shard_is_rejected_the_contact_sheet_shows_the_next_one(tmp_path: Path) -> None:
    order = plan.plan_shards("", 40, 1, seed=0)
    files = {f"{i:02d}.png": picture(i) for i in range(40)} | {f"{order[0].indices[0]:02d}.png": b"no picture"}
    project = write_project(tmp_path, files, "size: 16, channels: 3, records_per_shard: 1, max_rejected: 0.1")
    result = project.run("prepare")
    assert result.returncode == 0, result.stderr
    settings = Settings(size=16, channels=3)
    with Image.open(tmp_path / "reports/data/contact_sheet.png") as sheet:
        assert "The first 1 prepared pictures" in sheet.info["Description"]
        shown = np.asarray(sheet.convert("RGB"))
    expected = shards.prepare_image(decode(files[f"{order[1].indices[0]:02d}.png"], settings), settings)
    assert np.array_equal(shown[::4, ::4], expected), "each pixel is a block of 4 × 4"
