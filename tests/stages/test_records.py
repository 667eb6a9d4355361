"""TFRecords: they read back as written, in an order that the seed decides."""

import dataclasses
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from stages import manifest, pixels, records, tfrecord
from stages.artifacts import sha256
from stages.errors import StageError
from stages.manifest import Manifest, Shard, Split
from stages.train.flip import horizontal_flip


def write(folder: Path, dtype: str, count: int = 96, shards: int = 4) -> Manifest:
    """Write a data set of `count` images; the label of an image is its index."""
    images = np.random.default_rng(1).integers(0, 256, (count, 16, 16, 3), np.uint8)
    images[0].flat[:256] = np.arange(256)  # every possible value
    names = []
    for i, part in enumerate(np.array_split(np.arange(count), shards)):
        path = folder / f"train-{i:05d}-of-{shards:05d}.tfrecord"
        with tfrecord.Writer(path) as writer:
            for index in part:
                image = images[index] if dtype == "uint8" else pixels.normalise(images[index])
                writer.write(tfrecord.encode(image, int(index), f"pictures#{index}"))
        assert writer.sha256 == sha256(path)
        names.append(Shard(path.name, writer.sha256, len(part)))
    splits = {"train": Split(count, (1,) * count, tuple(names))}
    result = Manifest((16, 16, 3), dtype, ("a", "b"), splits, {"title": "x"}, {"crop": "none"}, {})  # type: ignore[arg-type]
    manifest.write(folder, result)
    return result


def paths(folder: Path, data: Manifest) -> list[Path]:
    return manifest.verified_shards(folder, data, "train")


