"""The search of nearest images, and the verdict on copies."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from stages import neighbours
from stages.metrics.memorization import FEWEST, NEIGHBOURS, copied, memorization, threshold


def pictures(seed: int, count: int, channels: int = 1) -> np.ndarray:
    """Smooth random pictures of 32 × 32 with a few degrees of freedom, like a data set."""
    generator = np.random.default_rng(seed)
    basis = ndimage.gaussian_filter(np.random.default_rng(99).normal(size=(8, 32, 32, channels)), (0, 3, 3, 0))
    mixed = np.tensordot(generator.normal(size=(count, 8)), basis / basis.std(), 1)
    return np.tanh(mixed / 2 + 0.05 * generator.normal(size=mixed.shape)).astype(np.float32)


def distances(images: np.ndarray, training: np.ndarray, batch: int = 300) -> np.ndarray:
    search = neighbours.Nearest(neighbours.thumbnails(images), 1 + NEIGHBOURS)
    for first in range(0, len(training), batch):
        search.add(neighbours.thumbnails(training[first : first + batch]))
    return search.distances


def test_a_thumbnail_holds_the_means_of_blocks() -> None:
    images = pictures(0, 3, 3)
    small = neighbours.thumbnails(images).reshape(3, 16, 16, 3)
    assert small[1, 4, 7, 2] == pytest.approx(images[1, 8:10, 14:16, 2].mean())


def test_the_thumbnail_of_an_image_of_16_pixels_is_the_image() -> None:
    images = pictures(0, 3, 3)[:, :16, :16]
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
    assert neighbours.thumbnails(pictures(0, 1, 3)[:0]).shape == (0, 768)


@pytest.mark.parametrize("batches", [[50], [1] * 50, [7, 20, 23], [40, 10]])
def test_the_nearest_points_do_not_depend_on_the_batches(batches: list[int]) -> None:
    generator = np.random.default_rng(1)
    queries, points = (generator.normal(size=(count, 5)).astype(np.float32) for count in (9, 50))
    search = neighbours.Nearest(queries, 4)
    for part in np.split(points, np.cumsum(batches)[:-1]):
        search.add(part)
    expected = cdist(queries, points)
    assert np.array_equal(search.indices, expected.argsort(1)[:, :4])
    assert np.allclose(search.distances, np.sort(expected, 1)[:, :4], atol=1e-5)


def test_fewer_points_than_k_give_the_index_minus_one_and_an_infinite_distance() -> None:
    search = neighbours.Nearest(np.zeros((2, 3), np.float32), 3)
    search.add(np.ones((1, 3), np.float32))
    assert search.indices.tolist() == [[0, -1, -1]] * 2
    assert np.isinf(search.distances[:, 1:]).all()


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Training images, and the distances of held-out images to them."""
    training = pictures(1, 3000)
    return training, distances(pictures(2, 1000), training)


def verdict(metrics: dict[str, float]) -> bool | None:
    return copied(metrics["memorization"], metrics["memorization_real"])


def test_new_pictures_of_the_same_kind_are_not_copies(data: tuple[np.ndarray, np.ndarray]) -> None:
    training, held_out = data
    metrics = memorization(distances(pictures(3, 1000), training), held_out)
    assert metrics["memorization"] == pytest.approx(0.01, abs=0.01)
    assert metrics["memorization_real"] == 0.01
    assert metrics["nearest_distance"] == pytest.approx(1, abs=0.05)


def test_smoother_pictures_are_not_copies_although_they_lie_closer(data: tuple[np.ndarray, np.ndarray]) -> None:
    training, held_out = data
    smooth = ndimage.gaussian_filter(pictures(3, 1000), (0, 1, 1, 0))
    assert not verdict(memorization(distances(smooth, training), held_out))


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_noisy_copies_are_detected_whether_a_few_samples_or_all(
    data: tuple[np.ndarray, np.ndarray], share: float
) -> None:
    training, held_out = data
    samples = pictures(3, 1000)
    copies = int(share * 1000)
    samples[:copies] = training[:copies] + 0.1 * np.random.default_rng(4).normal(size=(copies, 32, 32, 1))
    metrics = memorization(distances(samples, training), held_out)
    assert metrics["memorization"] == pytest.approx(share, abs=0.03)
    assert verdict(metrics)


