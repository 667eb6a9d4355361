"""Two revisions side by side: metrics, params and pictures. Numbers of unlike protocols are shown and not subtracted.

    python -m tools.compare HEAD~1 HEAD    # make compare A=HEAD~1 B=HEAD
    python -m tools.compare                # HEAD against the working tree, called `workspace`

A revision is a commit, a tag, a branch or the name of a DVC experiment. Reads what Git and DVC have of each, checks
nothing out and runs nothing. Prints the tables and writes reports/comparison.html, one page with the pictures in it.
Exits with 1 where the protocols differ; the page is there all the same. Where the working tree's results are not of its
params, says so. Some seconds.
"""

import argparse
import base64
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import RevError, SCMError, resolve_rev
from PIL import Image
from scmrepo.exceptions import SCMError as GitError

from stages import artifacts
from stages.errors import StageError
from stages.shell import run_command
from stages.workspace import Workspace
from tools import BETTER, fresh

WORKSPACE = "workspace"  # DVC's name for the working tree
METRICS = "reports/metrics.json"
PICTURES = "reports/samples"
PAGE = "reports/comparison.html"
_CELL = 40  # characters that a value may have on the terminal; the page has all of it


@dataclass(frozen=True)
class Picture:
    """A PNG as the page shows it: its address (data:), its pixels' size, and what it says of itself, if anything."""

    address: str
    width: int
    height: int
    description: str
    source: str


@dataclass(frozen=True)
class Side:
    """What one revision has: its name as it was typed, what that is, its metrics, its pictures by file name.

    A picture is None where the file is none.
    """

    name: str
    title: str
    metrics: dict[str, Any]
    pictures: dict[str, Picture | None]


@dataclass(frozen=True)
class Row:
    """A line of a table: a name, its value in either revision, and B − A and what is better where there is such."""

    name: str
    a: str
    b: str
    difference: str = ""
    better: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two revisions: what of their protocols differs (nothing, where numbers may be subtracted), metrics, params.

    `stale` says in what the working tree's results are not of what it holds; "" where they are, or it is no side.
    """

    a: Side
    b: Side
    unlike: tuple[Row, ...]
    protocol: dict[str, str]
    metrics: tuple[Row, ...]
    params: tuple[Row, ...]
    stale: str = ""


def _resolved(repo: Repo, name: str) -> str:
    """The commit's hash, or `workspace`. Raises StageError for a name that is no revision."""
    if name == WORKSPACE:
        return name
    try:
        # An empty name would be HEAD. Two steps: the second makes a commit of a tag's object, but knows no experiments.
        found = resolve_rev(repo.scm, name or "''")
        return str(resolve_rev(repo.scm, found + "^{commit}"))
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


def _unusable(name: str, what: object) -> StageError:
    """The error for a revision that has no numbers to compare."""
    committed = "`git restore reports` brings the committed results back, `dvc repro` makes them"
    told = "\n".join(line if line.isprintable() else one_line(line) for line in str(what).split("\n"))
    return StageError(f"{one_line(name)}: {told}; {committed if name == WORKSPACE else 'name another revision'}")


def _metrics(content: bytes) -> dict[str, Any]:
    """The metrics in a file's bytes. Raises ValueError where they are no JSON object."""
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _picture(content: bytes) -> Picture | None:
    """A PNG's bytes as the page shows them; None where they are no PNG, or half of one."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture.load()
            (width, height), info = picture.size, picture.info
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Picture(address, width, height, str(info.get("Description", "")), str(info.get("Source", "")))


def _read(files: DVCFileSystem, path: str) -> bytes | None:
    """A file of a revision, from Git or from DVC's cache; None where neither has it."""
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
    """Read what a revision has. Raises StageError where it has no metrics."""
    try:
        with repo.switch(revision):
            content = _read(repo.dvcfs, f"/{METRICS}")
            if content is None:
                raise _unusable(name, f"there is no {METRICS}")
            return Side(one_line(name), _title(repo, revision), _metrics(content), _pictures(repo.dvcfs))
    except ValueError as error:
        raise _unusable(name, f"{METRICS} is damaged ({error})") from None
    except DvcException as error:  # a dvc.yaml that cannot be read
        raise _unusable(name, error) from None


