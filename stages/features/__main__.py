"""Train the judge on the labels, and note what real data looks like to it; and to Inception where that is asked for.

    python -m stages.features

Reads data/prepared (once it is validated: reports/validation.json) and the `features` section. Writes models/features/
(judge.keras: images => logits and 64 features; features.json: how the judge came about), data/reference.npz (mean and
covariance of the training images' features, the test images' features) and reports/features.json (the judge's
accuracy). Data with fewer than two classes has no judge: then the files say so, and models/features/ has no
judge.keras. Fashion-MNIST: about a minute on two cores, 91 % or more on the test split.

models/inception/inception.json says whether `features.network` asks for the graph of 2015 that published Fréchet
distances are measured in; if so, inception.pb beside it is that graph as published, and reference.npz what real data
looks like to it. The judge and its reference are the same bytes either way.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stages import artifacts, shell
from stages.artifacts import Workspace
from stages.errors import StageError
from stages.features.settings import Settings

if TYPE_CHECKING:  # they import TensorFlow, and --help need not wait for it
    import numpy as np

    from stages.manifest import Manifest
    from stages.networks.inception import Inception

# Test images whose features are kept: as many as any metric compares, in 13 MB of the judge's and 82 MB of Inception's.
_HELD_OUT_JUDGE = 50_000
_HELD_OUT_INCEPTION = 10_000


def _counts(data: "Manifest") -> dict[str, int]:
    return {f"{split}_images": data.splits[split].records for split in ("train", "test")}


def _write_judge(settings: Settings, folder: Path, data: "Manifest", new: Callable[[str], Path]) -> dict[str, float]:
    """Write the judge, its reference and its accuracy, or that there is none; the stage's figures."""
    import numpy as np

    from stages import reference
    from stages.features import measuring, training
    from stages.networks import saving
    from stages.networks.judge import FEATURES, FILE, Judge

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

    def look(images: "np.ndarray") -> "np.ndarray":
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


def _write_inception(network: "Inception", url: str, folder: Path, data: "Manifest", made: Path) -> None:
    """Write what real data looks like to Inception, and what that is."""
    from stages import reference
    from stages.features import measuring
    from stages.networks.inception import FACTS, FEATURES, FILE, REFERENCE

    reference.save(made / REFERENCE, measuring.reference(folder, data, network, FEATURES, _HELD_OUT_INCEPTION))
    facts = {"network": "inception", "sha256": artifacts.sha256(made / FILE), "url": url, "features": FEATURES}
    artifacts.write_json(made / FACTS, {**facts, **_counts(data)})


def features(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn data/prepared into the judge and the reference, and into those of Inception where it is asked for."""
    from stages import manifest
    from stages.features import fetching
    from stages.fetch import shown
    from stages.networks.inception import FACTS, FILE

    workspace.input("reports/validation.json")  # there only where the data is what its schema says
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    outputs = ("data/reference.npz", "models/features", "models/inception", "reports/features.json")
    with workspace.outputs(*outputs) as new:
        made = new("models/inception")
        made.mkdir()
        if settings.network == "judge":
            artifacts.write_json(made / FACTS, {"network": "none"})
            return _write_judge(settings, folder, data, new)
        if data.splits["train"].records < 2:
            raise StageError(f"{folder}: one training image has no covariance in Inception's features")
        network = fetching.fetch(settings, made / FILE)  # first: where it cannot be had, no judge is trained in vain
        figures = _write_judge(settings, folder, data, new)
        _write_inception(network, shown(settings.inception_url), folder, data, made)
        return figures


if __name__ == "__main__":
    shell.run_stage("features", "features", Settings, features, __doc__, tensorflow=True)
