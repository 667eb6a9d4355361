"""Metrics, against closed forms."""

import numpy as np
import pytest

from stages.metrics.frechet import Gaussian, frechet_distance, gaussian
from stages.metrics.modes import class_histogram, modes


def random_gaussian(seed: int, d: int = 6) -> Gaussian:
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(d, d))
    return Gaussian(generator.normal(size=d), factor @ factor.T)


def test_frechet_of_commuting_covariances_is_the_closed_form() -> None:
    a = Gaussian(np.array([0.0, 1.0]), np.diag([4.0, 9.0]))
    b = Gaussian(np.array([3.0, 1.0]), np.diag([1.0, 16.0]))
    assert frechet_distance(a, b) == pytest.approx(9 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_frechet_of_any_covariances_is_that_of_the_matrix_root() -> None:
    a, b = random_gaussian(0), random_gaussian(1)
    values = np.linalg.eigvals(a.covariance @ b.covariance)  # the root's trace is the sum of the eigenvalues' roots
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance) - 2 * np.sqrt(values.real).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_frechet_to_itself_is_zero() -> None:
    a = random_gaussian(2)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_survives_dead_features() -> None:
    features = np.random.default_rng(0).normal(size=(50, 5))
    features[:, 2] = 0
    a, b = gaussian(features), gaussian(features + np.array([0, 2, 0, 0, 0]))
    assert frechet_distance(a, b) == pytest.approx(4)
    fewer = gaussian(features[:3])  # three samples in five dimensions
    assert np.isfinite(frechet_distance(fewer, a))


def test_gaussian_is_mean_and_unbiased_covariance_in_float64() -> None:
    features = np.array([[1, 2], [3, 6]], np.float32)
    fitted = gaussian(features)
    assert fitted.mean.dtype == np.float64
    assert fitted.mean.tolist() == [2, 4]
    assert fitted.covariance.tolist() == [[2, 4], [4, 8]]


def test_even_modes_have_no_divergence() -> None:
    uniform = np.full(10, 0.1)
    result = modes(uniform, uniform, 0.1)
    assert result == {
        "modes_covered": 10,
        "modes_total": 10,
        "mode_kl": pytest.approx(0, abs=1e-12),
        "rarest_mode": 0.1,
    }


def test_a_collapsed_generator_diverges_by_log_k() -> None:
    result = modes(np.eye(10)[3], np.full(10, 0.1), 0.1)
    assert result["modes_covered"] == 1
    assert result["mode_kl"] == pytest.approx(np.log(10))
    assert result["rarest_mode"] == 0


def test_covered_is_against_the_datas_own_share() -> None:
    real = np.array([0.9, 0.1, 0.0])
    assert modes(np.array([0.985, 0.015, 0.0]), real, 0.1)["modes_covered"] == 2
    result = modes(np.array([0.995, 0.005, 0.0]), real, 0.1)
    assert (result["modes_covered"], result["modes_total"]) == (1, 2), "a class the data lacks is no mode"


def test_class_histogram_is_shares() -> None:
    assert class_histogram(np.array([0, 2, 2, 2]), 4).tolist() == [0.25, 0, 0.75, 0]
