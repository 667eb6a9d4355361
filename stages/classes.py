"""The classes of a conditional model: their names, their shares, the class of a seed and the input of the networks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.errors import StageError
from stages.params import nearest

# Seeds of a class are apart from those of z, which have no spawn key.
_SPAWN_KEY = (0,)


@dataclass(frozen=True)
class Classes:
    """The names of a model's classes, in the order of its input `class`, and their shares in the training data."""

    names: tuple[str, ...]
    shares: tuple[float, ...]

    def vectors(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Class indices (N,) => the networks' input: float32 (N, K), 1 for the class and 0 for the others."""
        return np.eye(len(self.names), dtype=np.float32)[np.asarray(indices, np.int64)]

    def of_seeds(self, seeds: Iterable[int]) -> np.ndarray:
        """The class of each seed, drawn by the classes' shares: int64 (N,). It does not depend on the other seeds."""
        ends = np.cumsum(self.shares)
        draws = [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed), spawn_key=_SPAWN_KEY))).random()
            for seed in seeds
        ]
        # A draw lies in the class whose part of [0, 1) it falls in. The sum of the shares can be less than 1 by
        # rounding.
        return np.searchsorted(ends / ends[-1], draws, side="right").astype(np.int64)

    def index(self, name: str, place: str) -> int:
        """The index of a class. Raises StageError, naming `place` and the nearest name, if there is no such class."""
        if name not in self.names:
            guess = nearest(name.casefold(), [known.casefold() for known in self.names])
            near = next(known for known in self.names if known.casefold() == guess)
            raise StageError(
                f"{place}: the model has no class {name!r}; did you mean {near!r}? It has {', '.join(self.names)}"
            )
        return self.names.index(name)
