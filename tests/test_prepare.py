"""Shards and statistics; sources that are not what they say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import manifest, records
from stages.artifacts import sha256
from stages.errors import StageError
from stages.prepare import shards, sources
from stages.prepare.settings import Settings
from tests.conftest import CLASSES, Project, write_idx, write_raw


@pytest.mark.parametrize(("count", "per_shard", "expected"), [(10, 4, 3), (8, 4, 2), (3, 100, 1), (60_000, 8192, 8)])
def test_the_plan_holds_every_record_once_in_even_shards(count: int, per_shard: int, expected: int) -> None:
    plans = shards.plan("train", count, per_shard, seed=0)
    assert [p.name for p in plans] == [f"train-{i:05d}-of-{expected:05d}.tfrecord" for i in range(expected)]
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
    split = sources.open_source(tmp_path / "raw").splits["test"]
    settings = Settings(size=16, dtype=dtype)  # type: ignore[arg-type]
    plan = shards.plan("test", len(split.images), 100, 0)[0]
    hashes = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        result = shards.build_shard(plan, split, settings, tmp_path / name)
        hashes.add(result.shard.sha256)
    assert len(hashes) == 1
    data = manifest.Manifest(
        (16, 16, 1), settings.dtype, tuple(CLASSES), {"test": manifest.Split(80, (), (result.shard,))}, {}, {}, {}
    )
    ((images, labels),) = records.batches(tmp_path / "a", data, "test", 100)
    expected = [
        records.normalise(shards.prepare_image("", np.asarray(split.images[i]), settings)) for i in plan.indices
    ]
    assert np.array_equal(images.numpy(), np.stack(expected))
    assert labels.numpy().tolist() == split.labels[plan.indices].tolist()


def test_statistics_are_those_of_the_pixels(tiny: Project) -> None:
    folder = tiny.folder / "data" / "prepared"
    table = pd.read_csv(tiny.folder / "reports" / "data.csv")
    assert list(table["split"].unique()) == ["train", "test"]
    assert list(table["class"].unique()) == [*CLASSES, "all"]
    batches = list(records.batches(folder, manifest.read(folder), "train", 1000))
    images, labels = batches[0][0].numpy(), batches[0][1].numpy()
    for label, row in table[table["split"] == "train"].reset_index().iterrows():
        pixels = images if row["class"] == "all" else images[labels == label]
        assert row["images"] == len(pixels)
        found = [row["mean"], row["std"], row["min"], row["max"]]
        assert found == pytest.approx([pixels.mean(), pixels.std(), pixels.min(), pixels.max()], abs=2e-6)


def test_the_manifest_tells_what_is_there(tiny: Project) -> None:
    folder = tiny.folder / "data" / "prepared"
    data = manifest.read(folder)
    assert data.shape == (16, 16, 1)
    assert data.classes == tuple(CLASSES)
    assert {name: split.records for name, split in data.splits.items()} == {"train": 320, "test": 80}
    assert data.splits["train"].labels == (80, 80, 80, 80)
    assert {p.name for p in folder.iterdir()} == {
        "manifest.json",
        *(shard.name for split in data.splits.values() for shard in split.shards),
    }
    for split in data.splits.values():
        for shard in split.shards:
            assert sha256(folder / shard.name) == shard.sha256


def test_prepare_gives_the_same_bytes_again(tiny: Project, tmp_path: Path) -> None:
    assert tiny.run("prepare", "--out", str(tmp_path)).returncode == 0
    for name in ("data/prepared", "reports"):
        for path in (tmp_path / name).iterdir():
            if path.name != "timings.json":
                assert path.read_bytes() == (tiny.folder / name / path.name).read_bytes(), path


def test_a_crop_beyond_the_images_names_the_record_and_leaves_nothing(tiny: Project, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text((tiny.folder / "params.yaml").read_text().replace("size: 16,", "size: 16, crop: [0, 0, 40, 40],"))
    result = tiny.run("prepare", "--params", str(params), "--out", str(tmp_path))
    assert result.returncode == 1
    assert "ubyte#" in result.stderr
    assert "change prepare.crop" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_damaged_source_file_is_named(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw")
    path = tmp_path / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StageError, match="train-labels-idx1-ubyte: missing or damaged"):
        sources.open_source(tmp_path / "raw")


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
