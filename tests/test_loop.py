"""The loop around the step: where it halts, what it keeps, what it does when something goes wrong."""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from stages.errors import StageError
from stages.latent import Sampler
from stages.train import loop
from stages.train.checkpoints import Checkpoints
from stages.train.guards import Saturation, collapsed, spread
from stages.train.journal import Journal, Measurement, Real
from stages.train.loop import Stop, stops
from stages.train.losses import OBJECTIVES
from stages.train.settings import Settings
from stages.train.trainer import Trainer

SETTINGS = Settings(
    generator_channels=2, discriminator_channels=2, batch_size=8, images=8 * 60, score_every=8 * 20, score_samples=16
)
HEALTHY = Measurement(10.0, 1.0, 4)


def batches_from(first: int) -> Iterator:
    images = np.random.default_rng(0).uniform(-1, 1, (80, 16, 16, 1)).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(80, np.int64))).batch(8).repeat()
    return iter(data.skip(first))


class Measure:
    """Gives measurements that a test has laid out, by how often it was asked; the last one over and over."""

    def __init__(self, *measurements: Measurement) -> None:
        self.measurements, self.asked = measurements, 0

    def __call__(self, sampler: Sampler) -> Measurement:
        """The next measurement."""
        self.asked += 1
        return self.measurements[min(self.asked, len(self.measurements)) - 1]


def scores(*values: float) -> Measure:
    return Measure(*[dataclasses.replace(HEALTHY, score=value) for value in values])


def run(folder: Path, settings: Settings, measure: Measure, trainer: Trainer | None = None) -> Journal:
    trainer = trainer or Trainer(settings, 16, 1)
    state = folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    bounds = OBJECTIVES[settings.loss].bounds(settings.label_smoothing)
    journal = Journal(folder / "log", settings, bounds, measure, Real(1.0, 4), settings.images)
    loop.train(trainer, batches_from, settings, journal, Checkpoints(state))
    return journal


def test_it_halts_at_rows_scores_and_every_twenty_steps_wherever_it_starts() -> None:
    found = list(stops(100, 30, 50, 0))
    assert [s.step for s in found] == [20, 30, 40, 50, 60, 80, 90, 100]
    assert [s.step for s in found if s.row] == [30, 50, 60, 90, 100]
    assert [s.step for s in found if s.score] == [50, 100]
    for done in (0, 20, 50, 99):
        assert list(stops(100, 30, 50, done)) == [s for s in found if s.step > done]


@pytest.mark.parametrize(("steps", "expected"), [(104, [50, 104]), (106, [50, 100, 106]), (49, [49]), (1, [1])])
def test_a_last_tenth_of_an_interval_is_no_interval_of_its_own(steps: int, expected: list[int]) -> None:
    assert [s.step for s in stops(steps, 10, 50, 0) if s.score] == expected
    assert list(stops(steps, 10, 50, 0))[-1] == Stop(steps, True, True)


def test_the_best_checkpoint_is_kept_not_the_last(tmp_path: Path) -> None:
    trainer, kept = Trainer(SETTINGS, 16, 1), []

    class Watching(Measure):
        def __call__(self, sampler: Sampler) -> Measurement:
            kept.append(trainer.average.get_weights())
            return super().__call__(sampler)

    journal = run(tmp_path, SETTINGS, Watching(*scores(9, 3, 5).measurements), trainer)
    assert (journal.best.score, journal.best.images) == (3, 320)
    assert all(np.array_equal(a, b) for a, b in zip(journal.best.average, kept[1], strict=True))
    assert [row.images for row in journal.rows if row.picture] == [160, 320, 480]
    assert [row.images for row in journal.rows] == list(range(8, 481, 8)), "nothing missing, nothing doubled"
    assert not journal.flags
    assert not journal.stopped


def test_training_ends_when_the_score_is_long_past_its_best(tmp_path: Path) -> None:
    journal = run(tmp_path, dataclasses.replace(SETTINGS, score_every=80, patience=160), scores(9, 5, 6, 7, 1))
    assert journal.rows[-1].images == 320
    assert journal.best.images == 160
    assert "ended after 320 of 480 images: 160 of them had brought no better score (train.patience)" in journal.stopped


def log_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Killed(BaseException):
    """As a kill: nothing gets to clean up."""


