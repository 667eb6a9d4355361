"""Inversion against closed forms of a linear generator, and on the tiny project's generator and judge."""

import keras
import numpy as np
import pytest

from stages import manifest
from stages.inversion import Inverter, Search, levels
from stages.latent import Sampler, latent
from stages.networks import judge as judges
from stages.networks.judge import Judge
from tests.conftest import Project

SIDE, DIMENSIONS = 4, 6
SEARCH = Search(restarts=2, steps=400)


def matrix(spread: float = 1.0) -> np.ndarray:
    """Orthogonal rows (DIMENSIONS, SIDE²), the longest `spread` times as long as the shortest."""
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(SIDE * SIDE, DIMENSIONS)))[0].T
    return (0.3 * rows * np.geomspace(1, 1 / spread, DIMENSIONS)[:, None]).astype(np.float32)


def linear(weights: np.ndarray) -> Sampler:
    """The generator z => z · weights."""
    model = keras.Sequential(
        [
            keras.Input((DIMENSIONS,)),
            keras.layers.Dense(SIDE * SIDE, use_bias=False),
            keras.layers.Reshape((SIDE, SIDE, 1)),
        ]
    )
    model.layers[0].set_weights([weights])
    return Sampler(model)


def test_the_z_of_a_linear_generator_are_the_least_squares_solutions() -> None:
    weights = matrix(spread=5)
    images = 0.02 * np.random.default_rng(1).normal(size=(3, SIDE * SIDE)).astype(np.float32)
    images += latent(range(5, 8), DIMENSIONS) @ weights / 2
    found = Inverter(linear(weights), None)("test", images.reshape(-1, SIDE, SIDE, 1), SEARCH)
    expected = np.linalg.lstsq(weights.T.astype(np.float64), images.T, rcond=None)[0].T
    residual = np.sqrt(np.square(expected @ weights - images).mean(1))
    np.testing.assert_allclose(found.pixels, 127.5 * residual, rtol=1e-3)


def test_z_is_no_longer_than_three_standard_deviations_allow() -> None:
    weights = matrix()
    direction = latent([5], DIMENSIONS)
    longest = np.sqrt(DIMENSIONS) + 3 * np.sqrt(0.5)
    nearest = longest * direction / np.linalg.norm(direction)  # the rows are orthogonal and of equal length
    image = (100 * direction @ weights).reshape(1, SIDE, SIDE, 1)
    found = Inverter(linear(weights), None)("test", image, SEARCH)
    np.testing.assert_allclose(found.z, nearest, atol=0.02)


def test_levels_are_those_of_images_of_bytes() -> None:
    black, gray = np.full((1, 2, 2, 3), -1.0), np.full((1, 2, 2, 3), 100 / 127.5 - 1)
    assert levels(np.square(gray - black).mean()) == pytest.approx(100)


def test_two_random_samples_differ_by_the_root_of_twice_the_variance() -> None:
    weights = matrix()
    measured = Inverter(linear(weights), None).random_pixels
    assert measured == pytest.approx(127.5 * np.sqrt(2 * np.square(weights).sum() / SIDE**2), rel=0.05)


@pytest.fixture(scope="module")
def networks(tiny: Project) -> tuple[Sampler, Judge]:
    data = manifest.read(tiny.folder / "data/prepared")
    judge = judges.load(tiny.folder / "models/features", data)
    assert judge
    return Sampler.load(tiny.folder / "models/generator.keras", data.shape), judge


def test_the_descent_comes_much_nearer_to_a_sample_than_its_starts(networks: tuple[Sampler, Judge]) -> None:
    sampler, judge = networks
    inverter = Inverter(sampler, judge)
    samples = sampler(latent([10**6, 10**6 + 1], sampler.dimensions))
    starts, found = (inverter("test", samples, Search(restarts=4, steps=steps)) for steps in (1, 300))
    assert (found.pixels < starts.pixels / 3).all()


def test_a_sample_of_a_start_gives_its_seed_and_exactly_its_z(networks: tuple[Sampler, Judge]) -> None:
    sampler, judge = networks
    found = Inverter(sampler, judge)("test", sampler(latent([5, 77], sampler.dimensions)), Search(2, 3))
    assert found.seeds.tolist() == [5, 77]
    np.testing.assert_array_equal(found.z, latent([5, 77], sampler.dimensions))


def test_distances_are_those_of_the_samples_of_z(networks: tuple[Sampler, Judge]) -> None:
    sampler, judge = networks
    images = np.random.default_rng(0).uniform(-1, 1, (3, *sampler.shape)).astype(np.float32)
    found = Inverter(sampler, judge)("test", images, Search(2, 5))
    samples = sampler(found.z)
    np.testing.assert_array_equal(found.samples, samples)
    np.testing.assert_allclose(found.pixels, 127.5 * np.sqrt(((samples - images) ** 2).mean((1, 2, 3))), rtol=1e-5)
    assert found.features is not None
    expected = np.linalg.norm(judge(samples).features - judge(images).features, axis=1)
    np.testing.assert_allclose(found.features, expected, rtol=1e-5)


def test_the_judge_draws_the_features_nearer(networks: tuple[Sampler, Judge]) -> None:
    sampler, judge = networks
    images = sampler(latent(range(10**6, 10**6 + 8), sampler.dimensions))[:, ::-1]  # upside down: out of reach
    with_judge = Inverter(sampler, judge)("test", images, Search(2, 100))
    without = Inverter(sampler, None)("test", images, Search(2, 100))
    assert with_judge.features is not None
    assert without.features is None
    of_without = np.linalg.norm(judge(without.samples).features - judge(images).features, axis=1)
    assert with_judge.features.mean() < of_without.mean()


def test_the_same_seed_gives_the_same_z_and_another_seed_other_starts(networks: tuple[Sampler, Judge]) -> None:
    sampler, judge = networks
    images = np.zeros((2, *sampler.shape), np.float32)
    first, again, other = (Inverter(sampler, judge, seed)("test", images, Search(2, 30)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.z, again.z)
    assert set(first.seeds) <= set(range(2000))
    assert set(other.seeds) <= set(range(2000, 4000))
