"""One cell of a study: train and evaluate with one set of changes and one seed.

    python -m studies.cell STUDY VARIANT SEED

Reads params.yaml, the changes that studies/<STUDY>.yaml names for the variant, and what `dvc repro features` has left;
the stages are those of the project, and their outputs go to .state/studies, from where an interrupted cell goes on.
Writes studies/results/<STUDY>/<VARIANT>-<SEED>.json: the metrics, and what the training came to.
"""

import argparse
import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from stages import artifacts, params, shell
from stages.errors import StageError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("studies/results")


def changed(base: dict[str, Any], changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The params with these sections' keys replaced. `base` stays as it is."""
    whole = copy.deepcopy(base)
    for section, values in changes.items():
        whole[section] = {**whole[section], **values}
    return whole


def run(base: dict[str, Any], changes: dict[str, dict[str, Any]], seed: int, work: Path) -> dict[str, Any]:
    """Train and evaluate in the folder `work`; the result of the cell. Raises StageError where a stage fails."""
    values = changed(base, {**changes, "train": {**changes.get("train", {}), "seed": seed}})
    work.mkdir(parents=True, exist_ok=True)
    file = work / "params.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    params.check(file)
    for stage in ("train", "evaluate"):
        command = [sys.executable, "-m", f"stages.{stage}", "--params", str(file), "--out", str(work)]
        if subprocess.run(command, check=False).returncode:
            raise StageError(f"{work}: the stage {stage} failed; run the same command again to go on")
    model = artifacts.read_json(work / "models/model.json", "flags", "best_images_seen")
    scores = (work / "reports/train/plots/metrics/score.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {
        "scores": [{"images": int(images), "score": float(score)} for images, score in map(str.split, scores)],
        "metrics": artifacts.read_json(work / "reports/metrics.json"),
        "images_seen": model["images_seen"],
        "best_images_seen": model["best_images_seen"],
        "stopped": model["stopped"],
        "flags": model["flags"],
        "parameters": {name: model[name]["parameters"] for name in ("generator", "discriminator")},
        "params": values["train"],
        "environment": model["environment"],
    }


def main() -> None:
    """Run the cell that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, of in (("study", str), ("variant", str), ("seed", int)):
        parser.add_argument(name, type=of)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    variants = yaml.safe_load(Path(f"studies/{arguments.study}.yaml").read_text(encoding="utf-8"))
    if arguments.variant not in variants:
        raise StageError(
            f"studies/{arguments.study}.yaml: no variant {arguments.variant}; it has {', '.join(variants)}"
        )
    name = f"{arguments.variant}-{arguments.seed}"
    work = artifacts.state_folder() / "studies" / arguments.study / name
    changes = variants[arguments.variant] or {}
    result = run(params.read_file(Path("params.yaml")), changes, arguments.seed, work)
    artifacts.write_json(RESULTS / arguments.study / f"{name}.json", result)


if __name__ == "__main__":
    try:
        main()
    except (StageError, OSError) as error:
        shell.say(f"error: {error}")
        sys.exit(1)
