"""The power of the search for copies, and its false alarms, on the project's data.

    dvc checkout && python -m benchmarks.copies

Makes copies of training images in several ways and counts how many the evaluate stage's measure finds, with 1,000
held-out images as the reference. The judge's features alone are measured beside it, mirrored too. For the false alarms,
held-out images play the samples of a generator that copies nothing. Takes a few minutes. Writes
benchmarks/results/copies.json; docs/metrics.md shows it.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.data import RESULTS
from stages import artifacts, copies, manifest, neighbours, records
from stages.evaluate.collectors import MAX_SEARCHED
from stages.metrics import memorization
from stages.networks import judge as judges

COPIES, POOL, SPLITS = 200, 2000, 5000
_BATCH = 500
_SHIFTS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Images NHWC moved by one pixel, each in one of eight directions."""
    directions = generator.integers(len(_SHIFTS), size=len(images))
    moved = [
        ndimage.shift(image, (*_SHIFTS[direction], 0), order=0, mode="nearest")
        for image, direction in zip(images, directions, strict=True)
    ]
    return np.stack(moved)


def zoomed(images: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Images NHWC magnified by 1.1 about their centre, with linear interpolation."""
    height, width = images.shape[1:3]
    offset = [0, (1 - 1 / 1.1) * (height - 1) / 2, (1 - 1 / 1.1) * (width - 1) / 2, 0]
    return np.asarray(ndimage.affine_transform(images, [1, 1 / 1.1, 1 / 1.1, 1], offset, order=1, mode="nearest"))


def rotated(images: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Images NHWC rotated by 3° about their centre, with linear interpolation."""
    return np.asarray(ndimage.rotate(images, 3, (1, 2), reshape=False, order=1, mode="nearest"))


CHANGES: dict[str, Change] = {
    "exact": lambda images, _: images,
    "noise with a standard deviation of 0.1": lambda images, generator: np.clip(
        images + generator.normal(0, 0.1, images.shape), -1, 1
    ),
    "shifted by 1 pixel": shifted,
    "mirrored": lambda images, _: images[:, :, ::-1],
    "mirrored and shifted by 1 pixel": lambda images, generator: shifted(images[:, :, ::-1], generator),
    "zoomed by 1.1": zoomed,
    "blend of two, equal parts": lambda images, _: (images + np.roll(images, 1, 0)) / 2,
    "blend of two, 70 % and 30 %": lambda images, _: 0.7 * images + 0.3 * np.roll(images, 1, 0),
    "brightness × 0.8": lambda images, _: 0.8 * (images + 1) - 1,
    "shifted by half a pixel": lambda images, _: (images + copies.shifted(images, 0, 1)) / 2,
    "rotated by 3°": rotated,
    "blurred over 1 pixel": lambda images, _: ndimage.gaussian_filter(images, (0, 1, 1, 0)),
}
"""Ways to copy images float32 NHWC in [-1,1], by their names in the docs."""


def scores(images: np.ndarray, train: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The scores of images float32 NHWC, as the evaluate stage computes them."""

    def batches() -> Iterator[np.ndarray]:
        for first in range(0, len(train), _BATCH):
            yield train[first : first + _BATCH]

    return copies.find(copies.views(images.astype(np.float32)), batches, len(train), own).scores


def judge_ratios(images: np.ndarray, train_features: np.ndarray, judge: judges.Judge) -> np.ndarray:
    """The ratios of Carlini et al. (2023) in the judge's features: the image's or its mirror image's, the smaller."""
    images = images.astype(np.float32)
    queries = np.stack([judge(images).features, judge(np.ascontiguousarray(copies.mirrored(images))).features])
    results = []
    for variant in queries:
        search = neighbours.Nearest(variant[None], 1 + copies.NEIGHBOURS)
        for first in range(0, len(train_features), _BATCH):
            search.add(train_features[first : first + _BATCH])
        results.append(copies.ratios(search.distances))
    return np.minimum(*results)


def found(copied: np.ndarray, real: np.ndarray) -> float:
    """The share of copies that are found, from the scores of copies and of new real images."""
    return round(memorization.memorization(copied, real)["memorization"], 3)


def accused(
    samples: np.ndarray, real: np.ndarray, generator: np.random.Generator, count: int, real_count: int
) -> float:
    """How often a generator that copies nothing is accused, from the scores of `count` samples and of real images.

    Each of the simulations draws both without replacement; the same image never plays both sides.
    """
    verdicts = 0
    for _ in range(SPLITS):
        if samples is real:
            drawn = generator.choice(samples, count + real_count, replace=False)
            pair = drawn[:count], drawn[count:]
        else:
            pair = generator.choice(samples, count, replace=False), generator.choice(real, real_count, replace=False)
        metrics = memorization.memorization(*pair)
        verdicts += bool(memorization.copied(metrics["memorization"], count, metrics["memorization_real"], real_count))
    return round(verdicts / SPLITS, 4)


def main(report: Callable[[str], None] = print) -> None:
    """Measure, print and write the results."""
    folder = Path("data/prepared")
    if not folder.is_dir():
        sys.exit("error: data/prepared: missing; `make repro` makes it, `dvc pull` fetches it")
    data = manifest.read(folder)
    train, test = (
        np.concatenate([batch.numpy() for batch, _ in records.batches(folder, data, split, _BATCH)])
        for split in ("train", "test")
    )
    generator = np.random.default_rng(0)
    sources = train[generator.choice(len(train), COPIES, replace=False)]
    copied = {name: change(sources, generator) for name, change in CHANGES.items()}
    parts = [test[:POOL], train[:MAX_SEARCHED], *copied.values()]
    own = [np.full(POOL, -1), np.arange(MAX_SEARCHED), np.full(COPIES * len(copied), -1)]
    measured = scores(np.concatenate(parts), train, np.concatenate(own))
    pool, left_one_out, *by_score = np.split(measured, np.cumsum([len(part) for part in parts])[:-1])
    real = pool[:MAX_SEARCHED]
    result = {
        "data": data.source["title"],
        "training_images": len(train),
        "held_out_images": MAX_SEARCHED,
        "copies": COPIES,
        "simulations": SPLITS,
        "found": {name: found(part, real) for name, part in zip(copied, by_score, strict=True)},
        "false_alarms": {
            "1000": accused(pool, pool, generator, 1000, 1000),
            "200": accused(pool, pool, generator, 200, 200),
            "100": accused(pool, left_one_out, generator, 100, MAX_SEARCHED),
            "20": accused(pool, left_one_out, generator, 20, MAX_SEARCHED),
        },
    }
    judge = judges.load(Path("models/features"), data)
    if judge is not None:
        features = judge(train).features
        reference = judge_ratios(test[:MAX_SEARCHED], features, judge)
        result["found_by_judge"] = {
            name: found(judge_ratios(part, features, judge), reference) for name, part in copied.items()
        }
    artifacts.write_json(RESULTS / "copies.json", result)
    for name, value in result.items():
        report(f"{name}: {value}")


if __name__ == "__main__":
    main()
