"""The training loop: rows of the log, scores and checkpoints, and the response to a problem."""

import contextlib
import enum
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stages import shell
from stages.errors import StageError
from stages.latent import Sampler
from stages.train.checkpoints import Checkpoints
from stages.train.journal import Journal
from stages.train.settings import Settings
from stages.train.trainer import STEP_METRICS, Trainer

# Rows in the log: enough to see a collapse begin, few enough to keep in Git.
_ROWS = 200
# Steps in one call of the compiled graph, between which Python cannot intervene.
_STEPS_PER_CALL = 20
_MAX_ROLLBACKS = 3


class _Action(enum.IntEnum):
    """How training continues after a row of the log."""

    CONTINUE = 0
    STOP = 1
    ROLL_BACK = 2


@dataclass(frozen=True)
class Stop:
    """A step at which the loop halts: to write a row of the log, and to score, if these are set."""

    step: int
    row: bool
    score: bool


def stops(steps: int, row_every: int, score_every: int, done: int) -> Iterator[Stop]:
    """The stops of a run of `steps` steps that come after step `done`. Their places do not depend on `done`.

    Rows are at the multiples of `row_every`, scores at those of `score_every`. The last score is at the end. A multiple
    of `score_every` less than a tenth of that interval before the end has no score.
    """
    scores = set(range(score_every, steps - score_every // 10, score_every)) | {steps}
    for step in range(done + 1, steps + 1):
        row = step % row_every == 0 or step in scores
        if row or step % _STEPS_PER_CALL == 0:
            yield Stop(step, row, step in scores)


def _seconds_between_checkpoints() -> float:
    text = os.environ.get("TRAIN_CHECKPOINT_SECONDS", "60")
    try:
        return float(text)
    except ValueError:
        raise StageError(f"TRAIN_CHECKPOINT_SECONDS: expected a number of seconds, got {text!r}") from None


class _Chief:
    """The duties of the one worker that has a journal: it records, decides how to continue, and saves checkpoints."""

    def __init__(self, trainer: Trainer, settings: Settings, journal: Journal, checkpoints: Checkpoints) -> None:
        self._trainer, self._settings, self._journal, self._checkpoints = trainer, settings, journal, checkpoints
        self._sampler = Sampler(trainer.average)  # one for all scores, because each is compiled
        self._every, self._last = _seconds_between_checkpoints(), time.monotonic()

    def decide(self, stop: Stop, row: dict[str, float]) -> tuple[int, int, int]:
        """Record a row. Returns the action, the step that a rollback returns to, and the number of rollbacks."""
        action = self._action(stop, row)
        return action, self._journal.last_good, self._journal.rollbacks

    def _action(self, stop: Stop, row: dict[str, float]) -> _Action:
        journal, guard = self._journal, self._settings.guard
        sampler, magnitudes = (self._sampler, self._trainer.magnitudes()) if stop.score else (None, {})
        flags = journal.record(stop.step, self._images(stop), row, sampler, magnitudes)
        kinds = {flag.kind for flag in flags}
        diverged, runs_away = "non_finite" in kinds, bool(kinds & {"non_finite", "exploded"})
        at_end = stop.step == self._trainer.steps
        if not diverged:
            if stop.score:
                self._keep_if_best()
            if journal.stopped:
                return _Action.STOP
            if not flags or guard == "continue" or at_end:
                return _Action.CONTINUE
        rollbacks_left = journal.rollbacks < _MAX_ROLLBACKS and not at_end
        if guard == "rollback" and rollbacks_left and (journal.last_good or runs_away):
            journal.roll_back()
            return _Action.ROLL_BACK
        if runs_away or guard == "stop" or journal.last_good:
            journal.stopped = f"ended after {flags[-1].images:,} images: {flags[-1].message}"
            return _Action.STOP
        return _Action.CONTINUE  # there is no good score yet to return to

    def _images(self, stop: Stop) -> int:
        return stop.step * self._settings.images_per_step

    def _keep_if_best(self) -> None:
        self._journal.keep_if_best(self._trainer.average.get_weights(), self._trainer.discriminator.get_weights())

    def finish_stop(self, stop: Stop, action: _Action, sums: np.ndarray) -> None:
        """Save a checkpoint if it is time. A run that stops without a score falls back to its initial networks."""
        if action is _Action.STOP and not self._journal.best.average:
            self._trainer.restore(self._checkpoints.must_load(0))
            self._journal.record_untrained(self._images(stop), self._sampler)
            self._keep_if_best()
        if stop.score or action is not _Action.CONTINUE or time.monotonic() - self._last >= self._every:
            self.save(stop.step, sums)

    def save(self, step: int, sums: np.ndarray) -> None:
        """Save the state after `step` steps. `sums` are those of the row in progress."""
        state = {**self._trainer.state(), **self._journal.state(), "sums": sums}
        self._checkpoints.save(step, state, keep={self._journal.last_good})
        self._last = time.monotonic()


def _resume(trainer: Trainer, journal: Journal | None, checkpoints: Checkpoints) -> tuple[int, bool, np.ndarray]:
    """Load the newest checkpoint. Returns its step, whether training had ended there, and the sums of its row.

    Every worker loads the checkpoint that the chief has chosen.
    """
    step, state = (checkpoints.latest() if journal else None) or (0, None)
    if journal and state:
        journal.restore(state)
    step, ended = map(int, trainer.from_chief([step, bool(journal and journal.stopped)]))
    sums = np.zeros(len(STEP_METRICS) + 1)  # the last one counts the steps
    if step:
        state = state or checkpoints.must_load(step)
        trainer.restore(state)
        sums = state["sums"].copy()
        if journal:
            shell.say(f"train: resuming from the checkpoint after {step:,} of {trainer.steps:,} steps")
    return step, bool(ended), sums


def _end_row(trainer: Trainer, chief: _Chief | None, checkpoints: Checkpoints, stop: Stop, sums: np.ndarray) -> _Action:
    """Turn `sums` into a row of the log and clear them. The chief decides how to continue, and every worker follows."""
    row = dict(zip(STEP_METRICS, map(float, sums[:-1] / sums[-1]), strict=True))
    sums[:] = 0
    decision = trainer.from_chief(chief.decide(stop, row) if chief else (0, 0, 0))
    action, good_step, rollbacks = map(int, decision)
    if action == _Action.ROLL_BACK:
        trainer.roll_back(checkpoints.must_load(good_step), stop.step, 0.5**rollbacks)
    return _Action(action)


def train(
    trainer: Trainer,
    batches_from: Callable[[int], Iterator],
    settings: Settings,
    journal: Journal | None,
    checkpoints: Checkpoints,
) -> float:
    """Take all steps after the last checkpoint. Returns the images per second of this run.

    `batches_from(k)` is the stream of batches from number k on. Only the chief has a journal; the other workers follow
    its decisions. The journal holds the result: the best checkpoint, not the last.
    """
    done, ended, sums = _resume(trainer, journal, checkpoints)
    row_every = max(1, trainer.steps // _ROWS)
    score_every = max(1, settings.scoring.every // settings.images_per_step)
    batches = batches_from(done * settings.optimizer.discriminator_steps)
    chief = _Chief(trainer, settings, journal, checkpoints) if journal else None
    first, seconds = done, 0.0
    with journal or contextlib.nullcontext():
        if chief and not done:
            chief.save(0, sums)
        for stop in () if ended else stops(trainer.steps, row_every, score_every, done):
            started = time.monotonic()
            count = stop.step - done
            means = trainer.run(batches, done, count)
            seconds += time.monotonic() - started
            done = stop.step
            sums += count * np.array([*means.values(), 1.0])
            if journal:
                journal.advance(count * settings.images_per_step, means)
            action = _end_row(trainer, chief, checkpoints, stop, sums) if stop.row else _Action.CONTINUE
            if chief:
                chief.finish_stop(stop, action, sums)
            if action is _Action.STOP:
                break
    return (done - first) * settings.images_per_step / seconds if seconds else 0.0
