"""Precision, recall, density, coverage: how far generated and real features lie in each other's neighbourhoods.

Kynkäänniemi et al. 2019 (arXiv:1904.06991): around each real feature a sphere that reaches to its k-th neighbour;
together they are the manifold of real images. Naeem et al. 2020 (arXiv:2002.09797) count the spheres instead, which one
outlier with a large sphere cannot inflate.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PRECISION_K, DENSITY_K = 3, 5  # as the papers have it
_BLOCK = 1000
_NO_DISTANCE = 1e-100


@dataclass(frozen=True)
class Neighbourhoods:
    """What `compare` finds: `values` by name, and each generated feature's `realism`, float64 (M,).

    Realism (Kynkäänniemi et al., equation 3) is the largest ratio of a real sphere's radius to its centre's distance,
    over the smaller half of the spheres: 1 or more where the feature lies in one of them, and the less the worse.
    """

    values: dict[str, float]
    realism: np.ndarray


def compare(real: np.ndarray, generated: np.ndarray) -> Neighbourhoods:
    """Features (N, d) and (M, d) => `precision`, `recall`, `density`, `coverage`, and each generated one's realism.

    `precision`: share of generated features within a sphere of a real one (k = 3); `recall`: the other way round;
    `density`: real spheres (k = 5) that a generated feature lies in, over 5; `coverage`: share of the real spheres with
    a generated feature in them. Take as many of each: all four move with the numbers. Holds 1000 × N distances at a
    time. Raises ValueError for fewer than 6 features in either set.
    """
    if min(len(real), len(generated)) <= DENSITY_K:
        raise ValueError(f"expected more than {DENSITY_K} features in each set, got {len(real)} and {len(generated)}")
    centre = real.mean(0, dtype=np.float64)
    real, generated = real - centre, generated - centre  # float64, and small: the distances lose no digits
    of_real, wide = _radii(real, PRECISION_K), _radii(real, DENSITY_K)
    of_generated = _radii(generated, PRECISION_K)
    small = of_real <= np.median(of_real)
    inside, spheres, realism = [], [], []
    recalled = np.zeros(len(real), bool)
    nearest = np.full(len(real), np.inf)
    for part, distances in _distances(generated, real):
        inside.append((distances <= of_real).any(1))
        spheres.append((distances <= wide).sum(1))
        realism.append((of_real[small] / np.maximum(distances[:, small], _NO_DISTANCE)).max(1))
        recalled |= (distances <= of_generated[part, None]).any(0)
        nearest = np.minimum(nearest, distances.min(0))
    values = {
        "precision": np.concatenate(inside).mean(),
        "recall": recalled.mean(),
        "density": np.concatenate(spheres).mean() / DENSITY_K,
        "coverage": (nearest <= wide).mean(),
    }
    return Neighbourhoods({name: float(value) for name, value in values.items()}, np.concatenate(realism))


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Euclidean distances of a's points (N, d) to b's (M, d), a block (≤1000, M) at a time, with its place in a."""
    squares = (b**2).sum(1)
    for first in range(0, len(a), _BLOCK):
        part = slice(first, first + _BLOCK)
        square = (a[part] ** 2).sum(1)[:, None] + squares - 2 * a[part] @ b.T
        yield part, np.sqrt(np.maximum(square, 0, out=square), out=square)


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """The distance (N,) from each point of (N, d) to its k-th neighbour; itself, at 0, is none."""
    return np.concatenate([np.partition(distances, k, axis=1)[:, k] for _, distances in _distances(points, points)])
