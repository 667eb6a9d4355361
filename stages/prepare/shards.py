"""Make shards: a plan that depends on nothing but counts and the seed, and one pure function per shard."""

import functools
import io
import json
import struct
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import simplejpeg
import xxhash

from stages import tfrecord
from stages.artifacts import sha256
from stages.manifest import Shard
from stages.prepare import archives, geometry
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings
from stages.prepare.sources import NO_LABEL, Pixels, Source
from stages.prepare.store import Store

cv2.setNumThreads(1)  # one image is too small to share; shards are made side by side
PREVIEW = 64  # images of the first shard that are kept for the contact sheet


def tools() -> dict[str, str]:
    """The versions of what decodes and resamples: others may give other bytes."""
    return {"opencv": cv2.__version__, "pillow": PIL.__version__, "simplejpeg": simplejpeg.__version__}


@dataclass(frozen=True)
class ShardPlan:
    """Which records go into which file, in which order: `indices` of the source's index."""

    name: str
    indices: np.ndarray


@dataclass(frozen=True)
class Part:
    """All that a worker needs for one shard, wherever it runs: where each of its pictures is, and how to read it.

    `name` is the shard's, without the split where its pixels decide the split of each picture (`split` is None then).
    """

    name: str
    split: str | None
    files: tuple[str, ...]
    pixels: Pixels | None
    lmdb: bool
    index: np.ndarray
    columns: dict[str, list[int]]
    keys: tuple[str, ...]
    preview: int


