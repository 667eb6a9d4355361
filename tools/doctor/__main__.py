"""Check this machine and this project's files: `make doctor`

Checks Python and the packages, the disk space that params.yaml needs, how DVC links files, every object in DVC's cache,
dvc.lock and the results that it lists, locks and unfinished runs, the remotes, and the hardware that TensorFlow can
use. Changes nothing. Each finding says what to do. The exit status is 1 if anything is wrong, 0 if there are only
notes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from stages.shell import run_command
from tools.doctor import machine, project, remotes, space
from tools.doctor.finding import Check, Finding, Project, reason

CHECKS: tuple[Check, ...] = (
    machine.python,
    machine.packages,
    space.space,
    project.cache,
    project.pipeline,
    project.locks,
    project.unfinished,
    remotes.remotes,
    machine.accelerator,
)


def examine(folder: Path) -> Iterator[Finding]:
    """All findings of the project in a folder. A check that fails becomes a finding."""
    examined, reasons = Project(folder), set()
    for check in CHECKS:
        try:
            yield from check(examined)
        except Exception as error:  # DVC, Git and the packages' metadata raise errors of their own
            if (why := reason(error)) not in reasons:  # several checks need DVC's view of the project
                yield Finding("wrong", f"{check.__name__}: {why}")
            reasons.add(why)


def main() -> None:
    """Print each finding as soon as it is known."""
    wrong = False
    for finding in examine(Path()):
        wrong |= finding.state == "wrong"
        print(f"{finding.state:5}  {finding.text}", flush=True)
        if finding.remedy:
            print(f"       → {finding.remedy}", flush=True)
    sys.exit(wrong)


if __name__ == "__main__":
    run_command(main)
