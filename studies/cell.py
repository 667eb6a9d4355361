"""One cell of a study: train and evaluate with one set of changes and one seed.

    python -m studies.cell STUDY VARIANT SEED [--grid]

Reads the variant's changes in studies/<STUDY>.yaml, the params file that they change (`base`; params.yaml if the
variant names none), and the outputs of `dvc repro features`. A variant's `train_on` changes `prepare` for the training
alone: the metrics are those against the project's data. Runs the project's own stages. Their outputs go to
.state/studies, so an interrupted cell resumes: training from its last checkpoint, or the evaluation if the cell was
trained with the same params, data and code.
Writes studies/results/<STUDY>/<VARIANT>-<SEED>.json: the metrics and the results of the training. With --grid it also
writes the grid of the stage sample, next to it as <VARIANT>-<SEED>.png.
"""

import argparse
import copy
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from stages import artifacts, params, resume, shell
from stages.errors import StageError
from stages.metrics import files
from stages.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("studies/results")
_SCORES = "reports/train/plots/metrics/score.tsv"


def with_changes(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of the params with these keys replaced, in the sections and in their groups."""
    values = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = with_changes(values[key], value) if both else value
    return values


def variant_params(changes: dict[str, Any]) -> dict[str, Any]:
    """The params of a variant: those of its `base` (a params file; params.yaml if it names none), with its changes."""
    sections = {section: values for section, values in changes.items() if section not in ("base", "train_on")}
    return with_changes(params.read_file(Path(changes.get("base", "params.yaml"))), sections)


def key_of(*values: object, data: Path = Path()) -> str:
    """A key for these values, the data, the versions of TensorFlow, Keras and NumPy, and the stages' code.

    `data` is the folder that has the data's files at the project's paths.

    Unlike resume.key_of it covers all of the code, not only the loaded modules: the stages are other processes.
    """
    inputs = (
        *("data/prepared/manifest.json", "data/reference.npz"),
        *("models/features/features.json", "models/inception/inception.json"),
    )
    hashes = [artifacts.sha256(Workspace(data).input(name)) for name in inputs]
    code = [artifacts.sha256(path) for path in sorted((ROOT / "stages").rglob("*.py"))]
    versions = [importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")]
    return hashlib.sha256(repr((values, hashes, versions, code)).encode()).hexdigest()[:16]


def _training_key(train: dict[str, Any], work: Path, data: Path) -> str:
    """A key for the training with these settings, and for those of its outputs in `work` that are read later."""
    outputs = [work / name for name in ("models/generator.keras", "models/model.json", _SCORES)]
    return key_of(train, [artifacts.sha256(path) for path in outputs if path.is_file()], data=data)


def _run_stage(name: str, work: Path, base: Path = Path()) -> None:
    """Run a stage on the params in `work`, with inputs from there and from `base`. Raises StageError if it fails."""
    folders = ["--params", str(work / "params.yaml"), "--base", str(base), "--out", str(work)]
    command = [sys.executable, "-m", f"stages.{name}", *folders]
    if subprocess.run(command, check=False).returncode:
        raise StageError(f"{work}: the stage {name} failed; run the same command again to resume")


def other_data(base: dict[str, Any], folder: Path) -> Path:
    """The folder of a variant's data and judge: that of the project, or one in `folder` if `prepare` differs.

    Runs the stages prepare and features there, unless they have finished there before with the same params.
    """
    if base["prepare"] == params.read_file(Path("params.yaml"))["prepare"]:
        return Path()
    sections = {name: base[name] for name in ("prepare", "features")}
    raw = artifacts.sha256(Workspace().input("data/raw/source.json"))
    code = [artifacts.sha256(path) for path in sorted((ROOT / "stages").rglob("*.py"))]
    work = folder / f"data-{hashlib.sha256(repr((sections, raw, code)).encode()).hexdigest()[:16]}"
    work.mkdir(parents=True, exist_ok=True)
    (work / "params.yaml").write_text(yaml.safe_dump(base, sort_keys=False), encoding="utf-8")
    finished = work / "finished"
    if not finished.is_file():
        for stage in ("prepare", "features"):
            _run_stage(stage, work)
        finished.touch()
    return work


def run(base: dict[str, Any], seed: int, work: Path, data: Path = Path(), measured_by: Path = Path()) -> dict[str, Any]:
    """Train and evaluate the params `base` with a seed, in the folder `work`. Raises StageError if a stage fails.

    `data` and `measured_by` are folders of `other_data`: the data to train on, and that of the metrics. Skips the
    training if it has finished here before without an evaluation, with the same params, data and code.
    """
    values = with_changes(base, {"train": {"seed": seed}})
    work.mkdir(parents=True, exist_ok=True)
    file = work / "params.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    params.check(file)
    trained = work / "trained"
    if not trained.is_file() or trained.read_text(encoding="utf-8") != _training_key(values["train"], work, data):
        _run_stage("train", work, data)
        trained.write_text(_training_key(values["train"], work, data), encoding="utf-8")
    _run_stage("evaluate", work, measured_by)
    trained.unlink()
    model = artifacts.read_json(work / "models/model.json", "flags", "best_images_seen")
    scores = (work / _SCORES).read_text(encoding="utf-8").splitlines()[1:]
    return {
        "scores": [{"images": int(images), "score": float(score)} for images, score in map(str.split, scores)],
        "metrics": files.joined(*(artifacts.read_json(work / name) for name in files.FILES)),
        "images_seen": model["images_seen"],
        "best_images_seen": model["best_images_seen"],
        "stopped": model["stopped"],
        "flags": model["flags"],
        "parameters": {name: model[name]["parameters"] for name in ("generator", "discriminator")},
        "params": values["train"],
        "environment": model["environment"],
    }


def main() -> None:
    """Run the cell named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind in (("study", str), ("variant", str), ("seed", int)):
        parser.add_argument(name, type=kind)
    parser.add_argument("--grid", action="store_true", help="also write the grid of samples")
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
    base = variant_params(changes)
    data = other_data(with_changes(base, {"prepare": changes.get("train_on", {})}), work.parent)
    result = run(base, arguments.seed, work, data, other_data(base, work.parent))
    results = RESULTS / arguments.study
    if arguments.grid:
        _run_stage("sample", work, data)
        results.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(work / "reports/samples/grid.png", results / f"{name}.png")
    artifacts.write_json(results / f"{name}.json", result)


if __name__ == "__main__":
    shell.run_command(main)