def outcome(folder: Path, journal: Journal, trainer: Trainer) -> tuple:
    weights = [w.tobytes() for w in (*journal.best.average, *journal.best.discriminator)]
    pictures = [p.tobytes() for p in journal.pictures]
    return weights, pictures, log_of(folder / "log"), journal.flags, journal.rollbacks, journal.stopped


@pytest.mark.parametrize("guard", ["continue", "rollback"])
def test_a_training_that_is_killed_at_any_call_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str
) -> None:
    monkeypatch.setenv("TRAIN_CHECKPOINT_SECONDS", "0")
    settings = dataclasses.replace(SETTINGS, images=8 * 50, score_every=8 * 10, guard=guard)  # type: ignore[arg-type]
    course = (HEALTHY, dataclasses.replace(HEALTHY, spread=0.1, score=3), dataclasses.replace(HEALTHY, score=2))
    monkeypatch.setattr(loop, "_STEPS_PER_CALL", 3)
    monkeypatch.setattr(loop, "_ROWS", 10)
    whole = Trainer(settings, 16, 1)
    expected = outcome(tmp_path / "whole", run(tmp_path / "whole", settings, Measure(*course), whole), whole)
    assert [flag.kind for flag in expected[3]] == ["generator_collapsed"]
    calls = len(list(stops(50, 5, 10, 0)))
    for at in range(1, calls, 8):
        folder, trainer = tmp_path / str(at), Trainer(settings, 16, 1)
        original, left = trainer.run, [at]

        def dying(batches: Iterator, first: int, count: int) -> dict[str, float]:
            if left[0] == 0:  # noqa: B023 - called within this turn
                raise Killed
            left[0] -= 1  # noqa: B023
            return original(batches, first, count)  # noqa: B023

        monkeypatch.setattr(trainer, "run", dying)
        measure = Measure(*course)
        with pytest.raises(Killed):
            run(folder, settings, measure, trainer)
        measure.asked = len(list((folder / "log").rglob("fixed_z/*.png")))
        again = Trainer(settings, 16, 1)
        assert outcome(folder, run(folder, settings, measure, again), again) == expected, f"killed before call {at}"


def test_a_collapsed_generator_is_flagged_once_and_where_it_recovers_again(tmp_path: Path) -> None:
    bad = dataclasses.replace(HEALTHY, modes_covered=1)
    settings = dataclasses.replace(SETTINGS, score_every=80, guard="continue")
    journal = run(tmp_path, settings, Measure(HEALTHY, bad, bad, HEALTHY, bad))
    assert [(flag.images, flag.kind) for flag in journal.flags] == [
        (160, "generator_collapsed"),
        (400, "generator_collapsed"),
    ]
    assert "reach 1 of 4" in journal.flags[0].message
    summary = json.loads((tmp_path / "log/metrics.json").read_text())
    assert summary["flags"] == {"non_finite": 0, "discriminator_saturated": 0, "generator_collapsed": 2}


def test_stop_stops(tmp_path: Path) -> None:
    bad = dataclasses.replace(HEALTHY, spread=0.01)
    journal = run(tmp_path, dataclasses.replace(SETTINGS, guard="stop"), Measure(HEALTHY, bad))
    assert journal.rows[-1].images == 320
    assert journal.stopped.startswith("ended after 320 images: the generator gives nearly one picture for every z")


def test_rollback_goes_back_to_the_last_good_score_with_half_the_rates_three_times(tmp_path: Path) -> None:
    trainer, back = Trainer(SETTINGS, 16, 1), []
    original = trainer.roll_back

    def watched(state: dict, done: int, factor: float) -> None:
        original(state, done, factor)
        back.append((done, factor))

    trainer.roll_back = watched  # type: ignore[method-assign, assignment]
    settings = dataclasses.replace(SETTINGS, score_every=80, guard="rollback")
    bad = dataclasses.replace(HEALTHY, spread=0.01)
    journal = run(tmp_path, settings, Measure(HEALTHY, bad), trainer)
    assert back == [(20, 0.5), (30, 0.25), (40, 0.125)]
    assert journal.rows[-1].images == 400
    assert journal.stopped, "the fourth time it gives up"
    assert journal.last_good == 10


