"""Make shards: a plan that depends on nothing but counts and the seed, and one pure function per shard."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from stages import records
from stages.artifacts import sha256
from stages.errors import StageError
from stages.manifest import Shard
from stages.prepare import geometry
from stages.prepare.settings import Settings
from stages.prepare.sources import SourceSplit


@dataclass(frozen=True)
class ShardPlan:
    """Which records of a split go into which file, in which order."""

    name: str
    indices: np.ndarray


@dataclass(frozen=True)
class ShardResult:
    """A written shard and, per record, its label and the exact sums of its bytes (columns label, sum, squares, …)."""

    shard: Shard
    pixels: pd.DataFrame


def plan(split: str, count: int, records_per_shard: int, seed: int) -> list[ShardPlan]:
    """Spread `count` records evenly over shards, in an order that the seed decides: a sorted source gets mixed."""
    shards = max(1, -(-count // records_per_shard))
    order = np.random.default_rng([seed, *split.encode()]).permutation(count)
    return [
        ShardPlan(f"{split}-{i:05d}-of-{shards:05d}.tfrecord", part)
        for i, part in enumerate(np.array_split(order, shards))
    ]


def prepare_image(key: str, image: np.ndarray, settings: Settings) -> np.ndarray:
    """uint8 HWC of any size => uint8 (size, size, channels): channels, crop, fit.

    Raises StageError naming the `key` of an image that the crop does not lie within.
    """
    try:
        image = geometry.crop(image, settings.crop)
    except ValueError as error:
        raise StageError(f"{key}: {error}; change prepare.crop") from error
    return geometry.fit(geometry.to_channels(image, settings.channels), settings.size, settings.fit)


def build_shard(shard: ShardPlan, source: SourceSplit, settings: Settings, folder: Path) -> ShardResult:
    """Write one shard. Pure and idempotent: the same arguments give the same bytes, whoever else is at work.

    Raises StageError naming the record that cannot be prepared.
    """
    path = folder / shard.name
    rows = []
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for index in shard.indices:
                key, label = source.key(int(index)), int(source.labels[index])
                image = prepare_image(key, np.asarray(source.images[index]), settings)
                stored = image if settings.dtype == "uint8" else records.normalise(image)
                writer.write(records.encode(stored, label, key))
                wide = image.astype(np.int64)  # integers: exact, so that no order of summing shows in the statistics
                sums = int(wide.sum()), int((wide**2).sum())
                rows.append((label, image.size, *sums, int(image.min()), int(image.max())))
    except tf.errors.OpError as error:  # a full disk, say
        raise StageError(f"{path}: cannot be written: {error.message}") from error
    pixels = pd.DataFrame(rows, columns=["label", "values", "sum", "squares", "min", "max"])
    return ShardResult(Shard(shard.name, sha256(path), len(rows)), pixels)


def statistics(results: dict[str, list[ShardResult]], classes: list[str]) -> pd.DataFrame:
    """Per split and class, and per split over all: images; mean, std, min and max of the values in [-1,1]."""
    frames = [result.pixels.assign(split=split) for split, done in results.items() for result in done]
    per_class = pd.concat(frames)
    over_all = per_class.assign(label=len(classes))
    rows = pd.concat([per_class, over_all]).astype({"split": pd.CategoricalDtype(list(results), ordered=True)})
    table = (
        rows.groupby(["split", "label"], observed=True)
        .agg(
            images=("values", "size"),
            values=("values", "sum"),
            sum=("sum", "sum"),
            squares=("squares", "sum"),
            min=("min", "min"),
            max=("max", "max"),
        )
        .reset_index()
    )
    mean = table["sum"] / table["values"]
    std = np.sqrt(np.maximum(table["squares"] / table["values"] - mean**2, 0))
    table["mean"], table["std"] = (mean / 127.5 - 1).round(6), (std / 127.5).round(6)
    for bound in ("min", "max"):
        table[bound] = (table[bound] / 127.5 - 1).round(6)
    table["class"] = table["label"].map(dict(enumerate([*classes, "all"])))
    return table[["split", "class", "images", "mean", "std", "min", "max"]]
