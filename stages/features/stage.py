"""The features stage: train the judge, and measure the real data in its features and in Inception's."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages import artifacts, manifest, records, reference, shell
from stages.errors import StageError
from stages.features import inception_graph, instrument, measuring, training, unlabelled
from stages.features.settings import Settings
from stages.manifest import Manifest
from stages.networks import inception, saving
from stages.networks import judge as judges
from stages.networks.inception import Inception
from stages.networks.judge import FEATURES, Judge
from stages.reference import Reference
from stages.transfer import without_credentials
from stages.workspace import Workspace

# Test images whose features are stored: as many as any metric compares, in 13 MB for the judge and 82 MB for Inception.
_MAX_HELD_OUT_JUDGE = 50_000
_MAX_HELD_OUT_INCEPTION = 10_000

New = Callable[[str], Path]
"""The path at which to write an output (Workspace.outputs)."""


def features(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Train the judge and measure the data in its features; if the params choose Inception, in Inception's too."""
    workspace.input("reports/validation.json")  # exists only if the data is valid
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    held_out = data.splits["test"].records
    if held_out < 2:
        raise StageError(f"{folder}: test images: {held_out}; checking a judge needs at least 2")
    outputs = ("data/reference.npz", "models/features", "models/inception", "reports/features.json")
    with workspace.outputs(*outputs) as new:
        # Inception first: if the download fails, no time is lost on the judge.
        network = _fetch_inception(settings, folder, data, new)
        new("models/features").mkdir()
        speed = _write_judge(settings, folder, data, new)
        if network is not None:
            _write_inception_reference(settings, network, folder, data, new("models/inception"))
        return speed


@dataclass(frozen=True)
class _Candidate:
    """A trained judge and what its checks found.

    `network` is its kind (networks/judge.py). `clusters` are the shares of its clusters, empty for a judge of labels.
    `real` is the data in its features. `figures` go to reports/features.json. `problem` says why nothing may use it;
    empty if it passed. `seconds` is the time of the training.
    """

    network: str
    model: keras.Model
    clusters: tuple[float, ...]
    real: Reference
    instrument: instrument.Check
    figures: dict[str, float]
    problem: str
    seconds: float


def _write_judge(settings: Settings, folder: Path, data: Manifest, new: New) -> dict[str, float]:
    """Write the first judge that passes its checks, and the data in its features. Return its speed in training.

    The judge of the labels comes first, if there are classes, then the judge without labels. If neither passes, the
    files say so. Pictures without labels that are fewer than a batch get no judge.
    """
    if len(data.classes) < 2 and (count := data.splits["train"].records) < settings.batch_size:
        problem = f"{count:,} training images are fewer than a batch of {settings.batch_size} (features.batch_size)"
        shell.say(f"{judges.NAMES[judges.UNLABELLED]} is not used: {problem}")
        artifacts.write_json(new("reports/features.json"), {"judge": judges.NONE})
        _write_none(new, data, settings, {judges.UNLABELLED: problem})
        return {}
    if len(data.classes) < 2:
        shell.say("fewer than two classes: the judge learns from the pictures alone, and clusters replace classes")
    kinds = (_labelled_judge, _unlabelled_judge) if len(data.classes) > 1 else (_unlabelled_judge,)
    rejected: dict[str, str] = {}
    figures: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    for train in kinds:
        candidate = train(settings, folder, data)
        figures |= candidate.figures
        checks[candidate.network] = candidate.instrument.figures
        if not candidate.problem:
            break
        rejected[candidate.network] = candidate.problem
        shell.say(f"{judges.NAMES[candidate.network]} is not used: {candidate.problem}")
    network = judges.NONE if candidate.problem else candidate.network
    artifacts.write_json(new("reports/features.json"), {"judge": network, **figures, "instrument": checks})
    if candidate.problem:
        _write_none(new, data, settings, rejected)
    else:
        reference.save(new("data/reference.npz"), candidate.real)
        reasons = {judges.REJECTED: rejected} if rejected else {}
        facts: dict[str, Any] = {
            "network": network,
            **reasons,
            **_save(candidate, new("models/features") / judges.FILE),
        }
        if flattered := candidate.instrument.flattered:
            facts[judges.FLATTERED] = flattered
            names = " and ".join(flattered)
            shell.say(f"precision and density will not be measured: they do not fall with {names}")
        _write_facts(new, data, settings, facts)
    return {"images_per_second": settings.images / candidate.seconds}


