"""The instrument check: does a judge see pictures get worse?

Held-out pictures are blurred, covered with noise or with a checkerboard, or mixed into mush, each at four strengths.
The Fréchet distance to the training pictures must grow with each strength. Heusel et al. 2017 (arXiv:1706.08500,
figure 3) show this of their distance; here it is a test that a judge has to pass. The precision must fall at one
strength at least: some judges find every blurred picture among the real ones.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from stages.artifacts import rounded
from stages.metrics import prdc
from stages.metrics.frechet import Gaussian, frechet_distance, gaussian
from stages.metrics.prdc import DENSITY_K

# At most this many held-out pictures are corrupted, and fewer if they would need more memory than this.
_IMAGES, _BYTES = 2000, 256 << 20
FEWEST = 200
"""With fewer held-out pictures, training pictures are corrupted too. A covariance of very few pictures is chance."""
_CELLS = 4  # mush exchanges the cells of a grid of 4 × 4 between pictures
_SEED = 0
# The distance of the strongest corruption is at least this part of the training features' total variance, above the
# distance of real pictures.
_VISIBLE = 0.1
# A distance may fall by this part of the distance of real pictures: the weakest strengths are hardly visible.
_TOLERANCE = 0.1


def image_count(shape: tuple[int, int, int]) -> int:
    """The number of held-out pictures of this shape to corrupt, at least 2."""
    return max(2, min(_IMAGES, _BYTES // (4 * math.prod(shape))))


def blur(images: np.ndarray, strength: float) -> np.ndarray:
    """Blur by a Gaussian whose standard deviation is `strength` times the shorter side: NHWC => NHWC."""
    deviation = strength * min(images.shape[1:3])
    return np.stack([cv2.GaussianBlur(image, (0, 0), deviation).reshape(image.shape) for image in images])


def noise(images: np.ndarray, strength: float) -> np.ndarray:
    """Add normal noise of this standard deviation to images NHWC in [-1,1]."""
    normal = np.random.default_rng(_SEED).standard_normal(images.shape, np.float32)
    return np.clip(images + np.float32(strength) * normal, -1, 1)


def checkerboard(images: np.ndarray, strength: float) -> np.ndarray:
    """Add ± `strength` to neighbouring pixels of images NHWC in [-1,1] in turn."""
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    board = np.where((y + x) % 2, -strength, strength).astype(np.float32)
    return np.clip(images + board[None, :, :, None], -1, 1)


def mush(images: np.ndarray, strength: float) -> np.ndarray:
    """Replace this share of the cells of a grid of 4 × 4 by those of other pictures: NHWC => NHWC."""
    generator, mixed = np.random.default_rng(_SEED), images.copy()
    rows, columns = (np.linspace(0, side, _CELLS + 1).astype(int) for side in images.shape[1:3])
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            replaced = generator.random(len(images)) < strength
            others = generator.permutation(len(images))
            mixed[replaced, top:bottom, left:right] = images[others[replaced], top:bottom, left:right]
    return mixed


CORRUPTIONS: Mapping[str, tuple[Callable[[np.ndarray, float], np.ndarray], tuple[float, ...]]] = {
    "blur": (blur, (1 / 40, 1 / 20, 1 / 10, 1 / 5)),
    "noise": (noise, (0.05, 0.1, 0.2, 0.4)),
    "checkerboard": (checkerboard, (0.05, 0.1, 0.2, 0.4)),
    "mush": (mush, (0.1, 0.25, 0.5, 1.0)),
}
"""By name: a function of images and a strength, and four rising strengths."""


@dataclass(frozen=True)
class Check:
    """Fréchet distances from the training pictures.

    `floor` is that of `images` held-out pictures, and `distances` are those of their corruptions, by name and in the
    order of the strengths. `variance` is the total variance of the training pictures' features. `precision` is that of
    half of the held-out pictures among the other half, and `precisions` are those of their corruptions; empty with too
    few pictures for a precision.
    """

    images: int
    floor: float
    variance: float
    distances: dict[str, tuple[float, ...]]
    precision: float = 1.0
    precisions: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def unseen(self) -> tuple[str, ...]:
        """The corruptions that the judge does not see: the distance does not grow, or hardly."""
        return tuple(name for name, values in self.distances.items() if not self._is_seen(values))

    @property
    def flattered(self) -> tuple[str, ...]:
        """The corruptions whose precision is never below that of real pictures, so that precision is no quality."""
        return tuple(name for name, values in self.precisions.items() if min(values) >= self.precision)

    def _is_seen(self, distances: tuple[float, ...]) -> bool:
        rising = (self.floor, *distances)
        grows = all(low < high + _TOLERANCE * self.floor for low, high in itertools.pairwise(rising))
        return grows and distances[-1] > self.floor + _VISIBLE * self.variance

    @property
    def problem(self) -> str:
        """Why the judge does not pass, for messages; empty if it does."""
        blind = " and ".join(filter(None, (", ".join(self.unseen[:-1]), *self.unseen[-1:])))
        return f"it does not see {blind} in {self.images:,} images" if blind else ""

    @property
    def figures(self) -> dict[str, int | float | list[float]]:
        """The distances and precisions for reports/features.json, rounded."""
        distances = {name: [rounded(value) for value in values] for name, values in self.distances.items()}
        precisions = {
            f"{name}_precision": [rounded(value) for value in values] for name, values in self.precisions.items()
        }
        real = {"floor": rounded(self.floor), "variance": rounded(self.variance), "precision": rounded(self.precision)}
        return {"images": self.images, **real, **distances, **precisions}


def check(images: np.ndarray, features_of: Callable[[np.ndarray], np.ndarray], train: Gaussian) -> Check:
    """Corrupt held-out images (N, H, W, C), N at least 2, and measure them in the judge's features.

    `train` are the training pictures in these features.
    """

    half = len(images) // 2
    clean = features_of(images)
    distances: dict[str, tuple[float, ...]] = {}
    precisions: dict[str, tuple[float, ...]] = {}
    for name, (corrupt, strengths) in CORRUPTIONS.items():
        features = [features_of(corrupt(images, strength)) for strength in strengths]
        distances[name] = tuple(frechet_distance(gaussian(each), train) for each in features)
        if half > DENSITY_K:
            precisions[name] = tuple(_precision(each[:half], clean[half:]) for each in features)
    floor, variance = frechet_distance(gaussian(clean), train), float(np.trace(train.covariance))
    precision = _precision(clean[:half], clean[half:]) if precisions else 1.0
    return Check(len(images), floor, variance, distances, precision, precisions)


def _precision(features: np.ndarray, real: np.ndarray) -> float:
    return prdc.compute(features, real)["precision"]
