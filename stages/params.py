"""Load params.yaml: one section at a time, as a frozen dataclass.

A mistake becomes one line that names the file, the key and what was expected. `python -m stages.params [FILE]` checks
every section at once, so that a mistake in the report's settings shows up before training and not after it.
"""

import dataclasses
import difflib
import importlib
import re
import sys
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, Strict, TypeAdapter, ValidationError

from stages.errors import ParamsError

SECTIONS = {
    "dataset": "download",
    "prepare": "prepare",
    "validate": "validate",
    "features": "features",
    "train": "train",
    "sample": "sample",
    "evaluate": "evaluate",
    "play": "play",
    "report": "report",
}
"""Each section of params.yaml and the stage that reads it, in the order of the pipeline."""

T = TypeVar("T")

# PyYAML's message for a syntax error => the most likely mistake.
_SYNTAX = {
    r"found character '\\t'": "a tab; indent with spaces",
    r"found character ('.*') that cannot start": r"a value cannot begin with \1; put it in quotes",
    "mapping values are not allowed": "a second colon, a line indented too far, or a missing colon in the line above",
    r"could not find expected ':'": "missing colon after the key",
    r"expected <block end>": "unexpected here; is it indented like the lines above?",
    r"expected ',' or '(.)'": r"unclosed bracket; expected commas, and \1 at the end",
    "unexpected end of stream": "unclosed quote",
    "found another document": "a second document; a params file has only one",
}

# pydantic's name for a type => YAML's.
_YAML_TYPES = {"a valid tuple": "a list [a, b, …]", "a valid dictionary": "a mapping {a: …, b: …}"}


def _yaml_number(value: object) -> object:
    """Turn the text "1e-5" into a number. YAML 1.1 needs a dot (1.0e-5), but `dvc exp run -S` omits it."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


# The types of settings. They are strict: "3" is not a number, and true is not 1.
Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), BeforeValidator(_yaml_number), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Seed = Annotated[Int, Field(ge=0, le=2**31 - 1)]  # weights use seeds up to 2,000 times as large, in 64 bits
FORBID_UNKNOWN = ConfigDict(extra="forbid")
Scheduled = float | tuple[float, float]
"""A number, or the pair (start, end) of a number that changes during training."""


def number_or_pair(number: Any) -> PlainValidator:
    """The check of a `Scheduled` setting. `number` is the type of the number, and of the start and the end."""
    single, pair = TypeAdapter(number), TypeAdapter(tuple[number, number])
    return PlainValidator(lambda value: (pair if isinstance(value, list | tuple) else single).validate_python(value))


class _StrictLoader(yaml.SafeLoader):
    """Rejects duplicate keys (YAML would keep the last) and adds the line and column to errors in dates and numbers."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (AttributeError, KeyError, ValueError) as error:
            problem = f"invalid {node.tag.rpartition(':')[2]}: {error}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # super() rejects any other node
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key.start_mark)
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
            keys.add(key.value)
        return super().construct_mapping(node, deep)


def nearest(name: str, candidates: list[str]) -> str:
    """The candidate that `name` most likely stands for: by its initials (lr => learning_rate), else by its letters."""
    for candidate in candidates:
        if len(name) > 1 and "".join(word[:1] for word in candidate.split("_")).endswith(name):
            return candidate
    return max(candidates, key=lambda c: difflib.SequenceMatcher(None, name, c).ratio())


def _letters(name: str) -> str:
    """A name in lower case without separators: batchSize, batch-size and batch_size are the same word."""
    return re.sub(r"[\W_]", "", name.lower())


def _settings_of(section: str) -> Any:
    """The dataclass of a section. Stages are not imported before they are needed."""
    return importlib.import_module(f"stages.{SECTIONS[section]}.settings").Settings


def _keys(settings: Any, place: str) -> Iterator[tuple[str, str]]:
    """Each key of a section or a group, with its place: first its own keys, then those of its groups."""
    fields = dataclasses.fields(settings)
    yield from ((place, field.name) for field in fields)
    for field in fields:
        if dataclasses.is_dataclass(field.type):
            yield from _keys(field.type, f"{place}.{field.name}")


def _known_answer(section: str, name: str) -> str:
    """The answer of unknown_keys.yaml to a key in a section; "" if it does not have the word."""
    table = yaml.safe_load(Path(__file__).with_name("unknown_keys.yaml").read_text(encoding="utf-8"))
    answers = {word: answer for answer, words in table.items() for word in words.split()}
    word, here = _letters(name), "features" if section == "features" else "train"
    answer = (answers.get(f"{section}.{word}") or answers.get(word, "")).format(here=here)
    return ("use " if answer.startswith("`") else "") + answer


