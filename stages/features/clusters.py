"""Clusters of features, which take the place of classes for data without labels: k-means (Lloyd 1982, Arthur 2007).

The number of clusters is the largest of a fixed list for which clusters found in one half of the pictures predict
those of the other half: the prediction strength of Tibshirani, Walther 2005 (J. Comput. Graph. Statist. 14(3)).
"""

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

COUNTS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
"""The numbers of clusters to try."""
_STRENGTH = 0.8
_STARTS = 4  # of k-means, of which the best is kept


def cluster(features: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, d) => the centres of their clusters, float64 (K, d), the largest first, and their shares (K,).

    One cluster if no number of the list passes. Runs on one thread, because several threads would sum in an order that
    differs between runs.
    """
    with threadpool_limits(1):
        strengths = {count: prediction_strength(features, count, seed) for count in COUNTS if 2 * count < len(features)}
        count = max((count for count, strength in strengths.items() if strength >= _STRENGTH), default=1)
        means = _fit(features, count, seed)
    shares = np.bincount(means.labels_, minlength=count) / len(features)
    order = np.argsort(-shares, kind="stable")
    return means.cluster_centers_[order].astype(np.float64), shares[order]


def _fit(features: np.ndarray, count: int, seed: int) -> KMeans:
    return KMeans(count, n_init=_STARTS, random_state=seed).fit(features)


def prediction_strength(features: np.ndarray, count: int, seed: int) -> float:
    """How well `count` clusters of every other one of the features (N, d) predict those of the rest: 0 to 1.

    For each cluster of the rest, it is the share of pairs in it that are in one cluster of the first half too; the
    result is that of the worst cluster (Tibshirani, Walther 2005, equation 2.1). A cluster of one picture has 0.
    """
    first, rest = (_fit(features[start::2], count, seed) for start in range(2))
    predicted = first.predict(features[1::2])
    return min(_pairs_kept(predicted[rest.labels_ == cluster], count) for cluster in range(count))


def _pairs_kept(predicted: np.ndarray, count: int) -> float:
    """The share of the pairs among the members of a cluster that the predicted clusters (n,) keep together."""
    sizes = np.bincount(predicted, minlength=count)
    pairs = len(predicted) * (len(predicted) - 1)
    return float((sizes * (sizes - 1)).sum() / pairs) if pairs else 0.0
