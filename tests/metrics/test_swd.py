"""The sliced Wasserstein distance and its patches, against SciPy and closed forms."""

import cv2
import numpy as np
import pytest
from scipy import ndimage, stats

from stages.metrics.swd import Patches, _laplacian, descriptors, sliced_wasserstein


def textures(seed: int, count: int = 60, size: tuple[int, int] = (32, 32), channels: int = 1) -> np.ndarray:
    """Smooth random images, of the same distribution for every seed."""
    noise = np.random.default_rng(seed).normal(size=(count, *size, channels))
    return np.tanh(4 * ndimage.gaussian_filter(noise, (0, 1, 1, 0), mode="wrap")).astype(np.float32)


def swd(a: np.ndarray, b: np.ndarray, seed: int = 0) -> dict[str, float]:
    return sliced_wasserstein(descriptors(a, seed), descriptors(b, seed), seed)


def test_the_distance_is_the_mean_of_scipys_distances_over_directions() -> None:
    a, b = (np.random.default_rng(seed).normal(seed, 1, (500, 49)).astype(np.float32) for seed in (0, 1))
    directions = np.random.default_rng([7, 0]).standard_normal((512, 49), np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = np.mean([stats.wasserstein_distance(a @ direction, b @ direction) for direction in directions])
    result = sliced_wasserstein({16: a}, {16: b}, 7)
    assert result == {"swd": pytest.approx(1000 * expected, rel=1e-5), "swd_16": result["swd"]}


def test_the_distance_of_a_shift_is_its_mean_projection() -> None:
    points = np.random.default_rng(0).normal(size=(400, 147)).astype(np.float32)
    shifted = points.copy()
    shifted[:, 3] += 2
    # The mean of |x| for a coordinate x of a random direction in d dimensions: Γ(d/2) / (√π Γ((d+1)/2)) ≈ √(2/(π d)).
    assert sliced_wasserstein({16: points}, {16: shifted}, 0)["swd"] == pytest.approx(
        2000 * np.sqrt(2 / np.pi / 147), rel=0.1
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pyramid_is_that_of_burt_and_adelson(channels: int) -> None:
    image = textures(0, 1, (64, 96), channels)[0]
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
        # OpenCV treats the last two rows and columns differently.
        assert np.allclose((plane - blur(spread, 2, "mirror"))[:-2, :-2], level[:-2, :-2], atol=1e-5)
    restored = cv2.pyrUp(cv2.pyrUp(coarse).reshape(middle.shape) + middle).reshape(fine.shape) + fine
    assert np.allclose(restored, image, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "channels", "levels"),
    [
        ((16, 16), 1, [16]),
        ((32, 32), 3, [32, 16]),
        ((256, 256), 3, [256, 128, 64, 32, 16]),
        ((28, 28), 4, [28]),
        ((160, 160), 1, [160, 80, 40, 20]),
        ((64, 128), 3, [64, 32, 16]),
        ((224, 96), 4, [96, 48, 24]),
    ],
)
def test_there_are_descriptors_for_each_level_normalised_per_channel(
    size: tuple[int, int], channels: int, levels: list[int]
) -> None:
    images = textures(1, 8, size, channels) * np.linspace(0.2, 0.9, channels, dtype=np.float32) + 0.1
    per_level = descriptors(images, 0)
    assert {side: level.shape for side, level in per_level.items()} == dict.fromkeys(levels, (8 * 128, 49 * channels))
    for level in per_level.values():
        assert level.dtype == np.float32
        patches = level.reshape(-1, 49, channels)
        assert np.allclose(patches.mean((0, 1)), 0, atol=1e-4)
        assert np.allclose(patches.std((0, 1)), 1, atol=1e-4)
    assert list(sliced_wasserstein(per_level, per_level, 0)) == ["swd", *(f"swd_{level}" for level in levels)]


def test_the_descriptors_are_patches_of_the_image() -> None:
    image = textures(2, 1, (16, 16))
    values = descriptors(image, 3)[16].reshape(-1, 7, 7)
    windows = np.lib.stride_tricks.sliding_window_view(image[0, ..., 0], (7, 7)).reshape(-1, 7, 7)
    scale = (windows.max() - windows.min()) / (values.max() - values.min())
    expected = {tuple(np.round((window - windows.min()).ravel(), 3)) for window in windows}
    patches = {tuple(np.round(((value - values.min()) * scale).ravel(), 3)) for value in values}
    assert patches <= expected
    assert len(patches) > 50


def test_the_distance_of_a_set_to_itself_is_zero() -> None:
    assert set(swd(textures(0), textures(0)).values()) == {0.0}


def test_two_sets_of_one_distribution_are_at_a_small_distance() -> None:
    assert 0 < swd(textures(0), textures(1))["swd"] < 40


def test_the_distance_grows_with_blur_and_with_noise() -> None:
    real = textures(0)
    floor = swd(real, textures(1))["swd"]
    blurred = [swd(real, ndimage.gaussian_filter(textures(1), (0, s, s, 0)))["swd"] for s in (0.5, 1, 2)]
    noise = np.random.default_rng(5).normal(size=real.shape)
    noisy = [swd(real, (textures(1) + s * noise).astype(np.float32))["swd"] for s in (0.1, 0.3, 1)]
    assert [floor, *blurred] == sorted([floor, *blurred])
    assert [floor, *noisy] == sorted([floor, *noisy])


def test_the_distance_of_a_generator_that_makes_one_flat_image_is_finite() -> None:
    result = swd(textures(0), np.full((60, 32, 32, 1), 0.3, np.float32))
    assert all(np.isfinite(value) and value > 100 for value in result.values())


def test_the_same_seed_gives_the_same_distance() -> None:
    assert swd(textures(3), textures(4)) == swd(textures(3), textures(4))


def test_another_seed_gives_other_patches() -> None:
    images = textures(3, 40)
    assert not np.array_equal(descriptors(images, 2)[32], descriptors(images, 1)[32])


def test_batches_give_the_descriptors_of_the_first_images() -> None:
    images = textures(3, 50)
    collected = Patches(40, (32, 32, 1), 1)
    for first in range(0, 50, 7):
        collected.add(images[first : first + 7])
    expected = descriptors(images[:40], 1)
    for side, level in collected.descriptors().items():
        assert np.array_equal(level, expected[side])


def test_the_number_of_patches_is_bounded() -> None:
    assert [len(descriptors(np.zeros((n, 16, 16, 1), np.float32), 0)[16]) for n in (1, 512, 3000)] == [
        128,
        65536,
        63000,
    ]


@pytest.mark.parametrize("other", [textures(0, 21), textures(0, 20, (16, 16))], ids=["count", "size"])
def test_sets_of_different_counts_or_sizes_are_an_error(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match="equally many images of one shape"):
        swd(textures(0, 20), other)


def test_no_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected images, got none"):
        descriptors(np.zeros((0, 32, 32, 1), np.float32), 0)


@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (2, 36, 36, 1), (2, 32, 22, 1)])
def test_images_of_a_size_that_the_networks_lack_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sides of 16 to 1024 pixels"):
        descriptors(np.zeros(shape, np.float32), 0)


def test_fewer_images_than_announced_are_an_error() -> None:
    collected = Patches(3, (16, 16, 1), 0)
    collected.add(np.zeros((2, 16, 16, 1), np.float32))
    with pytest.raises(ValueError, match="expected 3 images, got 2"):
        collected.descriptors()
