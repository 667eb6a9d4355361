"""Metrics over several training seeds: mean and standard deviation.

    python -m studies.seeds 3                  # train and evaluate params.yaml with the seeds 0 to 2 (make seeds N=3)
    python -m studies.seeds --study recipe     # print the table of a study from its existing cells

Finished seeds are skipped as long as params, data and code are the same. Only the training's seed differs between the
runs; the judge is the same.
"""

import argparse
import dataclasses
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages import artifacts, params, resume, shell
from stages.errors import StageError
from stages.shell import run_command
from stages.train.settings import Settings
from stages.workspace import Workspace
from studies import cell


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation (of the sample; 0 for one) of every metric that all results have.

    Raises StageError if the results come from different protocols, because their numbers cannot be compared.
    """
    protocols = {json.dumps(result["metrics"]["protocol"], sort_keys=True) for result in results}
    if len(protocols) > 1:
        raise StageError("the results were measured under different protocols; run the study again")
    names = [name for name in results[0]["metrics"] if all(name in result["metrics"] for result in results)]
    table = {}
    for name in names:
        values = [result["metrics"][name] for result in results]
        if name != "protocol":
            table[name] = (statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
    return table


def as_text(table: Mapping[str, tuple[float, float]], results: Sequence[Mapping[str, Any]]) -> str:
    """The summary as lines of text."""
    width = max(map(len, table))
    lines = [f"{name:{width}}  {mean:.5g} ± {deviation:.2g}" for name, (mean, deviation) in table.items()]
    flagged = sum(bool(result["flags"]) for result in results)
    return "\n".join([*lines, f"{'flagged':{width}}  {flagged} of {len(results)} trainings"])


def study_results(study: str) -> dict[str, list[dict[str, Any]]]:
    """The results of a study's cells, by variant. Raises StageError if there are no cells."""
    variants: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((cell.RESULTS / study).glob("*.json")):
        variants.setdefault(path.stem.rpartition("-")[0], []).append(artifacts.read_json(path, "metrics", "flags"))
    if not variants:
        raise StageError(f"{cell.RESULTS / study}: no results; run `python -m studies repro studies/dvc.yaml`")
    return variants


def run_seeds(count: int) -> list[dict[str, Any]]:
    """Train and evaluate params.yaml with the seeds from 0 on. Reads the results of finished seeds."""
    base = params.read_file(Path("params.yaml"))
    settings = dataclasses.asdict(params.load(Path("params.yaml"), "train", Settings))
    key = cell.key_of({**settings, "seed": None}, base["evaluate"])
    results = []
    for seed in range(count):
        work = resume.state_folder() / "seeds" / key / str(seed)
        try:
            result = artifacts.read_json(work / "result.json", "metrics", "flags")
        except StageError:  # missing or damaged; no other copy exists
            shell.say(f"seed {seed} ({seed + 1} of {count}):")
            result = cell.run(base, seed, work)
            with Workspace(work).outputs("result.json") as new:
                artifacts.write_json(new("result.json"), result)
        results.append(result)
    return results


def main() -> None:
    """Run the seeds, or print a study's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=3, help="the number of seeds (3)")
    parser.add_argument("--study", help="print a study's table instead")
    arguments = parser.parse_args()
    os.chdir(cell.ROOT)
    if arguments.study:
        for variant, results in study_results(arguments.study).items():
            print(f"{variant}, {len(results)} seeds\n{as_text(summary(results), results)}\n")
        return
    if arguments.count < 1:
        raise StageError(f"expected at least one seed, got {arguments.count}")
    results = run_seeds(arguments.count)
    print(as_text(summary(results), results))


if __name__ == "__main__":
    run_command(main)
