"""The training loop: where it halts, which checkpoint it keeps, how it responds to problems."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.errors import StageError
from stages.latent import Sampler
from stages.networks.choices import DiscriminatorNorm
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.train import loop
from stages.train import stops as train_stops
from stages.train.augment.settings import AugmentSettings
from stages.train.checkpoints import Checkpoints
from stages.train.guards import Magnitude, Saturation, Variety, contrast, describe_collapse, describe_explosion, spread
from stages.train.journal import Journal, Measurement, Real
from stages.train.losses.catalog import LOSSES
from stages.train.losses.settings import LossSettings
from stages.train.overfitting import Outputs, Probe
from stages.train.settings import OptimizerSettings, ScoringSettings, Settings
from stages.train.stops import stops
from stages.train.trainer import Trainer
from stages.train.watch import Watch

SETTINGS = Settings(
    images=8 * 60,
    batch_size=8,
    generator=GeneratorSettings(channels=2),
    discriminator=DiscriminatorSettings(channels=2),
    scoring=ScoringSettings(every=8 * 20, samples=16),
)
HEALTHY = Measurement(10.0, Variety(1.0, 1.0), 4)
SAME = Variety(0.01, 1.0)


def batches_from(first: int) -> Iterator:
    images = np.random.default_rng(0).uniform(-1, 1, (80, 16, 16, 1)).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(80, np.int64))).batch(8).repeat()
    return iter(data.skip(first))


class Measure:
    """Returns the given measurements, one per call; after the last one, that one again."""

    def __init__(self, *measurements: Measurement) -> None:
        self.measurements, self.calls = measurements, 0

    def __call__(self, sampler: Sampler) -> Measurement:
        """The next measurement."""
        self.calls += 1
        return self.measurements[min(self.calls, len(self.measurements)) - 1]


def scores(*values: float) -> Measure:
    return Measure(*[dataclasses.replace(HEALTHY, score=value) for value in values])


# Compiling a trainer takes longer than training it here, so tests of one network share it.
_trainers: dict[Settings, tuple[Trainer, dict[str, np.ndarray]]] = {}


def new_trainer(settings: Settings) -> Trainer:
    """A trainer in its initial state, compiled once for all settings that differ in the loop's part only."""
    key = dataclasses.replace(settings, scoring=SETTINGS.scoring, guard=SETTINGS.guard)
    if not settings.optimizer.learning_rate_decay:  # then no part of the graph depends on the number of steps
        key = dataclasses.replace(key, images=SETTINGS.images)
    if key not in _trainers:
        trainer = Trainer(key, 16, 1)
        _trainers[key] = trainer, trainer.state()
    trainer, initial_state = _trainers[key]
    if not settings.optimizer.learning_rate_decay:
        trainer.steps = trainer.constant_rate_steps = settings.images // settings.images_per_step
    trainer.restore(initial_state)
    return trainer


def overwrite(trainer: Trainer) -> None:
    """Lose everything that the trainer has learned, as a kill does: every variable becomes 0.5."""
    trainer.restore({name: np.full_like(value, 0.5) for name, value in trainer.state().items()})


class Rated(Probe):
    """Finds the given over-fitting, one number for each row of the log; after the last one, again from the first."""

    def __init__(self, *overfitting: float) -> None:
        self.course = overfitting

    def __call__(self, row: int, *, score: bool) -> Outputs:
        """The outputs of a D that over-fits so much."""
        return Outputs(1.0, 1.0 - self.course[row % len(self.course)], 0.0)


ADAPTIVE = AugmentSettings(("colour", "translation", "cutout"), rise=80)
SLOW = pytest.mark.slow
# Far from the target of 0.3. The probability rises twice as often as it falls.
SWINGS = (0.9, 0.1, 0.8)


def run(
    folder: Path,
    settings: Settings,
    measure: Measure,
    trainer: Trainer | None = None,
    overfitting: tuple[float, ...] = SWINGS,
) -> Journal:
    trainer = trainer or new_trainer(settings)
    state = folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    bounds = LOSSES[settings.loss.name].formulas.bounds(settings.loss.label_smoothing)
    watch = Watch(folder / "live", settings.images)
    journal = Journal(folder / "log", settings, bounds, measure, Real(Variety(1.0, 1.0), 4), settings.images, watch)
    loop.train(trainer, batches_from, settings, journal, Rated(*overfitting), Checkpoints(state))
    return journal


