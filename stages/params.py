"""params.yaml, one section at a time: a frozen dataclass, or one line that names the key and what it should be.

`python -m stages.params [FILE]` checks every section of a file at once, so that a slip in the report's settings is
seen before the training starts and not after.
"""

import dataclasses
import difflib
import importlib
import re
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError

from stages.errors import ParamsError

# Which room holds the dataclass of each section, in the order of the pipeline.
SECTIONS = {
    "dataset": "download",
    "prepare": "prepare",
    "validate": "validate",
    "features": "features",
    "train": "train",
    "sample": "sample",
    "evaluate": "evaluate",
    "report": "report",
}

T = TypeVar("T")

# What PyYAML says of a slip => what it most likely was.
_SYNTAX = {
    r"found character '\\t'": "a tab; indent with spaces",
    r"found character ('.*') that cannot start": r"a value cannot begin with \1; put it in quotes",
    "mapping values are not allowed": "a second colon, a line that is indented too far, or no colon in the line above",
    r"could not find expected ':'": "no colon after the key",
    r"expected <block end>": "this does not go on as the lines above do; are they indented alike?",
    r"expected ',' or '(.)'": r"a bracket that is not closed; expected commas, and \1 at the end",
    "unexpected end of stream": "a quote that is not closed",
    "found another document": "a second document; a params file is one",
}


def _yaml_number(value: object) -> object:
    """YAML 1.1 reads 1e-5 (no dot) as text, and `dvc exp run -S` writes numbers so; take it for the number it is."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


# The types that settings are made of. Strict: "3" is no number and true is not 1.
Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), BeforeValidator(_yaml_number), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Seed = Annotated[Int, Field(ge=0, le=2**31 - 1)]  # weights are drawn from up to 2,000 times as much, in 64 bits
FORBID_UNKNOWN = ConfigDict(extra="forbid")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML allows a key twice and keeps the last one; a params file with two values for a knob is a mistake.

    And what PyYAML takes for a date or a number, and fails to read as one (2024-02-30), is an error with a place.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (AttributeError, KeyError, ValueError) as error:
            what = f"no {node.tag.rpartition(':')[2]}: {error}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # !!map x is refused below
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def nearest(name: str, known: list[str]) -> str:
    """The known name that `name` was most likely meant to be: by its initials (lr), else by its letters."""
    for candidate in known:
        if len(name) > 1 and "".join(word[:1] for word in candidate.split("_")).endswith(name):
            return candidate
    return max(known, key=lambda c: difflib.SequenceMatcher(None, name, c).ratio())


def _explained(error: yaml.YAMLError, text: str) -> str:
    """What is no YAML and where: for people who know the file and not YAML's grammar."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        return f"the character {chr(error.character)!r} may not stand there (line {line}, column {column})"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    what, mark = error.problem or "", error.problem_mark
    for pattern, words in _SYNTAX.items():
        if found := re.search(pattern, what):
            what = found.expand(words)
            if "not closed" in words and error.context_mark is not None:
                mark = error.context_mark  # where it was opened: what it ran into may be many lines below
            break
    return f"{what} (line {mark.line + 1}, column {mark.column + 1})"


def read_file(path: Path) -> dict[str, Any]:
    """The whole of a params file, as plain data. Raises ParamsError unless it is a mapping of known sections."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(
            f"{path}: there is no such file; expected a params file (presets/ holds whole ones)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: cannot be read as text: {error}") from None
    try:
        content = yaml.load(text, _UniqueKeyLoader)  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {_explained(error, text)}") from None
    except RecursionError:
        raise ParamsError(f"{path}: brackets or lists within each other too deep to be read") from None
    if not isinstance(content, Mapping):
        what = "an empty file" if content is None else f"a {type(content).__name__}"
        raise ParamsError(f"{path}: expected sections ({', '.join(SECTIONS)}), got {what}")
    for section in content:
        if section not in SECTIONS:
            raise ParamsError(
                f"{path}: {section}: unknown section; the nearest is {nearest(str(section), list(SECTIONS))!r}"
            )
    return dict(content)


def load(path: Path, section: str, settings: type[T]) -> T:
    """The section `section` of the params file `path` as an instance of the frozen dataclass `settings`.

    A key that is left out takes the dataclass's default. Raises ParamsError, in one line, for a missing section, an
    unknown key (with the nearest known one), a wrong type, a value out of range and a number that is not finite.
    """
    content = read_file(path)
    if section not in content:
        raise ParamsError(f"{path}: {section}: the section is missing; expected a mapping of its settings")
    values = content[section]
    if not isinstance(values, Mapping):
        raise ParamsError(f"{path}: {section}: expected a mapping of settings, got {values!r}")
    known = [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ParamsError(f"{path}: {section}.{key}: unknown key; the nearest is {nearest(str(key), known)!r}")
    try:
        return TypeAdapter(settings).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([section, *map(str, first["loc"])])
        if first["type"] == "value_error":  # raised by the dataclass itself: the message says it all
            message = str(first["ctx"]["error"])
            raise ParamsError(f"{path}: {key}: {message}" if first["loc"] else f"{path}: {section}.{message}") from None
        if first["type"] == "missing":  # a row that is too short
            raise ParamsError(f"{path}: {key}: there is no such value in {first['input']!r}; add it") from None
        expected = first["msg"].removeprefix("Input should be ")
        expected = {"a valid tuple": "a list [a, b, …]", "a valid dictionary": "a mapping {a: …, b: …}"}.get(
            expected, expected
        )
        raise ParamsError(f"{path}: {key}: expected {expected}, got {first['input']!r}") from None


def check(path: Path) -> None:
    """Load every section of `path`. Raises ParamsError for the first mistake."""
    loaded = {
        section: load(path, section, importlib.import_module(f"stages.{room}.settings").Settings)
        for section, room in SECTIONS.items()
    }
    classes = loaded["validate"].classes or ()
    for name in (name for row in loaded["sample"].arithmetic for name in row):
        if classes and name not in classes:
            near = nearest(name, list(classes))
            raise ParamsError(f"{path}: sample.arithmetic: validate.classes has no {name!r}; the nearest is {near!r}")


def main() -> None:
    """Check the file that the command line names."""
    check(Path(sys.argv[1] if len(sys.argv) > 1 else "params.yaml"))


if __name__ == "__main__":
    from stages.shell import run_command  # it imports this module

    run_command(main)
