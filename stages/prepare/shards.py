"""Make shards: a plan that depends on nothing but counts and the seed, and one pure function per shard."""

import functools
import io
import json
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import PIL
import simplejpeg
import xxhash

from stages import tfrecord
from stages.artifacts import sha256
from stages.manifest import Shard
from stages.pixels import normalise
from stages.prepare import archives, geometry
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings
from stages.prepare.sources import NO_LABEL, Pixels, Source
from stages.prepare.store import Store

cv2.setNumThreads(1)  # one image is too small to share; shards are made side by side
PREVIEW = 64  # images of the first shard that are kept for the contact sheet
# Images that are made before any is written, and their bytes: decoding and writing would else push each other's code
# and data out of the processor's caches (measured: 5 % of the whole).
_AT_ONCE, _AT_ONCE_BYTES = 32, 1 << 19


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


def parts(source: Source, settings: Settings) -> Iterator[Part]:
    """The work on a source, shard by shard: split by split where there are official splits, else all in one."""
    index = source.index
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
            yield Part(name, split, source.files, source.pixels, source.lmdb, chosen, columns, keys, preview)


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
        self._total: dict[str, list[int]] = {}

    def add(self, where: str, images: Sequence[np.ndarray]) -> None:
        """Count images in, under "split/label"."""
        stack = np.concatenate(images)
        low, high, _, _ = cv2.minMaxLoc(stack.reshape(-1))
        mean, deviation = cv2.meanStdDev(stack)
        # Exact: at most 2**20 values below 2**16, so the products' error in float64 is far below a half.
        values = stack.shape[0] * stack.shape[1]
        sums = [round(value) for value in (mean * values)[:, 0].tolist()]
        squares = [round(value) for value in ((deviation**2 + mean**2) * values)[:, 0].tolist()]
        count, least, most, *before = self._total.get(where, [0, 255, 0, *[0] * (2 * len(sums))])
        after = [a + b for a, b in zip(before, sums + squares, strict=True)]
        self._total[where] = [count + len(images), min(least, int(low)), max(most, int(high)), *after]

    def total(self) -> dict[str, list[int]]:
        """Per "split/label": images, min, max, each channel's sum, each channel's sum of squares."""
        return dict(sorted(self._total.items()))


def _batched(count: int, at_once: int) -> Iterator[range]:
    """The numbers below `count`, so many at a time."""
    return (range(start, min(start + at_once, count)) for start in range(0, count, at_once))


class _Made(NamedTuple):
    """A picture that was kept: its place in the part, what became of it, its digest and its shorter side."""

    at: int
    image: np.ndarray
    pixels: bytes
    side: int


def _make(
    part: Part, places: Sequence[int], settings: Settings, rejected: list[tuple[str, str, int, int]]
) -> list[_Made]:
    """The images of these places of a part; what gives none is added to `rejected`."""
    made = []
    for at in places:
        try:
            picture = _picture(part, at, settings)
            image = prepare_image(picture, settings)
        except RejectedError as error:
            rejected.append((part.keys[at], error.reason, error.width, error.height))
            continue
        made.append(_Made(at, image, digest(picture), min(picture.shape[:2])))
    return made


def build_shard(part: Part, settings: Settings, store: Store) -> ShardResult:
    """Make one shard (two where pixels decide the split) in the store, or take it from there where it is whole.

    Pure and idempotent: the same arguments give the same bytes, whoever else is at work and wherever.
    """
    if (known := finished(part, store)) is not None:
        return known
    digests, splits, index = [], [], []
    rejected: list[tuple[str, str, int, int]] = []
    sums = _Sums()
    sizes: Counter[int] = Counter()
    preview: list[np.ndarray] = []
    writers: dict[str, tfrecord.Writer] = {}
    records: dict[str, int] = {}
    at_once = max(1, min(_AT_ONCE, _AT_ONCE_BYTES // (settings.size**2 * settings.channels)))
    with tempfile.TemporaryDirectory(dir=store.scratch()) as scratch:
        with ExitStack() as stack:
            for places in _batched(len(part.keys), at_once):
                counted: dict[str, list[np.ndarray]] = {}
                for at, image, pixels, side in _make(part, places, settings, rejected):
                    split = part.split or split_of(pixels, settings.test_share)
                    label = part.columns["label"][at]
                    if split not in writers:
                        writers[split] = stack.enter_context(tfrecord.Writer(Path(scratch) / split))
                    stored = image if settings.dtype == "uint8" else normalise(image)
                    record = tfrecord.encode(stored, None if label == NO_LABEL else label, part.keys[at])
                    writers[split].write(record)
                    records[split] = records.get(split, 0) + 1
                    counted.setdefault(f"{split}/{label}", []).append(image)
                    digests.append(pixels)
                    splits.append(split)
                    index.append(part.index[at])
                    sizes[1 << (side.bit_length() - 1)] += 1
                    if len(preview) < part.preview:
                        preview.append(image)
                for where, images in counted.items():
                    sums.add(where, images)
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
            sums.total(),
            rejected,
            {str(side): count for side, count in sizes.items()},
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
