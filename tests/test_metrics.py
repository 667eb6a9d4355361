"""Metrics, against closed forms and independent implementations."""

import cv2
import numpy as np
import pytest
from scipy import ndimage, stats

from stages.metrics.frechet import Gaussian, Moments, frechet_distance, gaussian
from stages.metrics.modes import class_histogram, modes
from stages.metrics.swd import Patches, _laplacian, descriptors, sliced_wasserstein


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


@pytest.mark.parametrize("sizes", [(1, 1), (1, 7, 92), (50, 0, 50), (3,) * 30])
def test_moments_of_batches_are_those_of_all_features(sizes: tuple[int, ...]) -> None:
    features = np.random.default_rng(0).normal(1000, 0.01, (sum(sizes), 4)).astype(np.float32)
    whole, parts, at = features.astype(np.float64), [], 0
    for size in sizes:
        part = Moments(4)
        if size:
            part.add(features[at : at + size])
        parts.append(part)
        at += size
    one_by_one, merged = Moments(4), Moments(4)
    for start in range(len(features)):
        one_by_one.add(features[start : start + 1])
    for part in parts:
        merged.merge(part)
    for moments in (one_by_one, merged):
        found = moments.gaussian()
        assert moments.count == len(features)
        assert np.allclose(found.mean, whole.mean(0), rtol=1e-13)
        assert np.allclose(found.covariance, np.cov(whole, rowvar=False), rtol=1e-8, atol=1e-13)


def test_moments_leave_the_features_and_what_they_gave_as_they_were() -> None:
    features = np.random.default_rng(0).normal(size=(5, 3))
    before, moments = features.copy(), Moments(3)
    moments.add(features)
    found = moments.gaussian()
    mean = found.mean.copy()
    moments.add(features + 1)
    assert np.array_equal(features, before)
    assert np.array_equal(found.mean, mean)


def test_one_feature_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="at least 2 features, got 1"):
        gaussian(np.zeros((1, 3)))


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


def textures(seed: int, count: int = 60, size: int = 32, channels: int = 1) -> np.ndarray:
    """Smooth random images, of one distribution for every seed."""
    noise = np.random.default_rng(seed).normal(size=(count, size, size, channels))
    return np.tanh(4 * ndimage.gaussian_filter(noise, (0, 1, 1, 0), mode="wrap")).astype(np.float32)


def swd(a: np.ndarray, b: np.ndarray, seed: int = 0) -> dict[str, float]:
    return sliced_wasserstein(descriptors(a, seed), descriptors(b, seed), seed)


