"""The parts of the judge without labels: its loss, its views, its balance and its clusters."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist

from stages.features import barlow_twins, clusters
from stages.features.unlabelled import balance, nearest
from stages.features.views import view


def groups(centres: np.ndarray, each: int, seed: int = 0) -> np.ndarray:
    """Normal clusters around centres (K, d), one after the other: (K · each, d)."""
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.normal(centre, 1, (each, len(centre))) for centre in centres])


def test_the_loss_is_that_of_the_paper() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    expected = 0.0
    for i, j in itertools.product(range(4), repeat=2):
        correlation = np.corrcoef(a[:, i], b[:, j])[0, 1]
        expected += (1 - correlation) ** 2 if i == j else 0.005 * correlation**2
    assert float(barlow_twins.loss(tf.constant(a), tf.constant(b))) == pytest.approx(expected, rel=1e-3)


def test_two_equal_views_without_redundancy_have_no_loss() -> None:
    embeddings = tf.constant([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(barlow_twins.loss(embeddings, embeddings)) == pytest.approx(0, abs=1e-6)


def pictures(count: int = 8, channels: int = 1) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, (count, 16, 24, channels)).astype(np.float32))


def test_the_seed_and_the_number_decide_a_view() -> None:
    images = pictures()
    first = view(images, 1, tf.constant(5))
    assert np.array_equal(first, view(images, 1, tf.constant(5)))
    assert np.allclose(first, tf.function(view)(images, 1, tf.constant(5)), atol=1e-6)
    assert not np.allclose(first, view(images, 1, tf.constant(6)))
    assert not np.allclose(first, view(images, 2, tf.constant(5)))


def test_a_view_is_not_resampled() -> None:
    """A checkerboard of two values stays one of two values, beside the value of the erased part."""
    y, x = np.mgrid[:16, :24]
    board = np.broadcast_to(np.where((y + x) % 2, 0.5, -0.5)[None, :, :, None], (8, 16, 24, 1)).astype(np.float32)
    for image in view(tf.constant(board), 0, tf.constant(0)).numpy():
        assert len(np.unique(image.round(4))) <= 3
        columns = np.abs(np.diff(image[..., 0], axis=1))
        assert columns.max() > 0.5, "neighbouring pixels still differ as much as before"


def test_a_view_in_colour_is_the_picture_shifted() -> None:
    images = pictures(channels=3)
    padded = np.pad(images, ((0, 0), (2, 2), (3, 3), (0, 0)), "symmetric")  # an eighth of 16 and 24
    views = view(images, 0, tf.constant(0)).numpy()
    places = list(itertools.product(range(5), range(7)))
    shifts = [
        [(y, x) for y, x in places if np.array_equal(each, padded[n, y : y + 16, x : x + 24])]
        for n, each in enumerate(views)
    ]
    assert all(shifts)
    assert len({place for found in shifts for place in found}) > len(views) / 2


def test_views_of_different_pictures_of_a_batch_differ_in_their_changes() -> None:
    images = tf.repeat(pictures(1), 8, axis=0)
    views = view(images, 0, tf.constant(0)).numpy().reshape(8, -1)
    assert cdist(views, views)[np.triu_indices(8, 1)].min() > 1


def correlated(count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal(3, 1, (count, 6)) @ generator.normal(size=(6, 6)) * [1, 100, 1, 1, 0.01, 1]


def test_balanced_features_have_mean_zero_and_more_equal_variances() -> None:
    features = correlated(500)
    kernel, bias = balance(features)
    balanced = features @ kernel + bias
    variances = np.linalg.eigvalsh(np.corrcoef(features.T))
    assert balanced.mean(0) == pytest.approx(np.zeros(6), abs=1e-9)
    assert np.cov(balanced.T, bias=True) == pytest.approx(np.diag(variances / (0.2 * variances + 0.8)), abs=1e-6)


def test_the_scales_of_the_features_do_not_matter() -> None:
    features, scales = correlated(500), np.array([1e-3, 1, 10, 1, 1e3, 1])
    (kernel, bias), (other_kernel, other_bias) = balance(features), balance(features * scales)
    assert (features * scales) @ other_kernel + other_bias == pytest.approx(features @ kernel + bias, abs=1e-6)


def test_few_features_do_not_tear_other_features_apart() -> None:
    """As many features as dimensions: the inverse of their covariance would multiply the variance of others."""
    few, others = np.split(np.random.default_rng(0).normal(size=(1030, 30)), [30])
    kernel, bias = balance(few)
    assert 30 <= np.trace(np.cov((others @ kernel + bias).T)) < 40


def test_features_of_which_one_is_constant_stay_finite() -> None:
    features = np.random.default_rng(0).normal(size=(500, 3)) * [10, 1, 0]
    kernel, bias = balance(features.astype(np.float32))
    assert np.isfinite(kernel).all()
    variances = np.linalg.eigvalsh(np.corrcoef(features[:, :2].T))
    expected = [0, *sorted(variances / (0.2 * variances + 0.8))]
    assert sorted(np.diag(np.cov((features @ kernel + bias).T))) == pytest.approx(expected, abs=0.01)


def test_the_largest_output_is_that_of_the_nearest_centre() -> None:
    generator = np.random.default_rng(0)
    features, centres = generator.normal(size=(200, 5)), generator.normal(size=(7, 5))
    deviations = generator.uniform(0.5, 2, 5)
    kernel, bias = nearest(centres, deviations)
    expected = cdist(features / deviations, centres).argmin(1)
    assert ((features @ kernel + bias).argmax(1) == expected).all()


def test_the_clusters_are_the_best_partition_of_all() -> None:
    features = groups(np.array([[0.0, 0.0], [10.0, 0.0]]), 5)

    def inertia(labels: tuple[int, ...]) -> float:
        parts = [features[np.array(labels) == label] for label in range(2)]
        return sum(((part - part.mean(0)) ** 2).sum() for part in parts if len(part))

    best = min(itertools.product(range(2), repeat=10), key=inertia)
    means = np.stack([features[np.array(best) == label].mean(0) for label in range(2)])
    centres, shares = clusters.cluster(features, 0)
    assert len(centres) == 2
    assert cdist(centres, means).min(1) == pytest.approx([0, 0], abs=1e-9)
    assert list(shares) == [0.5, 0.5]


def test_the_number_of_clusters_is_that_of_the_groups() -> None:
    angles = 2 * np.pi * np.arange(5) / 5
    features = groups(10 * np.stack([np.cos(angles), np.sin(angles)], 1), 60)
    generator = np.random.default_rng(1)
    features = features[generator.permutation(len(features))]
    centres, shares = clusters.cluster(features, 0)
    assert len(centres) == 5
    assert shares == pytest.approx(np.full(5, 0.2))


def test_the_clusters_are_the_same_each_time_and_the_largest_is_the_first() -> None:
    features = np.concatenate([groups(np.zeros((1, 3)), 100), groups(np.full((1, 3), 20.0), 300)])
    features = features[np.random.default_rng(0).permutation(400)]
    first, second = clusters.cluster(features, 3), clusters.cluster(features, 3)
    assert np.array_equal(first[0], second[0])
    assert list(first[1]) == [0.75, 0.25]
    assert first[0][0] == pytest.approx([20, 20, 20], abs=0.5)


def test_the_prediction_strength_is_the_share_of_pairs_kept_in_the_worst_cluster() -> None:
    """The first half has its border between -1 and 9 at 4. In the second half, 3.9 and 4.1 are in one cluster."""
    first = [-2.0, -1.0, 0.0, 8.0, 9.0, 10.0]
    rest = [-2.0, -1.0, 3.9, 4.1, 30.0, 30.0]
    features = np.empty((12, 1))
    features[::2, 0], features[1::2, 0] = first, rest
    group = [-2.0, -1.0, 3.9, 4.1]
    kept = np.mean([(a > 4) == (b > 4) for a, b in itertools.combinations(group, 2)])
    assert clusters.prediction_strength(features, 2, 0) == pytest.approx(kept)