def test_the_best_checkpoint_is_kept_and_not_the_last(tmp_path: Path) -> None:
    trainer, kept = new_trainer(SETTINGS), []

    class Watching(Measure):
        def __call__(self, sampler: Sampler) -> Measurement:
            kept.append(trainer.average.get_weights())
            return super().__call__(sampler)

    journal = run(tmp_path, SETTINGS, Watching(*scores(9, 3, 5).measurements), trainer)
    assert (journal.best.score, journal.best.images) == (3, 320)
    assert all(np.array_equal(a, b) for a, b in zip(journal.best.average, kept[1], strict=True))
    assert [row.images for row in journal.rows if row.picture] == [160, 320, 480]
    assert [row.images for row in journal.rows] == list(range(8, 481, 8)), "no row is missing or doubled"
    assert not journal.flags
    assert not journal.stopped


def test_early_pictures_are_on_the_page_and_change_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = outcome(tmp_path / "a", run(tmp_path / "a", SETTINGS, scores(9, 3, 5)))
    monkeypatch.setattr(Watch, "is_due", lambda self: True)
    capsys.readouterr()
    assert outcome(tmp_path / "b", run(tmp_path / "b", SETTINGS, scores(9, 3, 5))) == expected
    early, late = ({path.name for path in (tmp_path / name / "live").glob("*.png")} for name in "ba")
    assert len(early) > len(late) == 3
    first = min(early)
    assert capsys.readouterr().err.count(f"train: first picture: {(tmp_path / 'b/live' / first).as_uri()}\n") == 1


def test_training_ends_when_patience_runs_out(tmp_path: Path) -> None:
    scoring = ScoringSettings(every=80, patience=160)
    journal = run(tmp_path, dataclasses.replace(SETTINGS, scoring=scoring), scores(9, 5, 6, 7, 1))
    assert journal.rows[-1].images == 320
    assert journal.best.images == 160
    assert journal.stopped == "ended after 320 images: no better score in the last 160 (train.scoring.patience)"


def log_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Killed(BaseException):
    """Simulates a kill: no code catches it."""


def final_state(folder: Path) -> dict[str, bytes]:
    """The state that a run leaves to a longer one."""
    _, state = Checkpoints(folder / "state").final.latest() or (0, {})
    return {name: array.tobytes() for name, array in state.items()}


def outcome(folder: Path, journal: Journal) -> tuple:
    weights = [w.tobytes() for w in (*journal.best.average, *journal.best.discriminator)]
    pictures = [p.tobytes() for p in journal.pictures]
    return weights, pictures, log_of(folder / "log"), journal.flags, journal.rollbacks, journal.stopped


def dying(trainer: Trainer, calls: int) -> Callable[..., dict[str, float]]:
    """A replacement of `trainer.run` that works a few times and is then killed."""
    original, left = trainer.run, [calls]

    def run_or_die(batches: Iterator, first: int, count: int) -> dict[str, float]:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return original(batches, first, count)

    return run_or_die


@pytest.mark.parametrize(
    ("guard", "augment"),
    [
        pytest.param("continue", AugmentSettings(), id="continue", marks=SLOW),
        pytest.param("rollback", AugmentSettings(), id="rollback", marks=SLOW),
        pytest.param("rollback", ADAPTIVE, id="augmentation"),
    ],
)
def test_a_training_killed_at_any_call_ends_in_the_same_bytes_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, augment: AugmentSettings
) -> None:
    monkeypatch.setenv("TRAIN_CHECKPOINT_SECONDS", "0")
    scoring = ScoringSettings(every=8 * 10)
    settings = dataclasses.replace(SETTINGS, images=8 * 50, scoring=scoring, guard=guard, augment=augment)  # type: ignore[arg-type]
    course = (HEALTHY, dataclasses.replace(HEALTHY, variety=SAME, score=3), dataclasses.replace(HEALTHY, score=2))
    monkeypatch.setattr(train_stops, "_STEPS_PER_CALL", 3)
    monkeypatch.setattr(train_stops, "_ROWS_PER_SCORE", 2)
    expected = outcome(tmp_path / "whole", run(tmp_path / "whole", settings, Measure(*course)))
    assert [flag.kind for flag in expected[3]] == ["generator_collapsed"]
    calls = len(list(stops(50, 10, 0)))
    for kill_at in range(1, calls, 8):
        folder, trainer = tmp_path / str(kill_at), new_trainer(settings)
        measure = Measure(*course)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(trainer, "run", dying(trainer, kill_at))
            run(folder, settings, measure, trainer)
        overwrite(trainer)
        measure.calls = len(list((folder / "log").rglob("fixed_z/*.png")))
        assert outcome(folder, run(folder, settings, measure, trainer)) == expected, f"killed before call {kill_at}"


