"""Kernel Inception distance, in any network's features (Bińkowski et al. 2018, arXiv:1801.01401, section 3)."""

import math

import numpy as np

BLOCK = 1000
"""Features to a block, as the paper has it."""


def kernel_distance(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Features (N, d) and (M, d) => `kid`, the squared MMD under the kernel (x·y / d + 1)³, and `kid_se`.

    The estimator is unbiased, so that two sets of one distribution are at 0 on average, and may be below it. It is the
    mean over blocks of 1000 features that have none in common (of fewer features, over two blocks); `kid_se` is the
    standard error of that mean. Raises ValueError for fewer than 4 features in either set.
    """
    count = min(len(a), len(b))
    if count < 4:
        raise ValueError(f"expected 4 features or more in each set, got {len(a)} and {len(b)}")
    blocks = max(2, count // BLOCK)
    size = count // blocks
    a, b = a.astype(np.float64), b.astype(np.float64)
    parts = [slice(i * size, (i + 1) * size) for i in range(blocks)]
    values = [_unbiased_mmd(a[part], b[part]) for part in parts]
    return {"kid": float(np.mean(values)), "kid_se": float(np.std(values, ddof=1) / math.sqrt(blocks))}


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _unbiased_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Gretton et al. 2012, equation 3, for two sets of m points: pairs of a point with itself do not count."""
    m = len(a)
    within = sum(kernel.sum() - np.trace(kernel) for kernel in (_kernel(a, a), _kernel(b, b)))
    return float(within / (m * (m - 1)) - 2 * _kernel(a, b).mean())
