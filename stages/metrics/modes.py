"""Modes: which classes of the data a generator covers, and how evenly."""

import numpy as np


def class_histogram(classes: np.ndarray, total: int) -> np.ndarray:
    """Class indices (N,) => the share of each of `total` classes, float64 (total,)."""
    return np.bincount(classes, minlength=total) / len(classes)


def modes(generated: np.ndarray, real: np.ndarray, threshold: float) -> dict[str, float]:
    """Compare two class histograms (K,).

    `modes_covered`: the number of classes whose share among generated images is at least `threshold` times their share
    in the data; `modes_total`: the number of classes in the data; `mode_kl`: KL(generated ‖ real) in nats, over the
    classes in the data (for a balanced data set, the KL to the uniform distribution); `rarest_mode`: the smallest share
    of a class among generated images.
    """
    present = real > 0
    p, q = generated[present], real[present]
    positive = p > 0
    return {
        "modes_covered": int((p >= threshold * q).sum()),
        "modes_total": int(present.sum()),
        "mode_kl": float(max((p[positive] * np.log(p[positive] / q[positive])).sum(), 0.0)),
        "rarest_mode": float(p.min()),
    }
