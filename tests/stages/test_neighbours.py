"""Thumbnails, and the search of nearest points."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from stages import neighbours


def pictures(count: int) -> np.ndarray:
    """Random colour pictures of 32 × 32."""
    return np.random.default_rng(0).uniform(-1, 1, (count, 32, 32, 3)).astype(np.float32)


def test_a_thumbnail_holds_the_means_of_blocks() -> None:
    images = pictures(3)
    small = neighbours.thumbnails(images).reshape(3, 16, 16, 3)
    assert small[1, 4, 7, 2] == pytest.approx(images[1, 8:10, 14:16, 2].mean())


def test_the_thumbnail_of_an_image_of_16_pixels_is_the_image() -> None:
    images = pictures(3)[:, :16, :16]
    assert np.array_equal(neighbours.thumbnails(images), images.reshape(3, -1))


@pytest.mark.parametrize(
    ("size", "grid"), [((64, 128), (16, 16)), ((28, 160), (14, 16)), ((40, 24), (10, 12)), ((56, 20), (14, 10))]
)
def test_thumbnails_of_any_size_have_at_most_16_pixels_a_side(size: tuple[int, int], grid: tuple[int, int]) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, *size, 4)).astype(np.float32)
    small = neighbours.thumbnails(images).reshape(2, *grid, 4)
    assert neighbours.grid(*size) == grid
    height, width = size[0] // grid[0], size[1] // grid[1]
    assert small[1, 3, 5, 2] == pytest.approx(images[1, 3 * height :, 5 * width :, 2][:height, :width].mean(), rel=1e-5)


def test_an_empty_set_of_images_has_no_thumbnails() -> None:
    assert neighbours.thumbnails(pictures(1)[:0]).shape == (0, 768)


@pytest.mark.parametrize("batches", [[50], [1] * 50, [7, 20, 23], [40, 10]])
def test_the_nearest_points_do_not_depend_on_the_batches(batches: list[int]) -> None:
    generator = np.random.default_rng(1)
    queries, points = (generator.normal(size=(count, 5)).astype(np.float32) for count in (9, 50))
    search = neighbours.Nearest(queries[None], 4)
    for part in np.split(points, np.cumsum(batches)[:-1]):
        search.add(part)
    expected = cdist(queries, points)
    assert np.array_equal(search.indices, expected.argsort(1)[:, :4])
    assert np.allclose(search.distances, np.sort(expected, 1)[:, :4], atol=1e-5)


def test_the_distance_to_a_query_is_that_to_its_nearest_variant() -> None:
    generator = np.random.default_rng(1)
    variants, points = (generator.normal(size=size).astype(np.float32) for size in ((3, 9, 5), (50, 5)))
    search = neighbours.Nearest(variants, 4)
    search.add(points)
    expected = np.min([cdist(variant, points) for variant in variants], 0)
    assert np.array_equal(search.indices, expected.argsort(1)[:, :4])
    assert np.allclose(search.distances, np.sort(expected, 1)[:, :4], atol=1e-5)


@pytest.mark.parametrize("batch", [50, 7])
def test_a_point_is_not_its_own_neighbour(batch: int) -> None:
    points = np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32)
    own = np.array([3, -1, 49])
    search = neighbours.Nearest(points[[3, 4, 49]][None], 4, own)
    for first in range(0, 50, batch):
        search.add(points[first : first + batch])
    order = cdist(points[[3, 4, 49]], points).argsort(1)
    assert np.array_equal(search.indices, [order[0, 1:5], order[1, :4], order[2, 1:5]])


def test_fewer_points_than_k_give_the_index_minus_one_and_an_infinite_distance() -> None:
    search = neighbours.Nearest(np.zeros((1, 2, 3), np.float32), 3)
    search.add(np.ones((1, 3), np.float32))
    assert search.indices.tolist() == [[0, -1, -1]] * 2
    assert np.isinf(search.distances[:, 1:]).all()
