"""Metrics and pictures of this checkout against another revision, as Markdown: python -m tools.summary [BASE]

For a page of continuous integration (GitHub shows what is written to $GITHUB_STEP_SUMMARY). BASE is `origin/main` by
default; where it is not there, or has no metrics, the summary has this checkout's alone. Prints to stdout.
"""

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dvc.exceptions import DvcException

from stages import artifacts
from stages.errors import StageError
from stages.shell import run_command
from tools import compare

_PICTURES = ("grid.png", "real.png", "timeline.png")


def _cell(text: str) -> str:
    """Text for a cell of a table: neither ends it, nor is it taken for markup."""
    return re.sub(r"[\\`*\[\]<>|&]", lambda sign: f"&#{ord(sign[0])};", text)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _picture(name: str) -> str:
    """Where the picture is: at the commit's own address on GitHub, which shows no picture from within a summary."""
    server, repository = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    commit = os.environ.get("GITHUB_SHA")
    if server and repository and commit:
        return f"{server}/{repository}/raw/{commit}/{compare.PICTURES}/{name}"
    return f"{compare.PICTURES}/{name}"


def _alone(path: Path) -> Iterator[str]:
    metrics = artifacts.read_json(path)
    yield from _table(
        ("metric", "here"),
        ((compare.one_line(name), compare.one_line(value)) for name, value in metrics.items() if name != "protocol"),
    )


def _against(found: compare.Comparison) -> Iterator[str]:
    yield f"{_cell(found.a.title)} against {_cell(found.b.title)}"
    yield ""
    if found.stale:
        yield f"Beware: {_cell(found.stale)}"
        yield ""
    if found.unlike:
        yield "The two were measured under unlike protocols, so nothing is subtracted:"
        yield ""
        yield from _table(("protocol", "base", "here"), ((row.name, row.a, row.b) for row in found.unlike))
        yield ""
    head = ("metric", "base", "here") if found.unlike else ("metric", "base", "here", "here − base", "better")
    rows = ((row.name, row.a, row.b, row.difference, row.better) for row in found.metrics)
    yield from _table(head, (row[: len(head)] for row in rows))
    yield ""
    if found.params:
        yield from _table(("param", "base", "here"), ((row.name, row.a, row.b) for row in found.params))
    else:
        yield "The params are the same."


def summary(base: str) -> str:
    """The Markdown."""
    lines = ["## Metrics", ""]
    try:
        with compare.opened() as repo:
            lines += _against(compare.compare(repo, base, compare.WORKSPACE))
    except (StageError, DvcException) as error:
        lines += [f"No comparison: {_cell(str(error))}", "", *_alone(Path(compare.METRICS))]
    lines += ["", "## Pictures", ""]
    shown = [name for name in _PICTURES if Path(compare.PICTURES, name).exists()]
    lines += [f"**{name}**\n\n![{name}]({_picture(name)})\n" for name in shown] or ["There are none.", ""]
    return "\n".join(lines)


def main() -> None:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="origin/main", help="the revision to compare with (origin/main)")
    print(summary(parser.parse_args().base))


if __name__ == "__main__":
    run_command(main)
