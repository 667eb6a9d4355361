"""The training loop: rows of the log, scores and checkpoints, and the response to a problem."""

import contextlib
import enum
import os
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from stages import shell
from stages.errors import StageError
from stages.latent import Sampler
from stages.train.checkpoints import Checkpoints
from stages.train.journal import Journal
from stages.train.overfitting import Probe, next_probability
from stages.train.settings import Settings
from stages.train.stops import Stop, last_shared, stops
from stages.train.trainer import STEP_METRICS, Trainer

_MAX_ROLLBACKS = 3
# Begins the names of the arrays of the last good score.
_GOOD = "good/"


class _Action(enum.IntEnum):
    """How training continues after a row of the log."""

    CONTINUE = 0
    STOP = 1
    ROLL_BACK = 2


def _seconds_between_checkpoints() -> float:
    text = os.environ.get("TRAIN_CHECKPOINT_SECONDS", "60")
    try:
        return float(text)
    except ValueError:
        raise StageError(f"TRAIN_CHECKPOINT_SECONDS: expected a number of seconds, got {text!r}") from None


class _Chief:
    """The duties of the one worker that has a journal: it records, decides how to continue, and saves checkpoints."""

    def __init__(
        self, trainer: Trainer, settings: Settings, journal: Journal, checkpoints: Checkpoints, probe: Probe
    ) -> None:
        self._trainer, self._settings, self._journal, self._checkpoints = trainer, settings, journal, checkpoints
        self._probe = probe
        self._sampler = Sampler(trainer.average, trainer.classes)  # one for all scores, because each is compiled
        self._every, self._last = _seconds_between_checkpoints(), time.monotonic()
        self._last_shared = last_shared(trainer.steps, settings.steps_per_score, trainer.constant_rate_steps)

    def decide(self, stop: Stop, row: dict[str, float], images: int) -> tuple[int, int, int, float]:
        """Record a row of this many images.

        Returns the action, the step that a rollback returns to, the number of rollbacks, and the new probability of the
        augmentation.
        """
        probability, augment = self._trainer.probability, self._settings.augment
        if stop.score or augment.adaptive:
            outputs = self._probe(len(self._journal.rows), score=stop.score)
            row |= outputs.values()
            if augment.adaptive:
                row["augment/probability"] = probability
                probability = next_probability(probability, outputs, augment, images)
        action = self._action(stop, row)
        return action, self._journal.last_good, self._journal.rollbacks, probability

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
        """Save a checkpoint and draw a picture if it is time.

        A run that stops without a score falls back to its initial networks.
        """
        if action is _Action.STOP and not self._journal.best.average:
            self._trainer.restore(self._checkpoints.must_load(0))
            self._journal.record_untrained(self._images(stop), self._sampler)
            self._keep_if_best()
        leaves = stop.step == self._last_shared or (action is _Action.STOP and stop.step < self._last_shared)
        if leaves:  # before the checkpoint: a resumed run would not come here again
            self._save_final(stop.step, sums)
        if stop.score or action is not _Action.CONTINUE or time.monotonic() - self._last >= self._every:
            self.save(stop.step, sums)
        if not stop.score and action is _Action.CONTINUE:
            self._journal.draw_if_due(self._images(stop), self._sampler)

    def save(self, step: int, sums: np.ndarray) -> None:
        """Save the state after `step` steps. `sums` are those of the row in progress."""
        self._checkpoints.save(step, self._state(sums), keep={self._journal.last_good})
        self._last = time.monotonic()

    def _state(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        return {**self._trainer.state(), **self._journal.state(), "sums": sums}

    def _save_final(self, step: int, sums: np.ndarray) -> None:
        """Save the state that a longer run continues from, with that of the last good score, which it may roll back to.

        A run that ends early would end in the same way if it were longer, so it leaves its state at the end.
        """
        state, good = {**self._state(sums), "step": np.array(step)}, self._journal.last_good
        if self._settings.guard == "rollback" and 0 < good < step:
            good_state = self._checkpoints.must_load(good)
            state |= {_GOOD + name: good_state[name] for name in self._trainer.state()} | {"good_step": np.array(good)}
        self._checkpoints.final.save(step, state)


def start_from(state: Mapping[str, np.ndarray], trainer: Trainer, checkpoints: Checkpoints) -> None:
    """Turn the state that a finished run left into the checkpoints of a longer run. Call it before `train`.

    The longer run also leaves this state if it ends before it reaches the next one.
    """
    good = {name.removeprefix(_GOOD): value for name, value in state.items() if name.startswith(_GOOD)}
    good_step = int(state.get("good_step", 0))
    checkpoints.final.save(int(state["step"]), state)
    checkpoints.save(0, trainer.state())
    if good:
        checkpoints.save(good_step, good)
    last = {name: value for name, value in state.items() if not name.startswith(_GOOD)}
    checkpoints.save(int(state["step"]), last, keep={0, good_step})


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


def _end_row(
    trainer: Trainer, chief: _Chief | None, checkpoints: Checkpoints, stop: Stop, sums: np.ndarray, images_per_step: int
) -> _Action:
    """Turn `sums` into a row of the log and clear them. The chief decides how to continue, and every worker follows."""
    row = dict(zip(STEP_METRICS, map(float, sums[:-1] / sums[-1]), strict=True))
    images = int(sums[-1]) * images_per_step
    sums[:] = 0
    *decision, probability = trainer.from_chief(chief.decide(stop, row, images) if chief else (0, 0, 0, 0.0))
    action, good_step, rollbacks = map(int, decision)
    trainer.probability = probability
    if action == _Action.ROLL_BACK:
        trainer.roll_back(checkpoints.must_load(good_step), stop.step, 0.5**rollbacks)
    return _Action(action)


def train(
    trainer: Trainer,
    batches_from: Callable[[int], Iterator],
    settings: Settings,
    journal: Journal | None,
    probe: Probe | None,
    checkpoints: Checkpoints,
) -> float:
    """Take all steps after the last checkpoint. Returns the images per second of this run.

    `batches_from(k)` is the stream of batches from number k on. Only the chief has a journal and a probe; the other
    workers follow its decisions. The journal holds the result: the best checkpoint, not the last.
    """
    done, ended, sums = _resume(trainer, journal, checkpoints)
    batches = batches_from(done * settings.optimizer.discriminator_steps)
    chief = _Chief(trainer, settings, journal, checkpoints, probe) if journal and probe else None
    first, seconds, per_step = done, 0.0, settings.images_per_step
    with journal or contextlib.nullcontext():
        if chief and not done:
            chief.save(0, sums)
        for stop in () if ended else stops(trainer.steps, settings.steps_per_score, done):
            started = time.monotonic()
            count = stop.step - done
            means = trainer.run(batches, done, count)
            seconds += time.monotonic() - started
            done = stop.step
            sums += count * np.array([*means.values(), 1.0])
            if journal:
                journal.advance(count * per_step, means)
            action = _end_row(trainer, chief, checkpoints, stop, sums, per_step) if stop.row else _Action.CONTINUE
            if chief:
                chief.finish_stop(stop, action, sums)
            if action is _Action.STOP:
                break
    return (done - first) * per_step / seconds if seconds else 0.0
