"""Time and memory of the evaluate stage on the pipeline's outputs.

    make repro && make bench

The goal is one minute for the default run on two cores. Writes benchmarks/results/evaluation.json.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.data import RESULTS
from stages import artifacts
from stages.machine import processor
from stages.metrics import files

ROUNDS = 3


def seconds_of(stage: str, out: Path) -> float:
    """The seconds that a stage takes as a command, with this project's inputs and with outputs below `out`."""
    started = time.perf_counter()
    command = [sys.executable, "-m", f"stages.{stage}", "--out", str(out), "--base", "."]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main(report: Callable[[str], None] = print) -> None:
    """Measure, print and write the results."""
    if not Path("models/generator.keras").is_file():
        sys.exit("error: models/generator.keras: missing; `make repro` makes it, `dvc pull` fetches it")
    with tempfile.TemporaryDirectory() as scratch:
        seconds = [seconds_of("evaluate", Path(scratch)) for _ in range(ROUNDS)]
        protocol = artifacts.read_json(Path(scratch) / files.PROTOCOL)
    result = {
        "machine": {"processor": processor(), "cores": len(os.sched_getaffinity(0))},
        "rounds": ROUNDS,
        "samples": protocol["samples"],
        "feature_network": protocol["feature_network"],
        "evaluate_seconds": round(statistics.median(seconds), 1),
        "evaluate_peak_megabytes": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3),
    }
    artifacts.write_json(RESULTS / "evaluation.json", result)
    for name, value in result.items():
        report(f"{name}: {value}")


if __name__ == "__main__":
    main()
