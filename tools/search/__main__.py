"""Search for params that train a better generator: make search N=20 MINUTES=60

    python -m tools.search --trials 20 --minutes 60 [--images 24000] [--space tools/search/space.yaml] [--name search]

Each trial trains params.yaml with other values from the space and with fewer images, and evaluates the samples. It is a
DVC experiment: `make experiments` lists it, `dvc exp apply` takes it. Optuna chooses the values from the Fréchet
distances so far. After Ctrl-C, the same command continues. The best values become the preset presets/<name>.yaml.
"""

import argparse
import dataclasses
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stages import artifacts, params, resume, shell
from stages.errors import StageError
from stages.locks import lock_in_folder
from stages.train.settings import Settings
from tools.git import in_clone
from tools.search import experiment, preset
from tools.search import space as spaces
from tools.search.experiment import TrialError
from tools.terminal import one_line

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tools.search.study import Study

_PARAMS = Path("params.yaml")
_SHARE = 10  # of the images of a whole training, in a trial


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the command line asks for: trials in all, minutes of this call (infinite: no bound), images of a trial."""

    trials: int
    minutes: float
    images: int


def _whole(key: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise StageError(f"{key}: expected a whole number of at least 1, such as {key}=20, got {text!r}")
    return int(text)


def wish(trials: str, minutes: str, images: str, whole: int) -> Wish:
    """The wish as the command line has it; empty minutes are no bound, empty images a tenth of the `whole` training's.

    Raises StageError, naming the variable of `make search`.
    """
    try:
        bound = float(minutes) if minutes else math.inf
    except ValueError:
        bound = math.nan
    if not bound > 0:
        raise StageError(f"MINUTES: expected a number of minutes, such as MINUTES=60, got {minutes!r}")
    return Wish(_whole("N", trials), bound, _whole("IMAGES", images) if images else max(1, whole // _SHARE))


def _assignments(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={one_line(value)}" for name, value in values.items())


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def search(
    study: "Study",
    wish: Wish,
    first: dict[str, Any] | None,
    objective: Callable[[int, dict[str, Any]], float],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run trials until the study has as many as wished, or the next one would end after the minutes.

    `first` is the point of the first trial, if not None. `objective` gets the number and the point of a trial and
    returns its score, the lower the better. A TrialError is recorded with its reason, and the search goes on.
    """
    started = clock()
    while (number := len(study.trials)) < wish.trials:
        each = study.seconds()
        left = wish.minutes * 60 - (clock() - started)
        if each is not None and left < each:
            shell.say(
                f"search: stopping before trial {number + 1} of {wish.trials}: a trial takes about "
                f"{_minutes(each)}, and {max(0, left) / 60:.1f} of {wish.minutes:g} min are left. "
                "Run the same command to continue."
            )
            return
        point = study.suggest(first)
        shell.say(f"trial {number + 1} of {wish.trials}: {_assignments(point)}")
        began = clock()
        score, why = None, ""
        try:
            score = objective(number, point)
        except TrialError as error:
            why = str(error)
        study.add(point, score, reason=why, seconds=clock() - began)
        shell.say(_progress(study, wish, wish.minutes * 60 - (clock() - started)))


def _progress(study: "Study", wish: Wish, left: float) -> str:
    """The line after a trial: its score or its reason, the best so far, and the time that is left."""
    trial, best = study.trials[-1], study.best()
    parts = [f"failed: {trial.user_attrs['reason']}" if trial.value is None else f"score {trial.value:.5g}"]
    if best is not None:
        parts.append(f"best {best.value:.5g} (trial {best.number + 1})")
    each = study.seconds()
    remaining = wish.trials - len(study.trials)
    if remaining and each is not None:
        parts.append(f"at most {_minutes(max(0, min(left, remaining * each)))} left")
    return f"  {'; '.join(parts)}"


def _prepared_data() -> None:
    """Make the data and the judge, which every trial shares. Raises StageError if that fails."""
    if experiment.run_to_its_end([sys.executable, "-m", "dvc", "repro", "--quiet", "features"]):
        raise StageError("search: the data or the judge failed; see above")


def _key(space: spaces.Space, base: Settings, images: int) -> str:
    """A key for all that decides a trial's score besides its point."""
    from studies import cell  # DVC may have made the data that it reads only now

    train = dataclasses.asdict(base)
    # What the space sets is no difference, but the end of a pair stays.
    undecided = spaces.values(dict.fromkeys(space), space, base)
    experiment.set_params({"train": train}, {**undecided, "train.images": images})
    return cell.key_of(train, params.read_file(_PARAMS)["evaluate"])


