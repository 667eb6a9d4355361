"""Write decisions into the text of a params file, and put the file into place without losing the user's."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from stages import resume
from tools.own.decide import Decision, Presets

_KEY = re.compile(r"(?P<indent> *)(?P<name>\w+):(?P<space> *)(?P<value>[^#\n]*?)(?P<comment> *#.*)?\n")
_PLAIN = re.compile(r"[\w./-]*[\w/]")


def with_decisions(text: str, decisions: Sequence[Decision], header: str) -> str:
    """A params file with other values, each below a comment with its reason, and with another header.

    The keys keep their order and comments. Raises KeyError if the file lacks a key.
    """
    missing = {decision.key: decision for decision in decisions}
    lines = [f"# {line}\n" for line in header.split("\n")]
    for key, line in _keys(text):
        decision = missing.pop(key, None)
        if decision is not None:
            match = _KEY.fullmatch(line)
            assert match is not None  # noqa: S101 - it has a key
            lines.append(f"{match['indent']}# {decision.reason}\n")
            line = _with_value(match, _yaml(decision.value))
        lines.append(line)
    if missing:
        raise KeyError(next(iter(missing)))
    return "".join(lines)


def _keys(text: str) -> Iterator[tuple[str, str]]:
    """Each line after the header of comments, and its key with those of its section and group ("" if it has none)."""
    lines = text.splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if not line.startswith("#"))
    path: list[tuple[int, str]] = []
    for line in lines[first:]:
        match = _KEY.fullmatch(line)
        if match is None:
            yield "", line
            continue
        indent = len(match["indent"])
        path = [*(part for part in path if part[0] < indent), (indent, match["name"])]
        yield ".".join(name for _, name in path), line


def _with_value(match: re.Match[str], value: str) -> str:
    """The line with another value. Its comment stays in its column if there is room."""
    start = f"{match['indent']}{match['name']}: {value}"
    if not match["comment"]:
        return f"{start}\n"
    comment = match["comment"].strip()
    return f"{start}  ".ljust(match.end("comment") - len(comment)) + f"{comment}\n"


def _yaml(value: Any) -> str:
    """A value as YAML: simple words as they are, everything else as JSON, which YAML contains."""
    is_word = isinstance(value, str) and _PLAIN.fullmatch(value) and yaml.safe_load(value) == value
    return value if is_word else json.dumps(value, ensure_ascii=False)


def put(project: Path, text: str) -> Path | None:
    """Make this text the project's params.yaml. Returns where a file that it replaces is kept; None if nowhere.

    A preset, and what an earlier call has written, is replaced. Anything else is the user's, and stays beside it.
    """
    target, ours = project / "params.yaml", resume.state_folder() / "own.yaml"
    kept = _keep(project, target, ours)
    ours.parent.mkdir(exist_ok=True)
    part = ours.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    shutil.copyfile(part, ours)
    part.replace(target)
    return kept


def _keep(project: Path, target: Path, ours: Path) -> Path | None:
    """Copy a file of the user's to the first free name beside it."""
    if not target.exists():
        return None
    content = target.read_bytes()
    if any(content == path.read_bytes() for path in (ours, *(project / "presets").glob("*.yaml")) if path.exists()):
        return None
    names = (target.with_name(f"params.yaml.bak{number or ''}") for number in range(10**6))
    kept = next(path for path in names if not path.exists())
    kept.write_bytes(content)
    return kept


def presets(project: Path) -> tuple[str, Presets]:
    """The text of presets/own.yaml, and the contents of both presets."""
    own, quick = ((project / f"presets/{name}.yaml").read_text(encoding="utf-8") for name in ("own", "own-quick"))
    return own, Presets(yaml.safe_load(own), yaml.safe_load(quick))
