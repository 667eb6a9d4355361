"""MS-SSIM, against TensorFlow's for large images and window by window for small ones, which TensorFlow rejects."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from stages.metrics.ms_ssim import ms_ssim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def textures(seed: int, count: int, size: int, channels: int = 1, sigma: float = 2) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(count, size, size, channels))
    return np.tanh(4 * ndimage.gaussian_filter(noise, (0, sigma, sigma, 0), mode="wrap")).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_have_the_value_of_tensorflow(channels: int) -> None:
    a = textures(0, 3, 256, channels)
    b = np.clip(a + 0.3 * textures(1, 3, 256, channels), -1, 1).astype(np.float32)
    expected = tf.image.ssim_multiscale((a + 1) / 2, (b + 1) / 2, max_val=1).numpy()
    assert ms_ssim(a, b) == pytest.approx(expected, abs=2e-4)


def by_windows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Wang et al. 2003, window by window. The window and its σ shrink with images that are smaller than the window."""
    results = []
    for x, y in zip((a.astype(float) + 1) / 2, (b.astype(float) + 1) / 2, strict=True):
        per_channel = []
        for channel in range(x.shape[-1]):
            u, v, product = x[..., channel], y[..., channel], 1.0
            for scale, weight in enumerate(WEIGHTS):
                ssim, contrast = _ssim(u, v)
                product *= max(ssim if scale == 4 else contrast, 0) ** weight
                if scale < 4:
                    u, v = (image.reshape(len(image) // 2, 2, -1, 2).mean((1, 3)) for image in (u, v))
            per_channel.append(product)
        results.append(np.mean(per_channel))
    return np.array(results)


def _ssim(u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    width = min(11, len(u))
    line = np.exp(-((np.arange(width) - (width - 1) / 2) ** 2) / (2 * (1.5 * width / 11) ** 2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    windows = [np.lib.stride_tricks.sliding_window_view(image, (width, width)) for image in (u, v)]
    p, q = (cut.reshape(-1, width, width) for cut in windows)

    def mean(values: np.ndarray) -> np.ndarray:
        return (values * window).sum((1, 2))

    mp, mq = mean(p), mean(q)
    c1, c2 = 0.01**2, 0.03**2
    spread = mean(p * p) - mp**2 + mean(q * q) - mq**2
    contrast = (2 * (mean(p * q) - mp * mq) + c2) / (spread + c2)
    luminance = (2 * mp * mq + c1) / (mp**2 + mq**2 + c1)
    return float((luminance * contrast).mean()), float(contrast.mean())


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 1), (64, 3)])
def test_the_windows_shrink_with_small_images(size: int, channels: int) -> None:
    a = textures(2, 4, size, channels)
    b = np.clip(0.8 * a + 0.2 * textures(3, 4, size, channels), -1, 1).astype(np.float32)
    assert ms_ssim(a, b) == pytest.approx(by_windows(a, b), abs=1e-6)


def test_an_image_has_similarity_one_to_itself_and_less_with_more_noise() -> None:
    a = textures(4, 8, 32)
    noise = np.random.default_rng(5).normal(size=a.shape).astype(np.float32)
    means = [ms_ssim(a, a + strength * noise).mean() for strength in (0, 0.05, 0.2, 0.8)]
    assert means[0] == pytest.approx(1)
    assert means == sorted(means, reverse=True)


def test_a_collapsed_generator_has_a_far_higher_similarity_than_a_diverse_one() -> None:
    various = textures(6, 32, 32)
    pairs = list(itertools.pairwise(range(32)))
    diverse = ms_ssim(various[[i for i, _ in pairs]], various[[j for _, j in pairs]]).mean()
    collapsed = np.repeat(various[:1], 31, 0) + 0.01 * textures(7, 31, 32)
    assert diverse < 0.3 < 0.95 < ms_ssim(collapsed[:-1], collapsed[1:]).mean()


def test_an_image_and_its_negative_have_similarity_zero() -> None:
    a = textures(8, 2, 32)
    assert ms_ssim(a, -a) == pytest.approx([0, 0])


def test_a_flat_image_has_similarity_one_to_itself() -> None:
    flat = np.full((1, 32, 32, 1), 0.5, np.float32)
    assert ms_ssim(flat, flat) == pytest.approx(1)


def test_many_pairs_have_the_values_of_single_pairs() -> None:
    a, b = (textures(seed, 10, 256, 3) for seed in (0, 1))
    assert np.allclose(ms_ssim(a, b), np.concatenate([ms_ssim(a[i : i + 1], b[i : i + 1]) for i in range(10)]))


def test_no_pairs_give_no_values() -> None:
    assert ms_ssim(np.zeros((0, 16, 16, 1), np.float32), np.zeros((0, 16, 16, 1), np.float32)).shape == (0,)


def test_images_smaller_than_16_pixels_are_an_error() -> None:
    with pytest.raises(ValueError, match="sides of at least 16"):
        ms_ssim(textures(0, 1, 8), textures(1, 1, 8))


def test_images_of_different_shapes_are_an_error() -> None:
    with pytest.raises(ValueError, match="pairs of one shape"):
        ms_ssim(textures(0, 1, 16), textures(1, 2, 16))
