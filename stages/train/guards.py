"""Guards: what goes wrong in a GAN's training, seen while it does."""

from collections import deque
from collections.abc import Sequence

import numpy as np

# D is saturated where its loss, over so many rows of the log, is within this part of the way from "right about
# everything" to "cannot tell": G's gradient then comes from a D that has nothing left to learn.
_WINDOW = 5
_SATURATED = 0.01
# G has collapsed where its samples lie this much closer together than real images do, or reach so few classes.
# A DCGAN's samples are at 0.86 of the real distance after 59,968 images of Fashion-MNIST, at 0.90 to 0.94 later.
_SPREAD = 0.3
_MODES = 0.5


class Saturation:
    """Watches D's loss, row by row of the log."""

    def __init__(self, bounds: tuple[float, float] | None) -> None:
        self._bounds = bounds
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self.saturated = False

    def see(self, loss: float) -> str | None:
        """What to say once D has become saturated; None while it is not, and while it still is."""
        if self._bounds is None:
            return None
        self._losses.append(loss)
        right, chance = self._bounds
        before, mean = self.saturated, float(np.mean(self._losses))
        self.saturated = len(self._losses) == _WINDOW and mean - right < _SATURATED * (chance - right)
        if before or not self.saturated:
            return None
        return (
            f"the discriminator is saturated: its loss, {mean:.3g}, is its least ({right:.3g}; {chance:.3g} where it "
            "cannot tell), so the generator learns nothing from it"
        )

    def reset(self) -> None:
        """Forget what was seen: the weights are others now."""
        self._losses.clear()
        self.saturated = False

    def state(self) -> list[float]:
        """What `resume` needs."""
        return [float(self.saturated), *self._losses]

    def resume(self, state: Sequence[float]) -> None:
        """Go on from what `state` gave."""
        self.saturated = bool(state[0])
        self._losses.extend(state[1:])


def spread(images: np.ndarray) -> float:
    """Mean Euclidean distance between the pictures of NHWC, over all pairs, per pixel value (root mean square)."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    squares = (flat**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) / flat.shape[1])
    return float(distances.sum() / (len(flat) * (len(flat) - 1)))


def collapsed(samples_spread: float, real_spread: float, covered: int | None, classes: int) -> str | None:
    """What to say where samples are too much alike; None where they are not. `covered` is None without a judge."""
    if samples_spread < _SPREAD * real_spread:
        return (
            "the generator gives nearly one picture for every z: its samples lie "
            f"{samples_spread:.3g} apart on average, real images {real_spread:.3g}"
        )
    if covered is not None and covered < _MODES * classes:
        return f"the generator leaves classes out: its samples reach {covered} of {classes}"
    return None
