"""Shards: their plan, their bytes, their sums and the file of their result."""

from pathlib import Path

import numpy as np
import pytest

from stages import manifest, pixels, records
from stages.prepare import plan, shards
from stages.prepare.results import ShardResult
from stages.prepare.settings import Settings
from stages.prepare.sources import formats
from stages.prepare.sources.facts import read_facts
from stages.prepare.sources.idx import read_idx
from stages.prepare.store import Store
from tests.conftest import CLASSES, write_raw
from tests.prepare.test_prepare import BAD, MANY, write_archive


@pytest.mark.parametrize(("count", "per_shard", "expected"), [(10, 4, 3), (8, 4, 2), (3, 100, 1), (60_000, 8192, 8)])
def test_the_plan_has_every_record_once_in_even_shards(count: int, per_shard: int, expected: int) -> None:
    plans = plan.plan_shards("train", count, per_shard, seed=0)
    assert [p.name for p in plans] == [f"{i:05d}-of-{expected:05d}" for i in range(expected)]
    sizes = [len(p.indices) for p in plans]
    assert max(sizes) <= per_shard
    assert max(sizes) - min(sizes) <= 1
    together = np.concatenate([p.indices for p in plans])
    assert sorted(together) == list(range(count))
    assert list(together) != list(range(count)), "a source sorted by class must not give shards sorted by class"


def test_the_seed_decides_the_order_of_the_records() -> None:
    def order(seed: int) -> list[int]:
        return plan.plan_shards("train", 100, 1000, seed)[0].indices.tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_shard_has_the_same_bytes_every_time_and_the_prepared_images(tmp_path: Path, dtype: str) -> None:
    write_raw(tmp_path / "raw")
    settings = Settings(size=16, dtype=dtype, records_per_shard=1000)  # type: ignore[arg-type]
    source = formats.open_source(read_facts(tmp_path / "raw"), tmp_path / "raw", tmp_path, settings)
    _, part = plan.parts(source, settings)
    results = [shards.build_shard(part, settings, Store(str(tmp_path / name))) for name in ("a", "b")]
    assert results[0].shards == results[1].shards
    assert results[0].to_bytes() == results[1].to_bytes()
    shard = results[0].shards["test"]
    data = manifest.Manifest(
        (16, 16, 1), settings.dtype, tuple(CLASSES), {"test": manifest.Split(80, (), (shard,))}, {}, {}, {}
    )
    ((images, labels),) = records.batches(tmp_path / "a", data, "test", 100)
    pictures = read_idx(tmp_path / "raw/t10k-images-idx3-ubyte", 3)[..., None]
    places = [int(key.rpartition("#")[2]) for key in part.keys]
    expected = [pixels.normalise(shards.prepare_image(np.asarray(pictures[i]), settings)) for i in places]
    assert np.array_equal(images.numpy(), np.stack(expected))
    assert labels.numpy().tolist() == [i % len(CLASSES) for i in places]


def test_the_result_of_a_shard_survives_its_file(tmp_path: Path) -> None:
    write_archive(tmp_path / "raw", {**MANY, **BAD})
    settings = Settings(size=16, channels=3)
    source = formats.open_source(read_facts(tmp_path / "raw"), tmp_path / "raw", tmp_path, settings)
    result = shards.build_shard(next(plan.parts(source, settings)), settings, Store(str(tmp_path / "store")))
    again = ShardResult.from_bytes(result.to_bytes())
    assert again.to_bytes() == result.to_bytes()
    assert again.rejected == result.rejected
    assert again.found == 124


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sums_of_many_images_are_exact(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 28, channels), np.uint8)
    sums = shards._Sums()
    for part in (images[:1], images[1:33], images[33:]):
        sums.add("train/0", list(part))
    values = images.reshape(-1, channels).astype(np.int64)
    ends = [int(images.min()), int(images.max())]
    assert sums.total() == {"train/0": [40, *ends, *values.sum(axis=0).tolist(), *(values**2).sum(axis=0).tolist()]}