def _summary(study: "Study", name: str) -> "FrozenTrial":
    """Print the failed trials, and return the best trial. Raises StageError if every trial failed."""
    failed = [trial for trial in study.trials if trial.value is None]
    for trial in failed:
        shell.say(f"failed: trial {trial.number + 1} ({name}-{trial.number + 1}): {trial.user_attrs['reason']}")
    best = study.best()
    if best is None:
        raise StageError(f"no trial has a score; their output: {resume.state_folder() / 'search' / name}-*.log")
    return best


def run(name: str, space_file: Path, trials: str, minutes: str, images: str) -> None:
    """The whole command. Raises StageError for a mistake of the user."""
    from tools.search.study import Study  # it imports Optuna, whose absence is an error with a remedy

    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise StageError(f"NAME: expected a letter, then letters, digits, - or _, such as NAME=search, got {name!r}")
    in_clone(Path(), "HEAD")
    params.check(_PARAMS)
    base = params.load(_PARAMS, "train", Settings)
    space, target = spaces.read(space_file, base), Path("presets") / f"{name}.yaml"
    wished = wish(trials, minutes, images, base.images)
    preset.require_free(target)
    folder = Path(".state/search")
    if (lock := lock_in_folder(folder / f"{name}.lock")) is None:
        raise StageError(f"{folder / name}.lock: locked; another `make search` of this NAME runs; wait until it ends")
    with lock:
        _prepared_data()
        study = Study(folder, name, _key(space, base, wished.images), space)
        if study.trials:
            shell.say(f"search: continuing {study.path} after {len(study.trials)} trials")

        def objective(number: int, point: dict[str, Any]) -> float:
            changes = {**spaces.values(point, space, base), "train.images": wished.images}
            _check(changes)
            trial = f"{name}-{number + 1}"
            return experiment.score_of(trial, changes, folder / f"{trial}.log")

        search(study, wished, spaces.current(space, base), objective)
        _write(study, _summary(study, name), space, base, target, name, wished.images)


def _check(changes: dict[str, Any]) -> None:
    """Raise TrialError if params.yaml with these changes is not valid: not all values of a space go together."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "params.yaml"
        file.write_text(yaml.safe_dump(experiment.with_params(_PARAMS, changes), sort_keys=False), encoding="utf-8")
        try:
            params.check(file)
        except params.ParamsError as error:
            raise TrialError(str(error).removeprefix(f"{file}: ")) from None


def _write(
    study: "Study", best: "FrozenTrial", space: spaces.Space, base: Settings, target: Path, name: str, images: int
) -> None:
    """Write the preset of the best trial, and say where it is."""
    changes = spaces.values(study.point(best), space, base)
    comment = [
        f"score {artifacts.rounded(best.value or 0, 5):g}, the best of {len(study.scored)} trials of {images:,} images "
        f"(trial {best.number + 1}, the experiment {name}-{best.number + 1}).",
        "It has these values, and else those of params.yaml at that time:",
        *(f"  {key}: {one_line(value)}  (searched: {space[key].text()})" for key, value in changes.items()),
        f"To use it: `cp {target} params.yaml`.",
    ]
    preset.write(target, _PARAMS, changes, comment)
    shell.say(f"best: score {best.value:.5g}, trial {best.number + 1}: {_assignments(changes)}")
    shell.say(f"wrote {target}; `make experiments SORT=fid` lists the trials, and `cp {target} params.yaml` uses it")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", default="20", help="trials in all, those of an earlier call included (20)")
    parser.add_argument("--minutes", default="", help="start no trial that would end later (default: no bound)")
    parser.add_argument("--images", default="", help="train.images of a trial (a tenth of those in params.yaml)")
    parser.add_argument("--space", default="tools/search/space.yaml", help="the params that vary, and their ranges")
    parser.add_argument("--name", default="search", help="of the study, its experiments and the preset (search)")
    arguments = parser.parse_args()
    names = arguments.name, Path(arguments.space), arguments.trials, arguments.minutes, arguments.images
    shell.run_interruptible("search", lambda: run(*names), tensorflow=False)


if __name__ == "__main__":
    main()
