"""The record of a training run: the log, the pictures of fixed z, the scores, the flags and the best checkpoint."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from dvclive import Live

from stages import artifacts, pixels, png, shell
from stages.flags import KINDS, Flag, Kind
from stages.latent import Sampler, latent
from stages.progress import Progress
from stages.train import guards
from stages.train.guards import Magnitude, Variety
from stages.train.settings import Settings
from stages.train.tensorboard import TensorBoard
from stages.train.watch import Watch

FIXED_Z = 32
_COLUMNS = 8


@dataclass(frozen=True)
class Measurement:
    """A measured generator: its score (lower is better), the variety of its samples, and the classes they reach.

    `modes_covered` is None without a judge.
    """

    score: float
    variety: Variety
    modes_covered: int | None


@dataclass(frozen=True)
class Real:
    """The same figures for the real images: their variety, and the number of their classes."""

    variety: Variety
    classes: int


@dataclass
class Row:
    """A row of the log: images seen, the values by name, and whether pictures of the fixed z belong to it."""

    images: int
    values: dict[str, float]
    picture: bool


@dataclass
class Best:
    """The best score so far, with the weights of the averaged generator and of D."""

    score: float = math.inf
    images: int = 0
    average: list[np.ndarray] = field(default_factory=list)
    discriminator: list[np.ndarray] = field(default_factory=list)


class Journal:
    """Keeps the record of one training run. A checkpoint can hold it (`state`, `restore`).

    DVCLive's files in `folder` are written row by row. After an interrupt they are rewritten from the checkpoint, so
    no row is missing or duplicated. The page `watch` shows the same curves and pictures, and others between them.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        bounds: tuple[float, float] | None,
        measure: Callable[[Sampler], Measurement],
        real: Real,
        total: int,
        watch: Watch,
    ) -> None:
        self._settings, self._measure, self._real = settings, measure, real
        self._fixed_z = latent(range(FIXED_Z), settings.generator.latent_dim)
        self._bounds, self._saturation = bounds, guards.Saturation(bounds)
        self._collapsed = self._exploded = False
        self.rows: list[Row] = []
        self.pictures: list[np.ndarray] = []
        self.flags: list[Flag] = []
        self.best = Best()
        self.last_good = 0
        """The last scored step without a problem; a rollback returns to it."""
        self.rollbacks = 0
        self.stopped = ""
        """Why training ended early; empty if it did not."""
        self._folder, self._total, self._watch = folder, total, watch
        self._has_drawn = False
        self._live: Live | None = None
        self._board: TensorBoard | None = None
        self._progress: Progress | None = None

    def __enter__(self) -> "Journal":
        """Open the log and write the rows from a checkpoint."""
        self._live = Live(str(self._folder), dvcyaml=False, save_dvc_exp=False).__enter__()
        self._watch.begin()
        if self._settings.tensorboard:
            self._board = TensorBoard(self._watch.page.parent / "tensorboard")
        pictures = iter(self.pictures)
        for row in self.rows:
            self._write(row, next(pictures) if row.picture else None)
        self._show_log()
        images = self.rows[-1].images if self.rows else 0
        self._progress = Progress("train", self._total, "images", images).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the log."""
        assert self._live is not None and self._progress is not None  # noqa: S101 - set by __enter__
        self._progress.__exit__(*error)  # type: ignore[arg-type]
        self._watch.end("interrupted" if error[0] else "finished")
        if self._board is not None:
            self._board.close()
        if error[0] is None:
            for kind in KINDS:
                count = sum(flag.kind == kind for flag in self.flags)
                if count or kind != "exploded":  # the metrics of earlier runs, which lack it, keep their bytes
                    self._live.log_metric(f"flags/{kind}", count, plot=False)
            self._live.step = self.rows[-1].images  # next_step() went one beyond it
        self._live.__exit__(*error)

    def _write(self, row: Row, picture: np.ndarray | None) -> None:
        assert self._live is not None  # noqa: S101 - set by __enter__
        self._live.step = row.images
        for name, value in row.values.items():
            self._live.log_metric(name, value)
        grid = None if picture is None else png.grid(pixels.normalise(picture), _COLUMNS)
        if self._board is not None:
            self._board.write(row.images, row.values, grid)
        if picture is not None and grid is not None:
            self._live.log_image(f"fixed_z/{row.images}.png", grid[..., 0] if grid.shape[2] == 1 else grid)
            self._watch.add(grid, picture.shape[1], row.images, row.values["score"])
        self._live.next_step()

    def _flag(self, images: int, kind: Kind, message: str) -> None:
        self.flags.append(Flag(images, kind, message))
        self.say(f"after {images:,} images: {message}")

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        if self._progress is not None:
            self._progress.say(f"train: {text}")

    def advance(self, images: int, means: Mapping[str, float]) -> None:
        """Add `images` to the progress, and show the losses."""
        assert self._progress is not None  # noqa: S101 - set by __enter__
        losses = f"loss D {means['loss/discriminator']:.2f} G {means['loss/generator']:.2f}"
        self._progress.advance(images, losses)
        self._watch.advance(self._progress.done, losses)

    def _fixed_samples(self, sampler: Sampler) -> np.ndarray:
        """The samples of the fixed z. A conditional generator makes the classes in turn, again from the first."""
        if sampler.classes is None:
            return sampler(self._fixed_z)
        return sampler(self._fixed_z, sampler.classes.vectors(np.arange(FIXED_Z) % len(sampler.classes.names)))

    def draw_if_due(self, images: int, sampler: Sampler) -> None:
        """Show the samples of the fixed z on the page, if it is time for a picture. Prints the path of the first."""
        if not self._watch.is_due():
            return
        pictures = self._fixed_samples(sampler)
        if not np.isfinite(pictures).all():  # the next row flags it
            return
        path = self._watch.add(png.grid(pictures, _COLUMNS), pictures.shape[1], images)
        if not self._has_drawn:
            self.say(f"first picture: {shell.link(path)}")
        self._has_drawn = True

    def record(
        self,
        step: int,
        images: int,
        means: Mapping[str, float],
        sampler: Sampler | None,
        magnitudes: Mapping[str, Magnitude],
    ) -> list[Flag]:
        """Write a row, with a score and a picture if there is a sampler. Returns the new flags.

        If a value is not finite, no row is written, because JSON and plots cannot hold it.
        """
        before = len(self.flags)
        non_finite = next((name for name, value in means.items() if not math.isfinite(value)), None)
        pictures = self._fixed_samples(sampler) if sampler else np.zeros(0)
        if non_finite or not np.isfinite(pictures).all():
            self._flag(images, "non_finite", f"{non_finite or 'a sample'} is not finite: training has diverged")
            return self.flags[before:]
        row = Row(images, {name: artifacts.rounded(value) for name, value in means.items()}, sampler is not None)
        explosion = guards.describe_explosion(means, magnitudes, self._bounds)
        if explosion and not self._exploded:
            self._flag(images, "exploded", explosion)
        self._exploded = explosion is not None
        saturation = self._saturation.update(means["loss/discriminator"])
        if saturation:
            self._flag(images, "discriminator_saturated", saturation)
        if sampler:
            self._score(row, sampler)
            if not (self._collapsed or self._exploded or self._saturation.saturated):
                self.last_good = step
        self._add(row, pictures)
        return self.flags[before:]

    def _score(self, row: Row, sampler: Sampler) -> None:
        measured = self._measure(sampler)
        row.values["score"] = artifacts.rounded(measured.score)
        self.say(f"{row.images:,} images seen, score {measured.score:.2f}")
        collapse = guards.describe_collapse(
            measured.variety, self._real.variety, measured.modes_covered, self._real.classes
        )
        if collapse and not self._collapsed:
            self._flag(row.images, "generator_collapsed", collapse)
        self._collapsed = collapse is not None

    def _add(self, row: Row, pictures: np.ndarray) -> None:
        self.rows.append(row)
        if row.picture:
            self.pictures.append(pixels.to_uint8(pictures))
        self._write(row, self.pictures[-1] if row.picture else None)
        self._show_log()

    def _show_log(self) -> None:
        """Show the log outside the outputs, which are not in place yet."""
        names = dict.fromkeys(name for row in self.rows for name in row.values)
        curves = {name: [(row.images, row.values[name]) for row in self.rows if name in row.values] for name in names}
        self._watch.show_log(self._folder, curves)

    def record_untrained(self, images: int, sampler: Sampler) -> None:
        """Write a row with the score of the initial networks, for training that ended before its first score."""
        row = Row(images, {}, True)
        self._collapsed = True  # an untrained network needs no flag
        self._score(row, sampler)
        self._add(row, self._fixed_samples(sampler))

    def keep_if_best(self, average: Sequence[np.ndarray], discriminator: Sequence[np.ndarray]) -> None:
        """Keep these weights if the newest row has the best score so far, and stop if patience has run out."""
        row = self.rows[-1]
        if not self.best.average or row.values["score"] < self.best.score:
            self.best = Best(row.values["score"], row.images, list(average), list(discriminator))
        self.stopped = self.stopped or self._end_of_patience()

    def _end_of_patience(self) -> str:
        """Why training ends with the newest row if patience has run out, else an empty text."""
        images = self.rows[-1].images
        waited = images - self.best.images
        if not 0 < self._settings.scoring.patience <= waited:
            return ""
        return f"ended after {images:,} images: no better score in the last {waited:,} (train.scoring.patience)"

    def roll_back(self) -> None:
        """Count a rollback, and reset the guards, because the weights they watched are gone."""
        self.rollbacks += 1
        self._saturation.reset()
        self._collapsed = self._exploded = False

    def state(self) -> dict[str, np.ndarray]:
        """The whole record as arrays, for a checkpoint."""
        record = {
            "rows": [asdict(row) for row in self.rows],
            "flags": [asdict(flag) for flag in self.flags],
            "best": [self.best.score, self.best.images] if self.best.average else None,
            "last_good": self.last_good,
            "rollbacks": self.rollbacks,
            # A longer run may have more patience.
            "stopped": "" if self.rows and self.stopped == self._end_of_patience() else self.stopped,
            "saturation": self._saturation.state(),
            "collapsed": self._collapsed,
            "exploded": self._exploded,
        }
        arrays = {"journal": np.frombuffer(json.dumps(record).encode(), np.uint8)}
        arrays |= {f"picture/{i:05}": picture for i, picture in enumerate(self.pictures)}
        for name in ("average", "discriminator"):
            arrays |= {f"best_{name}/{i:03}": weight for i, weight in enumerate(getattr(self.best, name))}
        return arrays

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a `state`. Call it before the log is opened."""

        def all_of(prefix: str) -> list[np.ndarray]:
            return [state[name] for name in sorted(state) if name.startswith(prefix + "/")]

        record = json.loads(state["journal"].tobytes())
        self.rows = [Row(**row) for row in record["rows"]]
        self.flags = [Flag(**flag) for flag in record["flags"]]
        self.pictures = all_of("picture")
        if record["best"]:
            score, images = record["best"]
            self.best = Best(score, images, all_of("best_average"), all_of("best_discriminator"))
        self.last_good, self.rollbacks, self.stopped = record["last_good"], record["rollbacks"], record["stopped"]
        self._saturation.restore(record["saturation"])
        self._collapsed, self._exploded = record["collapsed"], record["exploded"]
        if self.rows and self.rows[-1].picture:
            self.stopped = self.stopped or self._end_of_patience()