def stream(
    folder: Path, data: Manifest, seed: int, count: int, first: int = 0, *, flip: bool = False
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first `count` batches of eight, from batch `first`, as arrays."""

    def augment(images: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        return horizontal_flip(images, seed, number)

    batches = records.shuffled(paths(folder, data), data, 8, seed, first_batch=first, augment=augment if flip else None)
    return list(batches.take(count).as_numpy_iterator())


def labels_of(batches: list[tuple[np.ndarray, np.ndarray]]) -> list[int]:
    return [int(label) for _, labels in batches for label in labels]


def test_normalise_is_x_over_127_5_minus_1_in_float32() -> None:
    values = np.arange(256, dtype=np.uint8)
    expected = values.astype(np.float32) / np.float32(127.5) - np.float32(1)
    result = pixels.normalise(values)
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


def test_a_record_has_image_label_and_key_and_the_same_bytes_every_time() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    record = tfrecord.encode(image, 3, "日本/ä.png")
    assert record == tfrecord.encode(image, 3, "日本/ä.png")
    feature = tf.train.Example.FromString(record).features.feature
    assert feature["image"].bytes_list.value[0] == bytes(range(12))
    assert feature["label"].int64_list.value[0] == 3
    assert feature["key"].bytes_list.value[0].decode() == "日本/ä.png"
    assert "label" not in tf.train.Example.FromString(tfrecord.encode(image, None, "x")).features.feature


@pytest.mark.parametrize("label", [None, 0, 5, 300, 2**31])
@pytest.mark.parametrize("size", [1, 15, 64])
def test_a_record_has_the_bytes_of_tensorflows_serialisation(label: int | None, size: int) -> None:
    image = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
        "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a/b.png" * size])),
    }
    if label is not None:
        feature["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    assert tfrecord.encode(image, label, "a/b.png" * size) == example.SerializeToString(deterministic=True)


def test_a_shard_has_the_bytes_of_tensorflows_writer(tmp_path: Path) -> None:
    content = [b"", b"x", bytes(range(256)) * 50]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as theirs, tfrecord.Writer(tmp_path / "ours") as ours:
        for record in content:
            theirs.write(record)
            ours.write(record)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


INDEPENDENT_READER = """
import hashlib, json, sys
from tfrecord.reader import tfrecord_loader
for row in tfrecord_loader(sys.argv[1], None, {"image": "byte", "key": "byte", "label": "int"}):
    pixels = hashlib.sha256(bytes(row["image"])).hexdigest()
    print(json.dumps([pixels, bytes(row["key"]).decode(), int(row["label"][0])]))
"""


@pytest.mark.slow
def test_an_independent_reader_reads_the_records(tmp_path: Path) -> None:
    if importlib.util.find_spec("tfrecord") is None:
        pytest.skip("needs the package tfrecord (requirements-slow.lock)")
    data = write(tmp_path, "uint8", 24, 2)
    images = np.random.default_rng(1).integers(0, 256, (24, 16, 16, 3), np.uint8)
    images[0].flat[:256] = np.arange(256)
    rows = []
    for shard in data.splits["train"].shards:
        # In another process: its protocol buffers have the same names as TensorFlow's.
        command = [sys.executable, "-c", INDEPENDENT_READER, str(tmp_path / shard.name)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        rows += [json.loads(line) for line in result.stdout.splitlines()]
    assert rows == [[hashlib.sha256(images[i].tobytes()).hexdigest(), f"pictures#{i}", i] for i in range(24)]


def test_a_record_decodes_to_the_same_tensor_eagerly_in_a_graph_and_in_the_pipeline(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    record = tf.constant([tfrecord.encode(values, 0, "x")])
    with tfrecord.Writer(tmp_path / "train.tfrecord") as writer:
        writer.write(record.numpy()[0])
    shard = Shard("train.tfrecord", writer.sha256, 1)
    data = Manifest((16, 16, 1), "uint8", ("a", "b"), {"train": Split(1, (1,), (shard,))}, {}, {}, {})
    half = tf.constant(127.5)
    eagerly, _ = records._decode(record, data, half)
    in_a_graph, _ = tf.function(lambda: records._decode(record, data, half))()
    ((stored, _),) = records.batches(tmp_path, data, "train", 1)
    ((shuffled, _),) = records.shuffled([tmp_path / shard.name], data, 1, 0).take(1)
    expected = pixels.normalise(values).tobytes()
    assert [x.numpy().tobytes() == expected for x in (eagerly, in_a_graph, stored, shuffled)] == [True] * 4


def test_records_without_labels_read_as_minus_one(tmp_path: Path) -> None:
    data = dataclasses.replace(write(tmp_path, "uint8", 8, 1), classes=())
    path = tmp_path / data.splits["train"].shards[0].name
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tfrecord.encode(np.zeros((16, 16, 3), np.uint8), None, "x"))
    shard = Shard(path.name, sha256(path), 1)
    data = dataclasses.replace(data, splits={"train": Split(1, (), (shard,))})
    ((_, labels),) = records.batches(tmp_path, data, "train", 1)
    assert labels.numpy().tolist() == [-1]


def test_an_epoch_yields_every_record_once_and_in_a_different_order(tmp_path: Path) -> None:
    labels = labels_of(stream(tmp_path, write(tmp_path, "uint8"), 0, 36))
    epochs = [labels[i : i + 96] for i in (0, 96, 192)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(96))] * 3
    assert len({tuple(epoch) for epoch in (*epochs, range(96))}) == 4


def test_only_the_seed_decides_the_order(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    expected = labels_of(stream(tmp_path, data, 3, 30))
    tf.random.set_seed(5)
    try:
        assert labels_of(stream(tmp_path, data, 3, 30)) == expected
    finally:
        tf.random.set_seed(None)
    assert labels_of(stream(tmp_path, data, 4, 30)) != expected


def test_an_epoch_drops_the_records_that_do_not_fill_a_batch(tmp_path: Path) -> None:
    batches = stream(tmp_path, write(tmp_path, "uint8", 30), 0, 6)
    assert [len(labels) for _, labels in batches] == [8] * 6
    assert len(set(labels_of(batches[:3]))) == len(set(labels_of(batches[3:]))) == 24


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("first", [0, 1, 2, 3, 7, 9, 11])
def test_a_stream_that_starts_at_any_batch_continues_to_the_bit(first: int, flip: bool, tmp_path: Path) -> None:
    data = write(tmp_path, "uint8", 30)  # three batches of eight an epoch
    whole = stream(tmp_path, data, 1, 12, flip=flip)
    continued = stream(tmp_path, data, 1, 12 - first, first, flip=flip)
    assert [x.tobytes() + y.tobytes() for x, y in continued] == [x.tobytes() + y.tobytes() for x, y in whole[first:]]


def test_no_stream_has_a_tuner_whose_thread_its_end_could_wait_for(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    for batches in (records.shuffled(paths(tmp_path, data), data, 8, 0), records.batches(tmp_path, data, "train", 8)):
        assert batches.options().autotune.enabled is False


def test_fewer_records_than_a_batch_are_an_error(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8", 7)
    with pytest.raises(ValueError, match=r"the shards have fewer records than one batch \(8\)"):
        records.shuffled(paths(tmp_path, data), data, 8, 0)


def test_images_and_labels_at_places_come_in_the_order_of_the_places(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    everything, labels = map(np.concatenate, zip(*records.batches(tmp_path, data, "train", 40), strict=True))
    for places in ([95, 0, 24, 23, 24], [7]):
        images, own_labels = records.at(tmp_path, data, "train", places)
        assert np.array_equal(images, everything[places])
        assert np.array_equal(own_labels, labels[places])
        assert np.array_equal(records.images_at(tmp_path, data, "train", places), images)
    with pytest.raises(KeyError):
        records.images_at(tmp_path, data, "train", [96])
    paths(tmp_path, data)[2].unlink()
    with pytest.raises(StageError, match=data.splits["train"].shards[2].name):
        records.images_at(tmp_path, data, "train", [60])


def test_a_shard_with_a_flipped_byte_is_named_in_the_error(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    damaged = tmp_path / data.splits["train"].shards[2].name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(StageError, match=rf"{damaged.name}: damaged \(its SHA-256 is not the one in the manifest\)"):
        records.batches(tmp_path, data, "train", 8)


def test_a_missing_shard_and_an_unknown_split_are_named_in_the_error(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    missing = tmp_path / data.splits["train"].shards[1].name
    missing.unlink()
    with pytest.raises(StageError, match=rf"{missing.name}: missing; run `dvc repro`"):
        paths(tmp_path, data)
    with pytest.raises(StageError, match="no split 'val'; it has train"):
        manifest.verified_shards(tmp_path, data, "val")


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    data = write(tmp_path, "uint8")
    assert manifest.read(tmp_path) == data


def test_a_malformed_manifest_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"shape": [1]}')
    with pytest.raises(StageError, match=r"manifest\.json: damaged \(shape"):
        manifest.read(tmp_path)


def test_the_shares_of_the_classes_are_empty_without_labels() -> None:
    assert Split(8, (2, 6, 0), ()).shares.tolist() == [0.25, 0.75, 0]
    assert Split(8, (), ()).shares.shape == (0,)
