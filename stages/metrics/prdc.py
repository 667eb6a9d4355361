"""Precision, recall, density, coverage: how far generated and real features lie in each other's neighbourhoods.

Kynkäänniemi et al. 2019 (arXiv:1904.06991) put a sphere around each real feature that reaches to its k-th neighbour;
together the spheres are the manifold of real images. Naeem et al. 2020 (arXiv:2002.09797) count the spheres instead,
which one outlier with a large sphere cannot inflate.
"""

from collections.abc import Iterator

import numpy as np

PRECISION_K, DENSITY_K = 3, 5  # as in the papers
_BLOCK = 1000
_SMALLEST_DISTANCE = 1e-100


def compute(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Features (N, d) and (M, d) => `precision`, `recall`, `density` and `coverage`.

    `precision`: share of generated features within a sphere of a real one (k = 3); `recall`: the share of real features
    within a sphere of a generated one; `density`: the number of real spheres (k = 5) that a generated feature lies in,
    over 5; `coverage`: the share of real spheres that hold a generated feature. All four depend on the sizes of the
    sets, so compare sets of equal size. Holds 1000 × M distances at a time. Raises ValueError for fewer than 6 features
    in either set.
    """
    if min(len(real), len(generated)) <= DENSITY_K:
        raise ValueError(
            f"at least {DENSITY_K + 1} features in each set are needed, got {len(generated)} and {len(real)}"
        )
    generated, real = _centred(generated, real)
    real_radii, wide_radii = _radii(real, PRECISION_K, DENSITY_K)
    (generated_radii,) = _radii(generated, PRECISION_K)
    inside, spheres = [], []
    recalled = np.zeros(len(real), bool)
    nearest = np.full(len(real), np.inf)
    for part, distances in _distances(generated, real):
        inside.append((distances <= real_radii).any(1))
        spheres.append((distances <= wide_radii).sum(1))
        recalled |= (distances <= generated_radii[part, None]).any(0)
        nearest = np.minimum(nearest, distances.min(0))
    return {
        "precision": float(np.concatenate(inside).mean()),
        "recall": float(recalled.mean()),
        "density": float(np.concatenate(spheres).mean() / DENSITY_K),
        "coverage": float((nearest <= wide_radii).mean()),
    }


def realism(generated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Features (N, d) and (M, d) => the realism of each generated feature, float64 (N,); M at least 4.

    Kynkäänniemi et al., equation 3: the largest ratio of a real sphere's radius to the distance from its centre, over
    the smaller half of the spheres. It is 1 or more for a feature inside one of them, and lower for a worse one.
    """
    generated, real = _centred(generated, real)
    (radii,) = _radii(real, PRECISION_K)
    small = radii <= np.median(radii)
    blocks = _distances(generated, real[small])
    return np.concatenate(
        [(radii[small] / np.maximum(distances, _SMALLEST_DISTANCE)).max(1) for _, distances in blocks]
    )


def _centred(generated: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets in float64 with the real ones' mean at zero: small values, so that distances lose no digits."""
    centre = real.mean(0, dtype=np.float64)
    return generated - centre, real - centre


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Euclidean distances of a's points (N, d) to b's (M, d), a block (≤1000, M) at a time, with its place in a."""
    squares = (b**2).sum(1)
    for first in range(0, len(a), _BLOCK):
        part = slice(first, first + _BLOCK)
        square = (a[part] ** 2).sum(1)[:, None] + squares - 2 * a[part] @ b.T
        yield part, np.sqrt(np.maximum(square, 0, out=square), out=square)


def _radii(points: np.ndarray, *ks: int) -> list[np.ndarray]:
    """For each k, the distances (N,) from the points (N, d) to their k-th neighbours. No point is its own neighbour."""
    blocks = [np.partition(distances, ks, axis=1)[:, ks] for _, distances in _distances(points, points)]
    return list(np.concatenate(blocks).T)
