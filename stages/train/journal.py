"""What a training tells of itself: the log, the pictures of fixed z, the scores, the flags, the best checkpoint."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from dvclive import Live

from stages import artifacts, pixels, png
from stages.flags import KINDS, Flag, Kind
from stages.latent import Sampler, latent
from stages.progress import Progress
from stages.train import guards
from stages.train.settings import Settings

FIXED_Z = 32
_COLUMNS = 8


@dataclass(frozen=True)
class Measurement:
    """A generator measured: its score (lower is better), how far its samples lie apart, the classes they reach.

    `modes_covered` is None where there is no judge to tell.
    """

    score: float
    spread: float
    modes_covered: int | None


@dataclass(frozen=True)
class Real:
    """What the real data is held to be: how far its images lie apart, and how many classes it has."""

    spread: float
    classes: int


@dataclass
class Row:
    """A row of the log: images seen, the values by name, and whether the pictures of the fixed z belong to it."""

    images: int
    values: dict[str, float]
    picture: bool


@dataclass
class Best:
    """The checkpoint with the best score so far: weights of the averaged generator and of D."""

    score: float = math.inf
    images: int = 0
    average: list[np.ndarray] = field(default_factory=list)
    discriminator: list[np.ndarray] = field(default_factory=list)


class Journal:
    """Keeps the record of one training, and can be put away in a checkpoint and taken up again.

    DVCLive's files in `folder` are written as the training goes; after an interrupt they are written anew from the
    checkpoint, so that they hold no row twice and miss none.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        bounds: tuple[float, float] | None,
        measure: Callable[[Sampler], Measurement],
        real: Real,
        total: int,
    ) -> None:
        self._settings, self._measure, self._real = settings, measure, real
        self._fixed_z = latent(range(FIXED_Z), settings.latent_dim)
        self._saturation = guards.Saturation(bounds)
        self._collapsed = False
        self.rows: list[Row] = []
        self.pictures: list[np.ndarray] = []
        self.flags: list[Flag] = []
        self.best = Best()
        self.last_good = 0
        """The last step with a score and no flag: what a rollback goes back to."""
        self.rollbacks = 0
        self.stopped = ""
        """Why the training ended before its time; empty where it did not."""
        self._folder, self._total = folder, total
        self._live: Live | None = None
        self._progress: Progress | None = None

    def __enter__(self) -> "Journal":
        """Open the log, and write what a checkpoint brought."""
        self._live = Live(str(self._folder), dvcyaml=False, save_dvc_exp=False).__enter__()
        pictures = iter(self.pictures)
        for row in self.rows:
            self._write(row, next(pictures) if row.picture else None)
        seen = self.rows[-1].images if self.rows else 0
        self._progress = Progress("train", self._total, "images", seen).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the log."""
        assert self._live is not None and self._progress is not None  # noqa: S101 - within the block
        self._progress.__exit__(*error)  # type: ignore[arg-type]
        if error[0] is None:
            for kind in KINDS:
                self._live.log_metric(f"flags/{kind}", sum(flag.kind == kind for flag in self.flags), plot=False)
            self._live.step = self.rows[-1].images  # next_step() has gone one past the last image
        self._live.__exit__(*error)

    def _write(self, row: Row, picture: np.ndarray | None) -> None:
        assert self._live is not None  # noqa: S101 - within the block
        self._live.step = row.images
        for name, value in row.values.items():
            self._live.log_metric(name, value)
        if picture is not None:
            grid = png.grid(pixels.normalise(picture), _COLUMNS)
            self._live.log_image(f"fixed_z/{row.images}.png", grid[..., 0] if grid.shape[2] == 1 else grid)
        self._live.next_step()

    def _flag(self, seen: int, kind: Kind, message: str) -> None:
        self.flags.append(Flag(seen, kind, message))
        self.say(f"after {seen:,} images: {message}")

    def say(self, text: str) -> None:
        """Print a line beside the progress."""
        if self._progress is not None:
            self._progress.say(f"train: {text}")

    def advance(self, images: int, means: Mapping[str, float]) -> None:
        """Show that so many images more were seen."""
        assert self._progress is not None  # noqa: S101 - within the block
        losses = f"loss D {means['loss/discriminator']:.2f} G {means['loss/generator']:.2f}"
        self._progress.advance(images, losses)

    def record(self, step: int, seen: int, means: Mapping[str, float], sampler: Sampler | None) -> list[Flag]:
        """Write a row, with a score and a picture where there is a sampler. Returns what is newly wrong.

        Where something is not finite, no row is written: JSON and curves cannot hold it.
        """
        before = len(self.flags)
        bad = next((name for name, value in means.items() if not math.isfinite(value)), None)
        pictures = sampler(self._fixed_z) if sampler else np.zeros(0)
        if bad or not np.isfinite(pictures).all():
            self._flag(seen, "non_finite", f"{bad or 'a sample'} is not finite: the training has diverged")
            return self.flags[before:]
        row = Row(seen, {name: artifacts.rounded(value) for name, value in means.items()}, sampler is not None)
        saturated = self._saturation.see(means["loss/discriminator"])
        if saturated:
            self._flag(seen, "discriminator_saturated", saturated)
        if sampler:
            self._score(row, sampler)
            if not (self._collapsed or self._saturation.saturated):
                self.last_good = step
        self._add(row, pictures)
        return self.flags[before:]

    def _score(self, row: Row, sampler: Sampler) -> None:
        found = self._measure(sampler)
        row.values["score"] = artifacts.rounded(found.score)
        self.say(f"{row.images:,} images seen, score {found.score:.2f}")
        what = guards.collapsed(found.spread, self._real.spread, found.modes_covered, self._real.classes)
        if what and not self._collapsed:
            self._flag(row.images, "generator_collapsed", what)
        self._collapsed = what is not None

    def _add(self, row: Row, pictures: np.ndarray) -> None:
        self.rows.append(row)
        if row.picture:
            self.pictures.append(pixels.to_uint8(pictures))
        self._write(row, self.pictures[-1] if row.picture else None)

    def fall_back(self, seen: int, sampler: Sampler) -> None:
        """Score what there is where a training ended before its first score: finite, if nothing else."""
        row = Row(seen, {}, True)
        self._collapsed = True  # a network that has learned nothing needs no flag of its own
        self._score(row, sampler)
        self._add(row, sampler(self._fixed_z))

    def keep_if_best(self, average: Sequence[np.ndarray], discriminator: Sequence[np.ndarray]) -> None:
        """Keep these weights where the newest row has the best score so far; note where patience has run out."""
        row = self.rows[-1]
        if not self.best.average or row.values["score"] < self.best.score:
            self.best = Best(row.values["score"], row.images, list(average), list(discriminator))
        waited = row.images - self.best.images
        if self._settings.patience and waited >= self._settings.patience:
            self.stopped = (
                f"ended after {row.images:,} of {self._total:,} images: {waited:,} of them had brought no better score "
                "(train.patience)"
            )

    def rolled_back(self) -> None:
        """Forget what the guards have seen of weights that are no more."""
        self.rollbacks += 1
        self._saturation.reset()
        self._collapsed = False

    def state(self) -> dict[str, np.ndarray]:
        """Everything of it as arrays."""
        told = {
            "rows": [asdict(row) for row in self.rows],
            "flags": [asdict(flag) for flag in self.flags],
            "best": [self.best.score, self.best.images] if self.best.average else None,
            "last_good": self.last_good,
            "rollbacks": self.rollbacks,
            "stopped": self.stopped,
            "saturation": self._saturation.state(),
            "collapsed": self._collapsed,
        }
        arrays = {"journal": np.frombuffer(json.dumps(told).encode(), np.uint8)}
        arrays |= {f"picture/{i:05}": picture for i, picture in enumerate(self.pictures)}
        for name in ("average", "discriminator"):
            arrays |= {f"best_{name}/{i:03}": weight for i, weight in enumerate(getattr(self.best, name))}
        return arrays

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Become what `state` was taken from. To be called before the log is opened."""

        def all_of(prefix: str) -> list[np.ndarray]:
            return [state[name] for name in sorted(state) if name.startswith(prefix + "/")]

        told = json.loads(state["journal"].tobytes())
        self.rows = [Row(**row) for row in told["rows"]]
        self.flags = [Flag(**flag) for flag in told["flags"]]
        self.pictures = all_of("picture")
        if told["best"]:
            score, seen = told["best"]
            self.best = Best(score, seen, all_of("best_average"), all_of("best_discriminator"))
        self.last_good, self.rollbacks, self.stopped = told["last_good"], told["rollbacks"], told["stopped"]
        self._saturation.resume(told["saturation"])
        self._collapsed = told["collapsed"]
