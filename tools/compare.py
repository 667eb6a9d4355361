"""Compare two revisions side by side: metrics, params and pictures.

    python -m tools.compare HEAD~1 HEAD    # make compare A=HEAD~1 B=HEAD
    python -m tools.compare                # HEAD with the working tree, called `workspace`

A revision is a commit, a tag, a branch or the name of a DVC experiment. Reads each revision from Git and DVC, checks
nothing out and runs nothing. Prints the tables and writes reports/comparison.html, one page that includes the pictures.
Metrics are subtracted only if both were measured under the same protocol. If the protocols differ, the command still
writes the page and then exits with 1. Warns if the working tree's results do not match its params. Takes a few seconds.
"""

import argparse
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import RevError, SCMError, resolve_rev
from scmrepo.exceptions import SCMError as GitError

from stages import artifacts, png, templates
from stages.errors import StageError
from stages.metrics import files
from stages.metrics.catalog import CLASS_PROTOCOL
from stages.metrics.catalog import METRICS as CATALOG
from stages.png import Picture
from stages.shell import run_command
from stages.workspace import Workspace
from tools import fresh
from tools.commits import flat
from tools.terminal import one_line, to_json

WORKSPACE = "workspace"  # DVC's name for the working tree
PICTURES = "reports/samples"
PAGE = "reports/comparison.html"
_CELL = 40  # characters of a value on the terminal; the page shows all of them


@dataclass(frozen=True)
class Side:
    """One revision: its name as typed, its title, its metrics, and its pictures by file name.

    A picture is None where the file is not a PNG.
    """

    name: str
    title: str
    metrics: dict[str, Any]
    pictures: dict[str, Picture | None]


@dataclass(frozen=True)
class Row:
    """A line of a table: a name, its value in both revisions, and for metrics B − A and the better direction."""

    name: str
    a: str
    b: str
    difference: str = ""
    better: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two revisions, with the differences of their protocols, their metrics and the params that differ.

    Metrics are subtracted only if `protocol_differences` is empty. `stale` explains how the
    working tree's results differ from its current params; empty where they match or the working tree is not compared.
    """

    a: Side
    b: Side
    protocol_differences: tuple[Row, ...]
    protocol: dict[str, str]
    metrics: tuple[Row, ...]
    params: tuple[Row, ...]
    stale: str = ""


def _resolved(repo: Repo, name: str) -> str:
    """The commit's hash, or `workspace`. Raises StageError for a name that is not a revision."""
    if name == WORKSPACE:
        return name
    try:
        # An empty name would be HEAD. The first step resolves experiments, the second finds the commit of a tag.
        revision = resolve_rev(repo.scm, name or "''")
        return str(resolve_rev(repo.scm, revision + "^{commit}"))
    except RevError:
        raise StageError(
            f"{one_line(name) if name else 'an empty name'}: no such revision; name a commit, a tag, a branch "
            "(`git log --oneline --all`), an experiment (`dvc exp list --all-commits`), "
            f"or {WORKSPACE} for the working tree"
        ) from None
    except GitError as error:
        raise StageError(f"{one_line(name)}: no such revision ({error}); is anything committed yet?") from None


def _title(repo: Repo, revision: str) -> str:
    if revision == WORKSPACE:
        return "the working tree"
    subject = repo.scm.resolve_commit(revision).message.strip().partition("\n")[0]
    subject = re.sub(r"^(dvc: commit experiment) [0-9a-f]{64}$", r"\1", subject)
    return f"{revision[:7]} {one_line(subject)}"


def _unusable(name: str, reason: object) -> StageError:
    """The error for a revision without usable metrics or params."""
    restore = "`git restore reports` restores the committed results, `dvc repro` makes new ones"
    lines = "\n".join(line if line.isprintable() else one_line(line) for line in str(reason).split("\n"))
    return StageError(f"{one_line(name)}: {lines}; {restore if name == WORKSPACE else 'name another revision'}")


def _picture(content: bytes) -> Picture | None:
    try:
        return png.decode(content)
    except ValueError:
        return None


def _read(files: DVCFileSystem, path: str) -> bytes | None:
    """A file of a revision, from Git or from DVC's cache; None if it is in neither."""
    try:
        return bytes(files.read_bytes(path))
    except FileNotFoundError:
        return None


def _pictures(files: DVCFileSystem) -> dict[str, Picture | None]:
    folder = f"/{PICTURES}"
    paths = (
        sorted(path for path in files.ls(folder, detail=False) if path.endswith(".png")) if files.isdir(folder) else []
    )
    contents = {Path(path).name: _read(files, path) for path in paths}
    return {name: _picture(content) for name, content in contents.items() if content is not None}


