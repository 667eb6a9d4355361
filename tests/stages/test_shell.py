"""How a command ends: a user's mistake is one line and an exit code, a bug keeps its traceback."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from stages import shell
from stages.errors import ParamsError, StageError
from tests.conftest import ROOT


def fail_with(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[str, object]:
    """Run a command that raises this error. Returns its stderr and its exit code."""

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        shell.run_command(main)
    return capsys.readouterr().err, caught.value.code


@pytest.mark.parametrize(("error", "code"), [(StageError("x: missing"), 1), (ParamsError("x: missing"), 2)])
def test_a_mistake_of_the_user_prints_one_line_and_sets_the_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(error, capsys) == ("error: x: missing\n", code)


def test_a_file_that_cannot_be_opened_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "a.txt")
    assert fail_with(error, capsys) == ("error: a.txt: Permission denied\n", 1)


@pytest.mark.parametrize(("filename", "place"), [("data/a", "data/a"), (None, "the disk of {folder}")])
def test_a_full_disk_is_named_with_a_remedy(
    filename: str | None,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    error = OSError(errno.ENOSPC, "No space left on device", filename)
    message = "No space left on device; free some space, then run the same command to continue"
    assert fail_with(error, capsys) == (f"error: {place.format(folder=Path.cwd())}: {message}\n", 1)


def test_a_bug_is_not_caught() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shell.run_command(main)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("caf\u00e9 犬 \N{MAN}\u200d\N{ROCKET}.png", "caf\u00e9 犬 \N{MAN}\u200d\N{ROCKET}.png"),
        ("\x1b]0;title\x07.png", r"\x1b]0;title\x07.png"),
        ("a\r\n\tb\x7f\x9b31m", r"a\r\n\tb\x7f\x9b31m"),
        ("\u202egnp.exe \u2066x\u2069 \u2028", r"\u202egnp.exe \u2066x\u2069 \u2028"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_name_is_shown_without_control_characters(name: str, shown: str) -> None:
    assert shell.printable(name) == shown


def test_a_message_has_no_escape_sequence_but_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shell.say("one \x1b[31mred\ntwo")
    assert capsys.readouterr().err == "one \\x1b[31mred\ntwo\n"


@pytest.mark.parametrize(
    ("terminal", "term", "shown"),
    [
        (False, "xterm", "file://{folder}/a%20b.png"),
        (True, "dumb", "file://{folder}/a%20b.png"),
        (True, "xterm", "\x1b]8;;file://{folder}/a%20b.png\x1b\\{folder}/a b.png\x1b]8;;\x1b\\"),
    ],
)
def test_a_file_is_a_link_on_a_terminal_and_an_address_elsewhere(
    terminal: bool,
    term: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    shell.say("grid: ", tmp_path / "a b.png")
    assert capsys.readouterr().err == f"grid: {shown.format(folder=tmp_path)}\n"


HANG_UP = """
import os, signal, sys
from stages import shell

def work():
    if sys.argv[1] == "SIG_DFL":
        os.close(2)  # with the terminal; nohup's output is a file
    signal.raise_signal(signal.SIGHUP)

signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1]))
shell.run_interruptible("stage", work, tensorflow=False, clear=lambda: print("cleared", flush=True))
"""


@pytest.mark.parametrize(("handler", "code", "output"), [("SIG_DFL", 130, "cleared\n"), ("SIG_IGN", 0, "")])
def test_the_end_of_the_terminal_interrupts_a_command_unless_nohup_started_it(
    handler: str, code: int, output: str
) -> None:
    command = [sys.executable, "-c", HANG_UP, handler]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stdout) == (code, output)
