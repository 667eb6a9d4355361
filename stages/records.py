"""Reading prepared data: from TFRecord shards (stages/tfrecord.py) to batches of normalised images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from stages import manifest, tfrecord
from stages.manifest import Manifest

# What a shuffle may hold in memory at a time.
_SHUFFLE_BYTES = 256 << 20


def _decode(serialized: tf.Tensor, data: Manifest) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of records => float32 NHWC [-1,1] and int64 N (-1 where there is no label)."""
    features = tf.io.parse_example(
        serialized,
        {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64, -1)},
    )
    values = int(np.prod(data.shape))
    if data.dtype == "uint8":
        # By the table: the arithmetic itself differs from NumPy's in 111 of 256 values inside a compiled graph.
        pixels = tf.gather(
            tf.constant(tfrecord.lookup()), tf.cast(tf.io.decode_raw(features["image"], tf.uint8), tf.int32)
        )
    else:
        pixels = tf.io.decode_raw(features["image"], tf.float32)
    pixels = tf.ensure_shape(pixels, [None, values])
    return tf.reshape(pixels, [-1, *data.shape]), features["label"]


def batches(folder: Path, data: Manifest, split: str, batch_size: int) -> tf.data.Dataset:
    """The split in its stored order, once: float32 NHWC [-1,1] and int64 N; the last batch may be smaller.

    Raises StageError for a shard that is missing or damaged.
    """
    files = [str(path) for path in manifest.verified_shards(folder, data, split)]
    return (
        tf.data.TFRecordDataset(files)
        .batch(batch_size)
        .map(lambda serialized: _decode(serialized, data), num_parallel_calls=2, deterministic=True)
        .prefetch(2)
    )


def shuffled_epoch(
    files: Sequence[Path], data: Manifest, batch_size: int, seed: int, epoch: int, *, horizontal_flip: bool = False
) -> tf.data.Dataset:
    """One pass over verified shards in an order that (seed, epoch) decides; only whole batches.

    The shards' order is drawn anew each epoch, four are read in turn, and records are drawn from a buffer of at most
    256 MB: as good as a full shuffle for records that were shuffled when they were written. With `horizontal_flip` each
    image is mirrored with a chance of one half, which (seed, epoch) decide too.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(files))
    names = [str(files[i]) for i in order]
    itemsize = np.dtype(data.dtype).itemsize
    record_bytes = int(np.prod(data.shape)) * itemsize
    buffer = max(1, min(16_384, _SHUFFLE_BYTES // record_bytes))
    batched = (
        tf.data.Dataset.from_tensor_slices(names)
        .interleave(tf.data.TFRecordDataset, cycle_length=4, block_length=16)
        .shuffle(buffer, seed=seed * 1_000_003 + epoch, reshuffle_each_iteration=False)
        .batch(batch_size, drop_remainder=True)
    )
    if not horizontal_flip:
        decoded = batched.map(lambda records: _decode(records, data), num_parallel_calls=2, deterministic=True)
        return decoded.prefetch(4)

    def mirrored(index: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = _decode(serialized, data)
        coins = tf.random.stateless_uniform((batch_size, 1, 1, 1), tf.stack([seed * 1_000_003 + epoch, index]))
        return tf.where(coins < 0.5, images, images[:, :, ::-1]), labels

    return batched.enumerate().map(mirrored, num_parallel_calls=2, deterministic=True).prefetch(4)