def train_further(folder: Path, settings: Settings, measure: Measure, **shorter: Any) -> Journal:
    """Train with the settings `shorter`, then with `settings` from the state that is left, killed after two calls."""
    run(folder / "short", dataclasses.replace(settings, **shorter), measure)
    _, state = Checkpoints(folder / "short/state").final.latest() or (0, {})
    trainer = new_trainer(settings)
    (folder / "state").mkdir()
    loop.start_from(state, trainer, Checkpoints(folder / "state"))
    before = measure.calls = sum(name.startswith("picture/") for name in state)
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(trainer, "run", dying(trainer, 2))
        run(folder, settings, measure, trainer)
    overwrite(trainer)
    measure.calls = max(before, len(list((folder / "log").rglob("fixed_z/*.png"))))
    return run(folder, settings, measure, trainer)


COLLAPSED = dataclasses.replace(HEALTHY, variety=SAME)
EVERY_80 = dataclasses.replace(SETTINGS.scoring, every=80, patience=0)
PATIENT = dataclasses.replace(EVERY_80, patience=160)


@pytest.mark.parametrize(
    ("shorter", "changes", "course"),
    [
        pytest.param({"images": 320}, {}, (HEALTHY,), id="ends at a score", marks=SLOW),
        pytest.param({"images": 408}, {}, (HEALTHY,), id="ends between two scores", marks=SLOW),
        pytest.param({"images": 328}, {}, (HEALTHY,), id="its end displaces a score"),
        pytest.param({"images": 328}, {"augment": ADAPTIVE}, (HEALTHY,), id="an adaptive augmentation"),
        pytest.param({"images": 472}, {}, (HEALTHY,), id="one step less", marks=SLOW),
        pytest.param(
            {"images": 400}, {"scoring": PATIENT}, scores(5, 6, 7).measurements, id="no patience left", marks=SLOW
        ),
        pytest.param(
            {"scoring": PATIENT}, {"scoring": EVERY_80}, scores(5, 6, 7, 4).measurements, id="more patience", marks=SLOW
        ),
        pytest.param(
            {"images": 400}, {"guard": "rollback"}, (HEALTHY, COLLAPSED, HEALTHY), id="rolls back before", marks=SLOW
        ),
        pytest.param({"images": 240}, {"guard": "rollback"}, (HEALTHY, COLLAPSED) * 3, id="rolls back to before"),
        pytest.param({"images": 320}, {"guard": "stop"}, (HEALTHY, COLLAPSED), id="stops at a flag", marks=SLOW),
        pytest.param(
            {"images": 320}, {"guard": "stop"}, (HEALTHY,) * 3 + (COLLAPSED,), id="a flag at its end", marks=SLOW
        ),
        pytest.param(
            {"images": 240},
            {"optimizer": OptimizerSettings(learning_rate_decay=0.5)},
            (HEALTHY,),
            id="falling rates",
            marks=SLOW,
        ),
    ],
)
def test_a_longer_training_continues_to_the_bytes_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shorter: dict, changes: dict, course: tuple[Measurement, ...]
) -> None:
    monkeypatch.setattr(train_stops, "_STEPS_PER_CALL", 7)
    monkeypatch.setattr(train_stops, "_ROWS_PER_SCORE", 2)
    settings = dataclasses.replace(SETTINGS, **{"scoring": EVERY_80, **changes})
    expected = outcome(tmp_path / "whole", run(tmp_path / "whole", settings, Measure(*course)))
    assert outcome(tmp_path, train_further(tmp_path, settings, Measure(*course), **shorter)) == expected
    assert final_state(tmp_path) == final_state(tmp_path / "whole")


