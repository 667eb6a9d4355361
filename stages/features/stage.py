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
from stages.networks import judge as judges
from stages.networks.inception import Inception
from stages.networks.judge import FEATURES, Judge
from stages.transfer import without_credentials
from stages.workspace import Workspace

# Test images whose features are stored: as many as any metric compares, in 13 MB for the judge and 82 MB for Inception.
_MAX_HELD_OUT_JUDGE = 50_000
_MAX_HELD_OUT_INCEPTION = 10_000
_NO_JUDGE = "training will be scored by sliced Wasserstein distance"

New = Callable[[str], Path]
"""The path at which to write an output (Workspace.outputs)."""


def features(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Train the judge and measure the data in its features; if the params choose Inception, in Inception's too."""
    workspace.input("reports/validation.json")  # exists only if the data is valid
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    outputs = ("data/reference.npz", "models/features", "models/inception", "reports/features.json")
    with workspace.outputs(*outputs) as new:
        # Inception first: if the download fails, no time is lost on the judge.
        network = _fetch_inception(settings, folder, data, new)
        new("models/features").mkdir()
        if len(data.classes) < 2:
            shell.say(
                f"fewer than two classes, so no judge: {_NO_JUDGE} "
                "(for a judge, sort the pictures into one folder per class, or name a column in prepare.labels)"
            )
            _write_without_judge(settings, data, new)
            figures = {}
        else:
            figures = _write_judge(settings, folder, data, new)
        if network is not None:
            _write_inception_reference(settings, network, folder, data, new("models/inception"))
        return figures


def _image_counts(data: Manifest) -> dict[str, int]:
    return {f"{split}_images": data.splits[split].records for split in ("train", "test")}


def _write_without_judge(settings: Settings, data: Manifest, new: New, rejected: training.Check | None = None) -> None:
    """Write the outputs of data that has no judge. They are the same if its judge is rejected, with the reason."""
    reason = {judges.REJECTED: f"its accuracy is {rejected}"} if rejected else {}
    facts = {"network": "none", **reason, **_image_counts(data), "params": settings.judge_params}
    artifacts.write_json(new("models/features") / judges.FACTS, facts)
    reference.save(new("data/reference.npz"), None)
    artifacts.write_json(new("reports/features.json"), {"judge": False, **(_figures(rejected) if rejected else {})})


def _figures(check: training.Check) -> dict[str, float]:
    """The figures of reports/features.json."""
    low, high = check.interval
    figures = {
        "judge_accuracy": check.accuracy,
        "judge_accuracy_low": low,
        "judge_accuracy_high": high,
        "largest_class": check.largest_class,
    }
    return {name: artifacts.rounded(value) for name, value in figures.items()}


def _write_judge(settings: Settings, folder: Path, data: Manifest, new: New) -> dict[str, float]:
    """Train the judge; write it, its accuracy and the data in its features. Return its speed.

    A judge that is no better than always naming the largest class is rejected: the data counts as unlabelled.
    """
    started = time.monotonic()
    model = training.train_judge(folder, data, settings)
    seconds = time.monotonic() - started
    speed = {"images_per_second": settings.images / seconds}
    judge = Judge(model)
    real = _measure_data(folder, data, judge)
    check = training.check(folder, data, judge)
    shell.say(f"judge accuracy {check}")
    if not check.passed:
        shell.say(
            f"the judge is no better than always naming the largest class, so it is not used: {_NO_JUDGE} "
            "(a judge needs several images of each class; if there are enough, raise features.images)"
        )
        _write_without_judge(settings, data, new, check)
        return speed
    path = new("models/features") / judges.FILE
    saving.save(model, path)
    reference.save(new("data/reference.npz"), real)
    artifacts.write_json(new("reports/features.json"), _figures(check))
    facts = {
        "network": "judge",
        "sha256": artifacts.sha256(path),
        "parameters": model.count_params(),
        "features": FEATURES,
        **_image_counts(data),
        "params": settings.judge_params,
    }
    artifacts.write_json(path.with_name(judges.FACTS), facts)
    return speed


def _measure_data(folder: Path, data: Manifest, judge: Judge) -> reference.Reference:
    """Measure the data in the judge's features. Raises StageError if they are not finite."""

    def finite_features(images: np.ndarray) -> np.ndarray:
        values = judge(images).features
        if not np.isfinite(values).all():
            raise StageError("features: the judge's training diverged; lower features.learning_rate")
        return values

    return measuring.measure_data(folder, data, finite_features, FEATURES, _MAX_HELD_OUT_JUDGE)


def _fetch_inception(settings: Settings, folder: Path, data: Manifest, new: New) -> Inception | None:
    """Get Inception's graph if the params choose it. Otherwise write a file that says so, and return None."""
    target = new("models/inception")
    target.mkdir()
    if settings.network == "judge":
        artifacts.write_json(target / inception.FACTS, {"network": "none"})
        return None
    if data.splits["train"].records < 2:
        raise StageError(f"{folder}: features.network: inception needs at least 2 training images")
    return inception_graph.fetch(settings, target / inception.FILE)


def _write_inception_reference(
    settings: Settings, network: Inception, folder: Path, data: Manifest, target: Path
) -> None:
    """Write the data in Inception's features, and facts about the graph."""
    real = measuring.measure_data(folder, data, network, inception.FEATURES, _MAX_HELD_OUT_INCEPTION)
    reference.save(target / inception.REFERENCE, real)
    facts = {
        "network": "inception",
        "sha256": artifacts.sha256(target / inception.FILE),
        "url": without_credentials(settings.inception_url),
        "features": inception.FEATURES,
        **_image_counts(data),
    }
    artifacts.write_json(target / inception.FACTS, facts)
