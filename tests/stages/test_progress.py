"""Progress: plain lines without a terminal, a bar on one."""

import io

import pytest

from stages import progress
from stages.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the tests set."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_it_prints_a_line_every_ten_seconds_and_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("train", 2000, "images") as bar:
        for second in range(1, 21):
            clock[0] = float(second)
            bar.advance(100, "loss 0.5" if second > 10 else "")
    assert capsys.readouterr().err.splitlines() == [
        "train: 55%, 1,100 of 2,000 images, 100/s, 11 s, 9 s left  loss 0.5",
        "train: 100%, 2,000 of 2,000 images, 100/s, 20 s  loss 0.5",
    ]


@pytest.mark.parametrize(
    ("total", "expected"),
    [(3_000, "20 s, 20 s left"), (60_000, "20 s, 19 min left"), (3_000_000, "20 s, 16.7 h left"), (500, "20 s")],
)
def test_the_remaining_time_uses_the_rate_of_this_run_alone(
    clock: list[float], capsys: pytest.CaptureFixture[str], total: int, expected: str
) -> None:
    with pytest.raises(KeyboardInterrupt), Progress("train", total, "images", done=1000 if total > 1000 else 0) as bar:
        clock[0] = 20.0
        bar.advance(1000)
        raise KeyboardInterrupt
    assert f" images, 50/s, {expected}\n" in capsys.readouterr().err


def test_work_that_ends_within_two_seconds_prints_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("prepare", 10, "images") as bar:
        clock[0] = 1.9
        bar.advance(10)
    assert capsys.readouterr().err == ""


def test_an_unknown_total_shows_no_percentage(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("download", 0, "bytes") as bar:
        clock[0] = 4.0
        bar.advance(1000)
    assert capsys.readouterr().err == "download: 1,000 bytes, 250/s, 4 s\n"


def test_an_error_prevents_the_last_line(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), Progress("train", 10, "images"):
        clock[0] = 5.0
        raise RuntimeError
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    monkeypatch.setattr(progress, "_SECONDS_BEFORE_SHOWING", 0)
    with Progress("train", 10, "images") as bar:
        bar.advance(5, "loss 0.5")
        bar.say("epoch 1")
        bar.advance(5)
    assert "train: 100%" in terminal.getvalue()
    assert "epoch 1\n" in terminal.getvalue()
    assert "\r" in terminal.getvalue()
