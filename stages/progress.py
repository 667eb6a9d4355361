"""Show the progress of work that takes longer than two seconds: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from stages.shell import printable

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BEFORE_SHOWING = 2.0


def _duration(seconds: float) -> str:
    """A duration in seconds, minutes or hours, whichever reads best."""
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 180 * 60 else f"{seconds / 3600:.1f} h"


class Progress:
    """Counts `total` units (0: the total is unknown); `advance(n, note)` counts n more. Use it as a context manager.

    `done` units were done before, by an interrupted run.

    On a terminal it shows tqdm's bar. Elsewhere (a CI log, a file) it prints a line every ten seconds and one at the
    end, and nothing if the work ends within two seconds.
    """

    def __init__(self, task: str, total: int, unit: str, done: int = 0) -> None:
        task = printable(task)  # it may contain a file's name
        self._task, self._total, self._unit = task, total, unit
        self._before, self._done, self._note = done, done, ""
        self._started = time.monotonic()
        self._last_line = self._started
        terminal = sys.stderr.isatty()
        scale = total >= 100_000
        self._bar = (
            tqdm(
                total=total or None,
                desc=task,
                initial=done,
                unit=f" {unit}",
                unit_scale=scale,
                delay=_SECONDS_BEFORE_SHOWING,
                leave=True,
            )
            if terminal
            else None
        )

    @property
    def done(self) -> int:
        """The units that are done, also by an interrupted run."""
        return self._done

    def __enter__(self) -> Self:
        """Start counting."""
        return self

    def advance(self, units: int, note: str = "") -> None:
        """Count `units` more. The `note` stays beside the count until the next one."""
        self._done += units
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(units)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        seconds = self._last_line - self._started
        note = f"  {self._note}" if self._note else ""
        rate = (self._done - self._before) / max(seconds, 1e-9)
        count = f"{self._done:,} {self._unit}"
        if self._total:
            count = f"{100 * self._done // self._total}%, {self._done:,} of {self._total:,} {self._unit}"
        remaining = (self._total - self._done) / rate if rate else 0
        times = f"{_duration(seconds)}, {_duration(remaining)} left" if remaining > 0 else _duration(seconds)
        print(f"{self._task}: {count}, {rate:,.0f}/s, {times}{note}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar, or print the last line."""
        if self._bar is not None:
            self._bar.close()
        elif kind is None and time.monotonic() - self._started > _SECONDS_BEFORE_SHOWING:
            self._print_line()
