"""A trial of a search as a DVC experiment: run it in a folder of its own, and read its score."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from stages.errors import StageError
from stages.locks import hold_signals
from stages.metrics import files
from stages.train.settings import Settings
from tools import commits
from tools.git import git
from tools.sweep.local import reason

PROJECT = Path()
_SCORES = ("fid", "swd")  # the first that the results have: without a judge there is no Fréchet distance
_STAGE_FAILED = re.compile(r"^ERROR: failed to (?:reproduce|run)", re.MULTILINE)


class TrialError(StageError):
    """A trial that failed; the search goes on."""


def score_of(name: str, params: Mapping[str, Any], log: Path) -> float:
    """The score of the experiment `name` with these params by name, such as train.loss.r1. Runs it if it has not run.

    The output goes to the file `log`. Raises TrialError if a stage fails, StageError if DVC cannot run the experiment.
    """
    settings = TypeAdapter(Settings).validate_python(with_params(PROJECT / "params.yaml", params)["train"])
    if (score := _score(name, settings)) is not None:
        return score
    # `++` also adds a key that params.yaml omits.
    changes = [part for key, value in params.items() for part in ("-S", f"++{key}={json.dumps(value)}")]
    log.parent.mkdir(parents=True, exist_ok=True)
    code = run_to_its_end(
        [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name, *changes, "evaluate"], log
    )
    if (score := _score(name, settings)) is not None:
        return score
    output = log.read_text(encoding="utf-8", errors="replace")
    why = reason(output)
    if code and _STAGE_FAILED.search(output):
        raise TrialError(why)
    raise StageError(f"the experiment {name} did not run: {why} ({log}); run the same command again to continue")


def with_params(file: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a params file with other values for these params by name."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    set_params(content, params)
    return content


def set_params(content: dict[str, Any], params: Mapping[str, Any]) -> None:
    """Set these params by name in the nested content of a params file."""
    for name, value in params.items():
        *groups, key = name.split(".")
        group = content
        for one in groups:
            group = group.setdefault(one, {})
        group[key] = value


def run_to_its_end(command: list[str], log: Path | None = None) -> int:
    """Run a command, its output in a file if one is named. After an interrupt, waits for its end, then raises.

    The command has a session of its own, so that DVC gets every interrupt once, from a terminal or from `kill`.
    """
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("w", encoding="utf-8")) if log else None
        process = stack.enter_context(subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True))
        try:
            return process.wait()
        except KeyboardInterrupt:
            with hold_signals():
                os.killpg(process.pid, signal.SIGINT)
                process.wait()
            raise


def _score(name: str, settings: Settings) -> float | None:
    """The score of the experiment `name` of HEAD; None if there is none.

    Raises StageError if an experiment of this name has other settings.
    """
    head = git(PROJECT, "rev-parse", "HEAD").strip()
    read = partial(commits.text_at, PROJECT, f"refs/exps/{head[:2]}/{head[2:]}/{name}")
    text = read("params.yaml")
    if text is None:
        return None
    try:
        same = TypeAdapter(Settings).validate_python(yaml.safe_load(text)["train"]) == settings
    except (yaml.YAMLError, ValidationError, KeyError, TypeError):
        same = False
    if not same:
        raise StageError(
            f"an experiment {name} with other params exists: `dvc exp remove {name}`, or choose another NAME"
        )
    metrics = files.read(read) or {}
    for metric in _SCORES:
        if metric in metrics:
            return float(metrics[metric])
    raise TrialError(f"{files.HEADLINES} has none of {', '.join(_SCORES)}")
