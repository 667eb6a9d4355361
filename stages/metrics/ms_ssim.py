"""Multi-scale structural similarity of pairs of images: how much alike samples are (Odena et al. 2017, section 4.2).

Wang, Simoncelli, Bovik 2003: luminance, contrast and structure are compared in Gaussian windows, on five scales, each
half the size of the one before. arXiv:1610.09585 takes its mean over pairs of samples for diversity: 1 where a
generator gives one picture, and about the value of real pairs where its samples differ as real images do.
"""

import numpy as np

_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # of the scales, the finest first (Wang et al., 3.2)
_WINDOW, _SIGMA = 11, 1.5
_CHUNK = 4 << 20  # bytes of images at a time; some ten times as much is worked with
_C1, _C2 = 0.01**2, 0.03**2  # for values in [0,1]


def ms_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs of images float32 NHWC in [-1,1], each side 16 or more => their similarity, float64 (N,), at most 1.

    Where a scale is smaller than the window of 11, the window is as large as the image and σ shrinks with it, as in
    Karras et al. 2018 (arXiv:1710.10196), so that 64 × 64 has a value; terms below zero count as zero. Raises
    ValueError for two shapes or for smaller images.
    """
    if a.shape != b.shape or min(a.shape[1:3]) < 1 << (len(_WEIGHTS) - 1):
        raise ValueError(f"expected pairs of one shape with sides of 16 or more, got {a.shape} and {b.shape}")
    chunk = max(1, _CHUNK // max(a[0:1].nbytes, 1))
    if len(a) > chunk:
        return np.concatenate([ms_ssim(a[i : i + chunk], b[i : i + chunk]) for i in range(0, len(a), chunk)])
    a, b = (a.astype(np.float64) + 1) / 2, (b.astype(np.float64) + 1) / 2
    similarity = np.ones((len(a), a.shape[3]))
    for weight in _WEIGHTS[:-1]:
        similarity *= np.maximum(_terms(a, b)[1], 0) ** weight
        a, b = _halved(a), _halved(b)
    return (similarity * np.maximum(_terms(a, b)[0], 0) ** _WEIGHTS[-1]).mean(1)


def _halved(images: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels; an odd last row or column is left."""
    count, height, width, channels = images.shape
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(count, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _terms(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its part of contrast and structure, each the mean over the windows that lie within: (N, C) each."""
    rows, columns = _windows(a.shape[1]), _windows(a.shape[2])

    def blur(values: np.ndarray) -> np.ndarray:
        return np.einsum("ih,nhwc,jw->nijc", rows, values, columns, optimize=True)

    mean_a, mean_b = blur(a), blur(b)
    variance = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (luminance * contrast).mean((1, 2)), contrast.mean((1, 2))


def _windows(side: int) -> np.ndarray:
    """A Gaussian window at each place within a side, as rows of a matrix: (places, side)."""
    width = min(_WINDOW, side)
    offsets = np.arange(width) - (width - 1) / 2
    window = np.exp(-(offsets**2) / (2 * (_SIGMA * width / _WINDOW) ** 2))
    places = np.zeros((side - width + 1, side))
    for place, row in enumerate(places):
        row[place : place + width] = window / window.sum()
    return places
