"""Build shards: one pure function per shard, which any process on any machine can run."""

import math
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL
import simplejpeg
import xxhash

from stages import tfrecord
from stages.artifacts import sha256
from stages.manifest import Shard
from stages.pixels import normalise
from stages.prepare import geometry
from stages.prepare.decode import RejectedError, decode
from stages.prepare.plan import Part
from stages.prepare.results import ShardResult
from stages.prepare.settings import Settings
from stages.prepare.sources.index import NO_LABEL
from stages.prepare.store import Store

cv2.setNumThreads(1)  # one image is too small to share; shards are built side by side
# Images to prepare before any is written, and their total bytes. Decoding and writing in turn would push each other's
# code and data out of the processor's caches (measured: 5 % of the total time).
_BATCH, _BATCH_BYTES = 32, 1 << 19


def tool_versions() -> dict[str, str]:
    """The versions of the libraries that decode and resample. Other versions may give other bytes."""
    return {"opencv": cv2.__version__, "pillow": PIL.__version__, "simplejpeg": simplejpeg.__version__}


def read_picture(part: Part, at: int, settings: Settings, depths: list[int] | None = None) -> np.ndarray:
    """The decoded picture at this position of a part: uint8 (H, W, 1, 3 or 4). `depths` is that of `decode`.

    Raises RejectedError.
    """
    data = part.read(part.files[part.columns["file"][at]], part.member(at))
    return decode(data, settings, depths) if part.pixels is None else part.pixels.image(data)


def prepare_image(image: np.ndarray, settings: Settings) -> np.ndarray:
    """uint8 HWC of any size => uint8 of the settings' shape: crop, channels, fit.

    Raises RejectedError if the crop's box is not inside the image.
    """
    height, width = image.shape[:2]
    try:
        image = geometry.crop(image, settings.crop)
    except geometry.OutsideImageError:
        raise RejectedError("outside_crop", width, height) from None
    image = geometry.to_channels(image, settings.channels)
    return geometry.fit(image, settings.size, settings.fit, settings.resample, settings.background)


def digest(image: np.ndarray) -> bytes:
    """A hash of decoded pixels and their shape: 16 bytes of XXH3-128."""
    hashed = xxhash.xxh3_128(struct.pack("<3I", *image.shape))
    hashed.update(np.ascontiguousarray(image).data)
    return hashed.digest()


def split_of(pixels: bytes, test_share: float) -> str:
    """The split of a picture with this digest, if there is no official one. Equal pictures get the same split."""
    return "test" if int.from_bytes(pixels[:8], "little") < test_share * 2**64 else "train"


class _Sums:
    """Integer sums of pixel values. They are exact, so the order of the images does not matter."""

    def __init__(self) -> None:
        self._total: dict[str, list[int]] = {}

    def add(self, group: str, images: Sequence[np.ndarray]) -> None:
        """Add images to a group, "split/label"."""
        stack = np.concatenate(images)
        low, high, _, _ = cv2.minMaxLoc(stack.reshape(-1))
        mean, deviation = cv2.meanStdDev(stack)
        # Exact: there are at most 2**20 values below 2**16, so the error of a product in float64 is far below 0.5.
        values = stack.shape[0] * stack.shape[1]
        sums = [round(value) for value in (mean * values)[:, 0].tolist()]
        squares = [round(value) for value in ((deviation**2 + mean**2) * values)[:, 0].tolist()]
        count, minimum, maximum, *before = self._total.get(group, [0, 255, 0, *[0] * (2 * len(sums))])
        after = [a + b for a, b in zip(before, sums + squares, strict=True)]
        self._total[group] = [count + len(images), min(minimum, int(low)), max(maximum, int(high)), *after]

    def total(self) -> dict[str, list[int]]:
        """Per "split/label": images, min, max, each channel's sum, each channel's sum of squares."""
        return dict(sorted(self._total.items()))


class _Prepared(NamedTuple):
    """A picture that was kept: its position in the part, its image, its digest and its own shorter side."""

    at: int
    image: np.ndarray
    pixels: bytes
    side: int


