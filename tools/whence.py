"""Show how a picture was made: `make whence PNG=x.png`, or python -m tools.whence x.png

Reads the provenance inside a PNG of this project and searches Git, over all branches, tags and DVC experiments, for the
commits that introduced its generator (or, for a picture of the data, the data's manifest) and the file itself. Prints
these commits, what the model card says about the data and the training, and the commands that make the picture again.
Reads Git's history, reports/model_card.md and models/model.json; runs no stage. Takes about a second.
"""

import argparse
import contextlib
import dataclasses
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import artifacts, png
from stages.errors import StageError
from stages.png import Picture, Provenance
from stages.sample.command_line import parse_grid, parse_seeds
from stages.shell import run_command
from tools import commits, legacy_captions, model_card
from tools.commits import Commit
from tools.git import git, in_clone
from tools.terminal import one_line

CARD = "reports/model_card.md"
GENERATOR = "models/generator.keras"
MODEL = "models/model.json"
_REPORTS = "reports"
_DATA_FACTS = ("data", "manifest")
_STAGES = ("prepare", "train", "sample", "evaluate")  # the stages that draw pictures


def read(path: Path) -> Picture:
    """Read a PNG. Raises StageError, in one line, where the file is missing or not a PNG."""
    try:
        return png.decode(path.read_bytes())
    except FileNotFoundError:
        raise StageError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise StageError(f"{path}: is a folder; name one picture in it") from None
    except ValueError:
        raise StageError(f"{path}: not a complete PNG; only the PNGs of this project hold their provenance") from None


@dataclass(frozen=True)
class Origin:
    """Where Git and the working tree have a picture.

    `wanted` is the SHA-256 of the generator or of the manifest, and `subject` names it. `files` are the commits that
    introduced this very file, `models` those that introduced `wanted`. Use the first of each. `model` is the working
    tree's models/model.json if it describes the generator; else empty.
    """

    provenance: Provenance
    wanted: str
    subject: str
    blob: str
    shallow: bool
    files: tuple[Commit, ...]
    models: tuple[Commit, ...]
    model: dict[str, Any]

    @property
    def file(self) -> Commit | None:
        """A commit that has this very file, and so the params that it was drawn with."""
        return next(iter(self.files), None)

    @property
    def run(self) -> Commit | None:
        """The commit of the run that made the picture; for a file without a hash, the commit that added the file."""
        return next(iter(self.models if self.wanted else self.files), None)


def _kept_first(project: Path, unsorted: Sequence[Commit]) -> tuple[Commit, ...]:
    """Commits in branches and tags first: an experiment can be removed, and clones do not have it."""
    return tuple(sorted(unsorted, key=lambda commit: not commits.is_kept(project, commit)))


def _model_here(project: Path, generator: str) -> dict[str, Any]:
    """The working tree's models/model.json if it describes this generator; else empty."""
    with contextlib.suppress(StageError):
        model = artifacts.read_json(project / MODEL, "generator")
        if generator and isinstance(model["generator"], dict) and model["generator"].get("sha256") == generator:
            return model
    return {}


def _has_card(project: Path, origin: Origin, revision: str) -> bool:
    return origin.wanted in (commits.text_at(project, revision, CARD) or "")


def _has_file(project: Path, origin: Origin, revision: str) -> bool:
    return bool(commits.path_of_blob(project, revision, origin.blob, _REPORTS))


def _with_keys(provenance: Provenance) -> Provenance:
    if provenance == Provenance():
        return Provenance(stage="train")  # DVCLive logs the pictures of a training without any text
    return provenance if provenance.stage else legacy_captions.with_keys(provenance)


def find(project: Path, path: Path, picture: Picture) -> Origin:
    """Search Git and the working tree. Raises StageError outside a Git repository."""
    provenance = _with_keys(picture.provenance)
    generator = provenance.generator_sha256
    wanted = generator or provenance.manifest_sha256
    shallow = in_clone(project, "--is-shallow-repository") == "true"
    origin = Origin(
        provenance,
        wanted,
        subject=f"the generator {wanted[:12]}" if generator else f"the data with the manifest {wanted[:12]}",
        blob=git(project, "hash-object", "--no-filters", "--", str(path.resolve())).strip(),
        shallow=shallow,
        files=(),
        models=(),
        model=_model_here(project, generator),
    )
    return dataclasses.replace(origin, files=_file_commits(project, origin), models=_model_commits(project, origin))


