"""The metrics and pictures of this checkout compared with another revision, as Markdown: python -m tools.summary [BASE]

For a page of continuous integration: GitHub shows the file that $GITHUB_STEP_SUMMARY names. BASE defaults to
`origin/main`. If it does not exist or has no metrics, the summary shows only this checkout. Prints to stdout.
"""

import argparse
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dvc.exceptions import DvcException

from stages import artifacts
from stages.errors import StageError
from stages.metrics import files
from stages.shell import run_command
from tools import commits, compare
from tools.terminal import one_line

_PICTURES = ("grid.png", "real.png", "timeline.png")


def _cell(text: str) -> str:
    """Text for a table cell, with every character escaped that would end the cell or be markup."""
    return re.sub(r"[\\`*\[\]<>|&]", lambda sign: f"&#{ord(sign[0])};", text)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _picture(name: str) -> str:
    """The picture's address: that of the commit on GitHub, because a summary cannot show files of the checkout."""
    server, repository = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    commit = os.environ.get("GITHUB_SHA")
    if server and repository and commit:
        return f"{server}/{repository}/raw/{commit}/{compare.PICTURES}/{name}"
    return f"{compare.PICTURES}/{name}"


def _alone() -> Iterator[str]:
    metrics = files.read(partial(commits.text_now, Path()))
    if metrics is None:
        raise artifacts.missing(files.HEADLINES)
    yield from _table(
        ("metric", "here"),
        ((one_line(name), one_line(value)) for name, value in metrics.items() if name != "protocol"),
    )


def _compared(comparison: compare.Comparison) -> Iterator[str]:
    yield f"{_cell(comparison.a.title)} and {_cell(comparison.b.title)}"
    yield ""
    if comparison.stale:
        yield f"Warning: {_cell(comparison.stale)}"
        yield ""
    if comparison.protocol_differences:
        yield "The two were measured under different protocols, so the metrics are not subtracted:"
        yield ""
        yield from _table(
            ("protocol", "base", "here"), ((row.name, row.a, row.b) for row in comparison.protocol_differences)
        )
        yield ""
    head = (
        ("metric", "base", "here")
        if comparison.protocol_differences
        else ("metric", "base", "here", "here − base", "better")
    )
    rows = ((row.name, row.a, row.b, row.difference, row.better) for row in comparison.metrics)
    yield from _table(head, (row[: len(head)] for row in rows))
    yield ""
    if comparison.params:
        yield from _table(("param", "base", "here"), ((row.name, row.a, row.b) for row in comparison.params))
    else:
        yield "The params are the same."


def summary(base: str) -> str:
    """The summary as Markdown."""
    lines = ["## Metrics", ""]
    try:
        with compare.open_repo() as repo:
            lines += _compared(compare.compare(repo, base, compare.WORKSPACE))
    except (StageError, DvcException) as error:
        lines += [f"No comparison: {_cell(str(error))}", "", *_alone()]
    lines += ["", "## Pictures", ""]
    names = [name for name in _PICTURES if Path(compare.PICTURES, name).exists()]
    lines += [f"**{name}**\n\n![{name}]({_picture(name)})\n" for name in names] or ["No pictures.", ""]
    return "\n".join(lines)


def main() -> None:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="origin/main", help="the revision to compare with (origin/main)")
    print(summary(parser.parse_args().base))


if __name__ == "__main__":
    run_command(main)
