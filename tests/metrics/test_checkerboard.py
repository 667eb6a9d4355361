"""The checkerboard measure, on patterns with a known spectrum."""

import numpy as np
import pytest
from scipy import ndimage

from stages.metrics.checkerboard import checkerboard, power


def measure(images: np.ndarray) -> float:
    return checkerboard(power(images))


def noise(seed: int = 0, channels: int = 1, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, (400, *size, channels)).astype(np.float32)


def pattern(size: tuple[int, int] = (32, 32)) -> np.ndarray:
    """+1 and -1 alternating along rows and columns."""
    return (1 - 2 * (np.indices(size).sum(0) % 2)).astype(np.float32)[None, :, :, None]


def test_the_power_satisfies_parsevals_theorem() -> None:
    images = noise(channels=3)
    assert power(images).sum() == pytest.approx(32 * 32 * (images.astype(np.float64) ** 2).sum(), rel=1e-5)


def test_a_checkerboards_power_is_at_its_frequency() -> None:
    assert power(pattern())[16, 16] == pytest.approx(1024**2)


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (20, 56)])
def test_noise_is_near_one(size: tuple[int, int]) -> None:
    assert measure(noise(size=size)) == pytest.approx(1, abs=0.05)


def test_smooth_images_are_below_one() -> None:
    assert 0.5 < measure(ndimage.gaussian_filter(noise(), (0, 0.7, 0.7, 0), mode="wrap")) < 1


@pytest.mark.parametrize(("channels", "size"), [(1, (32, 32)), (3, (64, 28)), (4, (28, 64))])
def test_a_stronger_checkerboard_gives_a_higher_value(channels: int, size: tuple[int, int]) -> None:
    values = [measure(noise(0, channels, size) + strength * pattern(size)) for strength in (0, 0.02, 0.05, 0.2)]
    assert values == sorted(values)
    assert values[2] > 1.3
    assert values[3] > 10


@pytest.mark.parametrize("axis", [1, 2])
def test_stripes_give_a_high_value_too(axis: int) -> None:
    stripes = np.expand_dims(1 - 2 * (np.arange(32) % 2), tuple(a for a in (0, 1, 2, 3) if a != axis))
    assert measure(noise() + 0.2 * stripes.astype(np.float32)) > 5


def test_zeros_inserted_by_upsampling_are_detected_and_repeated_pixels_are_not() -> None:
    small = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(200, 16, 16, 1)), (0, 2, 2, 0), mode="wrap")
    holes = np.zeros((200, 32, 32, 1), np.float32)
    holes[:, ::2, ::2] = small
    assert measure(holes) > 2
    assert measure(small.repeat(2, 1).repeat(2, 2).astype(np.float32)) < 1.1


def test_a_black_image_has_the_value_one() -> None:
    assert measure(np.zeros((3, 16, 16, 1), np.float32)) == 1


def test_a_flat_image_has_a_finite_value() -> None:
    assert np.isfinite(measure(np.full((3, 16, 16, 1), 0.5, np.float32)))
