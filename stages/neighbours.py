"""Search for the nearest images, by Euclidean distance between thumbnails: no network decides what is similar."""

import numpy as np

SIDE = 16
"""The largest height and width of a thumbnail. At this size noise and soft edges do not hide a copy."""


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Images float32 NHWC => the means of the blocks of `grid`, float32 (N, rows · columns · C)."""
    count, height, width, channels = images.shape
    rows, columns = grid(height, width)
    blocks = images.reshape(count, rows, height // rows, columns, width // columns, channels)
    return blocks.mean((2, 4), dtype=np.float32).reshape(count, rows * columns * channels)


def grid(height: int, width: int) -> tuple[int, int]:
    """Height and width of a thumbnail: the largest divisors of the image's up to 16. 28 × 64 gives 14 × 16."""
    rows, columns = (max(n for n in range(1, SIDE + 1) if side % n == 0) for side in (height, width))
    return rows, columns


class Nearest:
    """For each of the queries (N, d), the `k` nearest of all points added so far.

    `indices` (N, k) number the points in the order they were added, nearest first; -1 if there are fewer than k points.
    Uses memory for N × (k + the points of one batch) distances.
    """

    def __init__(self, queries: np.ndarray, k: int) -> None:
        self._queries, self._lengths = queries, (queries**2).sum(1)[:, None]
        self._added = 0
        self._squares = np.full((len(queries), k), np.inf, np.float32)
        self.indices = np.full((len(queries), k), -1, np.int64)

    @property
    def distances(self) -> np.ndarray:
        """Euclidean distances to `indices`, ascending, float32 (N, k); inf if there are fewer than k points."""
        return np.sqrt(np.maximum(self._squares, 0))

    def add(self, points: np.ndarray) -> None:
        """Include a batch of points in the search: float32 (M, d)."""
        k = self._squares.shape[1]
        squares, indices = self._nearer_than_before(points)
        self._added += len(points)
        squares = np.concatenate([self._squares, squares], axis=1)
        indices = np.concatenate([self.indices, indices], axis=1)
        order = squares.argsort(axis=1, kind="stable")[:, :k]
        self._squares = np.take_along_axis(squares, order, axis=1)
        self.indices = np.take_along_axis(indices, order, axis=1)

    def _nearer_than_before(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The points nearer to a query than its k-th so far: squared distances and indices, rows filled up with inf.

        After a few batches there are only a few, and sorting only them is faster than sorting the whole batch.
        """
        squares = self._queries @ (-2 * points.T)
        squares += self._lengths
        squares += (points**2).sum(1)
        rows, columns = np.divmod(np.flatnonzero(squares < self._squares[:, -1:]), len(points))
        counts = np.bincount(rows, minlength=len(squares))
        places = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
        nearer = np.full((len(squares), counts.max(initial=0)), np.inf, np.float32)
        indices = np.full(nearer.shape, -1, np.int64)
        nearer[rows, places], indices[rows, places] = squares[rows, columns], columns + self._added
        return nearer, indices
