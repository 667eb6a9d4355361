"""Search for the nearest images, by Euclidean distance between thumbnails: no network decides what is similar."""

import numpy as np

SIDE = 16
"""The largest height and width of a thumbnail. At this size noise and soft edges do not hide a copy."""


def thumbnails(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Images float32 NHWC => the means of the blocks of `grid`, float32 (N, rows · columns · C)."""
    count, height, width, channels = images.shape
    rows, columns = grid(height, width, side)
    means = images.reshape(count, rows, height // rows, width, channels).mean(2, dtype=np.float32)
    step = width // columns
    # Adding whole columns is five times as fast as a mean along the short axis of a block.
    sums = sum((means[:, :, first::step] for first in range(1, step)), start=means[:, :, ::step])
    return (sums / np.float32(step)).reshape(count, rows * columns * channels)


def grid(height: int, width: int, side: int = SIDE) -> tuple[int, int]:
    """Height and width of a thumbnail: the largest divisors of the image's up to `side`. 28 × 64 gives 14 × 16."""
    rows, columns = (max(n for n in range(1, side + 1) if pixels % n == 0) for pixels in (height, width))
    return rows, columns


class Nearest:
    """For each of N queries, the `k` nearest of all points added so far.

    `queries` (V, N, d) holds V variants of each query, and the distance to a query is that to its nearest variant.
    `own` (N,) numbers the points that are the queries themselves, which do not count; None if none is.

    `indices` (N, k) number the points in the order they were added, nearest first; -1 if there are fewer than k points.
    Uses memory for N × (k + twice the points of one batch) distances.
    """

    def __init__(self, queries: np.ndarray, k: int, own: np.ndarray | None = None) -> None:
        lengths = (queries**2).sum(2)[..., None]
        # q·p with two more columns is |q − p|²: (q, |q|², 1) · (−2p, 1, |p|²).
        self._queries, self._own = np.concatenate([queries, lengths, np.ones_like(lengths)], axis=2), own
        self._added = 0
        count = queries.shape[1]
        self._squares = np.full((count, k), np.inf, np.float32)
        self.indices = np.full((count, k), -1, np.int64)

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
        squares = self._squared_distances(points)
        rows, columns = np.divmod(np.flatnonzero(squares < self._squares[:, -1:]), len(points))
        counts = np.bincount(rows, minlength=len(squares))
        places = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
        nearer = np.full((len(squares), counts.max(initial=0)), np.inf, np.float32)
        indices = np.full(nearer.shape, -1, np.int64)
        nearer[rows, places], indices[rows, places] = squares[rows, columns], columns + self._added
        return nearer, indices

    def _squared_distances(self, points: np.ndarray) -> np.ndarray:
        """The squared distances of the queries to points (M, d): float32 (N, M), infinite for a query itself."""
        columns = np.concatenate([-2 * points, np.ones((len(points), 1), np.float32), (points**2).sum(1)[:, None]], 1).T
        nearest = self._queries[0] @ columns
        for variant in self._queries[1:]:
            np.minimum(nearest, variant @ columns, out=nearest)
        if self._own is not None:
            own = np.flatnonzero((self._own >= self._added) & (self._own < self._added + len(points)))
            nearest[own, self._own[own] - self._added] = np.inf
        return nearest
