"""What every stage's __main__ does around its work: the flags, the errors, Ctrl-C, the time it took."""

import argparse
import contextlib
import errno
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from stages import params
from stages.errors import StageError
from stages.workspace import Workspace

S = TypeVar("S")

# 128 + the signal's number, as shells have it; never 0, or DVC would record what there is as the stage's result.
_EXIT_INTERRUPTED = 128 + signal.SIGINT


def say(text: str) -> None:
    """One line to the person who watches; stdout stays free for data."""
    print(text, file=sys.stderr, flush=True)


def load_tensorflow(name: str) -> None:
    """Import TensorFlow without the pages it logs before its own log level applies; where it fails, they are shown."""
    say(f"{name}: loading TensorFlow ...")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow leaves oneDNN's convolutions off on processors with AVX2 only; there they make a training step 1.8
    # times as fast. Said outright on all of them, since results differ in their rounding.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        failed = True
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()  # looking for accelerators is as talkative
            failed = False
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            if failed:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace"))


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class _Interrupts:
    """Ctrl-C and SIGTERM as KeyboardInterrupt, noted besides: a library may turn the exception into one of its own."""

    def __init__(self) -> None:
        self.came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def _one_temporary_folder() -> Iterator[None]:
    """Let all temporary files of this process lie in one folder, and go with it.

    TensorFlow leaves some for Python's own end to remove, which a stage does not wait for.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="dcgan-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def _end(code: int) -> NoReturn:
    """End at once: Python's own end waits for TensorFlow's threads, a second where they rest and more where not."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _full_disk(error: BaseException) -> str:
    """What to say where an error comes of a full disk, whose own words name no file as a rule; else ""."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    place = error.filename or f"the disk of {Path.cwd()}"
    return f"{place}: {error.strerror}; nothing half-written is left. Make room, and run the same command to go on"


def run(name: str, work: Callable[[], None], clear: Callable[[], None], *, tensorflow: bool) -> None:
    """Do `work` as the whole of a command; `tensorflow` says that it may use that library.

    Exits with 2 for a mistake in the params, 1 for any other mistake of the user's, and 130 when interrupted, after
    `clear` has removed what is half-written.
    """
    started = time.monotonic()
    interrupts = _Interrupts()
    try:
        with _one_temporary_folder() if tensorflow else contextlib.nullcontext():
            try:
                work()
            finally:
                _ignore_signals()  # nothing is left to interrupt, or an interrupt is being answered
    except BaseException as error:
        _ignore_signals()
        if interrupts.came or isinstance(error, KeyboardInterrupt):
            clear()
            say(f"{name}: interrupted; nothing half-written is left. Run the same command to go on.")
            _end(_EXIT_INTERRUPTED)
        if isinstance(error, (StageError, OSError)):
            say(f"error: {_full_disk(error) or error}")
            sys.exit(error.code if isinstance(error, StageError) else StageError.code)
        raise
    say(f"{name}: done in {time.monotonic() - started:.1f} s")
    if not _among_workers():
        _end(0)  # in the second of Python's own end, Ctrl-C would not reach DVC, which waits for this one


def slurm_tasks() -> int:
    """How many tasks Slurm has started of this command (srun); 1 outside Slurm."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def _among_workers() -> bool:
    """Whether this is one of several workers (stages/train/devices.py), which take leave of each other."""
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

    `work` gets the settings of `section` and the workspace, writes the stage's outputs, and returns figures for the
    timings file (rates, in units per second), or None where another process writes them; `tensorflow` says that it will
    need that library. Exits as `run` does.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the params file (params.yaml)")
    parser.add_argument("--out", type=Path, default=Path(), help="the folder that outputs go below (the current one)")
    parser.add_argument(
        "--base",
        type=Path,
        default=Path(),
        help="where inputs are that are not below --out (the current folder)",
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

    run(name, stage, workspace.clear, tensorflow=tensorflow)


def run_command(main: Callable[[], None]) -> None:
    """Run `main` as a whole command that is not a stage. A user's mistake becomes one line and exit code 1 (params: 2).

    Characters that the terminal's encoding lacks are printed as question marks. Where the reader of the output goes
    away (`| head`), the command ends silently, like one that SIGPIPE has ended.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # DVC wraps stdout, and passes this on
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes stdout once more when it ends
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        if not isinstance(error, (StageError, OSError)) and not _is_of_dvc(error):
            raise
        say(f"error: {error}")
        sys.exit(error.code if isinstance(error, StageError) else StageError.code)


def _is_of_dvc(error: Exception) -> bool:
    """Whether an exception is one of DVC's own. Imports nothing: most commands do without DVC."""
    dvc = sys.modules.get("dvc.exceptions")
    return dvc is not None and isinstance(error, dvc.DvcException)
