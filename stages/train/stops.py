"""The steps at which the training loop returns to Python, to log or to score. Only the last depends on the length."""

from collections.abc import Iterator
from dataclasses import dataclass

# Rows of the log per score: enough to see a collapse begin, few enough to keep in Git (200 for 8 scores).
_ROWS_PER_SCORE = 25
# Steps in one call of the compiled graph, between which Python cannot intervene.
_STEPS_PER_CALL = 20


@dataclass(frozen=True)
class Stop:
    """A step at which the loop halts: to write a row of the log, and to score, if these are set."""

    step: int
    row: bool
    score: bool


def _row_every(score_every: int) -> int:
    return max(1, score_every // _ROWS_PER_SCORE)


def stops(steps: int, score_every: int, done: int) -> Iterator[Stop]:
    """The stops of a run of `steps` steps that come after step `done`. Their places do not depend on `done`.

    Scores are at the multiples of `score_every`, with about 25 rows between two of them. The last score is at the end.
    A multiple of `score_every` less than a tenth of that interval before the end has no score.
    """
    row_every = _row_every(score_every)
    scores = set(range(score_every, steps - score_every // 10, score_every)) | {steps}
    for step in range(done + 1, steps + 1):
        row = step % row_every == 0 or step in scores
        if row or step % _STEPS_PER_CALL == 0:
            yield Stop(step, row, step in scores)


def last_shared(steps: int, score_every: int, constant_rate_steps: int) -> int:
    """The last stop before the end that every longer run also makes, with the same state; 0 if there is none.

    It is before the regular score that this run's end replaced, and before the learning rates fall: all lengths have
    the same rates in the first `constant_rate_steps` steps.
    """
    displaced = max(1, -(-(steps - score_every // 10) // score_every)) * score_every
    limit = min(displaced - 1, steps - 1, constant_rate_steps)
    return max(limit // every * every for every in (_STEPS_PER_CALL, _row_every(score_every), score_every))
