"""Where the training halts, and which of its stops a longer training shares."""

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.train.stops import Stop, last_shared, stops

STEPS = st.integers(1, 400)


def test_the_loop_halts_for_rows_and_scores_and_every_twenty_steps() -> None:
    every = list(stops(90, 75, 0))
    assert [stop.step for stop in every if stop.step < 25] == [3, 6, 9, 12, 15, 18, 20, 21, 24]
    assert [stop.step for stop in every if stop.row] == list(range(3, 91, 3))
    assert [stop.step for stop in every if stop.score] == [75, 90]


@pytest.mark.parametrize(("images", "score_every", "batch"), [(240_000, 30_000, 64), (480_000, 60_000, 64)])
def test_the_log_has_about_two_hundred_rows(images: int, score_every: int, batch: int) -> None:
    assert 190 <= sum(stop.row for stop in stops(images // batch, score_every // batch, 0)) <= 210


@pytest.mark.parametrize("done", [0, 20, 50, 99])
def test_a_resumed_loop_halts_at_the_same_steps(done: int) -> None:
    assert list(stops(100, 50, done)) == [stop for stop in stops(100, 50, 0) if stop.step > done]


@pytest.mark.parametrize(("steps", "expected"), [(104, [50, 104]), (106, [50, 100, 106]), (49, [49]), (1, [1])])
def test_a_score_in_the_last_tenth_of_an_interval_moves_to_the_end(steps: int, expected: list[int]) -> None:
    assert [stop.step for stop in stops(steps, 50, 0) if stop.score] == expected
    assert list(stops(steps, 50, 0))[-1] == Stop(steps, True, True)


@given(STEPS, STEPS, st.integers(0, 400), STEPS)
def test_every_longer_run_has_the_stops_up_to_the_last_shared_one(
    steps: int, more: int, constant_rate_steps: int, score_every: int
) -> None:
    shared = last_shared(steps, score_every, constant_rate_steps)
    short, long = (
        list(takewhile(lambda stop: stop.step <= shared, stops(n, score_every, 0))) for n in (steps, steps + more)
    )
    assert short == long
    assert shared == (short[-1].step if short else 0)
    assert shared < steps
    assert shared <= constant_rate_steps
    assert shared <= last_shared(steps + more, score_every, constant_rate_steps)


@pytest.mark.parametrize(
    ("steps", "constant_rate_steps", "expected"),
    [(3750, 3750, 3740), (3744, 3744, 3740), (1, 1, 0), (3750, 1875, 1872), (3750, 0, 0), (19, 19, 18), (18, 18, 0)],
)
def test_the_last_shared_stop_comes_before_the_end_a_displaced_score_and_falling_rates(
    steps: int, constant_rate_steps: int, expected: int
) -> None:
    assert last_shared(steps, 468, constant_rate_steps) == expected
