"""The t-SNE of real and generated features."""

import numpy as np

from stages.evaluate.plane import plane, typical


def groups(seed: int) -> np.ndarray:
    """Two clusters of 40 points in 8 dimensions."""
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.normal(centre, 1, (40, 8)) for centre in (-5, 5)]).astype(np.float32)


def test_clusters_of_features_stay_apart_in_the_plane() -> None:
    places = plane(groups(0), groups(1), seed=0)
    assert places.shape == (160, 2)
    left, right = places[[*range(40), *range(80, 120)]], places[[*range(40, 80), *range(120, 160)]]
    distance = np.linalg.norm(left.mean(0) - right.mean(0))
    assert distance > 3 * max(left.std(), right.std())


def test_the_same_features_have_the_same_positions() -> None:
    assert np.array_equal(plane(groups(0), groups(1), seed=3), plane(groups(0), groups(1), seed=3))


def test_four_features_have_finite_positions() -> None:
    assert np.isfinite(plane(groups(0)[:2], groups(1)[:2], seed=0)).all()


def test_identical_features_are_all_at_zero() -> None:
    assert (plane(np.ones((40, 8)), np.ones((40, 8)), seed=0) == 0).all()


def test_a_collapsed_generators_features_have_finite_positions() -> None:
    assert np.isfinite(plane(groups(0), np.ones((80, 8)), seed=0)).all()


def test_the_images_nearest_to_the_mean_of_a_class_are_typical_of_it() -> None:
    features = np.array([[0.0], [9.0], [1.0], [5.0], [2.0]])
    classes = np.array([0, 1, 0, 1, 0, 0])  # the last image has no features
    assert typical(features, classes, 0, 2) == [2, 0]
    assert typical(features, classes, 1, 8) == [1, 3]
    assert typical(features, classes, 2, 8) == []
