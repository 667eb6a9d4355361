"""Features as points of a plane."""

import numpy as np

from stages.evaluate.plane import plane


def groups(seed: int) -> np.ndarray:
    """Two clusters of 40 points in 8 dimensions."""
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.normal(centre, 1, (40, 8)) for centre in (-5, 5)]).astype(np.float32)


def test_what_belongs_together_lies_together() -> None:
    places = plane(groups(0), groups(1), seed=0)
    assert places.shape == (160, 2)
    left, right = places[[*range(40), *range(80, 120)]], places[[*range(40, 80), *range(120, 160)]]
    apart = np.linalg.norm(left.mean(0) - right.mean(0))
    assert apart > 3 * max(left.std(), right.std())


def test_the_same_points_have_the_same_places() -> None:
    assert np.array_equal(plane(groups(0), groups(1), seed=3), plane(groups(0), groups(1), seed=3))


def test_few_points_and_points_in_one_place_have_finite_places() -> None:
    assert np.isfinite(plane(groups(0)[:2], groups(1)[:2], seed=0)).all()
    assert (plane(np.ones((40, 8)), np.ones((40, 8)), seed=0) == 0).all()
    assert np.isfinite(plane(groups(0), np.ones((80, 8)), seed=0)).all(), "a collapsed generator"