def _write_none(new: New, data: Manifest, settings: Settings, rejected: dict[str, str]) -> None:
    """Write that there is no judge, and why."""
    shell.say("no judge: training will be scored by sliced Wasserstein distance")
    reference.save(new("data/reference.npz"), None)
    _write_facts(new, data, settings, {"network": judges.NONE, judges.REJECTED: rejected})


def _write_facts(new: New, data: Manifest, settings: Settings, facts: dict[str, Any]) -> None:
    """Write models/features/features.json: what is known of the judge, of its data, and its params."""
    counts = {f"{split}_images": data.splits[split].records for split in ("train", "test")}
    artifacts.write_json(new("models/features") / judges.FACTS, facts | counts | {"params": settings.judge_params})


def _save(candidate: _Candidate, path: Path) -> dict[str, Any]:
    """Write a judge's network. Return the facts about it."""
    saving.save(candidate.model, path)
    facts = {
        "sha256": artifacts.sha256(path),
        "parameters": candidate.model.count_params(),
        "features": FEATURES,
    }
    return {**facts, judges.CLUSTERS: candidate.clusters} if candidate.clusters else facts


def _labelled_judge(settings: Settings, folder: Path, data: Manifest) -> _Candidate:
    """Train a classifier on the labels, and check its accuracy and its eye for quality."""
    started = time.monotonic()
    model = training.train_judge(folder, data, settings)
    seconds = time.monotonic() - started
    judge = Judge(model)
    real = measure_data(folder, data, judge)
    accuracy = training.check(folder, data, judge)
    shell.say(f"judge accuracy {accuracy}")
    seen = _check_instrument(folder, data, judge, real)
    problem = seen.problem
    if not accuracy.passed:
        problem = f"it is no better than always naming the largest class: its accuracy is {accuracy}"
    return _Candidate(judges.LABELLED, model, (), real, seen, _figures(accuracy), problem, seconds)


def _unlabelled_judge(settings: Settings, folder: Path, data: Manifest) -> _Candidate:
    """Train a judge on the pictures alone, and check its eye for quality."""
    started = time.monotonic()
    model, shares = unlabelled.train_judge(folder, data, settings)
    seconds = time.monotonic() - started
    judge = Judge(model)
    real = measure_data(folder, data, judge)
    seen = _check_instrument(folder, data, judge, real)
    clusters = tuple(artifacts.rounded(share) for share in shares)
    return _Candidate(judges.UNLABELLED, model, clusters, real, seen, {}, seen.problem, seconds)


def _check_instrument(folder: Path, data: Manifest, judge: Judge, real: Reference) -> instrument.Check:
    """Check whether the judge sees the first held-out images get worse, and training images if there are few."""
    count = instrument.image_count(data.shape)
    wanted = {"test": count, "train": min(count, instrument.FEWEST) - data.splits["test"].records}
    images = [
        next(iter(records.batches(folder, data, split, number)))[0].numpy()
        for split, number in wanted.items()
        if number > 0
    ]
    return instrument.check(np.concatenate(images), lambda pictures: judge(pictures).features, real.train)


def _figures(check: training.Check) -> dict[str, float]:
    """The accuracy for reports/features.json."""
    low, high = check.interval
    figures = {
        "judge_accuracy": check.accuracy,
        "judge_accuracy_low": low,
        "judge_accuracy_high": high,
        "largest_class": check.largest_class,
    }
    return {name: artifacts.rounded(value) for name, value in figures.items()}


def measure_data(folder: Path, data: Manifest, judge: Judge) -> Reference:
    """Measure the data in the judge's features. Raises StageError if they are not finite."""

    def finite_features(images: np.ndarray) -> np.ndarray:
        return training.finite(judge(images).features)

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
        **{f"{split}_images": data.splits[split].records for split in ("train", "test")},
    }
    artifacts.write_json(target / inception.FACTS, facts)
