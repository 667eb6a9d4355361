"""The search for the sources of copies."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.copies import CHANGES
from stages import copies, neighbours
from stages.copies import Batches, Found
from stages.metrics.memorization import memorization

CHANNELS = (1, 3)


def pictures(seed: int, count: int, channels: int = 1, side: int = 32) -> np.ndarray:
    """Smooth random pictures with twelve degrees of freedom, like a data set, and a little noise."""
    generator = np.random.default_rng(seed)
    noise = np.random.default_rng(99).normal(size=(12, side, side, channels))
    basis = ndimage.gaussian_filter(noise, (0, 3, 3, 0))
    mixed = np.tensordot(generator.normal(size=(count, 12)), basis / basis.std(), 1) / 2
    mixed += 0.5 * ndimage.gaussian_filter(generator.normal(size=mixed.shape), (0, 1.5, 1.5, 0))
    return np.tanh(mixed / 2).astype(np.float32)


def in_batches(images: np.ndarray, size: int = 500) -> Batches:
    def batches() -> Iterator[np.ndarray]:
        for first in range(0, len(images), size):
            yield images[first : first + size]

    return batches


def search(images: np.ndarray, training: np.ndarray, size: int = 500, own: np.ndarray | None = None) -> Found:
    return copies.find(copies.views(images), in_batches(training, size), len(training), own)


def test_a_mirrored_picture_has_left_and_right_exchanged() -> None:
    images = pictures(0, 2)
    assert copies.mirrored(images)[1, 4, 3] == images[1, 4, 28]


@pytest.mark.parametrize(("height", "width", "down", "right"), [(32, 16, 1, 1), (64, 96, 2, 3), (20, 40, 1, 1)])
def test_a_step_is_a_32nd_of_the_side_and_at_least_a_pixel(height: int, width: int, down: int, right: int) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, height, width, 1)).astype(np.float32)
    moved = copies.shifted(images, 1, -1)
    assert np.array_equal(moved[:, down:, : width - right], images[:, : height - down, right:])
    assert np.array_equal(moved[:, 0, : width - right], images[:, 0, right:]), "the edge fills the gap"


@pytest.mark.parametrize("factor", [1.1, 1 / 1.1, 1.5])
def test_a_zoomed_picture_is_that_of_scipy(factor: float) -> None:
    images = pictures(0, 2, 3)
    offset = (1 - 1 / factor) * 31 / 2
    expected = ndimage.affine_transform(
        images, [1, 1 / factor, 1 / factor, 1], [0, offset, offset, 0], order=1, mode="nearest"
    )
    assert np.allclose(copies.zoomed(images, factor), expected, atol=1e-4)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", [500, 17])
def test_the_distances_are_the_smallest_over_all_moves(channels: int, size: int) -> None:
    """With few training images all are candidates, and a search by hand gives the same."""
    images, training = pictures(1, 5, channels), pictures(2, 50, channels)
    found = search(images, training, size)
    expected = np.full((5, 50), np.inf)
    for flip, down, right, zoom in itertools.product((False, True), (-1, 0, 1), (-1, 0, 1), (1, 1.1, 1 / 1.1)):
        moved = copies.shifted(copies.mirrored(images) if flip else images, down, right)
        a, b = neighbours.thumbnails(moved), neighbours.thumbnails(copies.zoomed(training, zoom))
        expected = np.minimum(expected, np.sqrt(((a[:, None].astype(float) - b) ** 2).sum(2)))
    assert np.allclose(found.distances, np.sort(expected, 1), rtol=1e-5)
    assert np.array_equal(found.indices[:, 0], expected.argmin(1))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("zoom", [1, 1.1, 1 / 1.1])
def test_an_aligned_training_image_looks_like_its_copy(zoom: float, mirrored: bool) -> None:
    training = pictures(2, 50)
    copied = copies.zoomed(training[:5], zoom)
    copied = copies.shifted(copies.mirrored(copied) if mirrored else copied, 1, -1)
    found = search(copied, training)
    assert found.indices[:, 0].tolist() == [0, 1, 2, 3, 4]
    for image, place, alignment in zip(copied, found.indices[:, 0], found.alignments[:, 0], strict=True):
        shown = copies.aligned(training[place], alignment)
        assert np.abs(shown - image)[1:-1, 1:-1].max() < 1e-5, "all but the filled edge"


def test_a_training_image_is_compared_with_the_others() -> None:
    training = pictures(2, 300)
    found = search(training[:20], training, own=np.arange(20))
    apart = [search(training[i : i + 1], np.delete(training, i, 0)) for i in range(3)]
    assert not (found.indices == np.arange(20)[:, None]).any()
    assert np.allclose(found.distances[:3], [each.distances[0] for each in apart], rtol=1e-5)


@pytest.fixture(scope="module")
def measured() -> dict[str, np.ndarray]:
    """The scores of held-out images ("real") and of copies of each kind."""
    training, generator = pictures(1, 1500), np.random.default_rng(0)
    parts = {"real": pictures(2, 150), "new": pictures(3, 150)}
    parts |= {name: change(training[:30], generator) for name, change in CHANGES.items()}
    scores = search(np.concatenate(list(parts.values())).astype(np.float32), training).scores
    return dict(zip(parts, np.split(scores, np.cumsum([len(part) for part in parts.values()])[:-1]), strict=True))


# These pictures have no dark background, which would stay dark at another brightness.
@pytest.mark.parametrize("kind", [name for name in CHANGES if name != "brightness × 0.8"])
def test_copies_are_found(measured: dict[str, np.ndarray], kind: str) -> None:
    assert memorization(measured[kind], measured["real"])["memorization"] > 0.8


def test_another_contrast_is_found() -> None:
    training = pictures(1, 1500)
    scores = search(np.concatenate([pictures(2, 100), 0.7 * training[:30]]), training).scores
    assert memorization(scores[100:], scores[:100])["memorization"] == 1


def test_new_pictures_are_not_copies(measured: dict[str, np.ndarray]) -> None:
    assert memorization(measured["new"], measured["real"])["memorization"] < 0.04


def test_the_scores_do_not_depend_on_the_batches() -> None:
    images, training = pictures(1, 20), pictures(2, 700)
    assert np.allclose(search(images, training, 500).scores, search(images, training, 33).scores, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 60])
def test_few_or_identical_training_images_have_finite_scores(count: int) -> None:
    same = np.repeat(pictures(1, 1), count, 0)
    found = search(np.concatenate([same[:1], pictures(2, 3)]), same)
    assert np.isfinite(found.scores).all()
    assert found.scores.max() <= 1
    assert found.indices.shape == (4, count)
