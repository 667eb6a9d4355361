"""How a picture came about: `make whence PNG=x.png`, or python -m tools.whence x.png

Reads the text that a PNG of this project carries, and asks Git, over all branches, tags and experiments of DVC's, which
commits have what it names: the generator, or of a picture of the data the manifest (both by reports/model_card.md), and
which have the very file. Prints them, what the card says of the data and the training, and the commands that make the
picture again. Reads no more than Git has and models/model.json, and runs nothing. A second.
"""

import argparse
import contextlib
import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from stages import artifacts
from stages.errors import StageError
from stages.sample.command_line import layout_of, seeds_of
from stages.shell import run_command
from tools.compare import one_line
from tools.git import git, kind_and_name

CARD = "reports/model_card.md"
GENERATOR = "models/generator.keras"
MODEL = "models/model.json"
_NAMES = 8  # of tags and branches that a line has
_GAP = 2  # pixels between the pictures of a grid
_LARGEST = 64  # of scales
# In what words a Description has the seeds, where nothing but they decides on the picture.
_SEEDS = (
    r"Samples of the seeds (\d+) to (\d+) in order, uncurated",
    r"Samples of the seeds ([\d, -]+), in this order",
    r"Sample of the seed (\d+)",
    r"Sample of the place (\d+) \(.*",
    r"The \d+ samples of lowest realism .*: seeds ([\d, ]+)",
)
# What of the card is told, by a name for it.
_TOLD = {
    "data": r"^## Data and licence\n\n- (.*)",
    "manifest": r"^- Data: manifest `(.*)`",
    "checkpoint": r"checkpoint after (.* images seen)",
    "params": r"^- Params: (.*)",
    "trained with": r"^- (TensorFlow .*)",
}
_OF_THE_DATA = ("data", "manifest")
# The stage whose params have this one among them.
_STAGES = {"interpolate": "sample", "mode_threshold": "evaluate", "records_per_shard": "prepare"}


@dataclass(frozen=True)
class Picture:
    """A PNG: its file, its (width, height), and what it says of itself (Description, Source, Params)."""

    path: Path
    size: tuple[int, int]
    facts: dict[str, str]

    def named(self, pattern: str) -> str:
        """A hash that the Source names; nothing where it names none."""
        found = re.search(rf"{pattern}SHA-256 ([0-9a-f]{{64}})\b", self.facts.get("Source", ""))
        return found[1] if found else ""

    @property
    def params(self) -> dict[str, Any]:
        """The params that the picture was drawn with; nothing where it has none."""
        with contextlib.suppress(ValueError):
            value = json.loads(self.facts.get("Params", ""))
            return value if isinstance(value, dict) else {}
        return {}

    @property
    def seeds(self) -> str:
        """The seeds as --seeds takes them; nothing where more than seeds decided on the picture."""
        for pattern in _SEEDS:
            if found := re.fullmatch(pattern, self.facts.get("Description", "")):
                text = "-".join(found.groups()).replace(" ", "")
                with contextlib.suppress(StageError):  # the text of a file: it may be anything
                    return text if seeds_of(text) else ""
        return ""


@dataclass(frozen=True)
class Commit:
    """A commit: its hash, whole and short, its date, its subject."""

    whole: str
    short: str
    date: str
    subject: str


