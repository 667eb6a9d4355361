"""Guards: detect the typical failures of GAN training while it runs."""

from collections import deque
from collections.abc import Sequence

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


def describe_collapse(samples_spread: float, real_spread: float, covered: int | None, classes: int) -> str | None:
    """A message if the samples are too much alike, else None. `covered` is None without a judge."""
    if samples_spread < _SPREAD * real_spread:
        return (
            "the generator makes nearly the same picture from every z: the mean distance between samples is "
            f"{samples_spread:.3g}, between real images {real_spread:.3g}"
        )
    if covered is not None and covered < _MODES * classes:
        return f"the generator misses classes: its samples reach {covered} of {classes}"
    return None
