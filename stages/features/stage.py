"""The features stage: train the judge, and measure the real data in its features and in Inception's."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from stages import artifacts, manifest, reference, shell
from stages.errors import StageError
from stages.features import inception_graph, measuring, training
from stages.features.settings import Settings
from stages.manifest import Manifest
from stages.networks import inception, saving
from stages.networks.inception import Inception
from stages.networks.judge import FEATURES, FILE, Judge
from stages.transfer import without_credentials
from stages.workspace import Workspace

# Test images whose features are kept: as many as any metric compares, in 13 MB of the judge's and 82 MB of Inception's.
_HELD_OUT_JUDGE = 50_000
_HELD_OUT_INCEPTION = 10_000


def _counts(data: Manifest) -> dict[str, int]:
    return {f"{split}_images": data.splits[split].records for split in ("train", "test")}


def _write_judge(settings: Settings, folder: Path, data: Manifest, new: Callable[[str], Path]) -> dict[str, float]:
    """Write the judge, its reference and its accuracy, or that there is none; the stage's figures."""

    made = new("models/features")
    facts = {**_counts(data), "params": settings.of_judge}
    if len(data.classes) < 2:
        shell.say(
            "fewer than two classes, so no judge: training will be scored by sliced Wasserstein distance "
            "(for a judge, sort the pictures into a folder for each class, or name attributes as prepare.labels)"
        )
        artifacts.write_json(made / "features.json", {"network": "none", **facts})
        reference.save(new("data/reference.npz"), None)
        artifacts.write_json(new("reports/features.json"), {"judge": False})
        return {}
    started = time.monotonic()
    model = training.train_judge(folder, data, settings)
    seconds = time.monotonic() - started
    made.mkdir()
    saving.save(model, made / FILE)
    judge = Judge(model)

    def look(images: np.ndarray) -> np.ndarray:
        features = judge(images).features
        if not np.isfinite(features).all():
            raise StageError("features: the judge's training diverged; lower features.learning_rate")
        return features

    seen = measuring.reference(folder, data, look, FEATURES, _HELD_OUT_JUDGE)
    reference.save(new("data/reference.npz"), seen)
    accuracy = training.accuracy(folder, data, judge)
    artifacts.write_json(new("reports/features.json"), {"judge_accuracy": artifacts.rounded(accuracy)})
    artifacts.write_json(
        made / "features.json",
        {
            "network": "judge",
            "sha256": artifacts.sha256(made / FILE),
            "parameters": model.count_params(),
            "features": FEATURES,
            **facts,
        },
    )
    shell.say(f"the judge is right on {accuracy:.2%} of {data.splits['test'].records:,} test images")
    return {"images_per_second": settings.images / seconds}


def _write_inception(network: Inception, url: str, folder: Path, data: Manifest, made: Path) -> None:
    """Write what real data looks like to Inception, and what that is."""

    reference.save(
        made / inception.REFERENCE, measuring.reference(folder, data, network, inception.FEATURES, _HELD_OUT_INCEPTION)
    )
    facts = {
        "network": "inception",
        "sha256": artifacts.sha256(made / inception.FILE),
        "url": url,
        "features": inception.FEATURES,
    }
    artifacts.write_json(made / inception.FACTS, {**facts, **_counts(data)})


def features(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn data/prepared into the judge and the reference, and into those of Inception where it is asked for."""

    workspace.input("reports/validation.json")  # there only where the data is what its schema says
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    outputs = ("data/reference.npz", "models/features", "models/inception", "reports/features.json")
    with workspace.outputs(*outputs) as new:
        made = new("models/inception")
        made.mkdir()
        if settings.network == "judge":
            artifacts.write_json(made / inception.FACTS, {"network": "none"})
            return _write_judge(settings, folder, data, new)
        if data.splits["train"].records < 2:
            raise StageError(f"{folder}: one training image has no covariance in Inception's features")
        network = inception_graph.fetch(
            settings, made / inception.FILE
        )  # first: where it cannot be had, no judge is trained in vain
        figures = _write_judge(settings, folder, data, new)
        _write_inception(network, without_credentials(settings.inception_url), folder, data, made)
        return figures