def _json(value: object) -> str:
    """JSON in one line; whatever a terminal would not print, as escapes."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if text.isprintable() else json.dumps(value, sort_keys=True)


def _flat(value: object, name: str) -> dict[str, str]:
    """Nested objects as one level, by dotted names as they are, each value as JSON; lists stay whole."""
    if not isinstance(value, dict) or not value:
        return {name: _json(value)}
    return {inner: text for key, part in value.items() for inner, text in _flat(part, f"{name}.{key}").items()}


def _protocol(metrics: Mapping[str, Any]) -> dict[str, str]:
    return _flat(metrics["protocol"], "protocol") if metrics.get("protocol") else {}


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Row, ...]:
    """What the protocols of two metrics files differ in; a file without one is unlike any other.

    From the files themselves: `dvc metrics diff` leaves lists and nulls out, and two crops can be two lists.
    """
    told = _protocol(a), _protocol(b)
    if not any(told):
        return (Row("protocol", "missing", "missing"),)
    rows = [Row(one_line(name), *(side.get(name, "missing") for side in told)) for name in told[0] | told[1]]
    return tuple(row for row in rows if row.a != row.b)


def one_line(value: object) -> str:
    """A value or a name in one line that a terminal may print: text as it is if it can be, else as JSON.

    A dash for None, DVC's word for missing, too.
    """
    if value is None:
        return "–"
    return value if isinstance(value, str) and value and value.isprintable() else _json(value)


def _subtracted(difference: float | None) -> str:
    if not difference:
        return "" if difference is None else "0"
    return f"{difference:+d}" if isinstance(difference, int) else f"{artifacts.rounded(difference):+}"


def _better(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Which way a metric is better; of a KID, too, whether the difference is less than twice its standard error."""
    way = BETTER.get(name, "")
    near = way.removeprefix("near ")
    if near in a and a[near] == b.get(near):
        return f"{way} {one_line(a[near])}"
    kid: list[Any] = [side.get(key) for key in ("kid", "kid_se") for side in (a, b)]
    if name != "kid" or not all(isinstance(value, int | float) for value in kid):
        return way
    noise = 2 * math.hypot(*kid[2:])
    return f"{way}; within the noise (±{noise:.3g})" if 0 < abs(kid[0] - kid[1]) < noise else way


def _is_clutter(name: str, cell: Mapping[str, Any]) -> bool:
    """Whether a value that is the same on both sides says nothing of the generator: it is the data's, or a constant."""
    return cell["old"] == cell["new"] and (name.endswith(("_floor", "_real")) or name == "modes_total")


def _metric_rows(repo: Repo, revisions: Sequence[str], a: Side, b: Side, subtract: bool) -> tuple[Row, ...]:
    """`dvc metrics diff` without the protocol, in the file's order; differences, and what is better, if `subtract`."""
    file = str(Path(repo.root_dir) / METRICS)
    found = repo.metrics.diff(*revisions, all=True, targets=[file]).get("diff", {}).get(METRICS, {})
    places = {name: place for place, name in enumerate(a.metrics | b.metrics)}
    return tuple(
        Row(
            one_line(name),
            one_line(cell["old"]),
            one_line(cell["new"]),
            _subtracted(cell.get("diff")) if subtract else "",
            _better(name, a.metrics, b.metrics) if subtract else "",
        )
        for name, cell in sorted(found.items(), key=lambda item: (places.get(item[0].split(".")[0], 0), item[0]))
        if name.split(".")[0] != "protocol" and not _is_clutter(name, cell)
    )


