"""The verdict on copies, from scores. The search behind the scores is tested in tests/stages/test_copies.py.

The figures of the search's power in docs/metrics.md come from benchmarks/results/copies.json. After
`python -m benchmarks.copies`, this command writes them into the page:

    UPDATE_DOCS=1 pytest tests/metrics/test_memorization.py
"""

import json
import os
import re

import numpy as np
import pytest

from benchmarks.copies import CHANGES
from stages.metrics.memorization import FEWEST, copied, memorization, nearest_distance, threshold
from tests.conftest import ROOT

PAGE = ROOT / "docs/metrics.md"
RESULTS = ROOT / "benchmarks/results/copies.json"


def new(seed: int, count: int) -> np.ndarray:
    """Scores of new images: three in four are above 0.6."""
    return np.random.default_rng(seed).beta(8, 3, count)


def verdict(samples: np.ndarray, real: np.ndarray) -> bool | None:
    metrics = memorization(samples, real)
    return copied(metrics["memorization"], len(samples), metrics["memorization_real"], len(real))


def test_new_pictures_are_not_copies() -> None:
    metrics = memorization(new(0, 1000), new(1, 1000))
    assert metrics["memorization"] == pytest.approx(0.01, abs=0.01)
    assert metrics["memorization_real"] == 0.01
    assert verdict(new(0, 1000), new(1, 1000)) is False


def test_the_share_lies_in_its_interval() -> None:
    metrics = memorization(np.repeat([0.0, 1.0], [100, 900]), new(1, 1000))
    assert metrics["memorization"] == 0.1
    assert (metrics["memorization_low"], metrics["memorization_high"]) == pytest.approx((0.083, 0.120), abs=0.001)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_copies_are_reported_whether_a_few_samples_or_all(share: float) -> None:
    samples = new(0, 1000)
    samples[: int(1000 * share)] = 0.01
    assert memorization(samples, new(1, 1000))["memorization"] == pytest.approx(share, abs=0.03)
    assert verdict(samples, new(1, 1000)) is True


def test_duplicates_across_the_splits_do_not_hide_copies() -> None:
    real = new(1, 1000)
    real[:30] = 0
    assert memorization(np.full(500, 0.05), real)["memorization"] == 1
    assert memorization(new(0, 1000), real)["memorization"] < 0.01


def test_data_that_repeats_itself_does_not_make_an_honest_generator_a_copier() -> None:
    samples, real = new(0, 1000), new(1, 1000)
    samples[:100] = real[:100] = 0.02
    assert memorization(samples, real)["memorization_real"] == pytest.approx(0.1, abs=0.01)
    assert verdict(samples, real) is False
    assert verdict(np.full(1000, 0.02), real) is True


@pytest.mark.parametrize(
    ("share", "real", "expected"),
    [(0.05, 0.01, False), (0.06, 0.01, True), (0.06, 0.03, False), (0.07, 0.03, True), (0.51, 0.25, True)],
)
def test_the_threshold_is_five_percent_or_twice_the_share_of_real_images(
    share: float, real: float, expected: bool
) -> None:
    assert copied(share, 1000, real, 1000) is expected
    assert (share > threshold(real)) is expected


def test_data_with_mostly_duplicates_gives_no_verdict() -> None:
    assert copied(1.0, 1000, 0.6, 1000) is None


def test_two_of_twenty_samples_can_be_chance() -> None:
    assert copied(0.1, 20, 0.01, 1000) is None
    assert copied(0.3, 20, 0.01, 1000) is True


@pytest.mark.parametrize(("samples", "real"), [(20, 1000), (100, 1000), (100, 100), (200, 200), (1000, 200), (20, 50)])
def test_an_honest_generator_is_accused_in_at_most_one_percent_of_cases(samples: int, real: int) -> None:
    accused = [bool(verdict(new(seed, samples), new(10_000 + seed, real))) for seed in range(1000)]
    assert np.mean(accused) <= 0.015, "with 1 %, at most 15 of 1,000 trials in 95 % of cases"


def test_the_distance_is_relative_to_that_of_real_images() -> None:
    assert nearest_distance(np.array([1.0, 2.0, 9.0]), np.array([4.0, 4.0])) == 0.5
    assert nearest_distance(np.zeros(3), np.zeros(2)) == 1


def tables() -> dict[str, str]:
    """The committed power and false alarms, in Markdown, by the first line of each table."""
    results = json.loads(RESULTS.read_text())
    power = [
        f"| {name} | {100 * share:.0f} % | {100 * results['found_by_judge'][name]:.0f} % |"
        for name, share in results["found"].items()
    ]
    alarms = [
        f"| {int(images):,} | {f'{int(images):,} held-out' if int(images) >= FEWEST else '1,000 training'} images "
        f"| {100 * share:.1f} % |"
        for images, share in results["false_alarms"].items()
    ]
    return {
        "| copies | found | in the judge's features alone |": "\n".join(["|---|---|---|", *power]),
        "| held-out images | compared with | an honest generator is accused |": "\n".join(["|---|---|---|", *alarms]),
    }


@pytest.mark.parametrize("number", [0, 1])
def test_the_figures_in_the_docs_are_the_committed_ones(number: int) -> None:
    page = PAGE.read_text()
    head, rows = list(tables().items())[number]
    (written,) = re.findall(re.escape(head) + r"\n((?:\|.*\n)+)", page)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page.replace(f"{head}\n{written}", f"{head}\n{rows}\n"))
    else:
        assert written == rows + "\n"


def test_the_committed_power_is_that_which_is_promised() -> None:
    results = json.loads(RESULTS.read_text())
    assert list(results["found"]) == list(CHANGES)
    lowest = {"exact": 1, "mirrored": 0.99, "zoomed by 1.1": 0.95, "shifted by 1 pixel": 0.9}
    lowest |= {"noise with a standard deviation of 0.1": 0.95, "blend of two, equal parts": 0.9}
    assert all(results["found"][name] >= share for name, share in lowest.items())
    assert max(results["false_alarms"].values()) <= 0.01
