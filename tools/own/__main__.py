"""Look at your pictures and write a params.yaml for them: `make own PICTURES=~/pictures`

    python -m tools.own PICTURES [--minutes N] [--size N]

Decodes up to 1,000 of the pictures, decides on the crop, the size, the colours and the length of the training, and
measures a few training steps. Prints each decision with its reason, and writes them into params.yaml. With minutes, the
training takes about as long on this machine. `make own` then starts the pipeline (unless DRY=1).
"""

import argparse
import functools
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages import params, shell
from stages.errors import StageError
from stages.sizes import doublings
from tools.doctor.finding import Project
from tools.doctor.space import space_for
from tools.own import speed, writing
from tools.own.decide import Plan, Speed, Wish, decide, summary
from tools.own.look import find, look


def _wish(minutes: str, size: str) -> Wish:
    """The wishes on the command line; an empty text is none. Raises StageError."""
    try:
        wished_minutes = float(minutes) if minutes else None
        if wished_minutes is not None and not (0 < wished_minutes < math.inf):
            raise ValueError
    except ValueError:
        raise StageError(f"MINUTES: expected a number of minutes, such as MINUTES=30, got {minutes!r}") from None
    if size and not size.isdecimal():
        raise StageError(f"SIZE: expected a side in pixels, such as SIZE=64, got {size!r}")
    try:
        if size:
            doublings(int(size))
    except ValueError as error:
        raise StageError(f"SIZE: {error}") from None
    return Wish(wished_minutes, int(size) if size else None)


def _place(text: str) -> tuple[Path, str]:
    """The pictures, and their path for params.yaml: below the project if they are there, else the full path."""
    if not text:
        raise StageError("PICTURES: name a folder of pictures: make own PICTURES=~/pictures")
    place, project = Path(text).expanduser().absolute(), Path.cwd()
    if any("\ud800" <= letter <= "\udfff" for letter in str(place)):
        raise StageError(f"PICTURES: {shell.printable(str(place))}: the path is not UTF-8; rename the folder")
    if project.resolve().is_relative_to(place.resolve()):
        raise StageError(f"PICTURES: {place}: this project is in it; put the pictures into a folder of their own")
    return place, str(place.relative_to(project) if place.is_relative_to(project) else place)


_load_tensorflow = functools.cache(shell.load_tensorflow)


def _measure(section: Mapping[str, Any], size: int, channels: int) -> Speed:
    """The speed of the training. TensorFlow is loaded here, because a wrong folder must not wait for it."""
    _load_tensorflow("own")
    return speed.measure(section, size, channels)


def _duration(seconds: tuple[float, float]) -> str:
    """A range of seconds as minutes, or as hours if they are many."""
    low, high = (value / 60 for value in seconds)
    unit = "minutes" if high < 120 else "hours"
    low, high = (value / (1 if unit == "minutes" else 60) for value in (low, high))
    return f"{low:.1f} to {high:.1f} {unit}" if high < 10 else f"{low:.0f} to {high:.0f} {unit}"


def _say_plan(plan: Plan) -> None:
    width = max(len(decision.key) for decision in plan.decisions)
    for decision in plan.decisions:
        shell.say(f"  {decision.key:{width}}  {decision.value}  # {decision.reason}")
    shell.say(
        f"training: {_duration(plan.seconds)} on this machine; the steps before and after it take a few minutes more"
    )
    if plan.warning:
        shell.say(f"note: {plan.warning}")


def _check_space(project: Path, file: Path) -> None:
    """Print the disk space that this params file needs. Raises StageError if it is not there."""
    for finding in space_for(Project(project), file):
        if finding.text.startswith("disk"):
            shell.say(finding.text)
        if finding.state == "wrong":
            raise StageError(f"disk: too little space; {finding.remedy}")


def own(pictures: str, minutes: str, size: str) -> None:
    """Look, decide, and write params.yaml. Raises StageError and changes nothing if the pictures cannot be used."""
    wish, (place, path) = _wish(minutes, size), _place(pictures)
    project = Path.cwd()
    preset, presets = writing.presets(project)
    with tempfile.TemporaryDirectory() as scratch:
        seen = look(place, find(place, Path(scratch)))
        for line in summary(seen):
            shell.say(line)
        plan = decide(seen, path, presets, wish, functools.partial(speed.remembered, _measure))
        header = (
            f"Written by `make own` for {shell.printable(place.name)}, from presets/own.yaml. Above each value that it "
            "chose is the reason.\nChange what you like, then run `make repro`. G is the generator, D the "
            "discriminator."
        )
        text = writing.with_decisions(preset, plan.decisions, header)
        _say_plan(plan)
        (Path(scratch) / "params.yaml").write_text(text, encoding="utf-8")
        params.check(Path(scratch) / "params.yaml")
        _check_space(project, Path(scratch) / "params.yaml")
    kept = writing.put(project, text)
    if kept:
        shell.say(f"your params.yaml is kept as {kept.name}")
    shell.say("wrote params.yaml; to see the changes: diff presets/own.yaml params.yaml")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.own", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", help="a folder, an archive or a file of arrays")
    parser.add_argument("--minutes", default="", help="the minutes of the training (default: the preset's images)")
    parser.add_argument("--size", default="", help="the side of the images (default: 32 or 64)")
    arguments = parser.parse_args()
    shell.run_interruptible("own", lambda: own(arguments.pictures, arguments.minutes, arguments.size), tensorflow=True)


if __name__ == "__main__":
    main()
