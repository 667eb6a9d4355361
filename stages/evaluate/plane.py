"""Real and generated features as points of a plane, to be looked at (van der Maaten, Hinton 2008)."""

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

POINTS = 500
"""Of each side."""
_PERPLEXITY = 30.0


def plane(real: np.ndarray, generated: np.ndarray, seed: int) -> np.ndarray:
    """Features (N, d) and (M, d) => their places in one t-SNE of both, float64 (N + M, 2); N + M at least 4.

    Distances between groups and their sizes mean nothing; which points lie among which does. On one thread: the sums of
    several come in an order that differs from run to run.
    """
    points = np.concatenate([real, generated]).astype(np.float64)
    if np.ptp(points, axis=0).max() == 0:  # all in one place, where t-SNE would fail
        return np.zeros((len(points), 2))
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    with threadpool_limits(1):
        return np.asarray(TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(points), np.float64)
