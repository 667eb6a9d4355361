"""The Fréchet distance and streamed moments, against closed forms and NumPy."""

import numpy as np
import pytest

from stages.metrics.frechet import Gaussian, Moments, frechet_distance, gaussian


def random_gaussian(seed: int, d: int = 6) -> Gaussian:
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(d, d))
    return Gaussian(generator.normal(size=d), factor @ factor.T)


def test_the_distance_of_commuting_covariances_is_the_closed_form() -> None:
    a = Gaussian(np.array([0.0, 1.0]), np.diag([4.0, 9.0]))
    b = Gaussian(np.array([3.0, 1.0]), np.diag([1.0, 16.0]))
    assert frechet_distance(a, b) == pytest.approx(9 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_the_distance_of_any_covariances_follows_from_the_matrix_root() -> None:
    a, b = random_gaussian(0), random_gaussian(1)
    values = np.linalg.eigvals(
        a.covariance @ b.covariance
    )  # the trace of the root is the sum of the eigenvalues' roots
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance) - 2 * np.sqrt(values.real).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_the_distance_of_a_gaussian_to_itself_is_zero() -> None:
    a = random_gaussian(2)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_a_dead_feature_does_not_change_the_distance() -> None:
    features = np.random.default_rng(0).normal(size=(50, 5))
    features[:, 2] = 0
    a, b = gaussian(features), gaussian(features + np.array([0, 2, 0, 0, 0]))
    assert frechet_distance(a, b) == pytest.approx(4)


def test_the_distance_of_fewer_samples_than_dimensions_is_finite() -> None:
    features = np.random.default_rng(0).normal(size=(50, 5))
    assert np.isfinite(frechet_distance(gaussian(features[:3]), gaussian(features)))


def test_a_gaussian_has_the_mean_and_the_unbiased_covariance_in_float64() -> None:
    features = np.array([[1, 2], [3, 6]], np.float32)
    fitted = gaussian(features)
    assert fitted.mean.dtype == np.float64
    assert fitted.mean.tolist() == [2, 4]
    assert fitted.covariance.tolist() == [[2, 4], [4, 8]]


@pytest.mark.parametrize("sizes", [(1, 1), (1, 7, 92), (50, 0, 50), (3,) * 30])
def test_batches_give_the_moments_of_all_features(sizes: tuple[int, ...]) -> None:
    features = np.random.default_rng(0).normal(1000, 0.01, (sum(sizes), 4)).astype(np.float32)
    whole = features.astype(np.float64)
    one_by_one, merged = Moments(4), Moments(4)
    for start in range(len(features)):
        one_by_one.add(features[start : start + 1])
    for batch in np.split(features, np.cumsum(sizes)[:-1]):
        part = Moments(4)
        if len(batch):
            part.add(batch)
        merged.merge(part)
    for moments in (one_by_one, merged):
        fitted = moments.gaussian()
        assert moments.count == len(features)
        assert np.allclose(fitted.mean, whole.mean(0), rtol=1e-13)
        assert np.allclose(fitted.covariance, np.cov(whole, rowvar=False), rtol=1e-8, atol=1e-13)


def test_adding_features_does_not_change_them() -> None:
    features = np.random.default_rng(0).normal(size=(5, 3))
    before = features.copy()
    Moments(3).add(features)
    assert np.array_equal(features, before)


def test_adding_features_does_not_change_an_earlier_gaussian() -> None:
    features, moments = np.random.default_rng(0).normal(size=(5, 3)), Moments(3)
    moments.add(features)
    earlier = moments.gaussian()
    mean, covariance = earlier.mean.copy(), earlier.covariance.copy()
    moments.add(features + 1)
    assert np.array_equal(earlier.mean, mean)
    assert np.array_equal(earlier.covariance, covariance)


def test_a_single_feature_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 2 features, got 1"):
        gaussian(np.zeros((1, 3)))