def _advice(place: str, name: str) -> str:
    """What to write instead of an unknown key of a section or group, or of an unknown section (then `place` is "")."""
    section, word = place.partition(".")[0], _letters(name)
    keys = [key for other in SECTIONS for key in _keys(_settings_of(other), other)]
    near = [key for key in keys if key[0].partition(".")[0] == section] or [("", other) for other in SECTIONS]
    near.sort(key=lambda key: key[0] != place)
    elsewhere = " or ".join(f"`{other}.{key}`" for other, key in keys if _letters(key) == word)
    answer = _known_answer(section, name) or (elsewhere and f"use {elsewhere}")
    if answer and not any(other == place and _letters(key) == word for other, key in near):
        return answer
    guess = nearest(name, [key for _, key in near])
    other = next(other for other, key in near if key == guess)
    return f"did you mean {guess!r}?" if other == place else f"did you mean `{other}.{guess}`?"


def _key_mistake(place: str, values: object, settings: Any) -> str:
    """The first unknown key of a section or a group and of its groups, or a value where a group belongs; "" if none."""
    if not isinstance(values, Mapping):
        section, _, name = place.rpartition(".")
        answer = _known_answer(section, name)
        return f"{place}: expected a mapping of settings, got {values!r}" + (answer and f"; {answer}")
    types = {field.name: field.type for field in dataclasses.fields(settings)}
    for key, value in values.items():
        if key not in types:
            return f"{place}.{key}: unknown key; {_advice(place, str(key))}"
        if dataclasses.is_dataclass(types[key]) and (mistake := _key_mistake(f"{place}.{key}", value, types[key])):
            return mistake
    return ""


def _syntax_message(error: yaml.YAMLError, text: str) -> str:
    """The mistake in the YAML and its place, for a reader who does not know YAML's grammar."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        return f"the character {chr(error.character)!r} is not allowed (line {line}, column {column})"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    problem, mark = error.problem or "", error.problem_mark
    for pattern, mistake in _SYNTAX.items():
        if match := re.search(pattern, problem):
            problem = match.expand(mistake)
            if "unclosed" in mistake and error.context_mark is not None:
                mark = error.context_mark  # where it was opened; PyYAML may notice many lines below
            break
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})"


def _read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises ParamsError if the file cannot be read or is not valid YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; expected a params file (presets/ has complete ones)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: cannot be read as text: {error}") from None
    try:
        return yaml.load(text, _StrictLoader)  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {_syntax_message(error, text)}") from None
    except RecursionError:
        raise ParamsError(f"{path}: brackets or lists are nested too deeply") from None


def read_file(path: Path) -> dict[str, Any]:
    """A whole params file as plain data. Raises ParamsError unless it is a mapping with known sections only."""
    content = _read_yaml(path)
    if not isinstance(content, Mapping):
        actual = "an empty file" if content is None else f"a {type(content).__name__}"
        raise ParamsError(f"{path}: expected sections ({', '.join(SECTIONS)}), got {actual}")
    for section in content:
        if section not in SECTIONS:
            raise ParamsError(f"{path}: {section}: unknown section; {_advice('', str(section))}")
    return dict(content)


def load(path: Path, section: str, settings: type[T]) -> T:
    """The section `section` of the params file `path` as an instance of the frozen dataclass `settings`.

    A field that is a dataclass itself is a group of keys. A missing key takes the dataclass's default. Raises
    ParamsError, in one line, for a missing section, an unknown key, a wrong type, a value out of range and a number
    that is not finite.
    """
    content = read_file(path)
    if section not in content:
        raise ParamsError(f"{path}: {section}: missing section; add it (`{section}: {{}}` takes every default)")
    if mistake := _key_mistake(section, content[section], settings):
        raise ParamsError(f"{path}: {mistake}")
    try:
        return TypeAdapter(settings).validate_python(content[section])
    except ValidationError as error:
        raise ParamsError(f"{path}: {_value_message(section, error)}") from None


def _value_message(section: str, error: ValidationError) -> str:
    """The first invalid value of a section: its key, what was expected and what the file has."""
    first = error.errors()[0]
    key = ".".join([section, *map(str, first["loc"])])
    if first["type"] == "value_error":  # raised by the dataclass, whose message says what was expected and what it got
        message = str(first["ctx"]["error"])
        return f"{key}: {message}" if first["loc"] else f"{section}.{message}"
    if first["type"] == "missing":  # a list that is too short
        return f"{key}: missing from {first['input']!r}; add it"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{key}: expected {_YAML_TYPES.get(expected, expected)}, got {first['input']!r}"


def check(path: Path) -> None:
    """Load every section of `path`. Raises ParamsError for the first mistake."""
    loaded = {section: load(path, section, _settings_of(section)) for section in SECTIONS}
    classes = loaded["validate"].classes or ()
    for name in (name for row in loaded["sample"].arithmetic for name in row):
        if classes and name not in classes:
            guess = nearest(name, list(classes))
            raise ParamsError(f"{path}: sample.arithmetic: validate.classes has no {name!r}; did you mean {guess!r}?")


def main() -> None:
    """Check the file named on the command line."""
    check(Path(sys.argv[1] if len(sys.argv) > 1 else "params.yaml"))


if __name__ == "__main__":
    from stages.shell import run_command  # it imports this module

    run_command(main)
