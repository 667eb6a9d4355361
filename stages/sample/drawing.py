"""What the pictures show: rows of z on their way to other z, sums of z, and the nearest training images."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages import neighbours, records
from stages.errors import StageError
from stages.images import batch_of, grid
from stages.latent import Sampler, class_means, latent, resized, slerp
from stages.manifest import Manifest
from stages.networks.judge import Judge
from stages.progress import Progress

# The z whose mean stands for a class: many, of seeds that no other stage draws from.
_MEANS_OF = range(2 << 40, (2 << 40) + 10_000)
_VARIATIONS = 4
# Radford et al. 2016 (arXiv:1511.06434, figure 7) show a sum with uniform noise of ± 0.25 around it.
_NOISE = 0.25
_BAND_GAP = 12  # pixels


def interpolations(sampler: Sampler, seeds: Sequence[int], steps: int) -> np.ndarray:
    """Rows of `steps` images from each seed to the next: float32 NHWC in [-1,1]."""
    ends = latent(seeds, sampler.dimensions)
    return sampler(np.concatenate([slerp(a, b, steps) for a, b in itertools.pairwise(ends)]))


Row = tuple[str, str, str]


def arithmetic(
    sampler: Sampler, judge: Judge, classes: Sequence[str], rows: Sequence[Row]
) -> tuple[np.ndarray, list[Row]]:
    """A row of 8 images for each (A, B, C): the mean z of A, of B, of C, A − B + C, and four close to that.

    A class's mean is that of the z whose samples the judge holds for it. Returns the images, float32 NHWC in [-1,1],
    and the rows that were drawn: one with a class that no sample is held for is left out. Raises StageError for a class
    that the data does not have.
    """
    unknown = next((name for row in rows for name in row if name not in classes), None)
    if unknown is not None:
        raise StageError(f"sample.arithmetic: no class {unknown!r}; the data has {', '.join(classes)}")
    found = []
    with Progress("mean z of each class", len(_MEANS_OF), "samples") as progress:
        for images in sampler.of(_MEANS_OF):
            found.append(judge(images).classes)
            progress.advance(len(images))
    z = latent(_MEANS_OF, sampler.dimensions)
    means = dict(zip(classes, class_means(z, np.concatenate(found), len(classes)), strict=True))
    generator = np.random.default_rng(0)
    pictures, drawn = [np.empty((0, *sampler.shape), np.float32)], []
    for row in rows:
        a, b, c = (means[name] for name in row)
        total = resized((a - b + c)[None])
        if not np.isfinite(total).all():
            continue
        near = generator.uniform(-_NOISE, _NOISE, (_VARIATIONS, sampler.dimensions)).astype(np.float32) + total
        pictures.append(sampler(np.concatenate([resized(np.stack([a, b, c])), total, near])))
        drawn.append(row)
    return np.concatenate(pictures), drawn


def nearest(folder: Path, data: Manifest, images: np.ndarray, k: int) -> np.ndarray:
    """The `k` training images nearest to each of NHWC, nearest first: float32 (N, k, H, W, C)."""
    search = neighbours.Nearest(neighbours.thumbnails(images), k)
    kept: dict[int, np.ndarray] = {}
    seen = 0
    for batch, _ in records.batches(folder, data, "train", batch_of(data.shape)):
        pictures = batch.numpy()
        search.add(neighbours.thumbnails(pictures))
        wanted = set(search.indices.ravel().tolist())
        kept = {index: picture for index, picture in kept.items() if index in wanted}
        kept |= {index: pictures[index - seen].copy() for index in wanted if index >= seen}
        seen += len(pictures)
    return np.stack([np.stack([kept[index] for index in row]) for row in search.indices.tolist()])


def bands(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Images (N, 1 + k, H, W, C), a column for each of N => one uint8 picture (H, W, C).

    So many columns stand side by side; where there are more, they go on below, after a wider gap.
    """
    drawn = []
    for i in range(0, len(pictures), columns):
        band = pictures[i : i + columns]
        drawn.append(grid(band.swapaxes(0, 1).reshape(-1, *band.shape[2:]), len(band)))
    height, width, channels = drawn[0].shape
    whole = np.full((len(drawn) * (height + _BAND_GAP) - _BAND_GAP, width, channels), 255, np.uint8)
    for index, picture in enumerate(drawn):
        whole[index * (height + _BAND_GAP) :][:height, : picture.shape[1]] = picture
    return whole
