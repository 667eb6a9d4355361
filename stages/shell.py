"""How every command runs: options, messages, errors as one line, exit codes, Ctrl-C, timing.

`run_stage` runs a stage. `run_interruptible` runs any other command that takes long or loads TensorFlow. `run_command`
runs the rest.
"""

import argparse
import contextlib
import errno
import os
import signal
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from stages import params
from stages.errors import StageError
from stages.locks import INTERRUPTS
from stages.workspace import Workspace

S = TypeVar("S")

# Unicode's categories of controls, format characters, lone surrogates and separators of lines and paragraphs.
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"  # format characters that Persian and emoji need

# 128 + the signal's number, as shells do. It must not be 0: DVC would take the outputs as the stage's result.
_EXIT_INTERRUPTED = 128 + signal.SIGINT


def _escaped(character: str) -> str:
    """A character, or its escape if a terminal or a reader would not see it as it is."""
    if unicodedata.category(character) not in _INVISIBLE or character in _JOINERS:
        return character
    if "\udc80" <= character <= "\udcff":  # a byte of a name that is not UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def printable(name: str) -> str:
    r"""The name with control and direction characters, and bytes that are not UTF-8, written as \x1b and the like."""
    return name if name.isprintable() else "".join(map(_escaped, name))


def link(path: Path) -> str:
    """The address of a file, for a line on stderr: a link on a terminal (OSC 8, shown as the path), else file:///…"""
    path = path.resolve()
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return path.as_uri()
    return f"\x1b]8;;{path.as_uri()}\x1b\\{printable(str(path))}\x1b]8;;\x1b\\"


def say(text: str, file: Path | None = None) -> None:
    """Print lines for the user to stderr, the last one with a link to `file`. Stdout is for data."""
    lines = "\n".join(map(printable, text.split("\n")))
    print(lines + (link(file) if file else ""), file=sys.stderr, flush=True)


def load_tensorflow(name: str) -> None:
    """Import TensorFlow. Hides the messages that it logs before its log level applies, unless the import fails."""
    say(f"{name}: loading TensorFlow ...")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow switches oneDNN's convolutions off on processors with AVX2 only, where they make a training step 1.8
    # times as fast. Set on every processor, because it changes the rounding of results.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        failed = True
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()  # the search for accelerators logs messages too
            failed = False
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            if failed:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace"))


def _ignore_signals() -> None:
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


class _Interrupts:
    """Turns Ctrl-C, SIGTERM and SIGHUP into KeyboardInterrupt. SIGHUP stays ignored under `nohup`.

    `received` stays set, because a library may replace the exception with its own.
    """

    def __init__(self) -> None:
        self.received = False
        for number in INTERRUPTS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def _one_temporary_folder() -> Iterator[None]:
    """Put all temporary files of this process into one folder, and remove it at the end.

    TensorFlow expects Python's own exit to remove some of its files, but a stage does not wait for that (see `_end`).
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="dcgan-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def _end(code: int) -> NoReturn:
    """Exit at once. Python's own exit waits for TensorFlow's threads: a second if they are idle, else longer."""
    with contextlib.suppress(OSError):  # the terminal is closed
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _fail(error: Exception) -> NoReturn:
    """Print the error as one line and exit with its code."""
    message = str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = error.filename or f"the disk of {Path.cwd()}"  # such an error rarely names a file
        message = f"{place}: {error.strerror}; free some space, then run the same command to continue"
    elif isinstance(error, OSError) and error.filename and not error.filename2:
        message = f"{error.filename}: {error.strerror}"
    say(f"error: {message}")
    sys.exit(error.code if isinstance(error, StageError) else StageError.code)


def run_interruptible(
    name: str, work: Callable[[], None], *, tensorflow: bool, clear: Callable[[], None] = lambda: None
) -> None:
    """Run `work` as a whole command that INTERRUPTS may end. `tensorflow`: whether `work` may load it.

    Exits with 2 for a mistake in the params, 1 for any other mistake of the user, and 130 when interrupted, after
    `clear` has removed half-written files.
    """
    started = time.monotonic()
    interrupts = _Interrupts()
    try:
        with _one_temporary_folder() if tensorflow else contextlib.nullcontext():
            try:
                work()
            finally:
                _ignore_signals()  # the work is done, or an interrupt is already being handled
    except BaseException as error:
        _ignore_signals()
        if interrupts.received or isinstance(error, KeyboardInterrupt):
            clear()
            with contextlib.suppress(OSError):  # the terminal is closed
                say(f"{name}: interrupted; no half-written file is left. Run the same command to continue.")
            _end(_EXIT_INTERRUPTED)
        if isinstance(error, (StageError, OSError)):
            _fail(error)
        raise
    say(f"{name}: done in {time.monotonic() - started:.1f} s")
    if not _is_one_of_several_workers():
        _end(0)  # during Python's own exit, Ctrl-C would not reach DVC, which waits for this process


def slurm_tasks() -> int:
    """How many tasks of this command Slurm (srun) has started; 1 outside Slurm."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def _is_one_of_several_workers() -> bool:
    """Whether this process is one of several workers (stages/train/devices.py), which must end by Python's own exit."""
    return bool(os.environ.get("TF_CONFIG")) or slurm_tasks() > 1


def run_stage(
    name: str,
    section: str,
    settings: type[S],
    work: Callable[[S, Workspace], Mapping[str, float] | None],
    doc: str | None,
    *,
    tensorflow: bool = False,
) -> None:
    """Run a stage as a command: `python -m stages.<name> [--params FILE] [--out DIR] [--base DIR]`.

    `work` gets the settings of `section` and the workspace, and writes the stage's outputs. It returns figures for the
    timings file (rates, in units per second), or None if another process writes them. With `tensorflow` that library is
    loaded first. Exits as `run_interruptible` does.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="the params file (default: params.yaml)"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="the folder for outputs (default: the current folder)")
    parser.add_argument(
        "--base",
        type=Path,
        default=Path(),
        help="the folder for inputs that --out lacks (default: the current folder)",
    )
    arguments = parser.parse_args()
    workspace = Workspace(arguments.out, arguments.base)
    started = time.monotonic()

    def stage() -> None:
        values = params.load(arguments.params, section, settings)
        if tensorflow:
            load_tensorflow(name)
        figures = work(values, workspace)
        if figures is not None:
            workspace.record_timing(name, {"seconds": time.monotonic() - started, **figures})

    run_interruptible(name, stage, tensorflow=tensorflow, clear=workspace.clear)


def run_command(main: Callable[[], None]) -> None:
    """Run `main` as a whole command that is not a stage. A user's mistake becomes one line and exit code 1 (params: 2).

    Characters that the terminal's encoding lacks are printed as question marks. If the reader of the output closes it
    (`| head`), the command ends silently, like one that SIGPIPE ended.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # DVC wraps stdout and passes this on
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes stdout once more when it exits
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        if not isinstance(error, (StageError, OSError)) and not _is_dvc_error(error):
            raise
        _fail(error)


def _is_dvc_error(error: Exception) -> bool:
    """Whether DVC raised the exception. Imports nothing: most commands do not use DVC."""
    dvc = sys.modules.get("dvc.exceptions")
    return dvc is not None and isinstance(error, dvc.DvcException)
