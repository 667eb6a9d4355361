"""Reading prepared data: from TFRecord shards (stages/tfrecord.py) to batches of normalised images."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from stages import manifest
from stages.artifacts import missing
from stages.manifest import Manifest

# What a shuffle may hold in memory at a time: two shards' worth, and no more than so many bytes. It is filled anew at
# each epoch's beginning, and until then nothing comes out.
_SHUFFLE_RECORDS, _SHUFFLE_BYTES = 4096, 256 << 20
_HALF = np.float32(127.5)


def _decode(serialized: tf.Tensor, data: Manifest, half: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of records => float32 NHWC [-1,1] and int64 N (-1 where there is no label).

    `half` is 127.5 and comes from outside of the graph: by a constant in it TensorFlow would not divide but multiply
    with the inverse, and 111 of the 256 values would differ from pixels.normalise in their last bit.
    """
    features = tf.io.parse_example(
        serialized,
        {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64, -1)},
    )
    if data.dtype == "uint8":
        pixels = tf.cast(tf.io.decode_raw(features["image"], tf.uint8), tf.float32) / half - 1
    else:
        pixels = tf.io.decode_raw(features["image"], tf.float32)
    pixels = tf.ensure_shape(pixels, [None, math.prod(data.shape)])
    return tf.reshape(pixels, [-1, *data.shape]), features["label"]


def batches(folder: Path, data: Manifest, split: str, batch_size: int) -> tf.data.Dataset:
    """The split in its stored order, once: float32 NHWC [-1,1] and int64 N; the last batch may be smaller.

    Raises StageError for a shard that is missing or damaged.
    """
    files = [str(path) for path in manifest.verified_shards(folder, data, split)]
    half = tf.constant(_HALF)
    return (
        tf.data.TFRecordDataset(files)
        .batch(batch_size)
        .map(lambda serialized: _decode(serialized, data, half), num_parallel_calls=2, deterministic=True)
        .prefetch(2)
    )


def at(folder: Path, data: Manifest, split: str, places: Sequence[int]) -> np.ndarray:
    """Some images of a split, by their places in its stored order: float32 (N, H, W, C) in [-1,1].

    The shards are not held against their hashes. Raises StageError for one that is missing, KeyError for a place
    that the split does not have.
    """
    half, first = tf.constant(_HALF), 0
    found: dict[int, bytes] = {}
    for shard in data.splits[split].shards:
        for place in {place for place in places if first <= place < first + shard.records}:
            if not (folder / shard.name).is_file():
                raise missing(folder / shard.name)
            one = tf.data.TFRecordDataset(str(folder / shard.name)).skip(place - first).take(1)
            found[place] = next(one.as_numpy_iterator())
        first += shard.records
    return _decode(tf.constant([found[place] for place in places]), data, half)[0].numpy()


def _epochs(names: Sequence[str], buffer: int, batch_size: int, seed: int, first: int) -> tf.data.Dataset:
    """Batches of serialised records, epoch after epoch from the `first`, each in an order of its own; only whole ones.

    The shards' order is drawn anew for each epoch, four are read in turn, and records are drawn from a buffer.
    """

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        tf.random.set_seed(seed + 1)  # of this function's graph; nothing that is seeded elsewhere has a part in it
        return (
            tf.data.Dataset.from_tensor_slices(names)
            .shuffle(len(names), number, reshuffle_each_iteration=False)
            .interleave(tf.data.TFRecordDataset, cycle_length=4, block_length=16)
            .shuffle(buffer, number, reshuffle_each_iteration=False)
            .batch(batch_size, drop_remainder=True)
        )

    return tf.data.Dataset.range(first, tf.int64.max).flat_map(epoch)


def shuffled(
    files: Sequence[Path],
    data: Manifest,
    batch_size: int,
    seed: int,
    *,
    first_batch: int = 0,
    horizontal_flip: bool = False,
) -> tf.data.Dataset:
    """An endless stream of batches of verified shards: float32 NHWC [-1,1] and int64 N, epoch after epoch.

    An epoch is as many whole batches as the shards' records fill, none twice, in an order that the seed and the epoch's
    number decide: as good as a full shuffle for records that were shuffled when they were written, with at most 256 MB
    of them in memory. With `horizontal_flip` each image is mirrored with a chance of one half, which the seed and the
    batch's number in the stream decide. With `first_batch` k the stream begins with its batch number k, from 0, and
    goes on as it would have.

    Raises ValueError where the records are fewer than a batch.
    """
    known = {shard.name: shard.records for split in data.splits.values() for shard in split.shards}
    per_epoch = sum(known[file.name] for file in files) // batch_size
    if not per_epoch:
        raise ValueError(f"{batch_size} records make a batch, and the shards have fewer")
    epoch, passed = divmod(first_batch, per_epoch)
    record_bytes = math.prod(data.shape) * np.dtype(data.dtype).itemsize
    buffer = max(1, min(_SHUFFLE_RECORDS, _SHUFFLE_BYTES // record_bytes))
    half = tf.constant(_HALF)

    def decode(number: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = _decode(serialized, data, half)
        if horizontal_flip:
            # Not of (seed, number): z of the step of that number is drawn by it, from the same bits.
            coins = tf.random.stateless_uniform((batch_size,), tf.stack([-1 - seed, number]))
            # Row by row, and the choice image by image: images[:, :, ::-1] and tf.where take nine times as long.
            rows = tf.reverse(tf.reshape(images, [-1, *data.shape[1:]]), [1])
            images = tf.raw_ops.Select(condition=coins < 0.5, x=images, y=tf.reshape(rows, tf.shape(images)))
        return images, labels

    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1  # batches are decoded side by side; to split one as well costs more
    return (
        _epochs([str(file) for file in files], buffer, batch_size, seed, epoch)
        .prefetch(8)  # serialised: a quarter of the size
        .skip(passed)
        .enumerate(first_batch)
        .map(decode, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
        .with_options(options)
    )
