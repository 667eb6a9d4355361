"""File locks, and signals that wait for the end of a short block."""

import errno
import signal
import threading
from pathlib import Path

import pytest

from stages import locks
from stages.errors import StageError


def test_a_lock_has_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert not locks.is_locked(path)
    lock_file = locks.lock(path)
    assert lock_file is not None
    with lock_file:
        assert locks.is_locked(path)
        assert locks.lock(path) is None
    assert not locks.is_locked(path)


def test_a_file_system_without_locks_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.raises(StageError, match=r"/a\.lock: cannot be locked \(No locks available\); put the project"):
        locks.lock_in_folder(tmp_path / "staging/a.lock")


@pytest.mark.parametrize("number", locks.INTERRUPTS)
def test_a_held_signal_arrives_at_the_end_of_the_block(number: signal.Signals) -> None:
    events: list[str] = []
    before = signal.signal(number, lambda number, frame: events.append("signal"))
    try:
        with locks.hold_signals():
            signal.raise_signal(number)
            events.append("end of the block")
    finally:
        signal.signal(number, before)
    assert events == ["end of the block", "signal"]


def test_hold_signals_changes_no_handler_in_another_thread() -> None:
    handlers = []

    def hold() -> None:
        with locks.hold_signals():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