def _side(repo: Repo, name: str, revision: str) -> Side:
    """Read a revision. Raises StageError where it has no metrics."""
    try:
        with repo.switch(revision):
            metrics = files.read(lambda file: _read(repo.dvcfs, f"/{file}"))
            if metrics is None:
                raise _unusable(name, f"{files.HEADLINES} is missing")
            return Side(one_line(name), _title(repo, revision), metrics, _pictures(repo.dvcfs))
    except (ValueError, DvcException) as error:  # damaged metrics, or a dvc.yaml that cannot be read
        raise _unusable(name, error) from None


def _protocol(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The protocol as one level with dotted names, each value as JSON."""
    protocol = metrics.get("protocol")
    return {name: to_json(value) for name, value in flat(protocol, "protocol").items()} if protocol else {}


def protocol_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Row, ...]:
    """The differences between the protocols of two metrics files; a file without a protocol differs from every other.

    A conditional generator can be compared with an unconditional one: see CLASS_PROTOCOL. A crop can be a list.
    """
    protocols = _protocol(a), _protocol(b)
    if not any(protocols):
        return (Row("protocol", "missing", "missing"),)
    names = {
        name: None
        for name in protocols[0] | protocols[1]
        # One of two generators is not conditional: the metrics that both have do not depend on these keys.
        if name.removeprefix("protocol.") not in CLASS_PROTOCOL or all(name in side for side in protocols)
    }
    rows = [Row(one_line(name), *(side.get(name, "missing") for side in protocols)) for name in names]
    return tuple(row for row in rows if row.a != row.b)


def _difference(a: object, b: object) -> str:
    """B − A with its sign; empty unless both are numbers."""
    if not isinstance(a, int | float) or not isinstance(b, int | float):
        return ""
    if a == b:
        return "0"
    return f"{b - a:+d}" if isinstance(b - a, int) else f"{artifacts.rounded(b - a):+}"


def _better(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """A metric's better direction; for a KID also whether the difference is below twice its standard error."""
    direction = CATALOG[name].better if name in CATALOG else ""
    near = direction.removeprefix("near ")
    if near in a and a[near] == b.get(near):
        return f"{direction} {one_line(a[near])}"
    kid: list[Any] = [side.get(key) for key in ("kid", "kid_se") for side in (a, b)]
    if name != "kid" or not all(isinstance(value, int | float) for value in kid):
        return direction
    noise = 2 * math.hypot(*kid[2:])
    return f"{direction}; within the noise (±{noise:.3g})" if 0 < abs(kid[0] - kid[1]) < noise else direction


def _is_clutter(name: str, a: object, b: object) -> bool:
    """Whether a value is the same on both sides and says nothing about the generator, only about the data."""
    return a == b and (name.endswith(("_floor", "_real")) or name == "modes_total")


def _values(value: object, name: str = "") -> Iterator[tuple[str, int | float | str]]:
    """The numbers and texts of metrics, by dotted name, without the protocol. Skips lists and nulls, as DVC does."""
    if isinstance(value, dict):
        for key, part in value.items():
            if name or key != "protocol":
                yield from _values(part, f"{name}.{key}" if name else key)
    elif isinstance(value, int | float | str):
        yield name, value


def _metric_rows(a: Side, b: Side, subtract: bool) -> tuple[Row, ...]:
    """The metrics of both sides, without the protocol; with differences and directions if `subtract`."""
    old, new = dict(_values(a.metrics)), dict(_values(b.metrics))
    return tuple(
        Row(
            one_line(name),
            one_line(old.get(name)),
            one_line(new.get(name)),
            _difference(old.get(name), new.get(name)) if subtract else "",
            _better(name, a.metrics, b.metrics) if subtract else "",
        )
        for name in files.in_order(old | new)
        if not _is_clutter(name, old.get(name), new.get(name))
    )


def _param_rows(repo: Repo, revisions: Sequence[str], sides: Sequence[Side]) -> tuple[Row, ...]:
    """`dvc params diff`, by name; a param of another file than params.yaml is named with its file.

    A file that a revision does not have counts as empty. Raises StageError for one that cannot be read.
    """
    differences = repo.params.diff(*revisions)
    for side, revision in zip(sides, revisions, strict=True):
        errors = differences.get("errors", {}).get(revision, {})
        for error in errors.values() if isinstance(errors, dict) else [errors]:
            if not isinstance(error, FileNotFoundError):
                raise _unusable(side.name, error)
    return tuple(
        Row(one_line(name if file == "params.yaml" else f"{file}:{name}"), one_line(cell["old"]), one_line(cell["new"]))
        for file, cells in sorted(differences.get("diff", {}).items())
        for name, cell in sorted(cells.items())
    )


def compare(repo: Repo, a: str, b: str) -> Comparison:
    """Compare two revisions. Raises StageError that names a revision which cannot be compared."""
    if a == b:
        raise StageError(f"cannot compare {one_line(a)} with itself; name two revisions")
    revisions = [_resolved(repo, name) for name in (a, b)]
    side_a, side_b = (_side(repo, name, revision) for name, revision in zip((a, b), revisions, strict=True))
    differences = protocol_differences(side_a.metrics, side_b.metrics)
    stale = fresh.results(repo) if WORKSPACE in (a, b) else ""
    return Comparison(
        side_a,
        side_b,
        protocol_differences=differences,
        protocol={one_line(name): value for name, value in _protocol(side_a.metrics).items()},
        metrics=_metric_rows(side_a, side_b, subtract=not differences),
        params=_param_rows(repo, revisions, (side_a, side_b)),
        stale=one_line(stale) if stale else "",
    )


def _table(head: Row, rows: Sequence[Row]) -> str:
    """Rows as columns of text, long values cut."""
    lines = [[row.name, row.a, row.b, row.difference, row.better] for row in (head, *rows)]
    cut = [[text if len(text) <= _CELL else text[: _CELL - 1] + "…" for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    padded = (
        [name.ljust(widths[0]), *(text.rjust(width) for text, width in zip(values, widths[1:-1], strict=True)), better]
        for name, *values, better in cut
    )
    return "\n".join("  ".join(line).rstrip() for line in padded)


def to_text(comparison: Comparison) -> str:
    """The comparison for a terminal: the revisions, the differences of the protocols, the metrics and the params."""
    a, b = comparison.a, comparison.b
    parts = [f"A  {a.name}: {a.title}\nB  {b.name}: {b.title}"]
    stale = [f"Warning: {comparison.stale}"] if comparison.stale else []
    parts += stale
    if comparison.protocol_differences:
        lines = (f"{row.name}: {row.a} and {row.b}" for row in comparison.protocol_differences)
        parts.append("\n".join(["The protocols differ, so the metrics are not subtracted:", *lines]))
    head = Row("metric", "A", "B") if comparison.protocol_differences else Row("metric", "A", "B", "B − A", "better")
    parts.append(_table(head, comparison.metrics))
    parts.append(_table(Row("param", "A", "B"), comparison.params) if comparison.params else "The params are the same.")
    return "\n\n".join(parts + stale)  # again at the end, in case the start has scrolled away


def render(comparison: Comparison) -> str:
    """The page as one HTML text: no network, no script; names from files and from Git are escaped."""
    names = sorted(comparison.a.pictures.keys() | comparison.b.pictures.keys())
    environment = templates.environment(Path(__file__).parent, html=True)
    return environment.get_template("compare.html.j2").render(c=comparison, names=names)


def open_repo() -> Repo:
    """The repository of the current folder. Raises StageError outside a repository of Git and DVC."""
    try:
        repo = Repo()
        if not hasattr(repo.scm, "resolve_rev"):
            raise StageError(f"{repo.root_dir}: this DVC project has no Git history; run this in a clone")
        return repo
    except NotDvcRepoError:
        raise StageError(f"{Path.cwd()}: not in a DVC repository; run this in a clone of the project") from None
    except SCMError:
        raise StageError(f"{Path.cwd()}: not in a Git repository; run this in a clone of the project") from None


def main() -> None:
    """Compare the revisions that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", nargs="?", default="HEAD", help="a revision (HEAD)")
    parser.add_argument("b", nargs="?", default=WORKSPACE, help=f"another revision ({WORKSPACE}, the working tree)")
    arguments = parser.parse_args()
    with open_repo() as repo:
        comparison = compare(repo, arguments.a, arguments.b)
        workspace = Workspace(Path(repo.root_dir))
    with workspace.outputs(PAGE) as new:
        new(PAGE).write_text(render(comparison), encoding="utf-8")
    print(f"{to_text(comparison)}\n\nThe page: {workspace.out / PAGE}", flush=True)
    if comparison.protocol_differences:
        keys = ", ".join(row.name for row in comparison.protocol_differences)
        raise StageError(
            f"{comparison.a.name} and {comparison.b.name} were measured under different protocols ({keys}), so their "
            "metrics are not comparable; evaluate both under the same protocol"
        )


if __name__ == "__main__":
    run_command(main)
