"""The page that shows a training while it runs: reports/train/live/index.html, which the browser loads again by itself.

The outputs of the stage move into place at its end, but this page is there from the start. It is not an output: Git
ignores it and nothing reads it. So its pictures can follow the clock, and no result depends on them.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stages import png, templates

# The first picture is due after so many seconds of training. Each further one is due after 1.5 times the seconds of the
# one before: 10, 15, 22, …, 17 pictures in three hours.
_FIRST_SECONDS, _GROWTH = 10.0, 1.5
_SECONDS_BETWEEN_PAGES = 2.0
_SHOWN_SIDE = 128  # pixels to which a sample is enlarged


@dataclass(frozen=True)
class Shown:
    """A picture of the page: its file, the images seen, and the score if it has one."""

    file: str
    images: int
    score: float | None


class Watch:
    """Writes the page and its pictures to a folder. The pictures of an earlier run are removed."""

    def __init__(self, folder: Path, total: int) -> None:
        """`total`: the images to be seen."""
        self.page = folder / "index.html"
        self._folder, self._total = folder, total
        self._images, self._losses = 0, ""
        self._shown: list[Shown] = []
        self._template = templates.environment(Path(__file__).parent, html=True).get_template("watch.html.j2")
        self._started = self._written = time.monotonic()
        self._due = _FIRST_SECONDS

    def begin(self) -> None:
        """Create the page. The clock starts here."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._started = time.monotonic()
        self._write("running")

    def is_due(self) -> bool:
        """Whether it is time for the next picture."""
        return time.monotonic() - self._started >= self._due

    def advance(self, images: int, losses: str) -> None:
        """Show how many images have been seen, and the losses. Updates the page at most every two seconds."""
        self._images, self._losses = images, losses
        if time.monotonic() - self._written >= _SECONDS_BETWEEN_PAGES:
            self._write("running")

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
        """Write the page for the last time: the browser no longer loads it again."""
        self._write(state)

    def _write(self, state: Literal["running", "finished", "interrupted"]) -> None:
        self._written = time.monotonic()
        part = self.page.with_suffix(".part")
        part.write_text(
            self._template.render(
                state=state, images=self._images, total=self._total, losses=self._losses, pictures=self._shown
            ),
            encoding="utf-8",
        )
        part.replace(self.page)
