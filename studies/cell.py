"""One cell of a study: train and evaluate with one set of changes and one seed.

    python -m studies.cell STUDY VARIANT SEED

Reads params.yaml, the changes that studies/<STUDY>.yaml names for the variant, and what `dvc repro features` has left;
the stages are those of the project, and their outputs go to .state/studies, from where an interrupted cell goes on: a
training from its last checkpoint, and one that was trained with the same params, data and code with its evaluation.
Writes studies/results/<STUDY>/<VARIANT>-<SEED>.json: the metrics, and what the training came to.
"""

import argparse
import copy
import hashlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from stages import artifacts, params, resume, shell
from stages.errors import StageError
from stages.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("studies/results")
_SCORES = "reports/train/plots/metrics/score.tsv"


def changed(base: dict[str, Any], changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The params with these sections' keys replaced. `base` stays as it is."""
    whole = copy.deepcopy(base)
    for section, values in changes.items():
        whole[section] = {**whole[section], **values}
    return whole


def key_of(*what: object) -> str:
    """A key for these values, the data, TensorFlow, Keras, NumPy and the stages' code.

    All of the code and not, as resume.key_of has it, what is loaded here: the stages are other processes.
    """
    inputs = (
        *("data/prepared/manifest.json", "data/reference.npz"),
        *("models/features/features.json", "models/inception/inception.json"),
    )
    data = [artifacts.sha256(Workspace().input(name)) for name in inputs]
    code = [artifacts.sha256(path) for path in sorted((ROOT / "stages").rglob("*.py"))]
    versions = [importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")]
    decides = repr((what, data, versions, code))
    return hashlib.sha256(decides.encode()).hexdigest()[:16]


def _training(train: dict[str, Any], work: Path) -> str:
    """A key for the training with these settings, and for what is read of it in `work` as far as it is there."""
    left = [work / name for name in ("models/generator.keras", "models/model.json", _SCORES)]
    return key_of(train, [artifacts.sha256(path) for path in left if path.is_file()])


def _stage(name: str, work: Path) -> None:
    """Run a stage on the cell's params. Raises StageError where it fails."""
    command = [sys.executable, "-m", f"stages.{name}", "--params", str(work / "params.yaml"), "--out", str(work)]
    if subprocess.run(command, check=False).returncode:
        raise StageError(f"{work}: the stage {name} failed; run the same command again to go on")


def run(base: dict[str, Any], changes: dict[str, dict[str, Any]], seed: int, work: Path) -> dict[str, Any]:
    """Train and evaluate in the folder `work`; the result of the cell. Raises StageError where a stage fails.

    A cell that was trained here and not evaluated is not trained again, if params, data and code are the same.
    """
    values = changed(base, {**changes, "train": {**changes.get("train", {}), "seed": seed}})
    work.mkdir(parents=True, exist_ok=True)
    file = work / "params.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    params.check(file)
    trained = work / "trained"
    if not trained.is_file() or trained.read_text(encoding="utf-8") != _training(values["train"], work):
        _stage("train", work)
        trained.write_text(_training(values["train"], work), encoding="utf-8")
    _stage("evaluate", work)
    trained.unlink()
    model = artifacts.read_json(work / "models/model.json", "flags", "best_images_seen")
    scores = (work / _SCORES).read_text(encoding="utf-8").splitlines()[1:]
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
    work = resume.state_folder() / "studies" / arguments.study / name
    changes = variants[arguments.variant] or {}
    result = run(params.read_file(Path("params.yaml")), changes, arguments.seed, work)
    artifacts.write_json(RESULTS / arguments.study / f"{name}.json", result)


if __name__ == "__main__":
    shell.run_command(main)
