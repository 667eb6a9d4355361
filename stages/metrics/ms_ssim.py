"""Multi-scale structural similarity of pairs of images: how similar samples are (Odena et al. 2017, section 4.2).

Wang, Simoncelli, Bovik 2003 compare luminance, contrast and structure in Gaussian windows, at five scales, each half
the size of the one before. Odena et al. (arXiv:1610.09585) measure diversity by the mean over pairs of samples.
The mean is 1 if the generator makes a single picture, and equals that of real pairs if samples are as diverse.
"""

import numpy as np

_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # of the scales, finest first (Wang et al., section 3.2)
_WINDOW, _SIGMA = 11, 1.5
_CHUNK = 4 << 20  # bytes of images at a time; the working memory is about ten times as large
_C1, _C2 = 0.01**2, 0.03**2  # for values in [0,1]


def ms_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs of images float32 NHWC in [-1,1], sides at least 16 => their similarity, float64 (N,), at most 1.

    At scales smaller than the window of 11 pixels, the window shrinks to the image, and σ with it, as in Karras et al.
    2018 (arXiv:1710.10196). So images of 64 × 64 have a value too. Terms below zero count as zero. Raises ValueError
    for two different shapes and for smaller images.
    """
    if a.shape != b.shape or min(a.shape[1:3]) < 1 << (len(_WEIGHTS) - 1):
        raise ValueError(f"expected pairs of one shape with sides of at least 16, got {a.shape} and {b.shape}")
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
    """Means of 2 × 2 pixels, without an odd last row or column."""
    count, height, width, channels = images.shape
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(count, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _terms(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast-structure factor, each the mean over all windows inside the image: (N, C) each."""
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
    """A Gaussian window at each place along a side, as rows of a matrix: (places, side)."""
    width = min(_WINDOW, side)
    offsets = np.arange(width) - (width - 1) / 2
    window = np.exp(-(offsets**2) / (2 * (_SIGMA * width / _WINDOW) ** 2))
    windows = np.zeros((side - width + 1, side))
    for first, row in enumerate(windows):
        row[first : first + width] = window / window.sum()
    return windows
