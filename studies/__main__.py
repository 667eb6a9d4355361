"""Run DVC with the pipelines of the studies, which .dvcignore hides from every other DVC command.

python -m studies repro studies/dvc.yaml
python -m studies status studies/dvc.yaml studies/emoji/dvc.yaml
"""

import sys

from dvc.cli import main
from dvc.ignore import DvcIgnore


def run(arguments: list[str]) -> int:
    """Run a DVC command in this process. Returns its exit code."""
    DvcIgnore.DVCIGNORE_FILE = ".dvcignore-studies"  # .dvcignore without the entries of the studies
    return int(main(arguments))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