@pytest.mark.parametrize(
    ("overfitting", "last"),
    [pytest.param((0.4,), 1.0, marks=SLOW), pytest.param((0.2,), 0.0, marks=SLOW), ((0.4,) * 20 + (0.2,) * 40, 0.0)],
)
def test_the_probability_of_an_augmentation_follows_the_over_fitting_and_is_logged(
    tmp_path: Path, overfitting: tuple[float, ...], last: float
) -> None:
    settings = dataclasses.replace(SETTINGS, augment=dataclasses.replace(ADAPTIVE, rise=160))
    trainer = new_trainer(settings)
    journal = run(tmp_path, settings, Measure(HEALTHY), trainer, overfitting)
    course = [row.values["augment/probability"] for row in journal.rows]
    assert course[0] == 0
    assert course[20] == pytest.approx(float(overfitting[0] > 0.3)), "after 160 images"
    assert trainer.probability == last
    assert len((tmp_path / "log/plots/metrics/augment/probability.tsv").read_text().splitlines()) == 61


def test_without_augmentation_the_over_fitting_is_logged_at_each_score(tmp_path: Path) -> None:
    journal = run(tmp_path, SETTINGS, Measure(HEALTHY), overfitting=(0.25,))
    assert [row.values.get("overfitting/measure") for row in journal.rows if row.picture] == [0.25] * 3
    assert not any(name.startswith(("overfitting", "augment")) for name in journal.rows[0].values)


def test_a_collapsed_generator_is_flagged_again_only_after_it_recovers(tmp_path: Path) -> None:
    bad = dataclasses.replace(HEALTHY, modes_covered=1)
    settings = dataclasses.replace(SETTINGS, scoring=ScoringSettings(every=80), guard="continue")
    journal = run(tmp_path, settings, Measure(HEALTHY, bad, bad, HEALTHY, bad))
    assert [(flag.images, flag.kind) for flag in journal.flags] == [
        (160, "generator_collapsed"),
        (400, "generator_collapsed"),
    ]
    assert "reach 1 of 4" in journal.flags[0].message
    summary = json.loads((tmp_path / "log/metrics.json").read_text())
    assert summary["flags"] == {"non_finite": 0, "discriminator_saturated": 0, "generator_collapsed": 2}


def test_the_guard_stop_ends_a_training_at_its_first_flag(tmp_path: Path) -> None:
    bad = dataclasses.replace(HEALTHY, variety=SAME)
    journal = run(tmp_path, dataclasses.replace(SETTINGS, guard="stop"), Measure(HEALTHY, bad))
    assert journal.rows[-1].images == 320
    assert journal.stopped.startswith(
        "ended after 320 images: the generator makes nearly the same picture from every z"
    )


def test_the_guard_rollback_returns_to_the_last_good_score_and_halves_the_rates_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, rollbacks = new_trainer(SETTINGS), []
    original = trainer.roll_back

    def recorded(state: dict, done: int, factor: float) -> None:
        original(state, done, factor)
        rollbacks.append((done, factor))

    monkeypatch.setattr(trainer, "roll_back", recorded)
    settings = dataclasses.replace(SETTINGS, scoring=ScoringSettings(every=80), guard="rollback")
    bad = dataclasses.replace(HEALTHY, variety=SAME)
    journal = run(tmp_path, settings, Measure(HEALTHY, bad), trainer)
    assert rollbacks == [(20, 0.5), (30, 0.25), (40, 0.125)]
    assert journal.rows[-1].images == 400
    assert journal.stopped, "at the fourth flag"
    assert journal.last_good == 10


def test_the_guard_rollback_ignores_a_collapse_before_the_first_good_score(tmp_path: Path) -> None:
    untrained = dataclasses.replace(HEALTHY, variety=SAME)
    journal = run(tmp_path, dataclasses.replace(SETTINGS, guard="rollback"), Measure(untrained, HEALTHY))
    assert journal.rollbacks == 0
    assert not journal.stopped
    assert len(journal.flags) == 1


