"""The space of a search: the params that vary and their ranges, read from a YAML file (space.yaml describes it)."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stages import artifacts, params
from stages.errors import StageError
from stages.train.settings import Settings

_DIGITS = 3  # of a number that was drawn: more would say nothing, and are hard to read
_FIXED = {
    "train.images": "IMAGES sets it",
    "train.seed": "the best of several seeds is chance; make seeds shows how much they differ",
}


@dataclasses.dataclass(frozen=True)
class Range:
    """A number from `low` to `high`; a whole number if `whole`. `log`: drawn on a logarithmic scale."""

    low: float
    high: float
    log: bool
    whole: bool

    def rounded(self, value: float) -> float:
        """A drawn number with few digits, in the range."""
        return value if self.whole else min(max(artifacts.rounded(value, _DIGITS), self.low), self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value is in the range."""
        return isinstance(value, int if self.whole else int | float) and self.low <= value <= self.high

    def text(self) -> str:
        """The range in words."""
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these."""
        return value in self.values

    def text(self) -> str:
        """The values in words."""
        return f"one of {', '.join(map(str, self.values))}"


Space = dict[str, Range | Choice]
"""The range of each key, such as train.loss.r1."""


def read(path: Path, base: Settings) -> Space:
    """The space in a file. `base` are the settings that it varies.

    Raises StageError, naming the file and the key, for an unknown key, a bad range or a value that the key cannot have.
    """
    if not path.is_file():
        raise StageError(f"{path}: no such file; SPACE names a file like tools/search/space.yaml")
    content = params.read_file(path)
    if others := [section for section in content if section != "train"]:
        raise StageError(
            f"{path}: {others[0]}: only keys of train can be varied, because scores of other data or another "
            "measurement cannot be compared"
        )
    try:
        space = dict(_leaves("train", content.get("train"), base))
    except ValueError as error:
        raise StageError(f"{path}: {error}") from None
    if not space:
        raise StageError(f"{path}: no keys; name at least one with its range, as in tools/search/space.yaml")
    return space


def _leaves(place: str, content: object, base: Any) -> Iterator[tuple[str, Range | Choice]]:
    """Each key of a group and of its groups, with its range. Raises ValueError, naming the key."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{place}: expected keys with their ranges, got {content!r}")
    fields = {field.name: field for field in dataclasses.fields(base)}
    for key, value in content.items():
        name = f"{place}.{key}"
        if key not in fields:
            raise ValueError(f"{name}: unknown key; did you mean {params.nearest(str(key), list(fields))!r}?")
        if name in _FIXED:
            raise ValueError(f"{name}: cannot be varied: {_FIXED[name]}")
        now = getattr(base, key)
        if dataclasses.is_dataclass(now):
            yield from _leaves(name, value, now)
            continue
        kind: Any = fields[key].type
        try:
            yield name, _range(value, now, TypeAdapter(kind).validate_python)
        except ValidationError as error:
            first = error.errors()[0]
            expected = first["msg"].removeprefix("Input should be ")
            raise ValueError(f"{name}: expected {expected}, got {first['input']!r}") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def _range(value: object, now: Any, check: Callable[[Any], Any]) -> Range | Choice:
    """The range that a value of the file describes. `now` is the key's value, `check` raises for one it cannot have."""
    if isinstance(value, list):
        values = tuple(map(check, value))
        if len({repr(one) for one in values}) < 2:
            raise ValueError(f"expected at least two different values, got {value}")
        return Choice(values)
    if not isinstance(value, Mapping) or not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise ValueError(f"expected {{low: …, high: …}} (and log: true) or a list of values, got {value!r}")
    low, high, log = check(value["low"]), check(value["high"]), value.get("log", False)
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        raise ValueError(f"a range is of numbers; list the values instead: [{value['low']}, {value['high']}]")
    if not isinstance(log, bool):
        raise ValueError(f"log: expected true or false, got {log!r}")
    if not low < high:
        raise ValueError(f"expected low below high, got {low:g} and {high:g}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic range begins above 0, got low: {low:g}")
    return Range(low, high, log, whole=isinstance(now, int))


def current(space: Space, base: Settings) -> dict[str, Any] | None:
    """The point of the space that the settings already are; None if they are outside of it."""
    point = {}
    for name, range_ in space.items():
        value = _get(base, name)
        if isinstance(value, tuple) and isinstance(range_, Range):
            value = value[0]
        if not range_.holds(value):
            return None
        point[name] = value
    return point


def values(point: Mapping[str, Any], space: Space, base: Settings) -> dict[str, Any]:
    """The values of params for a point of the space. A number from a range replaces the start of a pair alone."""
    changed = {}
    for name, value in point.items():
        now = _get(base, name)
        is_start = isinstance(now, tuple) and isinstance(space[name], Range)
        changed[name] = [value, *now[1:]] if is_start else list(value) if isinstance(value, tuple) else value
    return changed


def _get(base: Settings, name: str) -> Any:
    """The value of a setting by its name, such as train.loss.r1."""
    value: Any = base
    for key in name.split(".")[1:]:
        value = getattr(value, key)
    return value