class _Shard:
    """The records of one part, written to a file for each split in `folder`, and the statistics of its result."""

    def __init__(self, part: Part, settings: Settings, folder: Path, files: ExitStack) -> None:
        self._part, self._settings, self._folder, self._files = part, settings, folder, files
        self._writers: dict[str, tfrecord.Writer] = {}
        self._records: Counter[str] = Counter()
        self._digests: list[bytes] = []
        self._splits: list[str] = []
        self._index: list[int] = []
        self._sums = _Sums()
        self._rejected: list[tuple[str, str, int, int, str]] = []
        self._depths: list[int] = []
        self._sizes: Counter[int] = Counter()
        self._preview: list[np.ndarray] = []

    def add(self, positions: Sequence[int]) -> None:
        """Prepare the pictures at these positions of the part, then write their records."""
        groups: dict[str, list[np.ndarray]] = {}
        for picture in [picture for at in positions if (picture := self._prepare(at)) is not None]:
            split = self._part.split or split_of(picture.pixels, self._settings.test_share)
            label = self._part.columns["label"][picture.at]
            self._write(split, label, picture)
            groups.setdefault(f"{split}/{label}", []).append(picture.image)
            self._digests.append(picture.pixels)
            self._splits.append(split)
            self._index.append(self._part.index[picture.at])
            self._sizes[1 << (picture.side.bit_length() - 1)] += 1
            if len(self._preview) < self._part.preview:
                self._preview.append(picture.image)
        for group, images in groups.items():
            self._sums.add(group, images)

    def _prepare(self, at: int) -> _Prepared | None:
        """The picture at this position; None if it is rejected."""
        try:
            picture = read_picture(self._part, at, self._settings, self._depths)
            image = prepare_image(picture, self._settings)
        except RejectedError as error:
            self._rejected.append((self._part.keys[at], error.reason, error.width, error.height, error.detail))
            return None
        return _Prepared(at, image, digest(picture), min(picture.shape[:2]))

    def _write(self, split: str, label: int, picture: _Prepared) -> None:
        """Write a picture's record to its split's file."""
        if split not in self._writers:
            self._writers[split] = self._files.enter_context(tfrecord.Writer(self._folder / split))
        stored = picture.image if self._settings.dtype == "uint8" else normalise(picture.image)
        key = self._part.keys[picture.at]
        self._writers[split].write(tfrecord.encode(stored, None if label == NO_LABEL else label, key))
        self._records[split] += 1

    def result(self) -> ShardResult:
        """The statistics, once the files are closed."""
        shards = {}
        for split, writer in sorted(self._writers.items()):
            name = self._part.name if self._part.split else f"{split}-{self._part.name}"
            shards[split] = Shard(f"{name}.tfrecord", writer.sha256, self._records[split])
        return ShardResult(
            shards,
            np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, 16),
            np.array(self._splits, "<U5"),
            np.array(self._index, np.int64),
            self._sums.total(),
            self._rejected,
            {str(side): count for side, count in self._sizes.items()},
            {str(bits): count for bits, count in Counter(self._depths).items()},
            np.array(self._preview, np.uint8).reshape(-1, *self._settings.shape),
        )


def _batches(count: int, settings: Settings) -> Iterator[range]:
    """The positions of `count` pictures, a batch at a time."""
    batch = max(1, min(_BATCH, _BATCH_BYTES // math.prod(settings.shape)))
    return (range(start, min(start + batch, count)) for start in range(0, count, batch))


def build_shard(part: Part, settings: Settings, store: Store) -> ShardResult:
    """Build one shard (two if the pixels decide the split) in the store, unless the store has it already.

    Pure and idempotent: the same arguments give the same bytes, in any process on any machine.
    """
    if (result := finished_result(part, store)) is not None:
        return result
    with tempfile.TemporaryDirectory(dir=store.scratch()) as scratch:
        folder = Path(scratch)
        with ExitStack() as files:
            shard = _Shard(part, settings, folder, files)
            for positions in _batches(len(part.keys), settings):
                shard.add(positions)
        result = shard.result()
        for split, file in result.shards.items():
            store.put(folder / split, file.name)
        (folder / "result").write_bytes(result.to_bytes())
        store.put(folder / "result", f"{part.name}.npz")  # last: it marks the shard as complete
    return result


def finished_result(part: Part, store: Store) -> ShardResult | None:
    """The result of an earlier run for a part, if the store has all of its files with the right bytes."""
    with tempfile.TemporaryDirectory(dir=store.scratch()) as scratch:
        file = store.get(f"{part.name}.npz", Path(scratch))
        if file is None:
            return None
        try:
            result = ShardResult.from_bytes(file.read_bytes())
        except Exception:  # truncated: the shard is built again
            return None
        for shard in result.shards.values():
            path = store.get(shard.name, Path(scratch))
            if path is None or sha256(path) != shard.sha256:
                return None
    return result
