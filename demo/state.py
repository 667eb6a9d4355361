"""The state of the page: places in the latent space, and everything else that a link restores."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import numpy as np

from stages.latent import latent

DIRECTIONS = 8
MAX_SEED = 2**32 - 1
MAX_SCALE = 3.0
MAX_MOVE = 6.0
MAX_PICTURES = 64
MAX_PINS = 12
_WORDS = ("model", "beside", "start", "end", "a", "b", "c")
# `judge` is the discriminator's tab: links use this name.
TABS = ("draw", "explore", "between", "calculate", "training", "judge", "inside")


@dataclass(frozen=True)
class Place:
    """A z: that of a seed, times `scale`, then moved along the generator's directions.

    `moves` has the length of each move, in standard deviations of a coordinate of z.
    """

    seed: int
    scale: float = 1.0
    moves: tuple[float, ...] = (0.0,) * DIRECTIONS

    def z(self, directions: np.ndarray) -> np.ndarray:
        """The z, float32 (dimensions,). `directions` are (K, dimensions); moves after the first K have no effect."""
        z = latent([self.seed], directions.shape[1])[0] * np.float32(self.scale)
        return z + np.asarray(self.moves[: len(directions)], np.float32) @ directions[: len(self.moves)]

    def __str__(self) -> str:
        """The text that `place_of` reads: 12, 12*0.8, 12*0.8;1:2.5;3:-1."""
        text = f"{self.seed}" + (f"*{self.scale:g}" if self.scale != 1 else "")
        return ";".join([text, *(f"{i}:{move:g}" for i, move in enumerate(self.moves, 1) if move)])


def place_of(text: str) -> Place | None:
    """The place whose text this is; None if the text is not valid."""
    head, *tail = text.split(";")
    seed, star, scale = head.partition("*")
    moves = [0.0] * DIRECTIONS
    for part in tail:
        number, _, length = part.partition(":")
        if not re.fullmatch(rf"[1-{DIRECTIONS}]", number):
            return None
        moves[int(number) - 1] = number_of(length, -MAX_MOVE, MAX_MOVE, math.nan)
    factor = number_of(scale, 0, MAX_SCALE, math.nan) if star else 1.0
    if not re.fullmatch(r"[0-9]{1,10}", seed) or int(seed) > MAX_SEED or math.isnan(factor + sum(moves)):
        return None
    return Place(int(seed), factor, tuple(moves))


def number_of(text: object, low: float, high: float, otherwise: float) -> float:
    """The number that a browser sent if it lies between `low` and `high`; else `otherwise`."""
    try:
        value = float(str(text))
    except ValueError:
        return otherwise
    return value if low <= value <= high else otherwise


@dataclass(frozen=True)
class State:
    """Everything that a link restores. A link names the fields, so renaming one breaks old links.

    `start`, `end`, `a`, `b` and `c` are values of Actions.ends. `way` is a position on the path from start to end, and
    `beside` the model to compare with.
    """

    model: str = ""
    beside: str = ""
    tab: str = TABS[0]
    pins: tuple[Place, ...] = tuple(Place(seed) for seed in range(3))
    first: int = 0
    count: int = 24
    spread: float = 1.0
    place: Place = Place(0)
    start: str = ""
    end: str = ""
    way: float = 0.5
    a: str = ""
    b: str = ""
    c: str = ""
    moment: int = 10**6

    def query(self) -> str:
        """The query of a link, without fields that have their default value. `from_query` reads it."""
        changed = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                changed[field.name] = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        return urlencode(changed)

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "State":
        """The state of a link. Missing and invalid values become the defaults."""
        pins = [place_of(text) for text in query.get("pins", "").split(",")] if "pins" in query else cls.pins
        place = place_of(query.get("place", "")) or cls.place
        return cls.checked(**{**query, "place": place, "pins": tuple(pin for pin in pins if pin)})

    @classmethod
    def checked(cls, **values: Any) -> "State":
        """A state from what a browser sent. Missing, invalid and out-of-range values become the defaults."""

        def number(name: str, least: float, most: float) -> Any:
            default = getattr(cls, name)
            return type(default)(number_of(values.get(name), least, most, default))

        return cls(
            **{name: str(values.get(name) or "") for name in _WORDS},
            tab=values["tab"] if values.get("tab") in TABS else cls.tab,
            pins=tuple(values.get("pins", cls.pins))[:MAX_PINS],
            first=number("first", 0, MAX_SEED),
            count=number("count", 1, MAX_PICTURES),
            spread=number("spread", 0, MAX_SCALE),
            place=values.get("place", cls.place),
            way=number("way", 0, 1),
            moment=number("moment", 1, 10**6),
        )


def place_at(seed: object, scale: object, moves: Sequence[object]) -> Place:
    """A place from what a browser sent. Invalid and out-of-range values become the defaults."""
    lengths = tuple(number_of(move, -MAX_MOVE, MAX_MOVE, 0) for move in moves)
    return Place(int(number_of(seed, 0, MAX_SEED, 0)), number_of(scale, 0, MAX_SCALE, 1), lengths)