@pytest.mark.parametrize("guard", ["stop", "continue", "rollback"])
def test_a_diverging_training_ends_with_a_flag_and_finite_results(tmp_path: Path, guard: str) -> None:
    settings = dataclasses.replace(
        SETTINGS,
        optimizer=OptimizerSettings(1e30, 1e30),
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
def test_a_training_that_diverges_at_its_last_step_ends_with_a_flag_and_finite_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, steps: int
) -> None:
    settings = dataclasses.replace(SETTINGS, images=8 * steps, scoring=ScoringSettings(every=8 * steps), guard=guard)  # type: ignore[arg-type]
    trainer = new_trainer(settings)
    original = trainer.run

    def diverging(batches: Iterator, first: int, count: int) -> dict[str, float]:
        means = original(batches, first, count)
        return dict.fromkeys(means, math.nan) if first + count == steps else means

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "run", diverging)
        journal = run(tmp_path, settings, Measure(HEALTHY), trainer)
    assert [flag.kind for flag in journal.flags] == ["non_finite"]
    assert f"ended after {8 * steps} images" in journal.stopped
    assert journal.best.average
    assert journal.rows[-1].images == 8 * steps
    resumed = run(tmp_path, settings, Measure(HEALTHY))
    assert resumed.best.average, "also if it is interrupted between its end and the publication"


def test_a_problem_at_the_last_step_is_flagged_and_does_not_stop_the_training(tmp_path: Path) -> None:
    bad = dataclasses.replace(HEALTHY, variety=SAME)
    for guard in ("stop", "rollback"):
        settings = dataclasses.replace(SETTINGS, guard=guard)
        journal = run(tmp_path / guard, settings, Measure(HEALTHY, HEALTHY, bad))
        assert (len(journal.flags), journal.rollbacks, journal.stopped) == (1, 0, "")


@pytest.mark.parametrize("name", LOSSES)
def test_a_saturated_discriminator_is_reported_once_if_the_loss_has_bounds(name: str) -> None:
    bounds = LOSSES[name].formulas.bounds(0.0)
    right, chance = bounds or (0.0, 1.0)
    saturation = Saturation(bounds)
    assert not any(saturation.update((right + chance) / 2) for _ in range(10)), "half-way is healthy"
    messages = [saturation.update(right) for _ in range(10)]
    assert sum(message is not None for message in messages) == (0 if bounds is None else 1)


def test_a_restored_guard_does_not_report_the_same_saturation_again() -> None:
    saturation, restored = Saturation((0.0, 1.0)), Saturation((0.0, 1.0))
    assert any(saturation.update(0.0) for _ in range(10))
    restored.restore(saturation.state())
    assert restored.update(0.0) is None


def test_spread_is_the_mean_distance_over_all_pairs() -> None:
    images = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype(np.float32)
    pairs = [math.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(images) for b in images[i + 1 :]]
    assert spread(images) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert spread(np.repeat(images[:1], 5, 0)) == pytest.approx(0, abs=1e-6)


def test_contrast_is_the_mean_deviation_within_an_image() -> None:
    images = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype(np.float32)
    assert contrast(images) == pytest.approx(np.mean([image[..., c].std() for image in images for c in (0, 1)]))
    assert contrast(np.ones((2, 4, 4, 3)) * [-1, 0, 1]) == 0, "one colour, but not one number"


@pytest.mark.parametrize(
    ("samples", "covered", "message"),
    [
        (Variety(1, 1), 10, None),
        (Variety(1, 1), None, None),  # without a judge
        (Variety(0.1, 1), None, "the mean distance between samples is 0.1, between real images 1"),
        (Variety(0.1, 0), 10, "the mean distance between samples is 0.1"),
        (Variety(1, 0.01), None, "pictures of one colour: the contrast of samples is 0.01, of real images 1"),
        (Variety(1, 1), 3, "reach 3 of 10"),
    ],
)
def test_samples_that_are_too_much_alike_are_a_collapse(
    samples: Variety, covered: int | None, message: str | None
) -> None:
    assert (message or "None") in str(describe_collapse(samples, Variety(1, 1), covered, 10))


