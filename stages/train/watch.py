"""What shows a training while it runs: the page reports/train/live/index.html, and the copies of mirror.py.

The outputs of the stage move into place at its end, but the page is there from the start, and the browser loads it
again by itself. It is not an output: Git ignores it and nothing reads it. So its pictures can follow the clock, and no
result depends on them.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stages import png, templates
from stages.locks import hold_signals
from stages.train.mirror import Mirror

# The first picture is due after so many seconds of training. Each further one is due after 1.5 times the seconds of the
# one before: 10, 15, 22, …, 17 pictures in three hours.
_FIRST_SECONDS, _GROWTH = 10.0, 1.5
_SECONDS_BETWEEN_PAGES = 2.0
_SHOWN_SIDE = 128  # pixels to which a sample is enlarged
# The figures of the page: their titles, and the curves in them.
_FIGURES = {
    "Losses (they do not measure quality)": {"loss/discriminator": "D", "loss/generator": "G"},
    "D's output": {"output/real": "real images", "output/fake": "samples"},
    "Score (lower is better)": {"score": "score"},
}
_WIDTH, _HEIGHT = 400, 120  # of a figure, in the units of its SVG

Curves = Mapping[str, Sequence[tuple[int, float]]]
"""Points (images seen, value) by the curve's name."""


@dataclass(frozen=True)
class Shown:
    """A picture of the page: its file, the images seen, and the score if it has one."""

    file: str
    images: int
    score: float | None


@dataclass(frozen=True)
class Curve:
    """A curve of a figure: its label, its newest value, and its points as SVG writes them, (0, 0) at the top left."""

    label: str
    newest: float
    points: str


@dataclass(frozen=True)
class Figure:
    """A figure of the page: its title, the lowest and the highest value, and its curves on one scale."""

    title: str
    low: float
    high: float
    curves: tuple[Curve, ...]


def figures(curves: Curves, total: int) -> list[Figure]:
    """The figures for which there are points. The horizontal axis goes from 0 to `total` images."""
    drawn = []
    for title, labels in _FIGURES.items():
        present = {label: curves[name] for name, label in labels.items() if curves.get(name)}
        values = [value for points in present.values() for _, value in points]
        if values:
            low, high = min(values), max(values)
            scaled = (
                Curve(label, points[-1][1], " ".join(_point(*point, total, low, high) for point in points))
                for label, points in present.items()
            )
            drawn.append(Figure(title, low, high, tuple(scaled)))
    return drawn


def _point(images: int, value: float, total: int, low: float, high: float) -> str:
    height = (value - low) / (high - low) if high > low else 0.5
    return f"{_WIDTH * images / total:.1f},{_HEIGHT * (1 - height):.1f}"


class Watch:
    """Writes the page and its pictures to a folder. The pictures of an earlier run are removed.

    The copies of DVCLive's files go to the parent folder.
    """

    def __init__(self, folder: Path, total: int) -> None:
        """`total`: the images to be seen."""
        self.page = folder / "index.html"
        self._folder, self._total = folder, total
        self._first: tuple[int, float] | None = None  # images and seconds: a resumed training has seen some before
        self._images, self._losses = 0, ""
        self._curves: Curves = {}
        self._mirror = Mirror(folder.parent)
        self._shown: list[Shown] = []
        self._template = templates.environment(Path(__file__).parent, html=True).get_template("watch.html.j2")
        self._started = self._written = time.monotonic()
        self._due = _FIRST_SECONDS

    def begin(self) -> None:
        """Create the page. The clock starts here."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._mirror.begin()
        self._started = time.monotonic()
        self._write("running")

    def is_due(self) -> bool:
        """Whether it is time for the next picture."""
        return time.monotonic() - self._started >= self._due

    def advance(self, images: int, losses: str) -> None:
        """Show how many images have been seen, and the losses. Updates the page at most every two seconds."""
        self._first = self._first or (images, time.monotonic())
        self._images, self._losses = images, losses
        if time.monotonic() - self._written >= _SECONDS_BETWEEN_PAGES:
            self._write("running")

    @property
    def minutes_left(self) -> float | None:
        """An estimate by the speed so far; None before there is one, and at the end."""
        if self._first is None or not self._first[0] < self._images < self._total:
            return None
        images, seconds = self._first
        return (time.monotonic() - seconds) / 60 * (self._total - self._images) / (self._images - images)

    def show_log(self, live: Path, curves: Curves) -> None:
        """Show the curves of the log, and copy DVCLive's files from its folder."""
        self._curves = curves
        self._mirror.update(live, self.minutes_left)

    def add(self, grid: np.ndarray, side: int, images: int, score: float | None = None) -> Path:
        """Show a picture, uint8 (H, W, C), of samples with sides of `side` pixels. Returns its file."""
        path = self._folder / f"{images:010}.png"
        self._images = images
        with path.with_suffix(".part").open("wb") as file:
            png.save_png(grid, file, max(1, _SHOWN_SIDE // side))
        path.with_suffix(".part").replace(path)
        self._shown = [Shown(path.name, images, score), *(shown for shown in self._shown if shown.file != path.name)]
        self._due = _GROWTH * max(self._due / _GROWTH, time.monotonic() - self._started)
        self._write("running")
        return path

    def end(self, state: Literal["finished", "interrupted"]) -> None:
        """Write the page for the last time: the browser no longer loads it again. The copies are removed."""
        self._write(state)
        self.close()

    def close(self) -> None:
        """Remove the copies, so that the outputs can take their places."""
        with hold_signals():
            self._mirror.remove()

    def _write(self, state: Literal["running", "finished", "interrupted"]) -> None:
        self._written = time.monotonic()
        part = self.page.with_suffix(".part")
        part.write_text(
            self._template.render(
                state=state,
                images=self._images,
                total=self._total,
                losses=self._losses,
                minutes_left=self.minutes_left,
                figures=figures(self._curves, self._total),
                size=(_WIDTH, _HEIGHT),
                pictures=self._shown,
            ),
            encoding="utf-8",
        )
        part.replace(self.page)