def test_swd_is_the_mean_of_scipys_distances_over_directions() -> None:
    a, b = (np.random.default_rng(seed).normal(seed, 1, (500, 49)).astype(np.float32) for seed in (0, 1))
    directions = np.random.default_rng([7, 0]).standard_normal((512, 49), np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = np.mean([stats.wasserstein_distance(a @ direction, b @ direction) for direction in directions])
    result = sliced_wasserstein([a], [b], 7)
    assert result == {"swd": pytest.approx(1000 * expected, rel=1e-5), "swd_16": result["swd"]}


def test_swd_of_a_shift_is_its_mean_projection() -> None:
    points = np.random.default_rng(0).normal(size=(400, 147)).astype(np.float32)
    shifted = points.copy()
    shifted[:, 3] += 2
    # The mean of |x| for a coordinate x of a random direction in d dimensions: Γ(d/2) / (√π Γ((d+1)/2)) ≈ √(2/(π d)).
    assert sliced_wasserstein([points], [shifted], 0)["swd"] == pytest.approx(2000 * np.sqrt(2 / np.pi / 147), rel=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pyramid_is_burt_and_adelsons(channels: int) -> None:
    image = textures(0, 1, 64, channels)[0]
    kernel = np.array([1, 4, 6, 4, 1]) / 16

    def blur(plane: np.ndarray, factor: float, mode: str) -> np.ndarray:
        for axis in (0, 1):
            plane = ndimage.convolve1d(plane, kernel * factor, axis, mode=mode)
        return plane

    fine, middle, coarse = _laplacian(image, 3)
    half = blur(image, 1, "mirror")[::2, ::2]
    quarter = blur(half, 1, "mirror")[::2, ::2]
    assert np.allclose(coarse, quarter, atol=1e-5)
    for plane, small, level in ((image, half, fine), (half, quarter, middle)):
        spread = np.zeros_like(plane)
        spread[::2, ::2] = small
        # OpenCV has a way of its own with the last two rows and columns.
        assert np.allclose((plane - blur(spread, 2, "mirror"))[:-2, :-2], level[:-2, :-2], atol=1e-5)
    restored = cv2.pyrUp(cv2.pyrUp(coarse).reshape(middle.shape) + middle).reshape(fine.shape) + fine
    assert np.allclose(restored, image, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "channels", "levels"), [(16, 1, [16]), (32, 3, [32, 16]), (256, 3, [256, 128, 64, 32, 16])]
)
def test_descriptors_are_a_level_each_normalised_per_channel(size: int, channels: int, levels: list[int]) -> None:
    images = textures(1, 8, size, channels) * np.linspace(0.2, 0.9, channels, dtype=np.float32) + 0.1
    found = descriptors(images, 0)
    assert [level.shape for level in found] == [(8 * 128, 49 * channels)] * len(levels)
    for level in found:
        assert level.dtype == np.float32
        patches = level.reshape(-1, 49, channels)
        assert np.allclose(patches.mean((0, 1)), 0, atol=1e-4)
        assert np.allclose(patches.std((0, 1)), 1, atol=1e-4)
    assert list(sliced_wasserstein(found, found, 0)) == ["swd", *(f"swd_{level}" for level in levels)]


def test_descriptors_are_patches_of_the_level() -> None:
    image = textures(2, 1, 16)
    values = descriptors(image, 3)[0].reshape(-1, 7, 7)
    windows = np.lib.stride_tricks.sliding_window_view(image[0, ..., 0], (7, 7)).reshape(-1, 7, 7)
    scale = (windows.max() - windows.min()) / (values.max() - values.min())
    known = {tuple(np.round((w - windows.min()).ravel(), 3)) for w in windows}
    there = {tuple(np.round(((v - values.min()) * scale).ravel(), 3)) for v in values}
    assert len(there & known) == len(there) > 50, "every patch is a window of the image"


def test_the_set_to_itself_is_at_zero_and_to_its_like_at_a_floor() -> None:
    a = textures(0)
    assert set(swd(a, a.copy()).values()) == {0.0}
    assert 0 < swd(a, textures(1))["swd"] < 40


def test_swd_grows_with_blur_and_with_noise() -> None:
    real = textures(0)
    floor = swd(real, textures(1))["swd"]
    blurred = [swd(real, ndimage.gaussian_filter(textures(1), (0, s, s, 0)))["swd"] for s in (0.5, 1, 2)]
    noise = np.random.default_rng(5).normal(size=real.shape)
    noisy = [swd(real, (textures(1) + s * noise).astype(np.float32))["swd"] for s in (0.1, 0.3, 1)]
    assert [floor, *blurred] == sorted([floor, *blurred])
    assert [floor, *noisy] == sorted([floor, *noisy])


def test_swd_of_a_generator_that_makes_one_flat_image_is_finite() -> None:
    result = swd(textures(0), np.full((60, 32, 32, 1), 0.3, np.float32))
    assert all(np.isfinite(value) and value > 100 for value in result.values())


def test_the_same_seed_gives_the_same_distance_and_batches_change_nothing() -> None:
    images = textures(3, 50)
    collected = Patches(40, (32, 32, 1), 1)
    for first in range(0, 50, 7):
        collected.add(images[first : first + 7])
    expected = descriptors(images[:40], 1)
    for a, b in zip(collected.descriptors(), expected, strict=True):
        assert np.array_equal(a, b)
    assert swd(images, textures(4, 50)) == swd(images, textures(4, 50))
    assert not np.array_equal(descriptors(images[:40], 2)[0], expected[0])


def test_a_set_of_any_size_takes_a_bounded_number_of_patches() -> None:
    assert [len(descriptors(np.zeros((n, 16, 16, 1), np.float32), 0)[0]) for n in (1, 512, 3000)] == [128, 65536, 63000]


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="as many images of one shape"):
        swd(textures(0, 20), textures(0, 21))
    with pytest.raises(ValueError, match="as many images of one shape"):
        swd(textures(0, 20), textures(0, 20, 16))
    with pytest.raises(ValueError, match="expected images, got none"):
        descriptors(np.zeros((0, 32, 32, 1), np.float32), 0)
    for shape in ((2, 8, 8, 1), (2, 24, 24, 1), (2, 32, 16, 1)):
        with pytest.raises(ValueError, match="power of two from 16 up"):
            descriptors(np.zeros(shape, np.float32), 0)
    with pytest.raises(ValueError, match="expected 3 images, got 2"):
        collected = Patches(3, (16, 16, 1), 0)
        collected.add(np.zeros((2, 16, 16, 1), np.float32))
        collected.descriptors()
