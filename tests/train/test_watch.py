"""The page of a running training: when a picture is due, and what the page shows."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.train import watch
from stages.train.watch import Watch

GRID = np.full((34, 66, 3), 200, np.uint8)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """The seconds since the start of the machine."""
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch.time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def begun(tmp_path: Path, clock: Clock) -> Watch:
    page = Watch(tmp_path / "reports/train/live", 60_000)
    page.begin()
    return page


def text(page: Watch) -> str:
    return page.page.read_text(encoding="utf-8")


def seconds_of_pictures(page: Watch, clock: Clock, until: int) -> list[int]:
    """The seconds after the start at which a picture is drawn by a loop that looks once a second."""
    start, drawn = clock.seconds, []
    for second in range(until):
        clock.seconds = start + second
        if page.is_due():
            page.add(GRID, 32, second)
            drawn.append(second)
    return drawn


def test_the_first_picture_is_due_after_ten_seconds_and_the_next_ones_ever_later(begun: Watch, clock: Clock) -> None:
    assert seconds_of_pictures(begun, clock, 60) == [10, 15, 23, 35, 53]


def test_three_hours_have_fewer_than_twenty_pictures(begun: Watch, clock: Clock) -> None:
    assert len(seconds_of_pictures(begun, clock, 3 * 3600)) < 20


def test_a_score_before_the_first_picture_does_not_delay_it(begun: Watch, clock: Clock) -> None:
    begun.add(GRID, 32, 100, score=3.0)
    assert seconds_of_pictures(begun, clock, 12) == [10]


def test_the_page_shows_the_newest_picture_first_with_its_score(begun: Watch) -> None:
    begun.add(GRID, 32, 1_200)
    begun.add(GRID, 32, 30_000, score=12.5)
    shown = re.findall(r'img src="(.*?)"', text(begun))
    assert shown == ["0000030000.png", "0000001200.png"]
    assert "after 30,000 images, score 12.50" in text(begun)
    assert all((begun.page.parent / name).is_file() for name in shown)


@pytest.mark.parametrize(("side", "scale"), [(32, 4), (64, 2), (256, 1)])
def test_small_samples_are_enlarged(begun: Watch, side: int, scale: int) -> None:
    with Image.open(begun.add(GRID, side, 1)) as picture:
        assert picture.size == (66 * scale, 34 * scale)


@pytest.mark.parametrize(
    ("end", "reloads", "says"),
    [
        (lambda page: None, True, "The first picture follows"),
        (lambda page: page.end("finished"), False, 'href="../../report.html"'),
        (lambda page: page.end("interrupted"), False, "Repeat the same command"),
    ],
    ids=["running", "finished", "interrupted"],
)
def test_only_the_page_of_a_running_training_loads_again(
    begun: Watch, end: Callable[[Watch], None], reloads: bool, says: str
) -> None:
    end(begun)
    assert ('http-equiv="refresh"' in text(begun)) == reloads
    assert says in text(begun)


def test_the_page_shows_the_progress_every_two_seconds(begun: Watch, clock: Clock) -> None:
    clock.seconds += 1
    begun.advance(600, "loss D 1.00 G 2.00")
    assert "0 of 60,000 images" in text(begun)
    clock.seconds += 2
    begun.advance(1_200, "loss D 1.00 G 2.00")
    assert "1,200 of 60,000 images seen, loss D 1.00 G 2.00, about 3 min left." in text(begun)


def test_the_time_left_follows_the_speed_of_this_run_alone(begun: Watch, clock: Clock) -> None:
    assert begun.minutes_left is None
    begun.advance(20_000, "")  # seen before the interrupt
    assert begun.minutes_left is None
    clock.seconds += 300
    begun.advance(30_000, "")
    assert begun.minutes_left == 15
    begun.advance(60_000, "")
    assert begun.minutes_left is None


def test_a_new_training_removes_the_pictures_of_the_one_before(begun: Watch) -> None:
    begun.add(GRID, 32, 1_200)
    Watch(begun.page.parent, 60_000).begin()
    assert [path.name for path in begun.page.parent.iterdir()] == ["index.html"]


def test_the_curves_of_a_figure_share_one_scale(begun: Watch, tmp_path: Path) -> None:
    points = {"loss/discriminator": [(0, 1.0), (30_000, 3.0)], "loss/generator": [(0, 2.0), (60_000, 5.0)]}
    (drawn,) = watch.figures(points, 60_000)
    assert (drawn.low, drawn.high) == (1.0, 5.0)
    assert [curve.points for curve in drawn.curves] == ["0.0,120.0 200.0,60.0", "0.0,90.0 400.0,0.0"]
    begun.show_log(tmp_path / "nothing", points)
    begun.end("interrupted")
    assert text(begun).count("<polyline") == 2


def test_a_constant_curve_is_a_line_in_the_middle() -> None:
    (drawn,) = watch.figures({"score": [(10, 4.0), (20, 4.0)]}, 20)
    assert drawn.curves[0].points == "200.0,60.0 400.0,60.0"