def read(path: Path) -> Picture:
    """A PNG and its text. Raises StageError where there is no such file, or it is none."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()  # text may stand behind the pixels
            info, size = dict(picture.info), picture.size
    except FileNotFoundError:
        raise StageError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise StageError(f"{path}: a folder; name one picture of it") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise StageError(
            f"{path}: no PNG, or half of one; only the PNGs that this project writes say what they are"
        ) from None
    names = ("Description", "Source", "Params")
    return Picture(path, size, {name: info[name] for name in names if isinstance(info.get(name), str)})


def _brought(project: Path, has: Callable[[str], bool], *search: str) -> list[Commit]:
    """The commits that have what none of their parents has, the oldest first; `git log` finds it by `search`."""
    # --full-history, -m: a merge may have left it out, and a merge may have brought it. --root, --no-show-signature:
    # whatever the user's log.showRoot and log.showSignature say.
    form = "--format=%H%x09%h%x09%P%x09%cs%x09%s"
    log = ("log", "--no-show-signature", "--root", "--all", "--full-history", "-m", "--reverse", form)
    found: dict[str, Commit] = {}
    for line in filter(None, git(project, *log, *search).split("\n")):
        whole, short, parents, date, subject = line.split("\t", 4)
        if whole not in found and has(whole) and not any(map(has, parents.split())):
            found[whole] = Commit(whole, short, date, subject)
    return list(found.values())


def _card(project: Path, revision: str) -> str:
    """The model card of a revision; nothing where it has none."""
    try:
        return git(project, "show", f"{revision}:./{CARD}")
    except StageError:
        return ""


def _place(project: Path, revision: str, blob: str) -> str:
    """Where below reports/ a revision has a file of these bytes; nothing where it has none."""
    with contextlib.suppress(StageError):  # a branch's name may be no UTF-8
        for line in git(project, "ls-tree", "-r", "-z", revision, "--", "reports").split("\0"):
            about, _, path = line.partition("\t")
            if about.endswith(f" {blob}"):
                return path
    return ""


def _names(project: Path, commit: Commit, has: Callable[[str], bool]) -> str:
    """The tags, experiments and branches that have it, or have had it."""
    listed = git(project, "for-each-ref", "--contains", commit.whole, "--format=%(refname)").splitlines()
    names = {
        reference: " ".join(map(one_line, found))
        for kind in ("tag", "experiment", "branch")
        for reference in listed
        if (found := kind_and_name(reference)) and found[0] == kind and not reference.endswith("/HEAD")
    }
    now = [name for reference, name in names.items() if has(reference)]
    shown = now or list(names.values())
    if not shown:
        return f"no branch and no tag has it: `git tag NAME {commit.short}` keeps it"
    more = f" and {len(shown) - _NAMES} more" if len(shown) > _NAMES else ""
    return ("" if now else "replaced since, in the history of ") + ", ".join(shown[:_NAMES]) + more


def _is_kept(project: Path, commit: Commit) -> bool:
    """Whether a tag or a branch has a commit in its history."""
    places = "refs/tags", "refs/heads", "refs/remotes"
    return bool(git(project, "for-each-ref", "--count=1", "--contains", commit.whole, *places))


def _told(card: str) -> dict[str, str]:
    """What a model card says, by the names of `_TOLD`, without the escapes of Markdown."""
    found = {name: re.search(pattern, card, re.MULTILINE) for name, pattern in _TOLD.items()}
    return {
        name: one_line(html.unescape(re.sub(r"\\([^\w\s])", r"\1", match[1]).replace("\\_", "_")))
        for name, match in found.items()
        if match
    }


def _told_here(model: dict[str, Any]) -> dict[str, str]:
    """The same of a models/model.json; nothing of none."""
    if not model:
        return {}
    seen = [one_line(model.get(name)) for name in ("best_images_seen", "images_seen")]
    return {
        "manifest": one_line(model.get("data_manifest_sha256")),
        "checkpoint": f"{' of '.join(seen)} images seen",
        "params": one_line(model.get("params")),
        "trained with": one_line(model.get("environment")),
    }


def _layout(picture: Picture, card: str) -> str:
    """The options --grid and --scale of a picture of samples, from its size and theirs, which the card has."""
    count = len(seeds_of(picture.seeds))
    scale = picture.params.get("scale")
    scale = scale if isinstance(scale, int) and 1 <= scale <= _LARGEST else 0
    side = re.search(r"picture of (\d+)×(\d+)×\d", card)
    # A picture of the page names no scale, and one of more than 40 megapixels has a smaller one than it names.
    for tried in (scale, *range(_LARGEST, 0, -1)) if side else ():
        if not tried or any(pixels % tried for pixels in picture.size):
            continue
        lengths = zip(reversed(picture.size), map(int, side.groups()), strict=True) if side else ()
        places = [divmod(pixels // tried + _GAP, length + _GAP) for pixels, length in lengths]
        (rows, uneven), (columns, odd) = places
        if not uneven and not odd and rows * columns >= count:
            grid = "" if layout_of(None, count) == (rows, columns) else f" --grid {rows}x{columns}"
            return f"{grid} --scale {tried}"
    return f" --scale {scale}" if scale else ""


def _again(picture: Picture, card: str, model: Commit | None, file: Commit | None, here: bool) -> Iterator[str]:
    """The commands that draw it anew, with the generator of the commit `model`, or of the working tree if it is `here`.

    `file` is a commit that has the very file, and so the params that it was drawn with.
    """
    drawn = file or model
    # Without text are the training's own pictures of fixed z.
    others = (stage for param, stage in _STAGES.items() if param in picture.params)
    stage = next(others, "") if picture.facts else "train"
    if picture.seeds and (model or here):
        if model:
            yield f"dvc get . {GENERATOR} --rev {model.short} -o generator.keras"
        options = (" --model generator.keras" if model else "") + f" --seeds {picture.seeds}"
        yield f"python -m stages.sample{options}{_layout(picture, card)} --out again.png"
    elif stage and (drawn or here):
        if drawn:
            yield f"git checkout {drawn.short} && dvc checkout    # `git checkout - && dvc checkout` goes back"
        params = "" if file else f"; with the section {stage} of params.yaml as in its Params"
        yield f"python -m stages.{stage} --out ../again    # into ../again/reports{params}"
    elif model or here:
        name = f"a tag or branch of {model.short} (git tag NAME {model.short})" if model else "workspace"
        yield f"make demo    # choose {name}, then what the Description says"


def _unknown(project: Path, what: str, shallow: bool) -> StageError:
    remote = (git(project, "remote").split() or ["origin"])[0]
    more = ", `git fetch --unshallow`" if shallow else ""
    return StageError(
        f"{what}; its run was never committed, or is on a branch or in an experiment that this clone lacks: "
        f"`git fetch --all --tags`{more}, `dvc exp pull -A {remote}`, and ask again"
    )


def _card_here(project: Path, generator: str) -> str:
    """The working tree's model card where it is that generator's; else nothing: a training may just have ended."""
    path = project / CARD
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text if generator and generator in text else ""


def _here(project: Path, generator: str) -> dict[str, Any]:
    """The working tree's models/model.json where it is that generator's; else nothing."""
    with contextlib.suppress(StageError):
        model = artifacts.read_json(project / MODEL, "generator")
        if generator and isinstance(model["generator"], dict) and model["generator"].get("sha256") == generator:
            return model
    return {}


def whence(project: Path, picture: Picture) -> Iterator[str]:
    """Lines that say how a picture came about. Raises StageError after them where neither Git nor the folder knows."""
    yield one_line(str(picture.path))
    yield from (f"  {name}: {one_line(value)}" for name, value in picture.facts.items())
    generator = picture.named("(?<!manifest )")
    wanted = generator or picture.named("manifest ")
    what = f"the {'generator' if generator else 'data of manifest'} {wanted[:12]}"
    here = _here(project, generator)
    if here:
        yield f"  The working tree has that generator: {GENERATOR}"
    try:
        shallow = git(project, "rev-parse", "--is-shallow-repository").strip() == "true"
    except StageError as error:
        raise StageError(f"{error}; run this in a clone of the project") from None
    blob = git(project, "hash-object", "--no-filters", "--", str(picture.path.resolve())).strip()

    def names(revision: str) -> bool:
        return wanted in _card(project, revision)

    def holds(revision: str) -> bool:
        return bool(_place(project, revision, blob))

    same = _brought(project, holds, f"--find-object={blob}", "--", "reports")
    models = _brought(project, names, f"-S{wanted}", "--", CARD) if wanted else []
    if not (same or models or here):
        unknown = f"no commit has {what} in {CARD}" if wanted else "it names no generator, and no commit has this file"
        raise _unknown(project, f"{picture.path}: {unknown}", shallow)
    for commits, has, said in ((models, names, what), (same, holds, "this very file")):
        if commits:
            yield f"\nThe commits that brought {said}, the oldest first:"
        for commit in commits:
            yield f"  {commit.short}  {commit.date}  {one_line(commit.subject)}"
            yield f"    {_names(project, commit, has)}"
    if shallow and (same or models):
        yield "  This clone is shallow, and they may be older: `git fetch --unshallow`, and ask again"

    # A file without a hash in it is of the run that it was committed with. An experiment may be removed, and no clone
    # has it: better a commit that a branch or a tag has.
    same, models = (sorted(found, key=lambda commit: not _is_kept(project, commit)) for found in (same, models))
    model = next(iter(models if wanted else same), None)
    card = _card(project, model.whole) if model else _card_here(project, generator)
    told = _told(card) or _told_here(here)
    of_the_data = bool(picture.facts) and not generator
    if told:
        yield f"\nWhat {CARD if card else MODEL} says of it{f' in {model.short}' if model else ''}:"
    yield from (f"  {name}: {value}" for name, value in told.items() if name in _OF_THE_DATA or not of_the_data)
    if model:
        yield f"  all params: git show {model.short}:./params.yaml"

    yield "\nThe picture again (`. .venv/bin/activate` first):"
    if same:
        yield f"  git show {same[0].short}:./{_place(project, same[0].whole, blob)} > again.png    # the very file"
    yield from (f"  {line}" for line in _again(picture, card, model, next(iter(same), None), bool(here)))
    if model:
        push = "dvc push --all-commits" if _is_kept(project, model) else "dvc exp push"
        yield f"\nIf DVC does not find the bytes: `{push}` in the clone where it was made"
        yield f"All of it anew, with the code of then: git checkout {model.short} && dvc repro"
    elif here:
        yield f"\nNo commit has {what} yet: git add -A && git commit"


def main() -> None:
    """Say how the picture that the command line names came about."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("png", help="a picture that this project wrote")
    arguments = parser.parse_args()
    if not arguments.png:
        raise StageError("no picture is named; type `make whence PNG=reports/samples/grid.png`")
    for line in whence(Path(), read(Path(arguments.png))):
        print(line, flush=True)


if __name__ == "__main__":
    run_command(main)
