"""Run the queued experiments side by side: make sweep [JOBS=2] [RAY_ADDRESS=head:6379]

    dvc exp run --queue -S 'train.seed=range(0,3)'     # queue them first
    python -m tools.sweep --jobs 2

Runs them on this machine, or with RAY_ADDRESS on the nodes of a Ray cluster. Each experiment has its own share of a
machine's cores, so that they do not slow each other down: with two jobs on four cores, each trains with two threads.
Prints a line for each experiment as it ends; one that failed is named with its reason, and the others go on. Exits with
1 if any has failed.

After Ctrl-C, the experiments on this machine go on, and the same command then follows them again. Those on a cluster
end, and stay in the queue.
"""

import argparse
import os

from dvc.repo import Repo

from stages.errors import StageError
from stages.shell import run_command
from tools.sweep import local, on_ray


def main() -> None:
    """Run what is queued in the project of the current folder."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2, help="experiments side by side on each machine (2)")
    jobs = parser.parse_args().jobs
    if jobs < 1:
        raise StageError(f"JOBS: expected a number of experiments of at least 1, got {jobs}")
    with Repo() as repo:
        (on_ray if os.environ.get("RAY_ADDRESS") else local).sweep(repo, jobs)


if __name__ == "__main__":
    run_command(main)