@dataclass(frozen=True)
class ShardResult:
    """What one shard came to.

    `shards`: the files, by split. `digests`: uint8 (N, 16), the hash of each kept picture's decoded pixels, with its
    `splits` (N,) as text and its place `index` (N,) in the source. `sums`: per "split/label" images, min, max, and per
    channel the sum and the sum of squares of the bytes. `rejected`: (key, reason, width, height) each. `sizes`:
    pictures by the power of two at or below their shorter side. `preview`: the first pictures, uint8 (≤64, H, W, C).
    """

    shards: dict[str, Shard]
    digests: np.ndarray
    splits: np.ndarray
    index: np.ndarray
    sums: dict[str, list[int]]
    rejected: list[tuple[str, str, int, int]]
    sizes: dict[str, int]
    preview: np.ndarray

    @property
    def found(self) -> int:
        """Kept and rejected."""
        return len(self.digests) + len(self.rejected)

    def to_bytes(self) -> bytes:
        """The result as an .npz without pickles; the same result, the same bytes."""
        facts = {
            "shards": {split: asdict(shard) for split, shard in self.shards.items()},
            "sums": self.sums,
            "rejected": self.rejected,
            "sizes": self.sizes,
        }
        out = io.BytesIO()
        arrays = {"digests": self.digests, "splits": self.splits, "index": self.index, "preview": self.preview}
        np.savez(out, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        return out.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> "ShardResult":
        """The way back. Raises ValueError or KeyError where the data is torn."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            facts = json.loads(arrays["facts"].tobytes())
            return ShardResult(
                {split: Shard(**shard) for split, shard in facts["shards"].items()},
                arrays["digests"],
                arrays["splits"],
                arrays["index"],
                facts["sums"],
                [tuple(row) for row in facts["rejected"]],
                facts["sizes"],
                arrays["preview"],
            )


def plan(split: str, count: int, records_per_shard: int, seed: int) -> list[ShardPlan]:
    """Spread `count` records evenly over shards, in an order that the seed decides: a sorted source gets mixed."""
    shards = max(1, -(-count // records_per_shard))
    order = np.random.default_rng([seed, *split.encode()]).permutation(count)
    return [ShardPlan(f"{i:05d}-of-{shards:05d}", part) for i, part in enumerate(np.array_split(order, shards))]


def parts(source: Source, settings: Settings) -> list[Part]:
    """The work on a source, shard by shard: split by split where there are official splits, else all in one."""
    index, made = source.index, []
    for number, split in enumerate(source.splits or (None,)):
        places = np.arange(len(index)) if split is None else np.flatnonzero(index.split == number)
        for i, shard in enumerate(plan(split or "", len(places), settings.records_per_shard, settings.seed)):
            chosen = places[shard.indices]
            columns = {
                name: getattr(index, name)[chosen].tolist()
                for name in ("file", "offset", "length", "size", "kind", "label")
            }
            keys = tuple(index.names[int(i)] for i in chosen)
            preview = PREVIEW if i == 0 and number == 0 else 0
            name = shard.name if split is None else f"{split}-{shard.name}"
            made.append(Part(name, split, source.files, source.pixels, source.lmdb, chosen, columns, keys, preview))
    return made


@functools.lru_cache(maxsize=8)
def _environment(path: str) -> Any:
    import lmdb

    return lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False)


def _picture(part: Part, at: int, settings: Settings) -> np.ndarray:
    """The decoded picture in this place of a part: uint8 (H, W, 1 or 3). Raises RejectedError."""
    path = part.files[part.columns["file"][at]]
    if part.lmdb:
        with _environment(path).begin() as database:
            data = database.get(part.keys[at].encode("ascii", "replace")) or b""
        return decode(data, settings)
    columns = part.columns
    data = archives.read(path, columns["offset"][at], columns["length"][at], columns["size"][at], columns["kind"][at])
    if part.pixels is None:
        return decode(data, settings)
    height, width, channels = part.pixels.shape
    if part.pixels.planar:
        return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(channels, height, width).transpose(1, 2, 0))
    return np.frombuffer(data, np.uint8).reshape(height, width, channels)


def prepare_image(image: np.ndarray, settings: Settings) -> np.ndarray:
    """uint8 HWC of any size => uint8 (size, size, channels): crop, channels, fit.

    Raises RejectedError where the crop does not lie within the image.
    """
    height, width = image.shape[:2]
    try:
        image = geometry.crop(image, settings.crop)
    except geometry.OutsideImageError:
        raise RejectedError("outside_crop", width, height) from None
    image = geometry.to_channels(image, settings.channels)
    return geometry.fit(image, settings.size, settings.fit, settings.resample, settings.background)


def digest(image: np.ndarray) -> bytes:
    """16 bytes that stand for decoded pixels and their shape: XXH3 with 128 bits."""
    hashed = xxhash.xxh3_128(struct.pack("<3I", *image.shape))
    hashed.update(np.ascontiguousarray(image).data)
    return hashed.digest()


def split_of(pixels: bytes, test_share: float) -> str:
    """The split of a picture with this digest, where nobody has split: equal pictures always come to the same one."""
    return "test" if int.from_bytes(pixels[:8], "little") < test_share * 2**64 else "train"


class _Sums:
    """Adds images up in whole numbers: exact, so that no order of summing shows in the statistics."""

    def __init__(self) -> None:
        self._where: list[str] = []
        self._rows: list[tuple[np.ndarray, np.ndarray, float, float]] = []

    def add(self, where: str, image: np.ndarray) -> None:
        """Count an image in, under "split/label"."""
        low, high, _, _ = cv2.minMaxLoc(image.reshape(-1))
        self._where.append(where)
        self._rows.append((*cv2.meanStdDev(image), low, high))

    def total(self, values_per_channel: int) -> dict[str, list[int]]:
        """Per "split/label": images, min, max, each channel's sum, each channel's sum of squares."""
        if not self._rows:
            return {}
        means, deviations, lows, highs = zip(*self._rows, strict=True)
        mean, deviation = np.array(means)[..., 0], np.array(deviations)[..., 0]
        # Exact: at most 2**20 values below 2**16, so the products' error in float64 is far below a half.
        sums = np.rint(mean * values_per_channel).astype(np.int64)
        squares = np.rint((deviation**2 + mean**2) * values_per_channel).astype(np.int64)
        where = np.array(self._where)
        return {
            str(name): [
                int(chosen.sum()),
                int(np.array(lows)[chosen].min()),
                int(np.array(highs)[chosen].max()),
                *map(int, sums[chosen].sum(axis=0)),
                *map(int, squares[chosen].sum(axis=0)),
            ]
            for name, chosen in ((name, where == name) for name in np.unique(where))
        }


def build_shard(part: Part, settings: Settings, store: Store) -> ShardResult:
    """Make one shard (two where pixels decide the split) in the store, or take it from there where it is whole.

    Pure and idempotent: the same arguments give the same bytes, whoever else is at work and wherever.
    """
    if (known := finished(part, store)) is not None:
        return known
    digests, splits, index = [], [], []
    rejected: list[tuple[str, str, int, int]] = []
    sums = _Sums()
    sizes: dict[str, int] = {}
    preview: list[np.ndarray] = []
    writers: dict[str, tfrecord.Writer] = {}
    records: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=store.scratch()) as scratch:
        with ExitStack() as stack:
            for at, key in enumerate(part.keys):
                try:
                    picture = _picture(part, at, settings)
                    image = prepare_image(picture, settings)
                except RejectedError as error:
                    rejected.append((key, error.reason, error.width, error.height))
                    continue
                pixels = digest(picture)
                split = part.split or split_of(pixels, settings.test_share)
                label = part.columns["label"][at]
                if split not in writers:
                    writers[split] = stack.enter_context(tfrecord.Writer(Path(scratch) / split))
                stored = image if settings.dtype == "uint8" else tfrecord.normalise(image)
                writers[split].write(tfrecord.encode(stored, None if label == NO_LABEL else label, key))
                records[split] = records.get(split, 0) + 1
                sums.add(f"{split}/{label}", image)
                digests.append(pixels)
                splits.append(split)
                index.append(part.index[at])
                side = str(1 << (min(picture.shape[:2]).bit_length() - 1))
                sizes[side] = sizes.get(side, 0) + 1
                if len(preview) < part.preview:
                    preview.append(image)
        shards = {}
        for split, writer in sorted(writers.items()):
            base = part.name if part.split else f"{split}-{part.name}"
            shards[split] = Shard(f"{base}.tfrecord", writer.sha256, records[split])
            store.put(Path(scratch) / split, shards[split].name)
        size, channels = settings.size, settings.channels
        result = ShardResult(
            shards,
            np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16),
            np.array(splits, "<U5"),
            np.array(index, np.int64),
            sums.total(size * size),
            rejected,
            sizes,
            np.array(preview, np.uint8).reshape(-1, size, size, channels),
        )
        note = Path(scratch) / "result"
        note.write_bytes(result.to_bytes())
        store.put(note, f"{part.name}.npz")  # last: it says that the shard is whole
    return result


def finished(part: Part, store: Store) -> ShardResult | None:
    """What an earlier run made of a part, if all of it is there with the bytes that it had."""
    with tempfile.TemporaryDirectory(dir=store.scratch()) as scratch:
        note = store.get(f"{part.name}.npz", Path(scratch))
        if note is None:
            return None
        try:
            result = ShardResult.from_bytes(note.read_bytes())
        except Exception:  # torn: it is made again
            return None
        for shard in result.shards.values():
            path = store.get(shard.name, Path(scratch))
            if path is None or sha256(path) != shard.sha256:
                return None
    return result
