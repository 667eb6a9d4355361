"""Kernel Inception distance, in any network's features (Bińkowski et al. 2018, arXiv:1801.01401, section 3)."""

import math

import numpy as np

BLOCK = 1000
"""Features in a block, as in the paper."""


def compute(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Features (N, d) and (M, d) => `kid`, the squared MMD under the kernel (x·y / d + 1)³, and `kid_se`.

    The estimator is unbiased: it is 0 on average for two sets from one distribution, so it can be negative. `kid`
    is the mean over disjoint blocks of 1000 features (two blocks if there are fewer features), and `kid_se` is the
    standard error of that mean. Raises ValueError for fewer than 4 features in either set.
    """
    count = min(len(generated), len(real))
    if count < 4:
        raise ValueError(f"at least 4 features in each set are needed, got {len(generated)} and {len(real)}")
    blocks = max(2, count // BLOCK)
    size = count // blocks
    generated, real = generated.astype(np.float64), real.astype(np.float64)
    parts = [slice(i * size, (i + 1) * size) for i in range(blocks)]
    values = [_unbiased_mmd(generated[part], real[part]) for part in parts]
    return {"kid": float(np.mean(values)), "kid_se": float(np.std(values, ddof=1) / math.sqrt(blocks))}


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _unbiased_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Gretton et al. 2012, equation 3, for two sets of m points. Pairs of a point with itself do not count."""
    m = len(a)
    within = sum(kernel.sum() - np.trace(kernel) for kernel in (_kernel(a, a), _kernel(b, b)))
    return float(within / (m * (m - 1)) - 2 * _kernel(a, b).mean())
