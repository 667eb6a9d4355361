"""The experiments, tags and branches in one table: the params in which they differ, and the headline metrics.

    python -m tools.experiments                          # make experiments
    python -m tools.experiments --sort fid --format md   # make experiments SORT=fid FORMAT=md

Reads the working tree, HEAD, every tag, branch and DVC experiment from Git. Checks nothing out and runs nothing, so it
takes about a second for 30 of them. Revisions with the same params and results are one row. Runs that differ only in
`train.seed` are one row: their mean ± standard deviation. Metrics of different protocols are not comparable, so the
table then has the number of the protocol. `flags` counts what the training's guards reported. `--format csv` has the
number of runs and the deviations in columns of their own, for other programs.
"""

import argparse
import contextlib
import csv
import io
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from stages import artifacts, shell
from stages.errors import StageError
from stages.metrics import files
from stages.metrics.catalog import METRICS
from stages.shell import run_command
from tools import commits
from tools.git import KINDS, git, in_clone, kind_and_name
from tools.terminal import one_line

_TRAINING = "reports/train/metrics.json"
_SEED = "train.seed"
_HEADLINES = (*(metric.name for metric in METRICS.values() if metric.headline), "flags")
_FORMATS = ("text", "md", "csv")
_WORKSPACE = "workspace"
_CELL = 28  # characters of a param's value on the terminal
_MISSING = "–"


@dataclass(frozen=True)
class Run:
    """A run: its names, its date (empty if not committed), the hash of its code, its params and its metrics.

    `metrics` has the headline metrics and `flags`. `protocol` is the protocol of their measurement as JSON.
    """

    names: tuple[str, ...]
    date: str
    code: str
    params: dict[str, Any]
    metrics: dict[str, float]
    protocol: str


@dataclass(frozen=True)
class Row:
    """One setting: its runs, which differ at most in their seed, the number of their protocol, and its params.

    `params` has those in which the rows of a table differ. The seeds of several runs are a list.
    """

    runs: tuple[Run, ...]
    protocol: int
    params: dict[str, Any]

    def mean(self, name: str) -> float | None:
        """The mean of a metric over the runs; None if a run lacks it."""
        values = [run.metrics[name] for run in self.runs if name in run.metrics]
        return statistics.fmean(values) if len(values) == len(self.runs) else None

    def deviation(self, name: str) -> float | None:
        """The standard deviation of a metric; None for one run."""
        complete = len(self.runs) > 1 and self.mean(name) is not None
        return statistics.stdev(run.metrics[name] for run in self.runs) if complete else None


def _references(project: Path) -> Iterator[tuple[str, str, str]]:
    """(name, commit, date) of HEAD, the tags, the experiments and the local branches, newest first of each kind."""
    commit = "%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"  # of an annotated tag too
    form = f"--format={commit}%09%(creatordate:short)%09%(refname)"
    places = "refs/tags", "refs/exps", "refs/heads"
    found = []
    for line in git(project, "for-each-ref", "--sort=-creatordate", form, *places).splitlines():
        full, date, reference = line.split("\t", 2)
        if pair := kind_and_name(reference):
            found.append((KINDS.index(pair[0]), pair[1], full, date))
    head, date = git(project, "log", "-1", "--no-show-signature", "--format=%H%x09%cs").strip().split("\t")
    yield "HEAD", head, date
    yield from ((name, full, date) for _, name, full, date in sorted(found, key=lambda entry: entry[0]))


def _number(value: Any) -> Any:
    """A number that YAML 1.1 reads as text, such as 1e-5, as a number; all other values as they are."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _run(read: Callable[[str], str | None], name: str, date: str, code: str) -> Run | None:
    """A run as a revision's files have it; None, with a message, if they are missing or damaged."""
    try:
        metrics = files.read(read)
        params = yaml.load(read("params.yaml") or "", yaml.CSafeLoader)
        flags = json.loads(read(_TRAINING) or "{}").get("flags", {})
    except (ValueError, AttributeError, yaml.YAMLError) as error:
        shell.say(f"{name}: skipped, its params or metrics are damaged ({' '.join(str(error).split())})")
        return None
    if metrics is None or not isinstance(params, Mapping):
        return None
    protocol = json.dumps(metrics.pop("protocol", None), sort_keys=True)
    numbers = {key: value for key, value in metrics.items() if key in _HEADLINES and isinstance(value, int | float)}
    if isinstance(flags, Mapping):
        numbers["flags"] = sum(value for value in flags.values() if isinstance(value, int))
    values = {key: _number(value) for key, value in commits.flat(params).items()}
    return Run((name,), date, code, values, numbers, protocol)


def runs(project: Path) -> list[Run]:
    """The runs of the working tree, HEAD, tags, experiments and branches; those with the same content are one."""
    found: dict[str, Run] = {}

    def add(run: Run | None) -> None:
        if run is not None:
            key = json.dumps([run.params, run.metrics, run.protocol], sort_keys=True, default=str)
            before = found.get(key)
            found[key] = run if before is None else replace(before, names=before.names + run.names)

    for name, commit, date in _references(project):
        read = partial(commits.text_at, project, commit)
        add(_run(read, name, date, git(project, "ls-tree", commit, "--", "stages").strip()))
    add(_run(partial(commits.text_now, project), _WORKSPACE, "", _WORKSPACE))
    return list(found.values())


