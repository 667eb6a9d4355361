"""The plan of the shards. It depends only on counts and the seed, not on the machine or the number of workers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.prepare.archives import Member, Reader
from stages.prepare.settings import Settings
from stages.prepare.sources.index import Pixels, Source

PREVIEW = 64  # pictures of the first shard that are kept for the contact sheet


@dataclass(frozen=True)
class ShardPlan:
    """The name of a shard and its records in order, as indices into the pictures of its split."""

    name: str
    indices: np.ndarray


@dataclass(frozen=True)
class Part:
    """Everything that a worker needs to build one shard: where its pictures are, and how to read them.

    `split` is None if the pixels decide the split of each picture; `name` then does not contain it. `index`, `keys` and
    `columns` are rows of the source's index. `preview` is the number of pictures to keep for the contact sheet.
    """

    name: str
    split: str | None
    files: tuple[str, ...]
    pixels: Pixels | None
    read: Reader
    index: np.ndarray
    columns: dict[str, list[int]]
    keys: tuple[str, ...]
    preview: int

    def member(self, at: int) -> Member:
        """The picture at this position of the part."""
        columns = self.columns
        return Member(
            self.keys[at], columns["offset"][at], columns["length"][at], columns["size"][at], columns["kind"][at]
        )


def plan_shards(split: str, count: int, records_per_shard: int, seed: int) -> list[ShardPlan]:
    """Spread `count` records evenly over shards. The seed decides their order, which mixes a sorted source."""
    shards = max(1, -(-count // records_per_shard))
    order = np.random.default_rng([seed, *split.encode()]).permutation(count)
    return [ShardPlan(f"{i:05d}-of-{shards:05d}", indices) for i, indices in enumerate(np.array_split(order, shards))]


def parts(source: Source, settings: Settings) -> Iterator[Part]:
    """The parts of a source: the shards of each official split, or of all pictures if there are no such splits."""
    index = source.index
    for number, split in enumerate(source.splits or (None,)):
        pictures = np.arange(len(index)) if split is None else np.flatnonzero(index.split == number)
        for i, shard in enumerate(plan_shards(split or "", len(pictures), settings.records_per_shard, settings.seed)):
            rows = pictures[shard.indices]
            columns = {
                name: getattr(index, name)[rows].tolist()
                for name in ("file", "offset", "length", "size", "kind", "label")
            }
            keys = tuple(index.names[int(row)] for row in rows)
            preview = PREVIEW if i == 0 and number == 0 else 0
            name = shard.name if split is None else f"{split}-{shard.name}"
            yield Part(name, split, source.files, source.pixels, source.read, rows, columns, keys, preview)