def _file_commits(project: Path, origin: Origin) -> tuple[Commit, ...]:
    search = f"--find-object={origin.blob}", "--", _REPORTS
    return tuple(commits.introducing(project, lambda revision: _has_file(project, origin, revision), *search))


def _model_commits(project: Path, origin: Origin) -> tuple[Commit, ...]:
    if not origin.wanted:
        return ()
    search = f"-S{origin.wanted}", "--", CARD
    return tuple(commits.introducing(project, lambda revision: _has_card(project, origin, revision), *search))


def _commit_lines(project: Path, origin: Origin) -> Iterator[str]:
    searches = (
        (origin.models, origin.subject, lambda revision: _has_card(project, origin, revision)),
        (origin.files, "this very file", lambda revision: _has_file(project, origin, revision)),
    )
    for introducing, subject, has in searches:
        if introducing:
            yield f"\nThe commits that introduced {subject}, oldest first:"
        for commit in introducing:
            yield f"  {commit.short}  {commit.date}  {one_line(commit.subject)}"
            yield f"    {commits.names(project, commit, has)}"
    if origin.shallow and (origin.files or origin.models):
        yield "  This clone is shallow, so older commits can be missing: run `git fetch --unshallow` and try again"


def _card(project: Path, origin: Origin) -> str:
    """The model card of the picture's run; empty if no commit has one.

    The working tree's card counts only if it names the generator: after training, it is still the previous run's.
    """
    if origin.run:
        return commits.text_at(project, origin.run.full, CARD) or ""
    path, generator = project / CARD, origin.provenance.generator_sha256
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text if generator and generator in text else ""


def _model_facts(model: dict[str, Any]) -> dict[str, str]:
    """The facts in models/model.json, for a run whose card is not written yet."""
    if not model:
        return {}
    images = [one_line(model.get(name)) for name in ("best_images_seen", "images_seen")]
    return {
        "manifest": one_line(model.get("data_manifest_sha256")),
        "checkpoint": f"{' of '.join(images)} images seen",
        "params": one_line(model.get("params")),
        "environment": one_line(model.get("environment")),
    }


def _fact_lines(origin: Origin, card: str) -> Iterator[str]:
    facts = model_card.facts(card) or _model_facts(origin.model)
    is_data = bool(origin.provenance.source) and not origin.provenance.generator_sha256
    if facts:
        where = f"{CARD if card else MODEL}{f' in {origin.run.short}' if origin.run else ''}"
        yield f"\nFrom {where}:"
    for name, value in facts.items():
        if name in _DATA_FACTS or not is_data:
            yield f"  {name}: {one_line(value)}"
    if origin.run:
        yield f"  all params: git show {origin.run.short}:./params.yaml"


def _sample_options(provenance: Provenance) -> str:
    """The options of `python -m stages.sample` that lay the samples out like the picture."""
    scale = f" --scale {provenance.scale}" if provenance.scale else ""
    classes = "".join(f" --class {shlex.quote(name)}" for name in provenance.classes)
    with contextlib.suppress(StageError):
        rows = len(provenance.classes)
        count = len(parse_seeds(provenance.seeds)) * max(rows, 1)
        layout = parse_grid(provenance.grid, count, rows)
        if layout != parse_grid(None, count, rows):
            return f"{classes} --grid {layout[0]}x{layout[1]}{scale}"
    return classes + scale


def _seeds(provenance: Provenance) -> str:
    """The seeds as --seeds takes them; empty where the picture has none, or text that is not seeds."""
    with contextlib.suppress(StageError):
        parse_seeds(provenance.seeds)
        return "".join(provenance.seeds.split())
    return ""


