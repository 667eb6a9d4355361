"""Nearest images: Euclidean in small copies of the pictures, so that no network decides what is alike."""

import numpy as np

SIDE = 16
"""Pixels a side at which images are compared: a copy is one there too, and grain or a soft edge does not hide it."""


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Images float32 NHWC, square with a side that 16 divides => means of their blocks, float32 (N, 16 · 16 · C)."""
    count, side, _, channels = images.shape
    blocks = images.reshape(count, SIDE, side // SIDE, SIDE, side // SIDE, channels)
    return blocks.mean((2, 4), dtype=np.float32).reshape(count, SIDE * SIDE * channels)


class Nearest:
    """The `k` nearest of all points that come batch by batch, to each of the queries (N, d).

    `indices` (N, k) are the points' numbers in the order in which they came, the nearest first, -1 where fewer came.
    Holds N × (k + a batch) distances.
    """

    def __init__(self, queries: np.ndarray, k: int) -> None:
        self._queries, self._lengths = queries, (queries**2).sum(1)[:, None]
        self._seen = 0
        self._squares = np.full((len(queries), k), np.inf, np.float32)
        self.indices = np.full((len(queries), k), -1, np.int64)

    @property
    def distances(self) -> np.ndarray:
        """Euclidean distances of `indices`, ascending, float32 (N, k); inf where fewer points came."""
        return np.sqrt(np.maximum(self._squares, 0))

    def add(self, points: np.ndarray) -> None:
        """Take more points: float32 (M, d)."""
        k = self._squares.shape[1]
        found = self._queries @ (-2 * points.T)
        found += self._lengths
        found += (points**2).sum(1)
        # Few of a batch are nearer than what is known, once some batches have been seen: a table of those alone.
        rows, columns = np.divmod(np.flatnonzero(found < self._squares[:, -1:]), len(points))
        counts = np.bincount(rows, minlength=len(found))
        places = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
        squares = np.full((len(found), counts.max(initial=0)), np.inf, np.float32)
        indices = np.full(squares.shape, -1, np.int64)
        squares[rows, places], indices[rows, places] = found[rows, columns], columns + self._seen
        self._seen += len(points)
        squares = np.concatenate([self._squares, squares], axis=1)
        indices = np.concatenate([self.indices, indices], axis=1)
        order = squares.argsort(axis=1, kind="stable")[:, :k]
        self._squares = np.take_along_axis(squares, order, axis=1)
        self.indices = np.take_along_axis(indices, order, axis=1)
