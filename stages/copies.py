"""Search the training images for the sources of copies.

A copy can be mirrored, shifted, zoomed, noisy, darker, or a blend of two training images. Three measures look for them.
Each is near 0 for a copy and higher for a new image:

- aligned: the distance to the nearest training image over the mean distance to the next 50 (the ratio of Carlini et
  al. 2023, arXiv:2301.13188, section 4.1). The distance of two images is the smallest after mirroring, shifting and
  zooming. Mirror images always count, because a mirrored copy is a copy even if training did not mirror images.
- whitened: the same ratio without alignment, in principal components of equal variance (the Mahalanobis distance). It
  finds copies whose brightness or contrast differs.
- blended: the distance to the nearest blend of two training images over that to the nearest single one. The two are
  among those nearest in the whitened components, because unrelated images are almost orthogonal there.

An image's score is the smallest of the three. Distances are Euclidean, between thumbnails: no network decides what is
similar.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from stages import neighbours

NEIGHBOURS = 50
"""The training images after the nearest one, whose mean distance is the scale of an image's distances."""
ZOOM = 1.1
CANDIDATES = 64
"""This many training images per image, nearest at the resolution of `_COARSE`, are compared at full detail."""
_COARSE = 8  # pixels a side
_BLENDED = 48  # training images that are blended in pairs, for each image
_LIGHTEST = 0.25  # the smallest weight of an image in a blend
_COMPONENTS = 128  # principal components
_FITTED = 4096  # training images whose principal components are used
_IMAGES_PER_COMPONENT = 10  # fewer would fit the components to single images

_AXES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
_SHIFTS = (*_AXES, (-1, -1), (-1, 1), (1, -1), (1, 1))  # down and to the right, in steps
_ZOOMS = (1.0, ZOOM, 1 / ZOOM)

Batches = Callable[[], Iterable[np.ndarray]]
"""Starts a pass over the training images in batches, float32 NHWC."""


@dataclass(frozen=True)
class Views:
    """Thumbnails of N images, mirrored, shifted and zoomed.

    `coarse` (14, N, d) has up to 8 pixels a side, `fine` (18, N, D) up to 16; `fine` is not zoomed. The first of each
    is the image itself.
    """

    coarse: np.ndarray
    fine: np.ndarray

    @property
    def count(self) -> int:
        """The number of images, N."""
        return int(self.fine.shape[1])

    @property
    def thumbnails(self) -> np.ndarray:
        """The images themselves, float32 (N, D)."""
        return np.asarray(self.fine[0])


@dataclass(frozen=True)
class Found:
    """For each of N images: its score, and its nearest training images.

    `scores` float64 (N,). `distances` (N, k) to the nearest training images after alignment, ascending; `indices`
    (N, k), their places among the training images; `alignments` (N, k), for `aligned`. k is 64, or the number of
    training images if that is lower.
    """

    scores: np.ndarray
    distances: np.ndarray
    indices: np.ndarray
    alignments: np.ndarray

    def of(self, images: slice) -> "Found":
        """The same for a part of the images."""
        return Found(self.scores[images], self.distances[images], self.indices[images], self.alignments[images])


def mirrored(images: np.ndarray) -> np.ndarray:
    """Images NHWC, left and right exchanged."""
    return images[:, :, ::-1]


def shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Images NHWC, moved by a number of steps; the edge pixels fill the gap.

    A step is a 32nd of the side, and at least one pixel.
    """
    for axis, steps in ((1, down), (2, right)):
        size = images.shape[axis]
        places = np.arange(size) - steps * max(1, round(size / 32))
        images = images.take(places.clip(0, size - 1), axis)
    return images


def zoomed(images: np.ndarray, factor: float) -> np.ndarray:
    """Images float32 NHWC, magnified about their centre, with bilinear interpolation; the edge pixels fill a gap."""
    for axis in (1, 2):
        size = images.shape[axis]
        places = ((np.arange(size) - (size - 1) / 2) / factor + (size - 1) / 2).clip(0, size - 1)
        lower = np.minimum(places.astype(int), size - 2)
        weights = (places - lower).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(images.ndim)])
        images = images.take(lower, axis) * (1 - weights) + images.take(lower + 1, axis) * weights
    return images


def views(images: np.ndarray) -> Views:
    """The views of images float32 NHWC."""
    flipped = (images, mirrored(images))
    return Views(
        np.stack(
            [
                neighbours.thumbnails(view, _COARSE)
                for flip in flipped
                for view in (*(shifted(flip, *shift) for shift in _AXES), zoomed(flip, ZOOM), zoomed(flip, 1 / ZOOM))
            ]
        ),
        np.stack([neighbours.thumbnails(shifted(flip, *shift)) for flip in flipped for shift in _SHIFTS]),
    )


def joined(parts: Iterable[Views]) -> Views:
    """The views of all images, in order."""
    coarse, fine = zip(*((part.coarse, part.fine) for part in parts), strict=True)
    return Views(np.concatenate(coarse, 1), np.concatenate(fine, 1))


def aligned(image: np.ndarray, alignment: int) -> np.ndarray:
    """A training image (H, W, C) as it looks in the copy, by the alignment that `find` found."""
    view, zoom = divmod(alignment, len(_ZOOMS))
    flip, shift = divmod(view, len(_SHIFTS))
    down, right = _SHIFTS[shift]
    moved = shifted(zoomed(image[None], _ZOOMS[zoom]), -down, -right)  # the views moved the copy the other way
    return np.asarray((mirrored(moved) if flip else moved)[0])


def find(images: Views, batches: Batches, total: int, own: np.ndarray | None = None) -> Found:
    """Search `total` training images, in two passes.

    `own` (N,) has the places of those images that are training images themselves, and -1 for the others. Such an image
    is compared with the other training images.
    """
    whiten = _Whitening(_first(batches, _FITTED))
    others = total if own is None else total - int(own.max(initial=-1) >= 0)
    near = neighbours.Nearest(images.coarse, min(CANDIDATES, others), own)
    alike = neighbours.Nearest(whiten(images.thumbnails)[None], min(1 + NEIGHBOURS, others), own)
    for batch in batches():
        near.add(neighbours.thumbnails(batch, _COARSE))
        alike.add(whiten(neighbours.thumbnails(batch)))
    alignment = _Alignment(images.fine, near.indices)
    parts = _Gathered(alike.indices[:, :_BLENDED], images.fine.shape[2])
    first = 0
    for batch in batches():
        thumbnails = neighbours.thumbnails(batch)
        alignment.add(batch, thumbnails, first)
        parts.add(thumbnails, first)
        first += len(batch)
    distances, indices, alignments = alignment.nearest()
    scores = np.minimum(ratios(distances), ratios(alike.distances))
    return Found(np.minimum(scores, _blended(images.thumbnails, parts.thumbnails)), distances, indices, alignments)


def ratios(distances: np.ndarray) -> np.ndarray:
    """Ascending distances (N, k) => (N,): the nearest over the mean of the next 50; 1 where all are 0 or k is 1."""
    if distances.shape[1] == 1:
        return np.ones(len(distances))
    return _over(distances[:, 0], distances[:, 1 : 1 + NEIGHBOURS].mean(1, dtype=np.float64))


def _over(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.ones(len(whole)), where=whole > 0)


def _first(batches: Batches, count: int) -> np.ndarray:
    """The thumbnails of at least the first `count` training images."""
    kept: list[np.ndarray] = []
    for batch in batches():
        kept.append(neighbours.thumbnails(batch))
        if sum(map(len, kept)) >= count:
            break
    return np.concatenate(kept)


class _Whitening:
    """The principal components of thumbnails (N, D), each scaled to a variance of 1.

    Computes on one thread, because several threads would sum in an order that differs between runs.
    """

    def __init__(self, thumbnails: np.ndarray) -> None:
        self._mean = thumbnails.mean(0)
        count = max(1, min(_COMPONENTS, len(thumbnails) // _IMAGES_PER_COMPONENT, thumbnails.shape[1]))
        with threadpool_limits(1):
            centred = (thumbnails - self._mean).astype(np.float64)
            variances, axes = np.linalg.eigh(centred.T @ centred / len(thumbnails))
        variances, axes = variances[::-1][:count], axes[:, ::-1][:, :count]
        smallest = max(1e-6 * variances[0], np.finfo(np.float32).tiny)  # the variance of constant pixels is 0
        self._axes = (axes / np.sqrt(np.maximum(variances, smallest))).astype(np.float32)

    def __call__(self, thumbnails: np.ndarray) -> np.ndarray:
        """Thumbnails (N, D) => their whitened components (N, k)."""
        return (thumbnails - self._mean) @ self._axes


class _Members:
    """The pairs (image, candidate) of indices (N, k), sorted by candidate: a batch finds its own quickly."""

    def __init__(self, indices: np.ndarray) -> None:
        self._order = indices.ravel().argsort(kind="stable")
        self._sorted = indices.ravel()[self._order]
        self._columns = indices.shape[1]

    def of(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows and columns of the candidates `first` to `first + count - 1`, and their places from `first`."""
        begin, end = self._sorted.searchsorted([first, first + count])
        return *np.divmod(self._order[begin:end], self._columns), self._sorted[begin:end] - first


