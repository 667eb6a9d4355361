"""The classes of a conditional model: names, shares, attributes, the class of a seed, and the input of the networks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.errors import StageError
from stages.params import nearest

# Seeds of a class are apart from those of z, which have no spawn key.
_SPAWN_KEY = (0,)
_NOT = "not "

Choice = int | np.ndarray | None
"""What samples are asked for: the index of a class, or the networks' input (K,), or nothing: the seed decides.

The seed also decides each number of an input that is NaN."""


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split(",")]


def attributes_of(names: Sequence[str]) -> tuple[str, ...]:
    """The attributes whose combinations the classes are: `Male, not Smiling` and the like have Male and Smiling.

    Each name lists the same attributes in the same order. Empty if the classes are no such combinations.
    """
    first, *others = ([part.removeprefix(_NOT) for part in _parts(name)] for name in names)
    is_list = all(other == first for other in others) and len(set(first)) == len(first)
    return tuple(first) if is_list else ()


@dataclass(frozen=True)
class Classes:
    """The names of a model's classes in their order, their shares in the training data, and the attributes.

    Without attributes, the networks' input `class` has a number for each class. With them, it has a number for each
    attribute, and each class is a combination of them (`attributes_of`).
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    attributes: tuple[str, ...] = ()

    @property
    def rows(self) -> np.ndarray:
        """The networks' input for each class: float32 (classes, K), 1 for the class or its attributes, else 0."""
        if not self.attributes:
            return np.eye(len(self.names), dtype=np.float32)
        return np.array([[name in _parts(of) for name in self.attributes] for of in self.names], np.float32)

    def vectors(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Class indices (N,) => the networks' input: float32 (N, K), a row of `rows` for each."""
        return self.rows[np.asarray(indices, np.int64)]

    def inputs(self, seeds: Iterable[int], choice: Choice = None) -> np.ndarray:
        """The networks' input for samples of these seeds: float32 (N, K)."""
        seeds = list(seeds)
        if isinstance(choice, int):
            return self.vectors([choice] * len(seeds))
        own = self.vectors(self.of_seeds(seeds))
        return own if choice is None else np.where(np.isnan(choice), own, choice)

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
            raise _unknown("class", name, self.names, place)
        return self.names.index(name)

    def choice(self, text: str, place: str) -> tuple[str, int | np.ndarray]:
        """What a text asks for, and its name: a class or, with attributes, some of them.

        `Male, not Smiling` sets both, `Smiling=0.5` is a blend of having and lacking it, and the seed decides all that
        are not listed. The name lists them in the order of the model. Raises StageError, naming `place`, for an unknown
        class or attribute, an attribute that is listed twice, and a number that is not from 0 to 1.
        """
        if not self.attributes:
            return text, self.index(text, place)
        row = np.full(len(self.attributes), np.nan, np.float32)
        for part in _parts(text):
            name, value = self._attribute(part, place)
            at = self.attributes.index(name)
            if not np.isnan(row[at]):
                raise StageError(f"{place}: {text!r} lists {name} twice; list each attribute once")
            row[at] = value
        listed = [at for at in range(len(row)) if not np.isnan(row[at])]
        return ", ".join(_text(self.attributes[at], float(row[at])) for at in listed), row

    def _attribute(self, part: str, place: str) -> tuple[str, float]:
        """`Smiling`, `not Smiling` or `Smiling=0.5` => the name and the value of an attribute."""
        if part in self.attributes:
            return part, 1.0
        if (name := part.removeprefix(_NOT)) in self.attributes:
            return name, 0.0
        name, equals, number = part.rpartition("=")
        name = name.strip() if equals else part.removeprefix(_NOT)
        if name not in self.attributes:
            raise _unknown("attribute", name, self.attributes, place)
        try:
            value = float(number)
        except ValueError:
            value = np.nan
        if not 0 <= value <= 1:
            raise StageError(f"{place}: {part!r}: expected a number from 0 to 1, such as {name}=0.5")
        return name, value


def _text(attribute: str, value: float) -> str:
    """`Smiling`, `not Smiling` or `Smiling=0.5`."""
    return {0.0: _NOT + attribute, 1.0: attribute}.get(value, f"{attribute}={value:.6g}")


def _unknown(kind: str, name: str, known: Sequence[str], place: str) -> StageError:
    """The error for a name that is not among the known ones."""
    guess = nearest(name.casefold(), [one.casefold() for one in known])
    near = next(one for one in known if one.casefold() == guess)
    hint = ""
    if kind == "class" and attributes_of(known):
        hint = "; a model of train.conditional: attributes takes single attributes, too"
    return StageError(
        f"{place}: the model has no {kind} {name!r}; did you mean {near!r}? It has {', '.join(known)}{hint}"
    )
