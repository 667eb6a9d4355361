"""TFRecords: what goes in comes out, in an order that the seed decides."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from stages import manifest, records
from stages.artifacts import sha256
from stages.errors import StageError
from stages.manifest import Manifest, Shard, Split


def write(folder: Path, dtype: str, count: int = 96, shards: int = 4) -> Manifest:
    """A data set of `count` images whose label is their index."""
    images = np.random.default_rng(1).integers(0, 256, (count, 16, 16, 3), np.uint8)
    images[0].flat[:256] = np.arange(256)  # every value there is
    written = []
    for i, part in enumerate(np.array_split(np.arange(count), shards)):
        path = folder / f"train-{i:05d}-of-{shards:05d}.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for index in part:
                image = images[index] if dtype == "uint8" else records.normalise(images[index])
                writer.write(records.encode(image, int(index), f"pictures#{index}"))
        written.append(Shard(path.name, sha256(path), len(part)))
    splits = {"train": Split(count, (1,) * count, tuple(written))}
    result = Manifest((16, 16, 3), dtype, ("a", "b"), splits, {"title": "x"}, {"crop": "none"}, {})  # type: ignore[arg-type]
    manifest.write(folder, result)
    return result


def paths(folder: Path, data: Manifest) -> list[Path]:
    return manifest.verified_shards(folder, data, "train")


def epoch_labels(folder: Path, data: Manifest, seed: int, epoch: int) -> list[int]:
    batches = records.shuffled_epoch(paths(folder, data), data, 8, seed, epoch)
    return [int(label) for _, labels in batches for label in labels]


def test_normalise_is_x_over_127_5_minus_1_in_float32() -> None:
    values = np.arange(256, dtype=np.uint8)
    expected = values.astype(np.float32) / np.float32(127.5) - np.float32(1)
    result = records.normalise(values)
    assert result.dtype == np.float32
    assert np.array_equal(result, expected)
    assert (result[0], result[-1]) == (-1, 1)


def test_float32_and_uint8_read_back_to_bit_equal_tensors(tmp_path: Path) -> None:
    tensors = []
    for dtype in ("float32", "uint8"):
        folder = tmp_path / dtype
        folder.mkdir()
        data = write(folder, dtype)
        (images, labels), *_ = records.batches(folder, data, "train", 96)
        assert labels.numpy().tolist() == list(range(96))
        tensors.append(images.numpy())
    assert tensors[0].shape == (96, 16, 16, 3)
    assert tensors[0].tobytes() == tensors[1].tobytes()


def test_a_record_has_the_stated_features_and_the_same_bytes_every_time() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    record = records.encode(image, 3, "日本/ä.png")
    assert record == records.encode(image, 3, "日本/ä.png")
    feature = tf.train.Example.FromString(record).features.feature
    assert feature["image"].bytes_list.value[0] == bytes(range(12))
    assert feature["label"].int64_list.value[0] == 3
    assert feature["key"].bytes_list.value[0].decode() == "日本/ä.png"
    assert "label" not in tf.train.Example.FromString(records.encode(image, None, "x")).features.feature


def test_records_without_labels_read_as_minus_one(tmp_path: Path) -> None:
    data = dataclasses.replace(write(tmp_path, "uint8", 8, 1), classes=())
    path = tmp_path / data.splits["train"].shards[0].name
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(records.encode(np.zeros((16, 16, 3), np.uint8), None, "x"))
    shard = Shard(path.name, sha256(path), 1)
    data = dataclasses.replace(data, splits={"train": Split(1, (), (shard,))})
    ((_, labels),) = records.batches(tmp_path, data, "train", 1)
    assert labels.numpy().tolist() == [-1]


def test_an_epoch_shows_every_record_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    first, second = epoch_labels(tmp_path, data, 0, 0), epoch_labels(tmp_path, data, 0, 1)
    assert sorted(first) == sorted(second) == list(range(96))
    assert first != second
    assert first != list(range(96))


def test_the_order_is_decided_by_seed_and_epoch(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    assert epoch_labels(tmp_path, data, 3, 2) == epoch_labels(tmp_path, data, 3, 2)
    assert epoch_labels(tmp_path, data, 3, 2) != epoch_labels(tmp_path, data, 4, 2)


def test_only_whole_batches(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8", 30)
    sizes = [len(labels) for _, labels in records.shuffled_epoch(paths(tmp_path, data), data, 8, 0, 0)]
    assert sizes == [8, 8, 8]


def test_a_flipped_byte_names_the_shard(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    damaged = tmp_path / data.splits["train"].shards[2].name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(StageError, match=rf"{damaged.name}: the shard's bytes have changed"):
        records.batches(tmp_path, data, "train", 8)


def test_a_missing_shard_and_an_unknown_split_are_named(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    missing = tmp_path / data.splits["train"].shards[1].name
    missing.unlink()
    with pytest.raises(StageError, match=rf"{missing.name}: the shard is missing"):
        paths(tmp_path, data)
    with pytest.raises(StageError, match="no split 'val'; it has train"):
        manifest.verified_shards(tmp_path, data, "val")


def test_a_manifest_reads_back_and_a_malformed_one_is_named(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    assert manifest.read(tmp_path) == data
    (tmp_path / "manifest.json").write_text('{"shape": [1]}')
    with pytest.raises(StageError, match=r"manifest\.json: shape"):
        manifest.read(tmp_path)
