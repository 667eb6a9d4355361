"""Mend what a killed DVC has left damaged, check params.yaml, then run `dvc repro`: the work of `make repro`.

One process, because each of the three would spend most of its time on importing the same modules. Its name contains
`dvc`, by which `mend` recognises the holder of a lock.
"""

import sys
from pathlib import Path

from dvc.cli import main as dvc

from stages import params
from stages.shell import run_command
from tools import mend


def main() -> None:
    """Run the pipeline of the current folder. Exits with the code of DVC."""
    mend.main()  # first, because it names the files of an unfinished merge, and params.yaml can be one
    params.check(Path("params.yaml"))
    sys.exit(dvc(["repro"]))


if __name__ == "__main__":
    run_command(main)
