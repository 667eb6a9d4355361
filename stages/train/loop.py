"""The loop around the step: rows of the log, scores, checkpoints, and what is done when something goes wrong."""

import contextlib
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
from stages.train.trainer import NAMES, Trainer

# Rows in the log: enough to see a collapse begin, few enough to keep in Git.
_ROWS = 200
# Steps in one call of the compiled graph: the host looks in between only.
_STEPS_PER_CALL = 20
_MOST_ROLLBACKS = 3
_GO_ON, _STOP, _ROLL_BACK = range(3)


@dataclass(frozen=True)
class Stop:
    """Where the loop halts: at this step, for a row of the log, and for a score too."""

    step: int
    row: bool
    score: bool


def stops(steps: int, row_every: int, score_every: int, done: int) -> Iterator[Stop]:
    """Where a training of `steps` halts after `done` of them; the same places whatever `done` is.

    Rows lie at the multiples of `row_every`. So do scores, at those of `score_every`, but the last is at the end: a
    last tenth of an interval is no interval of its own.
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


class _Saver:
    """Puts trainer and journal away: at every score, and between them when a minute has passed."""

    def __init__(self, trainer: Trainer, journal: Journal, checkpoints: Checkpoints) -> None:
        self._trainer, self._journal, self._checkpoints = trainer, journal, checkpoints
        self._every, self._last = _seconds_between_checkpoints(), time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= self._every

    def save(self, step: int, sums: np.ndarray) -> None:
        """What `step` steps have come to; `sums` are those of the row that is under way."""
        state = {**self._trainer.state(), **self._journal.state(), "sums": sums}
        self._checkpoints.save(step, state, keep={self._journal.last_good})
        self._last = time.monotonic()


def _resume(trainer: Trainer, journal: Journal | None, checkpoints: Checkpoints) -> tuple[int, bool, np.ndarray]:
    """The step to go on from and whether that is the end, on all workers the chief's; and the sums of its row."""
    found = checkpoints.latest() if journal else None
    if journal and found:
        journal.restore(found[1])
    told = trainer.chiefs([found[0] if found else 0, float(bool(journal and journal.stopped))])
    done, ended = int(told[0]), bool(told[1])
    sums = np.zeros(len(NAMES) + 1)  # the last is how many steps they are of
    if done:
        state = found[1] if found else checkpoints.must_load(done)
        trainer.restore(state)
        sums = state["sums"].copy()
        if journal:
            shell.say(f"train: going on from the checkpoint after {done:,} of {trainer.steps:,} steps")
    return done, ended, sums


def _decide(
    journal: Journal, trainer: Trainer, sampler: Sampler, settings: Settings, stop: Stop, row: dict[str, float]
) -> int:
    """Write the row, with its score, and say what follows from it."""
    seen = stop.step * settings.images_per_step
    wrong = journal.record(stop.step, seen, row, sampler if stop.score else None)
    fatal = bool(wrong) and wrong[-1].kind == "non_finite"
    ends = stop.step == trainer.steps
    if not fatal:
        if stop.score:
            journal.keep_if_best(trainer.average.get_weights(), trainer.discriminator.get_weights())
        if journal.stopped:
            return _STOP
        if not wrong or settings.guard == "continue" or ends:
            return _GO_ON
    if (
        settings.guard == "rollback"
        and not ends
        and journal.rollbacks < _MOST_ROLLBACKS
        and (journal.last_good or fatal)
    ):
        journal.rolled_back()
        return _ROLL_BACK
    if fatal or settings.guard == "stop" or journal.last_good:
        journal.stopped = f"ended after {wrong[-1].images:,} images: {wrong[-1].message}"
        return _STOP
    return _GO_ON  # before the first good score there is nothing better to go back to


def train(
    trainer: Trainer,
    batches_from: Callable[[int], Iterator],
    settings: Settings,
    journal: Journal | None,
    checkpoints: Checkpoints,
) -> float:
    """Take all the steps, from the last checkpoint on; images per second of this run's part.

    `batches_from(k)` is the stream of batches from the k-th on. The chief has a journal, the other workers have none:
    they do as it says. What the training came to is in the journal: the best checkpoint, not the last.
    """
    done, ended, sums = _resume(trainer, journal, checkpoints)
    row_every = max(1, trainer.steps // _ROWS)
    score_every = max(1, settings.score_every // settings.images_per_step)
    batches = batches_from(done * settings.discriminator_steps)
    saver = _Saver(trainer, journal, checkpoints) if journal else None
    sampler = Sampler(trainer.average)  # one for all scores: each would be compiled anew
    first, seconds = done, 0.0
    with journal or contextlib.nullcontext():
        if saver and not done:
            saver.save(0, sums)
        for stop in () if ended else stops(trainer.steps, row_every, score_every, done):
            started = time.monotonic()
            count = stop.step - done
            means = trainer.run(batches, done, count)
            seconds += time.monotonic() - started
            done = stop.step
            sums += count * np.array([*means.values(), 1.0])
            if journal:
                journal.advance(count * settings.images_per_step, means)
            action = _GO_ON
            if stop.row:
                row = dict(zip(NAMES, map(float, sums[:-1] / sums[-1]), strict=True))
                sums[:] = 0
                decided = _decide(journal, trainer, sampler, settings, stop, row) if journal else _GO_ON
                (action, back_to, rollbacks) = map(int, trainer.chiefs([decided, *_where(journal)]))
                if action == _ROLL_BACK:
                    trainer.roll_back(checkpoints.must_load(back_to), done, 0.5**rollbacks)
            if saver and journal and (stop.score or action != _GO_ON or saver.due()):
                if action == _STOP and not journal.best.average:
                    trainer.restore(checkpoints.must_load(0))
                    journal.fall_back(done * settings.images_per_step, sampler)
                    journal.keep_if_best(trainer.average.get_weights(), trainer.discriminator.get_weights())
                saver.save(done, sums)
            if action == _STOP:
                break
    return (done - first) * settings.images_per_step / seconds if seconds else 0.0


def _where(journal: Journal | None) -> tuple[int, int]:
    """The step that a rollback goes back to, and how many there were."""
    return (journal.last_good, journal.rollbacks) if journal else (0, 0)