def _commands(origin: Origin, provenance: Provenance) -> Iterator[str]:
    """The commands that draw the picture again, with the generator of its commit or of the working tree."""
    run, drawn = origin.run, origin.file or origin.run
    if (seeds := _seeds(provenance)) and (run or origin.model):
        if run:
            yield f"dvc get . {GENERATOR} --rev {run.short} -o generator.keras"
        options = (" --model generator.keras" if run else "") + f" --seeds {seeds}"
        yield f"python -m stages.sample{options}{_sample_options(provenance)} --out again.png"
    elif provenance.stage in _STAGES and (drawn or origin.model):
        if drawn:
            yield f"git checkout {drawn.short} && dvc checkout    # `git checkout - && dvc checkout` goes back"
        section = "" if origin.file else f"; set the section {provenance.stage} of params.yaml to its Params first"
        yield f"python -m stages.{provenance.stage} --out ../again    # writes ../again/reports{section}"
    elif run or origin.model:
        choice = f"a tag or branch of {run.short} (git tag NAME {run.short})" if run else "workspace"
        yield f"make demo    # choose {choice}, then follow the Description"


def _command_lines(project: Path, origin: Origin, provenance: Provenance) -> Iterator[str]:
    yield "\nTo make the picture again (`. .venv/bin/activate` first):"
    if origin.file:
        path = commits.path_of_blob(project, origin.file.full, origin.blob, _REPORTS)
        yield f"  git show {origin.file.short}:./{path} > again.png    # the very file"
    yield from (f"  {line}" for line in _commands(origin, provenance))
    if origin.run:
        push = "dvc push --all-commits" if commits.is_kept(project, origin.run) else "dvc exp push"
        yield f"\nIf DVC does not find the files: run `{push}` in the clone where they were made"
        yield f"To repeat the whole run with its own code: git checkout {origin.run.short} && dvc repro"
    elif origin.model:
        yield f"\nNo commit has {origin.subject} yet: git add -A && git commit"


def _not_found(project: Path, path: Path, origin: Origin) -> StageError:
    remote = (git(project, "remote").split() or ["origin"])[0]
    fetch = "`git fetch --all --tags`" + (", `git fetch --unshallow`" if origin.shallow else "")
    reason = (
        f"no commit has {origin.subject} in {CARD}"
        if origin.wanted
        else "it names no generator, and no commit has this file"
    )
    return StageError(
        f"{path}: {reason}; either its run was never committed, or it is on a branch or in an experiment that this "
        f"clone does not have: {fetch}, `dvc exp pull -A {remote}`, then try again"
    )


def whence(project: Path, path: Path, picture: Picture) -> Iterator[str]:
    """Lines on how a picture was made. Raises StageError, after the first lines, if neither Git nor the folder has it.

    The project is the folder of a clone. The picture can lie anywhere.
    """
    yield one_line(str(path))
    for name, keyword in png.KEYWORDS.items():
        if value := getattr(picture.provenance, name):
            text = str(value) if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)
            yield f"  {keyword}: {one_line(text)}"
    origin = find(project, path, picture)
    if origin.model:
        yield f"  The working tree has this generator: {GENERATOR}"
    if not (origin.files or origin.models or origin.model):
        raise _not_found(project, path, origin)
    yield from _commit_lines(project, origin)
    origin = dataclasses.replace(
        origin, files=_kept_first(project, origin.files), models=_kept_first(project, origin.models)
    )
    card = _card(project, origin)
    yield from _fact_lines(origin, card)
    provenance = origin.provenance
    if not picture.provenance.stage:
        provenance = legacy_captions.with_layout(picture, provenance, model_card.image_size(card))
    yield from _command_lines(project, origin, provenance)


def main() -> None:
    """Print how the picture that the command line names was made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("png", help="a picture that this project made")
    arguments = parser.parse_args()
    if not arguments.png:
        raise StageError("name a picture: make whence PNG=reports/samples/grid.png")
    path = Path(arguments.png)
    for line in whence(Path(), path, read(path)):
        print(line, flush=True)


if __name__ == "__main__":
    run_command(main)
