"""Train the judge on the labels, and note what real data looks like to it.

    python -m stages.features

Reads data/prepared (once it is validated: reports/validation.json) and the `features` section. Writes
models/features.keras (images => logits and 64 features), data/reference.npz (mean and covariance of the training
images' features, class shares, the test images' features), reports/features.json (the judge's accuracy) and
models/features.json (how the judge came about). Fashion-MNIST: about a minute on two cores, 91 % or more on the test
split.
"""

import dataclasses
import time
from collections.abc import Mapping

from stages import artifacts, shell
from stages.artifacts import Workspace
from stages.errors import StageError
from stages.features.settings import Settings


def features(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn data/prepared into the judge and the reference."""
    import numpy as np

    from stages import manifest, reference
    from stages.features import training
    from stages.metrics.frechet import gaussian
    from stages.metrics.modes import class_histogram
    from stages.networks import saving
    from stages.networks.judge import FEATURES, Judge

    workspace.input("reports/validation.json")  # there only where the data is what its schema says
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    outputs = ("models/features.keras", "models/features.json", "data/reference.npz", "reports/features.json")
    with workspace.outputs(*outputs) as new:
        started = time.monotonic()
        model = training.train_judge(folder, data, settings)
        seconds = time.monotonic() - started
        saving.save(model, new("models/features.keras"))
        judge = Judge(model)
        labels, _, train_features = training.read_split(folder, data, "train", judge)
        test_labels, test_classes, test_features = training.read_split(folder, data, "test", judge)
        if not np.isfinite(train_features).all():
            raise StageError("features: the judge's training diverged; lower features.learning_rate")
        reference.save(
            new("data/reference.npz"),
            reference.Reference(gaussian(train_features), class_histogram(labels, len(data.classes)), test_features),
        )
        accuracy = float(np.mean(test_classes == test_labels))
        artifacts.write_json(new("reports/features.json"), {"judge_accuracy": artifacts.rounded(accuracy)})
        artifacts.write_json(
            new("models/features.json"),
            {
                "network": "judge",
                "sha256": artifacts.sha256(new("models/features.keras")),
                "parameters": model.count_params(),
                "features": FEATURES,
                "train_images": len(labels),
                "test_images": len(test_labels),
                "params": dataclasses.asdict(settings),
            },
        )
    shell.say(f"the judge is right on {accuracy:.2%} of {len(test_labels):,} test images")
    return {"images_per_second": settings.images / seconds}


if __name__ == "__main__":
    shell.run_stage("features", "features", Settings, features, __doc__, tensorflow=True)
