"""The headline metrics over the Git history: `make trends`, or python -m tools.trends [REVISION] [--out FILE]

Reads the metrics from every commit that changed them, following first parents back from REVISION (HEAD), and from the
working tree if they differ. Checks nothing out and runs nothing. Writes a picture (reports/trends.svg) and,
next to it, the same numbers as a table (.csv). A line joins revisions measured under one protocol and breaks where the
protocol changes, because metrics of different protocols are not comparable.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages import shell
from stages.errors import StageError
from stages.metrics import files
from stages.metrics.catalog import METRICS as CATALOG
from stages.metrics.catalog import Metric
from stages.shell import run_command
from stages.workspace import Workspace
from tools import commits
from tools.git import git, in_clone

PICTURE = "reports/trends.svg"
_WORKSPACE = "workspace"
_HEADLINES = tuple(metric for metric in CATALOG.values() if metric.headline)
_COLUMNS = 2
_MAX_LABELS = 40  # revisions whose names fit below an axis


def _revisions(project: Path, revision: str) -> Iterator[tuple[str, str, str, Callable[[str], str | None]]]:
    """(name, date, subject, function that reads a file), oldest first. The working tree is last."""
    # --no-show-signature: the user's log.showSignature would add lines. --end-of-options: a revision can begin with a
    # dash. ./: a path after a colon is otherwise relative to the repository's root.
    form = "--format=%h%x09%cs%x09%D%x09%s"
    log = ("log", "--no-show-signature", "--first-parent", "--reverse", form, "--end-of-options", revision)
    for line in git(project, *log, "--", *files.FILES).splitlines():
        commit, date, refs, subject = line.split("\t", 3)
        tags = [ref.removeprefix("tag: ") for ref in refs.split(", ") if ref.startswith("tag: ")]
        yield tags[0] if tags else commit, date, subject, partial(commits.text_at, project, commit)
    if git(project, "status", "--porcelain", "--", *files.FILES).strip():
        yield _WORKSPACE, "", "not committed", partial(commits.text_now, project)


def history(project: Path, revision: str = "HEAD") -> pd.DataFrame:
    """A row for each revision, oldest first: its name, date, subject, the number of its protocol, and its metrics."""
    rows: list[dict[str, Any]] = []
    protocols: list[str] = []
    for name, date, subject, content in _revisions(project, revision):
        try:
            metrics = files.read(content)
        except ValueError as error:
            shell.say(f"{name}: {error} in this revision; skipped")
            continue
        if metrics is None:
            continue  # the commit that removed it
        protocol = json.dumps(metrics.pop("protocol", None), sort_keys=True)
        if protocol not in protocols:
            protocols.append(protocol)
        numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
        about = {"revision": name, "date": date, "subject": subject, "protocol": protocols.index(protocol)}
        rows.append({**about, **numbers})
    if not rows:
        raise StageError(f"{revision}: no commit has {files.HEADLINES}; run `make repro` and commit reports/")
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """A panel for each headline metric in the table, over the revisions. Raises StageError if the table has none."""
    metrics = [metric for metric in _HEADLINES if metric.name in table]
    if not metrics:
        names = ", ".join(metric.name for metric in _HEADLINES)
        raise StageError(f"{files.HEADLINES}: no revision has any of {names}; run `make repro` to measure them")
    lines = -(-len(metrics) // _COLUMNS)
    with style.context("default"):
        figure = Figure(figsize=(11, 1 + 2.3 * lines), layout="constrained")
        panels = figure.subplots(lines, _COLUMNS, sharex=True, squeeze=False).flat
        for metric, panel in zip(metrics, panels, strict=False):
            _draw_metric(panel, metric, table)
        for panel in list(panels):  # empty places in the last line
            panel.remove()
        first, last = table["date"].iloc[0], next((date for date in reversed(table["date"]) if date), "")
        span = f"{first} to {last}" if first != last else first
        figure.suptitle(
            f"Metrics of {len(table)} revisions, {span}; one colour for each protocol ({table['protocol'].nunique()})",
            fontsize=11,
        )
    return figure


def _draw_metric(panel: Axes, metric: Metric, table: pd.DataFrame) -> None:
    for _, part in table.groupby(table["protocol"].diff().ne(0).cumsum()):  # a protocol can return
        panel.plot(part.index, part[metric.name], f"C{part['protocol'].iloc[0]}", marker="o", markersize=4)
    direction = f"best {metric.better}" if metric.better.startswith("near ") else f"{metric.better} is better"
    panel.set_title(f"{metric.label} ({direction})", fontsize=10, loc="left")
    panel.set_ylim(0, 1.1 * table[metric.name].max() or 1)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(table) <= _MAX_LABELS:
        panel.set_xticks(table.index, table["revision"], rotation=60, ha="right", fontsize=8)


def _write(picture: Path, table: pd.DataFrame) -> None:
    """Write the picture and the table, both or neither."""
    figure = draw(table)
    names = picture.name, picture.with_suffix(".csv").name
    with Workspace(picture.parent).outputs(*names) as new:
        figure.savefig(new(names[0]))
        table.to_csv(new(names[1]), index=False)


def main() -> None:
    """Draw the metrics over the history of the revision that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", default="HEAD", help="the newest revision (HEAD)")
    parser.add_argument("--out", default=PICTURE, help=f"the picture, .svg, .png or .pdf ({PICTURE})")
    arguments = parser.parse_args()
    picture = Path(arguments.out)
    if picture.suffix not in (".svg", ".png", ".pdf"):
        raise StageError(f"--out {picture}: expected a name that ends in .svg, .png or .pdf")
    in_clone(Path(), "--git-dir")
    table = history(Path(), arguments.revision)
    _write(picture, table)
    columns = ["revision", "date", "protocol", *(metric.name for metric in _HEADLINES)]
    print(table[[column for column in columns if column in table]].to_string(index=False))
    print(f"\nThe picture: {picture.resolve()}")


if __name__ == "__main__":
    run_command(main)