def test_samples_of_one_colour_are_no_collapse_if_the_real_images_are_like_that() -> None:
    assert describe_collapse(Variety(1, 0), Variety(1, 0), None, 0) is None


CALM = {"loss/discriminator": 1.0, "loss/generator": 1.0}
SMALL = Magnitude(0.05, 20.0)


@pytest.mark.parametrize(
    ("means", "magnitudes", "message"),
    [
        (CALM, {}, "None"),
        (CALM, {"generator": SMALL, "discriminator": SMALL}, "None"),
        ({**CALM, "loss/discriminator": 46_156_864.0}, {}, "the discriminator's loss is 4.62e+07, beyond"),
        ({**CALM, "loss/generator": -1e6}, {}, "the generator's loss is 1e+06"),
        (CALM, {"generator": Magnitude(2000, 20)}, "mean square of the generator's weights is 2e+03, beyond 10"),
        (CALM, {"generator": SMALL, "discriminator": Magnitude(1, 1e8)}, "norm of the discriminator's gradients is"),
        (CALM, {"discriminator": Magnitude(math.nan, 1)}, "the discriminator's weights is nan"),
        (CALM, {"discriminator": Magnitude(1, math.inf)}, "the discriminator's gradients is inf"),
    ],
)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_weights_and_gradients_far_beyond_healthy_ones_are_an_explosion(
    name: str, means: dict[str, float], magnitudes: dict[str, Magnitude], message: str
) -> None:
    assert message in str(describe_explosion(means, magnitudes, LOSSES[name].formulas.bounds(0.0)))


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "relativistic" else SLOW) for name in LOSSES])
def test_ordinary_short_trainings_do_not_explode_and_those_at_absurd_rates_do(tmp_path: Path, name: str) -> None:
    norm: DiscriminatorNorm = "none" if LOSSES[name].penalty else "batch"
    settings = dataclasses.replace(
        SETTINGS, loss=LossSettings(name), discriminator=DiscriminatorSettings(channels=2, norm=norm)
    )
    trainer = new_trainer(settings)
    healthy = run(tmp_path / "healthy", settings, Measure(HEALTHY), trainer)
    assert not [flag for flag in healthy.flags if flag.kind == "exploded"], "each row is one step of eight images"
    new_trainer(settings).restore(
        {**trainer.state(), "rate_factor": np.array(1e6, np.float32)}
    )  # G's rate becomes 1000
    absurd = run(tmp_path / "absurd", settings, Measure(HEALTHY), trainer)
    assert absurd.flags
    assert absurd.flags[0].kind in ("exploded", "non_finite")
    assert absurd.flags[0].images <= 160


@pytest.mark.parametrize(
    ("guard", "images", "flags", "ends"), [("continue", 480, 1, False), ("stop", 8, 1, True), ("rollback", 32, 4, True)]
)
def test_the_guard_acts_on_an_explosion_even_before_the_first_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, images: int, flags: int, ends: bool
) -> None:
    settings = dataclasses.replace(SETTINGS, guard=guard)  # type: ignore[arg-type]
    trainer = new_trainer(settings)
    original = trainer.run

    def exploding(batches: Iterator, first: int, count: int) -> dict[str, float]:
        return {**original(batches, first, count), "loss/discriminator": 46_156_864.0}

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "run", exploding)
        journal = run(tmp_path, settings, Measure(HEALTHY), trainer)
    assert [flag.kind for flag in journal.flags] == ["exploded"] * flags
    assert (journal.rows[-1].images, bool(journal.stopped), journal.last_good) == (images, ends, 0)
    assert journal.best.average
    summary = json.loads((tmp_path / "log/metrics.json").read_text())
    assert summary["flags"]["exploded"] == flags


def test_a_checkpoint_interval_that_is_not_a_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN_CHECKPOINT_SECONDS", "soon")
    with pytest.raises(StageError, match="TRAIN_CHECKPOINT_SECONDS: expected a number of seconds, got 'soon'"):
        run(tmp_path, SETTINGS, Measure(HEALTHY))
