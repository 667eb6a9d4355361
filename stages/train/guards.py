"""Guards: detect the typical failures of GAN training while it runs."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# D is saturated if its mean loss over _WINDOW rows of the log is almost minimal: the distance from its minimum is less
# than _SATURATED of the distance from there to "cannot tell real from fake". D then has nothing left to learn, and G
# learns nothing from it.
_WINDOW = 5
_SATURATED = 0.01
# G has collapsed if the distance between its samples is below _SPREAD of the distance between real images, or if they
# reach less than _MODES of the classes. For scale: a DCGAN's samples are at 0.86 of the real distance after
# 59,968 images of Fashion-MNIST, and at 0.90 to 0.94 later.
_SPREAD = 0.3
_MODES = 0.5
# Or each sample is nearly one colour: its contrast is below _CONTRAST of that of real images.
_CONTRAST = 0.05
# Training has exploded if a loss is beyond _FAR times that of a D that cannot tell real from fake, or if a network's
# weights or gradients are beyond these limits. For scale: in 200 steps on Fashion-MNIST at the default rates, D's loss
# stayed below 2.2 times that of such a D with any loss, and the gradients below 100. With both rates at 1000 they
# reached 48,000,000 times and 300,000,000, and the weights 2000.
_FAR = 100
_WEIGHTS = 10.0
_GRADIENTS = 1e5
# The loss of a D that cannot tell, for a loss without bounds. A D of slope 1 tells two images apart by at most their
# distance, which in [-1,1] is 64 for 32 × 32 images and 443 for 128 × 128 × 3.
_UNBOUNDED = 100.0


@dataclass(frozen=True)
class Magnitude:
    """How large a network has become: the root mean square of its weights, and the recent norm of its gradients."""

    weights: float
    gradients: float


class Saturation:
    """Watches D's loss, one row of the log at a time. `bounds` are those of the loss (losses/catalog.py)."""

    def __init__(self, bounds: tuple[float, float] | None) -> None:
        self._bounds = bounds
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self.saturated = False

    def update(self, loss: float) -> str | None:
        """Add D's loss of the next row. Returns a message if D has just become saturated."""
        if self._bounds is None:
            return None
        self._losses.append(loss)
        right, chance = self._bounds
        before, mean = self.saturated, float(np.mean(self._losses))
        self.saturated = len(self._losses) == _WINDOW and mean - right < _SATURATED * (chance - right)
        if before or not self.saturated:
            return None
        return (
            f"the discriminator is saturated: its loss is {mean:.3g}, close to its minimum ({right:.3g}; {chance:.3g} "
            "if it cannot tell real from fake), so the generator learns nothing from it"
        )

    def reset(self) -> None:
        """Forget all losses, because the weights have been replaced."""
        self._losses.clear()
        self.saturated = False

    def state(self) -> list[float]:
        """The state to pass to `restore`."""
        return [float(self.saturated), *self._losses]

    def restore(self, state: Sequence[float]) -> None:
        """Continue from a `state`."""
        self.saturated = bool(state[0])
        self._losses.extend(state[1:])


def spread(images: np.ndarray) -> float:
    """Mean Euclidean distance between the images of NHWC, over all pairs, per pixel value (root mean square)."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    squares = (flat**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) / flat.shape[1])
    return float(distances.sum() / (len(flat) * (len(flat) - 1)))


def contrast(images: np.ndarray) -> float:
    """Mean over the images and channels of NHWC of the standard deviation of the pixels."""
    return float(images.std((1, 2), dtype=np.float64).mean())


def describe_explosion(
    means: Mapping[str, float], magnitudes: Mapping[str, Magnitude], bounds: tuple[float, float] | None
) -> str | None:
    """A message if a loss, or a network's weights or gradients, are far beyond those of healthy training, else None.

    `means` are those of the log's row, `magnitudes` those of each network, `bounds` those of the loss
    (losses/catalog.py).
    """
    far = _FAR * (bounds[1] if bounds else _UNBOUNDED)
    losses = {network: abs(means[f"loss/{network}"]) for network in ("discriminator", "generator")}
    sizes = {f"the {network}'s loss": (loss, far) for network, loss in losses.items()}
    for network, size in magnitudes.items():
        sizes[f"the root mean square of the {network}'s weights"] = size.weights, _WEIGHTS
        sizes[f"the norm of the {network}'s gradients"] = size.gradients, _GRADIENTS
    for name, (value, limit) in sizes.items():
        if not value <= limit:  # also for NaN
            return f"training has exploded: {name} is {value:.3g}, beyond {limit:.3g}; lower the learning rates"
    return None


@dataclass(frozen=True)
class Variety:
    """How varied images are: their `spread`, and their `contrast`."""

    spread: float
    contrast: float


def variety(images: np.ndarray) -> Variety:
    """The variety of images NHWC."""
    return Variety(spread(images), contrast(images))


def describe_collapse(samples: Variety, real: Variety, covered: int | None, classes: int) -> str | None:
    """A message if the samples are too much alike, else None. `covered` is None without a judge."""
    if samples.spread < _SPREAD * real.spread:
        return (
            "the generator makes nearly the same picture from every z: the mean distance between samples is "
            f"{samples.spread:.3g}, between real images {real.spread:.3g}"
        )
    if samples.contrast < _CONTRAST * real.contrast:
        return (
            f"the generator makes pictures of one colour: the contrast of samples is {samples.contrast:.3g}, of real "
            f"images {real.contrast:.3g}"
        )
    if covered is not None and covered < _MODES * classes:
        return f"the generator misses classes (without labels: clusters): its samples reach {covered} of {classes}"
    return None