def _param_rows(repo: Repo, revisions: Sequence[str], sides: Sequence[Side]) -> tuple[Row, ...]:
    """`dvc params diff`, by name; those of another file than params.yaml are named with it.

    A file that a revision lacks has no params there. Raises StageError for one that cannot be read.
    """
    found = repo.params.diff(*revisions)
    for side, revision in zip(sides, revisions, strict=True):
        errors = found.get("errors", {}).get(revision, {})
        for error in errors.values() if isinstance(errors, dict) else [errors]:
            if not isinstance(error, FileNotFoundError):
                raise _unusable(side.name, error)
    return tuple(
        Row(one_line(name if file == "params.yaml" else f"{file}:{name}"), one_line(cell["old"]), one_line(cell["new"]))
        for file, cells in sorted(found.get("diff", {}).items())
        for name, cell in sorted(cells.items())
    )


def compare(repo: Repo, a: str, b: str) -> Comparison:
    """What two revisions have, and what differs. Raises StageError naming a revision that cannot be compared."""
    if a == b:
        raise StageError(f"{one_line(a)} against itself: name two revisions")
    revisions = [_resolved(repo, name) for name in (a, b)]
    one, two = (_side(repo, name, revision) for name, revision in zip((a, b), revisions, strict=True))
    differs = unlike(one.metrics, two.metrics)
    stale = fresh.results(repo) if WORKSPACE in (a, b) else ""
    return Comparison(
        one,
        two,
        unlike=differs,
        protocol={one_line(name): value for name, value in _protocol(one.metrics).items()},
        metrics=_metric_rows(repo, revisions, one, two, subtract=not differs),
        params=_param_rows(repo, revisions, (one, two)),
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


def shown(comparison: Comparison) -> str:
    """The comparison as text: the revisions, what forbids to subtract, the metrics, the params that differ."""
    a, b = comparison.a, comparison.b
    parts = [f"A  {a.name}: {a.title}\nB  {b.name}: {b.title}"]
    stale = [f"Beware: {comparison.stale}"] if comparison.stale else []
    parts += stale
    if comparison.unlike:
        lines = (f"{row.name}: {row.a} against {row.b}" for row in comparison.unlike)
        parts.append("\n".join(["Of unlike protocols, so nothing is subtracted:", *lines]))
    head = Row("metric", "A", "B") if comparison.unlike else Row("metric", "A", "B", "B − A", "better")
    parts.append(_table(head, comparison.metrics))
    parts.append(_table(Row("param", "A", "B"), comparison.params) if comparison.params else "The params are the same.")
    return "\n\n".join(parts + stale)  # at the end, too, where a table has left the screen


def render(comparison: Comparison) -> str:
    """The page as one HTML text: no network, no script; names from the files and from Git are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = sorted(comparison.a.pictures.keys() | comparison.b.pictures.keys())
    return environment.get_template("compare.html.j2").render(c=comparison, names=names)


def opened() -> Repo:
    """The repository that the current folder is in. Raises StageError where there is none."""
    try:
        repo = Repo()
        if not hasattr(repo.scm, "resolve_rev"):
            raise StageError(f"{repo.root_dir}: a DVC project without Git has no revisions; run this in a clone")
        return repo
    except NotDvcRepoError:
        raise StageError(f"{Path.cwd()}: not in a DVC repository; run this in a clone of the project") from None
    except SCMError:
        raise StageError(f"{Path.cwd()}: not in a Git repository; run this in a clone of the project") from None


def main() -> None:
    """Compare the revisions that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", nargs="?", default="HEAD", help="a revision (HEAD)")
    parser.add_argument("b", nargs="?", default=WORKSPACE, help=f"another (the working tree: {WORKSPACE})")
    arguments = parser.parse_args()
    with opened() as repo:
        comparison = compare(repo, arguments.a, arguments.b)
        workspace = Workspace(Path(repo.root_dir))
    with workspace.outputs(PAGE) as new:
        new(PAGE).write_text(render(comparison), encoding="utf-8")
    print(f"{shown(comparison)}\n\nThe page: {workspace.out / PAGE}", flush=True)
    if comparison.unlike:
        keys = ", ".join(row.name for row in comparison.unlike)
        raise StageError(
            f"{comparison.a.name} and {comparison.b.name} were measured under unlike protocols ({keys}), so their "
            "numbers are not subtracted; evaluate both under one"
        )


if __name__ == "__main__":
    run_command(main)
