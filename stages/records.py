"""Read prepared data: TFRecord shards (stages/tfrecord.py) => batches of normalised images."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from stages import manifest
from stages.artifacts import missing
from stages.manifest import Manifest

# The shuffle buffer: two shards' records, but at most this many bytes. Each epoch fills it before its first batch.
_SHUFFLE_RECORDS, _SHUFFLE_BYTES = 4096, 256 << 20
_HALF = np.float32(127.5)


def _decode(serialized: tf.Tensor, data: Manifest, half: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of records => images float32 NHWC [-1,1] and labels int64 N (-1: no label).

    `half` is 127.5, defined outside the graph. TensorFlow would replace the division by a constant inside the graph
    with a multiplication, and 111 of the 256 values would differ from pixels.normalise in the last bit.
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


def _options() -> tf.data.Options:
    """How TensorFlow runs a stream of batches: without its automatic tuning, which would find nothing to tune.

    The tuner's thread sleeps for up to a minute and can miss the end of the stream, which then waits for it.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.max_intra_op_parallelism = 1  # batches run in parallel; splitting one costs more
    return options


def batches(folder: Path, data: Manifest, split: str, batch_size: int) -> tf.data.Dataset:
    """One pass over the split in stored order: images float32 NHWC [-1,1] and labels int64 N.

    The last batch may be smaller. Raises StageError for a missing or damaged shard.
    """
    files = [str(path) for path in manifest.verified_shards(folder, data, split)]
    half = tf.constant(_HALF)
    return (
        tf.data.TFRecordDataset(files)
        .batch(batch_size)
        .map(lambda serialized: _decode(serialized, data, half), num_parallel_calls=2, deterministic=True)
        .prefetch(2)
        .with_options(_options())
    )


def images_at(folder: Path, data: Manifest, split: str, places: Sequence[int]) -> np.ndarray:
    """The images at these places in the stored order of a split: float32 (N, H, W, C) in [-1,1]. Raises like `at`."""
    return at(folder, data, split, places)[0]


def at(folder: Path, data: Manifest, split: str, places: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The images float32 (N, H, W, C) in [-1,1] and labels int64 (N,) at these places in the stored order of a split.

    The shards' hashes are not checked. Raises StageError for a missing shard, and KeyError for a place that the split
    does not have.
    """
    half, first = tf.constant(_HALF), 0
    serialized: dict[int, bytes] = {}
    for shard in data.splits[split].shards:
        for place in {place for place in places if first <= place < first + shard.records}:
            if not (folder / shard.name).is_file():
                raise missing(folder / shard.name)
            record = tf.data.TFRecordDataset(str(folder / shard.name)).skip(place - first).take(1)
            serialized[place] = next(record.as_numpy_iterator())
        first += shard.records
    images, labels = _decode(tf.constant([serialized[place] for place in places]), data, half)
    return images.numpy(), labels.numpy()


def _equally(records: tf.data.Dataset, counts: Sequence[int], target: int) -> tf.data.Dataset:
    """Serialised records with exactly `target` of each class, of which there are `counts`.

    A record of a class with n records comes ⌊(i + 1) · target / n⌋ − ⌊i · target / n⌋ times, where i is its place
    among the records of its class. So rare classes repeat, and frequent ones skip other records in each order.
    """
    of_class, feature = tf.constant(counts, tf.int64), {"label": tf.io.FixedLenFeature([], tf.int64)}

    def times(seen: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        label = tf.io.parse_single_example(serialized, feature)["label"]
        place, count = seen[label], of_class[label]
        repeats = (place + 1) * target // count - place * target // count
        return seen + tf.one_hot(label, len(counts), dtype=tf.int64), (serialized, repeats)

    def repeated(serialized: tf.Tensor, repeats: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors(serialized).repeat(repeats)

    return records.scan(tf.zeros(len(counts), tf.int64), times).flat_map(repeated)


def _epochs(
    names: Sequence[str], buffer: int, batch_size: int, seed: int, first: int, counts: Sequence[int], target: int
) -> tf.data.Dataset:
    """Whole batches of serialised records, epoch after epoch from number `first`. Each epoch has a different order.

    An epoch shuffles the order of the shards, reads four of them in turn, and shuffles the records within a buffer.
    `counts` and `target` are those of `_equally`; without counts, each record comes once.
    """

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        tf.random.set_seed(seed + 1)  # the seed of this function's graph, whatever seeds are set elsewhere
        records = (
            tf.data.Dataset.from_tensor_slices(names)
            .shuffle(len(names), number, reshuffle_each_iteration=False)
            .interleave(tf.data.TFRecordDataset, cycle_length=4, block_length=16)
        )
        if counts:
            records = _equally(records, counts, target)
        return records.shuffle(buffer, number, reshuffle_each_iteration=False).batch(batch_size, drop_remainder=True)

    return tf.data.Dataset.range(first, tf.int64.max).flat_map(epoch)


def shuffled(
    files: Sequence[Path],
    data: Manifest,
    batch_size: int,
    seed: int,
    *,
    first_batch: int = 0,
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    equal_classes: bool = False,
) -> tf.data.Dataset:
    """An endless stream of shuffled batches from verified shards: images float32 NHWC [-1,1] and labels int64 N.

    An epoch uses each record at most once and drops the records that do not fill a batch. The seed and the epoch's
    number decide the order. The records were already shuffled when they were written, so this is as good as a full
    shuffle, with at most 256 MB of records in memory.

    `augment(images, number)` changes the images of the batch of that number. `first_batch` k skips the first k batches:
    the stream continues as if it had produced them. With `equal_classes` an epoch has equally many records of each
    class that has any (`_equally`); all records must have labels, and `files` must be all shards of a split.

    Raises ValueError if the shards have fewer records than one batch.
    """
    records = {shard.name: shard.records for split in data.splits.values() for shard in split.shards}
    total, target = sum(records[file.name] for file in files), 0
    counts: tuple[int, ...] = ()
    if equal_classes:
        splits = (split for split in data.splits.values() if files[0].name in {shard.name for shard in split.shards})
        counts = next(splits).labels
        filled = sum(map(bool, counts))
        target = total // filled
        total = target * filled
    batches_per_epoch = total // batch_size
    if not batches_per_epoch:
        raise ValueError(f"the shards have fewer records than one batch ({batch_size})")
    epoch, skipped = divmod(first_batch, batches_per_epoch)
    record_bytes = math.prod(data.shape) * np.dtype(data.dtype).itemsize
    buffer = max(1, min(_SHUFFLE_RECORDS, _SHUFFLE_BYTES // record_bytes))
    half = tf.constant(_HALF)

    def decode(number: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = _decode(serialized, data, half)
        if augment:
            images = augment(images, number)
        return images, labels

    return (
        _epochs([str(file) for file in files], buffer, batch_size, seed, epoch, counts, target)
        .prefetch(8)  # serialised uint8 records need a quarter of the memory
        .skip(skipped)
        .enumerate(first_batch)
        .map(decode, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
        .with_options(_options())
    )