def test_data_of_one_picture_has_finite_metrics() -> None:
    same = np.repeat(pictures(1, 1), 60, 0)
    metrics = memorization(distances(same[:5], same), distances(same[:5], same))
    assert all(np.isfinite(value) for value in metrics.values())


def test_exact_copies_are_all_detected() -> None:
    training = pictures(1, 100)
    metrics = memorization(distances(training, training), distances(pictures(2, 100), training))
    assert metrics["memorization"] == 1
    assert metrics["nearest_distance"] < 0.05


def test_duplicates_across_the_splits_do_not_hide_copies(data: tuple[np.ndarray, np.ndarray]) -> None:
    training, _ = data
    test = pictures(2, 1000)
    test[:30] = training[:30]
    metrics = memorization(distances(training[500:1500], training), distances(test, training))
    assert metrics["memorization"] == 1
    assert memorization(distances(pictures(3, 1000), training), distances(test, training))["memorization"] < 0.01


def test_data_that_repeats_itself_does_not_make_an_honest_generator_a_copier(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    training, _ = data

    def new(seed: int) -> np.ndarray:
        """Pictures. One in ten is nearly a training image."""
        images = pictures(seed, 1000)
        images[:100] = training[seed * 100 : seed * 100 + 100] + 0.01 * np.random.default_rng(seed).normal(
            size=(100, 32, 32, 1)
        )
        return images

    test = distances(new(5), training)
    honest = memorization(distances(new(6), training), test)
    assert honest["memorization"] == pytest.approx(0.1, abs=0.03)
    assert honest["memorization_real"] == pytest.approx(0.1, abs=0.03)
    assert verdict(honest) is False
    assert verdict(memorization(distances(training[500:1500], training), test))


@pytest.mark.parametrize(
    ("share", "real", "expected"),
    [(0.05, 0.01, False), (0.06, 0.01, True), (0.06, 0.03, False), (0.07, 0.03, True), (0.51, 0.25, True)],
)
def test_the_threshold_is_five_percent_or_twice_the_share_of_held_out_images(
    share: float, real: float, expected: bool
) -> None:
    assert copied(share, real) is expected
    assert (share > threshold(real)) is expected


def test_data_with_mostly_duplicates_gives_no_verdict(data: tuple[np.ndarray, np.ndarray]) -> None:
    training, _ = data
    test = pictures(2, 1000)
    test[:600] = training[:600]
    metrics = memorization(distances(training[500:1500], training), distances(test, training))
    assert (metrics["memorization"], metrics["memorization_real"]) == (1, pytest.approx(0.6, abs=0.01))
    assert verdict(metrics) is None


@pytest.mark.parametrize(("held_out", "most"), [(FEWEST, 0.03), (50, 1)])
def test_enough_held_out_images_accuse_few_honest_generators(held_out: int, most: float) -> None:
    generator = np.random.default_rng(0)
    ratios = [generator.beta(8, 3, (count, 1)) for _ in range(300) for count in (held_out, held_out)]
    spread = [np.concatenate([ratio, np.ones((len(ratio), 2))], axis=1) for ratio in ratios]
    verdicts = [bool(verdict(memorization(*pair))) for pair in zip(spread[::2], spread[1::2], strict=True)]
    assert np.mean(verdicts) <= most
    if held_out < FEWEST:
        assert np.mean(verdicts) > 0.1, "too many, so the report gives no verdict"


def test_a_single_neighbour_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 2 neighbours are needed"):
        memorization(np.ones((4, 1)), np.ones((4, 1)))
