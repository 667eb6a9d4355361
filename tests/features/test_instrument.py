"""The instrument check: corruptions grow with their strength, and a judge that does not see one fails."""

from collections.abc import Callable

import numpy as np
import pytest

from stages.features import instrument
from stages.features.instrument import CORRUPTIONS, Check, check
from stages.metrics.frechet import gaussian

Features = Callable[[np.ndarray], np.ndarray]


def images(count: int = 60) -> np.ndarray:
    """Random smooth pictures: float32 (N, 16, 16, 1) in [-1,1]."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    centres, widths = generator.uniform(4, 12, (2, count, 1, 1)), generator.uniform(2, 4, (count, 1, 1))
    inside = (y - centres[0]) ** 2 + (x - centres[1]) ** 2 < widths**2
    return np.where(inside, 0.8, -0.8).astype(np.float32)[..., None]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_images_more_with_each_strength_and_is_the_same_each_time(name: str) -> None:
    corrupt, strengths = CORRUPTIONS[name]
    original = images()
    changed = [corrupt(original, strength) for strength in strengths]
    changes = [float(np.abs(each - original).mean()) for each in changed]
    assert changes[0] > 0
    assert changes == sorted(changes)
    assert np.array_equal(changed[-1], corrupt(original, strengths[-1]))
    for each in changed:
        assert (each.dtype, each.shape) == (np.float32, original.shape)
        assert -1 <= each.min() <= each.max() <= 1


def test_mush_takes_each_cell_from_the_same_place_of_a_picture() -> None:
    original = images(5)
    mixed = instrument.mush(original, 0.5)
    for row in range(0, 16, 4):
        for column in range(0, 16, 4):
            cells = [each[:, row : row + 4, column : column + 4].reshape(5, -1) for each in (mixed, original)]
            assert all(any(np.array_equal(cell, source) for source in cells[1]) for cell in cells[0])


def pixels_of(pictures: np.ndarray) -> np.ndarray:
    """Every third pixel, and the differences of neighbours: features that see every corruption."""
    rough = np.abs(np.diff(pictures, axis=1)).mean((1, 2, 3)), np.abs(np.diff(pictures, axis=2)).mean((1, 2, 3))
    return np.concatenate([pictures[:, ::3, ::3].reshape(len(pictures), -1), np.stack(rough, 1) * 8], 1)


def mean_brightness(pictures: np.ndarray) -> np.ndarray:
    """Two features that say nothing about shapes."""
    means = pictures.mean((1, 2, 3))
    return np.stack([means, means**2], 1)


def checked(features: Features) -> Check:
    pictures = images(200)
    return check(pictures[:100], features, gaussian(features(pictures[100:])))


def test_features_that_see_all_corruptions_pass() -> None:
    result = checked(pixels_of)
    assert (result.unseen, result.problem, result.images) == ((), "", 100)
    for distances in result.distances.values():
        assert result.floor < distances[1] < distances[2] < distances[3]


def test_features_that_see_only_brightness_fail_and_the_problem_names_what_they_miss() -> None:
    result = checked(mean_brightness)
    assert "mush" in result.unseen
    assert "mush" in result.problem
    assert "in 100 images" in result.problem


@pytest.mark.parametrize(
    ("distances", "seen"),
    [
        ((2.0, 3.0, 4.0, 5.0), True),
        ((0.96, 3.0, 4.0, 5.0), True),  # within the tolerance
        ((0.8, 3.0, 4.0, 5.0), False),  # better than real pictures
        ((2.0, 4.0, 3.0, 5.0), False),  # not in order
        ((1.1, 1.2, 1.3, 1.9), False),  # hardly more than real pictures
    ],
)
def test_the_distance_must_grow_and_reach_a_tenth_of_the_variance(distances: tuple[float, ...], seen: bool) -> None:
    assert (Check(100, 1.0, 10.0, {"blur": distances}).unseen == ()) is seen


@pytest.mark.parametrize(("precisions", "seen"), [((0.9, 0.95, 0.7, 1.0), True), ((0.8, 0.9, 1.0, 1.0), False)])
def test_a_corruption_is_flattered_if_the_precision_falls_at_no_strength(
    precisions: tuple[float, ...], seen: bool
) -> None:
    result = Check(100, 1.0, 10.0, {"blur": (2.0, 3.0, 4.0, 5.0)}, 0.8, {"blur": precisions})
    assert (result.unseen, result.flattered) == ((), () if seen else ("blur",))


@pytest.mark.parametrize(
    ("unseen", "text"),
    [(("blur",), "blur in"), (("blur", "noise"), "blur and noise in"), (("a", "b", "c"), "a, b and c in")],
)
def test_the_problem_lists_what_the_judge_does_not_see(unseen: tuple[str, ...], text: str) -> None:
    problem = Check(2000, 1.0, 10.0, dict.fromkeys(unseen, (0.0, 0.0, 0.0, 0.0))).problem
    assert problem == f"it does not see {text} 2,000 images"


@pytest.mark.parametrize(("shape", "count"), [((32, 32, 1), 2000), ((256, 256, 3), 341), ((8192, 8192, 4), 2)])
def test_large_pictures_are_fewer(shape: tuple[int, int, int], count: int) -> None:
    assert instrument.image_count(shape) == count