class _Alignment:
    """The distances of images to their candidates (N, k), after mirroring, shifting and zooming."""

    def __init__(self, fine: np.ndarray, candidates: np.ndarray) -> None:
        self._views = np.ascontiguousarray(fine.swapaxes(0, 1))
        self._lengths = (self._views**2).sum(2)
        self._candidates, self._members = candidates, _Members(candidates)
        self._distances = np.zeros(candidates.shape)
        self._alignments = np.zeros(candidates.shape, np.int64)

    def add(self, batch: np.ndarray, thumbnails: np.ndarray, first: int) -> None:
        """Compare with a batch of training images, NHWC, and their thumbnails; the first has the place `first`."""
        rows, columns, places = self._members.of(first, len(batch))
        zooms = np.stack([thumbnails, *(neighbours.thumbnails(zoomed(batch, zoom)) for zoom in _ZOOMS[1:])], 1)
        images, sources = self._views[rows], zooms[places]  # (pairs, 18, D) and (pairs, 3, D)
        squares = -2 * (images @ sources.swapaxes(1, 2))
        squares += self._lengths[rows][..., None]
        squares += (sources**2).sum(2)[:, None]
        best = squares.reshape(len(rows), squares.shape[1] * squares.shape[2]).argmin(1)
        pairs, (view, zoom) = np.arange(len(rows)), np.divmod(best, len(_ZOOMS))
        difference = images[pairs, view].astype(np.float64) - sources[pairs, zoom]
        self._distances[rows, columns] = np.sqrt((difference**2).sum(1))
        self._alignments[rows, columns] = best

    def nearest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The distances, ascending, and the candidates and alignments in the same order."""
        order = self._distances.argsort(1, kind="stable")
        return tuple(  # type: ignore[return-value]
            np.take_along_axis(table, order, 1) for table in (self._distances, self._candidates, self._alignments)
        )


class _Gathered:
    """The thumbnails of training images with the places `indices` (N, k): float32 (N, k, D)."""

    def __init__(self, indices: np.ndarray, size: int) -> None:
        self._members = _Members(indices)
        self.thumbnails = np.zeros((*indices.shape, size), np.float32)

    def add(self, thumbnails: np.ndarray, first: int) -> None:
        """Take those of a batch of training images, of which the first has the place `first`."""
        rows, columns, places = self._members.of(first, len(thumbnails))
        self.thumbnails[rows, columns] = thumbnails[places]


def _blended(thumbnails: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Thumbnails (N, D) and possible parts of each (N, k, D) => the measure "blended", float64 (N,).

    A blend w·a + (1 − w)·b has the best weight w between 1/4 and 3/4.
    """
    if parts.shape[1] < 2:
        return np.ones(len(parts))
    one, other = np.triu_indices(parts.shape[1], 1)
    blends, singles = np.empty(len(parts)), np.empty(len(parts))
    for row, (thumbnail, sources) in enumerate(zip(thumbnails, parts, strict=True)):
        away = sources.astype(np.float64) - thumbnail
        products = away @ away.T
        squares = products.diagonal()
        a, b, between = squares[one], squares[other], products[one, other]
        weights = _over(b - between, a + b - 2 * between).clip(_LIGHTEST, 1 - _LIGHTEST)
        blends[row] = (weights**2 * a + (1 - weights) ** 2 * b + 2 * weights * (1 - weights) * between).min()
        singles[row] = squares.min()
    return _over(np.sqrt(np.maximum(blends, 0)), np.sqrt(singles))