def test_before_the_first_good_score_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    slow = dataclasses.replace(HEALTHY, spread=0.01)
    journal = run(tmp_path, dataclasses.replace(SETTINGS, guard="rollback"), Measure(slow, HEALTHY))
    assert journal.rollbacks == 0
    assert not journal.stopped
    assert len(journal.flags) == 1


@pytest.mark.parametrize("guard", ["stop", "continue", "rollback"])
def test_a_training_that_diverges_ends_with_a_flag_and_finite_results(tmp_path: Path, guard: str) -> None:
    settings = dataclasses.replace(
        SETTINGS,
        generator_learning_rate=1e30,
        discriminator_learning_rate=1e30,
        guard=guard,  # type: ignore[arg-type]
    )
    journal = run(tmp_path, settings, Measure(HEALTHY))
    assert {flag.kind for flag in journal.flags} == {"non_finite"}
    assert len(journal.flags) == (4 if guard == "rollback" else 1)
    assert "not finite" in journal.stopped
    assert all(np.isfinite(w).all() for w in (*journal.best.average, *journal.best.discriminator))
    assert all(math.isfinite(value) for row in journal.rows for value in row.values.values())
    assert len(journal.pictures) >= 1


@pytest.mark.parametrize("guard", ["stop", "continue", "rollback"])
@pytest.mark.parametrize("steps", [1, 60])
def test_a_training_that_diverges_at_its_last_step_ends_as_one_that_did_before(
    tmp_path: Path, guard: str, steps: int
) -> None:
    settings = dataclasses.replace(SETTINGS, images=8 * steps, score_every=8 * steps, guard=guard)  # type: ignore[arg-type]
    trainer = Trainer(settings, 16, 1)
    original = trainer.run

    def diverging(batches: Iterator, first: int, count: int) -> dict[str, float]:
        means = original(batches, first, count)
        return dict.fromkeys(means, math.nan) if first + count == steps else means

    trainer.run = diverging  # type: ignore[method-assign]
    journal = run(tmp_path, settings, Measure(HEALTHY), trainer)
    assert [flag.kind for flag in journal.flags] == ["non_finite"]
    assert f"ended after {8 * steps} images" in journal.stopped
    assert journal.best.average
    assert journal.rows[-1].images == 8 * steps
    again = run(tmp_path, settings, Measure(HEALTHY))
    assert again.best.average, "and so it does where it ended, but was not published"


def test_what_is_wrong_at_the_end_is_a_flag_and_stops_nothing(tmp_path: Path) -> None:
    bad = dataclasses.replace(HEALTHY, spread=0.01)
    for guard in ("stop", "rollback"):
        settings = dataclasses.replace(SETTINGS, guard=guard)
        journal = run(tmp_path / guard, settings, Measure(HEALTHY, HEALTHY, bad))
        assert (len(journal.flags), journal.rollbacks, journal.stopped) == (1, 0, "")


def test_a_saturated_discriminator_is_seen_in_every_loss_that_can_be() -> None:
    for name, objective in OBJECTIVES.items():
        bounds = objective.bounds(0.0)
        watch = Saturation(bounds)
        right, chance = bounds or (0.0, 1.0)
        assert not any(watch.see((right + chance) / 2) for _ in range(10)), name
        told = [watch.see(right) for _ in range(10)]
        assert sum(message is not None for message in told) == (0 if bounds is None else 1), "said once"
        resumed = Saturation(bounds)
        resumed.resume(watch.state())
        assert resumed.see(right) is None


def test_spread_is_the_mean_distance_of_pairs() -> None:
    images = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype(np.float32)
    pairs = [math.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(images) for b in images[i + 1 :]]
    assert spread(images) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert spread(np.repeat(images[:1], 5, 0)) == pytest.approx(0, abs=1e-6)


def test_collapse_is_told_by_spread_or_by_classes() -> None:
    assert collapsed(1.0, 1.0, 10, 10) is None
    assert collapsed(1.0, 1.0, None, 0) is None
    assert "0.1 apart" in str(collapsed(0.1, 1.0, None, 0))
    assert "reach 3 of 10" in str(collapsed(1.0, 1.0, 3, 10))


def test_a_checkpoint_interval_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN_CHECKPOINT_SECONDS", "soon")
    with pytest.raises(StageError, match="TRAIN_CHECKPOINT_SECONDS: expected a number of seconds, got 'soon'"):
        run(tmp_path, SETTINGS, Measure(HEALTHY))