def rows(found: Sequence[Run]) -> list[Row]:
    """A row for each setting, in the order of its first run, with the params in which the rows differ."""
    settings: dict[str, list[Run]] = {}
    for run in found:
        others = {name: value for name, value in run.params.items() if name != _SEED}
        key = json.dumps([others, run.protocol, run.code], sort_keys=True, default=str)
        # Two runs with one seed differ in something that the params do not show, so they stay apart.
        taken = any(run.params.get(_SEED) == other.params.get(_SEED) for other in settings.get(key, []))
        settings.setdefault(key if not taken else f"{key} {run.names}", []).append(run)
    protocols = list(dict.fromkeys(run.protocol for run in found))
    names = list(dict.fromkeys(name for run in found for name in run.params))
    differ = [name for name in names if len({json.dumps(run.params.get(name), default=str) for run in found}) > 1]
    return [
        Row(
            tuple(group),
            protocols.index(group[0].protocol),
            {name: _of_group([run.params.get(name) for run in group]) for name in differ},
        )
        for group in settings.values()
    ]


def _of_group(values: list[Any]) -> Any:
    """The one value of a param in a row, or its values, in order, if the runs differ in it (their seeds)."""
    return values[0] if all(value == values[0] for value in values) else sorted(values, key=str)


def order(table: Sequence[Row], name: str) -> list[Row]:
    """The rows by a metric, the best first, or by a param. Raises StageError for a name that no row has."""
    if name in _HEADLINES:
        sign = -1 if name in METRICS and METRICS[name].better == "higher" else 1
        return sorted(table, key=lambda row: _metric_place(row.mean(name), sign))
    if not any(name in row.params for row in table):
        params = sorted({name for row in table for name in row.params})
        raise StageError(f"--sort {one_line(name)}: expected one of {', '.join((*_HEADLINES, *params))}")
    return sorted(table, key=lambda row: _param_place(row.params[name]))


def _metric_place(value: float | None, sign: int) -> float:
    return math.inf if value is None else sign * value


def _param_place(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then all others as text."""
    number = isinstance(value, int | float)
    return not number, value if number else 0.0, str(value)


def _shown(row: Row, name: str) -> str:
    """A metric of a row: its value, or mean ± deviation to two digits of the deviation."""
    mean, deviation = row.mean(name), row.deviation(name)
    if mean is None:
        return _MISSING
    if deviation is None:
        return f"{artifacts.rounded(mean, 4):g}"
    digits = max(0, 1 - math.floor(math.log10(deviation))) if deviation else 2
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def _names(row: Row) -> str:
    return ", ".join(dict.fromkeys(name for run in row.runs for name in run.names))


def cells(table: Sequence[Row]) -> list[list[str]]:
    """The table as text: its head, then its rows."""
    several = len({row.protocol for row in table}) > 1
    params = list(table[0].params) if table else []
    metrics = [name for name in _HEADLINES if any(row.mean(name) is not None for row in table)]
    head = ["name", "date", *metrics, *(["protocol"] if several else []), *params]
    lines = [
        [
            _names(row),
            row.runs[0].date or _MISSING,
            *(_shown(row, name) for name in metrics),
            *([str(row.protocol)] if several else []),
            *(_MISSING if row.params[name] is None else _value(row.params[name]) for name in params),
        ]
        for row in table
    ]
    return [head, *lines]


def _value(value: Any) -> str:
    return ", ".join(map(_value, value)) if isinstance(value, list) else one_line(value)


def to_text(table: Sequence[Row]) -> str:
    """Columns for a terminal, long values cut."""
    lines = [[text if len(text) <= _CELL else text[: _CELL - 1] + "…" for text in line] for line in cells(table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def to_markdown(table: Sequence[Row]) -> str:
    """A Markdown table."""
    head, *lines = ([text.replace("|", "\\|") for text in line] for line in cells(table))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def to_csv(table: Sequence[Row]) -> str:
    """Comma-separated values: full numbers, and the deviation of each metric in a column of its own."""
    params = list(table[0].params) if table else []
    deviations = [f"{name}_deviation" for name in _HEADLINES]
    head = ["name", "date", "runs", "protocol", *_HEADLINES, *deviations, *params]
    lines: list[list[object]] = [
        [
            *(_names(row), row.runs[0].date, len(row.runs), row.protocol),
            *(row.mean(name) for name in _HEADLINES),
            *(row.deviation(name) for name in _HEADLINES),
            *(_value(value) if isinstance(value, list) else value for value in row.params.values()),
        ]
        for row in table
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *lines])
    return text.getvalue().rstrip("\n")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sort", default="", help="a headline metric (the best first) or a param of the table")
    parser.add_argument("--format", default="text", help=f"{', '.join(_FORMATS)} (text)")
    arguments = parser.parse_args()
    if arguments.format not in _FORMATS:
        raise StageError(f"--format {one_line(arguments.format)}: expected {', '.join(_FORMATS)}")
    project = Path()
    in_clone(project, "--git-dir")
    table = rows(runs(project))
    if not table:
        raise StageError(f"no revision has {files.HEADLINES} and params.yaml; run `make repro` and commit the results")
    if arguments.sort:
        table = order(table, arguments.sort)
    show = {"text": to_text, "md": to_markdown, "csv": to_csv}[arguments.format]
    print(show(table), flush=True)
    if len({row.protocol for row in table}) > 1:
        print("Rows of different protocols are not comparable.", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
