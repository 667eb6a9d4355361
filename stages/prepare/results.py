"""The result of building one shard, which the store keeps in a file next to the finished shards."""

import io
import json
from dataclasses import asdict, dataclass

import numpy as np

from stages.manifest import Shard


@dataclass(frozen=True)
class ShardResult:
    """The statistics of one shard of a part.

    `shards`: the files, by split. `digests`: uint8 (N, 16), the hash of each kept picture's decoded pixels, with its
    `splits` (N,) as text and its `index` (N,) in the source. `sums`: per "split/label" the number of images, min, max,
    and per channel the sum and the sum of squares of the bytes. `rejected`: (key, reason, width, height, detail)
    of each rejected picture. `sizes`: the number of pictures by the power of two at or below their shorter side.
    `depths`: the number of pictures with 16-bit values, by the bits of their largest value. `preview`: the first
    pictures, uint8 (≤64, H, W, C).
    """

    shards: dict[str, Shard]
    digests: np.ndarray
    splits: np.ndarray
    index: np.ndarray
    sums: dict[str, list[int]]
    rejected: list[tuple[str, str, int, int, str]]
    sizes: dict[str, int]
    depths: dict[str, int]
    preview: np.ndarray

    @property
    def found(self) -> int:
        """The number of pictures, kept and rejected."""
        return len(self.digests) + len(self.rejected)

    def to_bytes(self) -> bytes:
        """The result as an .npz file without pickles. Equal results have equal bytes."""
        facts = {
            "shards": {split: asdict(shard) for split, shard in self.shards.items()},
            "sums": self.sums,
            "rejected": self.rejected,
            "sizes": self.sizes,
            "depths": self.depths,
        }
        out = io.BytesIO()
        arrays = {"digests": self.digests, "splits": self.splits, "index": self.index, "preview": self.preview}
        np.savez(out, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        return out.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> "ShardResult":
        """The result that `to_bytes` wrote. Raises ValueError or KeyError if the data is truncated."""
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
                facts["depths"],
                arrays["preview"],
            )
