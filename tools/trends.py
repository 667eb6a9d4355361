"""The metrics over Git history: `make trends`, or python -m tools.trends [REVISION] [--out reports/trends.svg]

Reads reports/metrics.json of every commit that changed it, on the way of first parents to REVISION (HEAD), and of the
working tree where that differs. Checks nothing out and runs nothing. Writes a picture, and beside it the same as a
table (.csv). A line joins what one protocol measured; where the protocol changed it breaks, for numbers of unlike
protocols say nothing of each other.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages import shell
from stages.errors import StageError
from stages.shell import run_command
from stages.workspace import Workspace
from tools import BETTER
from tools.git import git

METRICS = "reports/metrics.json"
PICTURE = "reports/trends.svg"
_WORKSPACE = "workspace"
_DRAWN = ("fid", "kid", "swd", "precision", "recall", "coverage", "modes_covered", "memorization")
_COLUMNS = 2
_LABELLED = 40  # revisions whose names find room below an axis


def _revisions(project: Path, revision: str) -> Iterator[tuple[str, str, str, str]]:
    """(name, date, subject, content of the metrics file), the oldest first."""
    # --no-show-signature: the user's log.showSignature would put lines between. --end-of-options: a revision that
    # begins with a dash is one all the same. ./: without, a path after a colon begins at the repository's root.
    form = "--format=%h%x09%cs%x09%D%x09%s"
    log = ("log", "--no-show-signature", "--first-parent", "--reverse", form, "--end-of-options", revision)
    for line in git(project, *log, "--", METRICS).splitlines():
        commit, date, refs, subject = line.split("\t", 3)
        tags = [ref.removeprefix("tag: ") for ref in refs.split(", ") if ref.startswith("tag: ")]
        try:
            yield tags[0] if tags else commit, date, subject, git(project, "show", f"{commit}:./{METRICS}")
        except StageError:
            continue  # the commit that removed it
    now = project / METRICS
    if now.exists() and git(project, "status", "--porcelain", "--", METRICS).strip():
        yield _WORKSPACE, "", "not committed", now.read_text(encoding="utf-8")


def history(project: Path, revision: str = "HEAD") -> pd.DataFrame:
    """A row for each revision, the oldest first: name, date, subject, protocol (a number for each), the metrics."""
    rows: list[dict[str, Any]] = []
    protocols: list[str] = []
    for name, date, subject, content in _revisions(project, revision):
        try:
            metrics = json.loads(content)
            protocol = json.dumps(metrics.pop("protocol", None), sort_keys=True)
        except (ValueError, AttributeError):
            shell.say(f"{name}: {METRICS} is damaged there; left out")
            continue
        if protocol not in protocols:
            protocols.append(protocol)
        numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
        about = {"revision": name, "date": date, "subject": subject, "protocol": protocols.index(protocol)}
        rows.append({**about, **numbers})
    if not rows:
        raise StageError(f"{revision}: no commit there has {METRICS}; `make repro` makes it, then commit reports/")
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """A panel for each metric that is there, over the revisions. Raises StageError where none is."""
    names = [name for name in _DRAWN if name in table]
    if not names:
        raise StageError(f"{METRICS}: no revision has any of {', '.join(_DRAWN)}; `make repro` measures them")
    lines = -(-len(names) // _COLUMNS)
    with style.context("default"):
        figure = Figure(figsize=(11, 1 + 2.3 * lines), layout="constrained")
        panels = figure.subplots(lines, _COLUMNS, sharex=True, squeeze=False).flat
        for name, panel in zip(names, panels, strict=False):
            for _, part in table.groupby(table["protocol"].diff().ne(0).cumsum()):  # a protocol can come back
                panel.plot(part.index, part[name], f"C{part['protocol'].iloc[0]}", marker="o", markersize=4)
            way = f"best {BETTER[name]}" if BETTER[name].startswith("near ") else f"{BETTER[name]} is better"
            panel.set_title(f"{name} ({way})", fontsize=10, loc="left")
            panel.set_ylim(0, 1.1 * table[name].max() or 1)
            panel.spines[["top", "right"]].set_visible(False)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(table) <= _LABELLED:
                panel.set_xticks(table.index, table["revision"], rotation=60, ha="right", fontsize=8)
        for panel in list(panels):  # what is left of the last line
            panel.remove()
        first, last = table["date"].iloc[0], next((date for date in reversed(table["date"]) if date), "")
        span = f"{first} to {last}" if first != last else first
        figure.suptitle(
            f"Metrics of {len(table)} revisions, {span}; one colour for each protocol ({table['protocol'].nunique()})",
            fontsize=11,
        )
    return figure


def _write(picture: Path, table: pd.DataFrame) -> None:
    """Write the picture and the table beside it, both or neither."""
    figure = draw(table)
    names = picture.name, picture.with_suffix(".csv").name
    with Workspace(picture.parent).outputs(*names) as new:
        figure.savefig(new(names[0]))
        table.to_csv(new(names[1]), index=False)


def main() -> None:
    """Draw the history that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", default="HEAD", help="where the history ends (HEAD)")
    parser.add_argument("--out", default=PICTURE, help=f"the picture, .svg, .png or .pdf ({PICTURE})")
    arguments = parser.parse_args()
    picture = Path(arguments.out)
    if picture.suffix not in (".svg", ".png", ".pdf"):
        raise StageError(f"--out {picture}: expected a name that ends in .svg, .png or .pdf")
    table = history(Path(), arguments.revision)
    _write(picture, table)
    shown = [name for name in ("revision", "date", "protocol", *_DRAWN) if name in table]
    print(table[shown].to_string(index=False))
    print(f"\nThe picture: {picture.resolve()}")


if __name__ == "__main__":
    run_command(main)
