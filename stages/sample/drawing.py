"""Images for the pictures: interpolations, the timeline, sums of z and the nearest training images."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from stages import copies, records
from stages.classes import Classes
from stages.errors import StageError
from stages.latent import Sampler, latent, near, rescaled, slerp
from stages.manifest import Manifest
from stages.networks.judge import Judge
from stages.params import nearest as nearest_name
from stages.pixels import batch_size_for
from stages.png import grid, max_rows

_VARIATIONS = 4
_BAND_GAP = 12  # pixels


def interpolations(sampler: Sampler, seeds: Sequence[int], steps: int) -> np.ndarray:
    """Rows of `steps` images from each seed to the next: float32 NHWC in [-1,1].

    A conditional generator makes the first row of its first class, and so on; after the last class, again the first.
    """
    ends, weights = latent(seeds, sampler.dimensions), None
    if sampler.classes:
        weights = sampler.classes.vectors(np.arange(len(ends) - 1).repeat(steps) % len(sampler.classes.names))
    return sampler(np.concatenate([slerp(a, b, steps) for a, b in itertools.pairwise(ends)]), weights)


def class_blends(sampler: Sampler, classes: Classes, seed: int, steps: int) -> np.ndarray:
    """Rows of `steps` images of one z from each class to the next, and from the last to the first: float32 NHWC."""
    vectors = classes.vectors(range(len(classes.names)))
    to = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    weights = np.concatenate([(1 - to) * a + to * b for a, b in zip(vectors, np.roll(vectors, -1, 0), strict=True)])
    return sampler(latent([seed], sampler.dimensions).repeat(len(weights), 0), weights)


def timeline(history: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Samples (scores, N, H, W, C) => a uint8 picture (H, W, C), a row per score, and the indices of the scores shown.

    If all scores would make a picture too large to open, it shows the last, the first, and as many between as fit.
    """
    scores, columns, *shape = history.shape
    height, width, channels = shape
    rows = min(scores, max_rows((height, width, channels), columns))
    shown = sorted({round(scores - 1 - i * (scores - 1) / max(rows - 1, 1)) for i in range(rows)})
    return grid(history[shown].reshape(-1, *shape), columns), shown


Row = tuple[str, str, str]


def arithmetic(
    sampler: Sampler, judge: Judge, classes: Sequence[str], rows: Sequence[Row]
) -> tuple[np.ndarray, list[Row]]:
    """A row of 8 images for each (A, B, C): the mean z of A, of B, of C, A − B + C, and four close to that.

    A class's mean is the mean of the z whose samples the judge assigns to it. Returns the images, float32 NHWC in
    [-1,1], and the rows that were drawn: a row with a class that has no sample is skipped. Raises StageError for a
    class that the data does not have.
    """
    unknown = next((name for row in rows for name in row if name not in classes), None)
    if unknown is not None:
        guess = nearest_name(unknown, list(classes))
        names = ", ".join(classes)
        raise StageError(f"sample.arithmetic: no class {unknown!r}; did you mean {guess!r}? The data has {names}")
    means = dict(zip(classes, sampler.class_means(lambda images: judge(images).classes, len(classes)), strict=True))
    generator = np.random.default_rng(0)
    pictures, drawn = [np.empty((0, *sampler.shape), np.float32)], []
    for row in rows:
        a, b, c = (means[name] for name in row)
        total = rescaled((a - b + c)[None])
        if not np.isfinite(total).all():
            continue
        around = near(total[0], _VARIATIONS, generator)
        pictures.append(sampler(np.concatenate([rescaled(np.stack([a, b, c])), total, around])))
        drawn.append(row)
    return np.concatenate(pictures), drawn


def nearest(folder: Path, data: Manifest, images: np.ndarray, k: int) -> np.ndarray:
    """The `k` training images nearest to each of NHWC, nearest first: float32 (N, k, H, W, C).

    Each is mirrored, shifted and zoomed as it looks most like the image (stages/copies.py).
    """

    def batches() -> Iterator[np.ndarray]:
        for batch, _ in records.batches(folder, data, "train", batch_size_for(data.shape)):
            yield batch.numpy()

    found = copies.find(copies.views(images), batches, data.splits["train"].records)
    nearest_images = records.images_at(folder, data, "train", found.indices[:, :k].ravel().tolist())
    alignments = found.alignments[:, :k].ravel()
    shown = [copies.aligned(*pair) for pair in zip(nearest_images, alignments, strict=True)]
    return np.stack(shown).reshape(len(images), -1, *data.shape)


def bands(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Images (N, 1 + k, H, W, C), a column for each of N => one uint8 picture (H, W, C).

    After `columns` images the next band starts below, with a wider gap between the bands.
    """
    grids = []
    for i in range(0, len(pictures), columns):
        band = pictures[i : i + columns]
        grids.append(grid(band.swapaxes(0, 1).reshape(-1, *band.shape[2:]), len(band)))
    height, width, channels = grids[0].shape
    whole = np.full((len(grids) * (height + _BAND_GAP) - _BAND_GAP, width, channels), 255, np.uint8)
    for index, picture in enumerate(grids):
        whole[index * (height + _BAND_GAP) :][:height, : picture.shape[1]] = picture
    return whole
