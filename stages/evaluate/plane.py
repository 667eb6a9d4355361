"""Features as points of a plane, for a scatter plot (van der Maaten, Hinton 2008), and images typical of a class."""

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

POINTS = 500
"""Points of each kind, real and generated."""
_PERPLEXITY = 30.0


def plane(real: np.ndarray, generated: np.ndarray, seed: int) -> np.ndarray:
    """Features (N, d) and (M, d) => their positions in a joint t-SNE, float64 (N + M, 2); N + M at least 4.

    Only neighbourhoods have a meaning; the sizes of groups and the distances between them have none. Runs on one
    thread, because several threads would sum in an order that differs between runs.
    """
    points = np.concatenate([real, generated]).astype(np.float64)
    if np.ptp(points, axis=0).max() == 0:  # t-SNE fails on identical points
        return np.zeros((len(points), 2))
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    with threadpool_limits(1):
        return np.asarray(TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(points), np.float64)


def typical(features: np.ndarray, classes: np.ndarray, index: int, count: int) -> list[int]:
    """The places of the `count` members of a class nearest to their mean, the nearest first; fewer if it has fewer.

    `features` (N, d) and `classes` (M,) are of the same images, as far as both go.
    """
    members = np.flatnonzero(classes[: len(features)] == index)
    if not len(members):
        return []
    points = features[members].astype(np.float64)
    distances = ((points - points.mean(0)) ** 2).sum(1)
    return [int(place) for place in members[distances.argsort(kind="stable")[:count]]]
