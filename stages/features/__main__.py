"""Train the judge on the labels, and note what real data looks like to it.

    python -m stages.features

Reads data/prepared (once it is validated: reports/validation.json) and the `features` section. Writes models/features/
(judge.keras: images => logits and 64 features; features.json: how the judge came about), data/reference.npz (mean and
covariance of the training images' features, class shares, the test images' features) and reports/features.json (the
judge's accuracy). Data with fewer than two classes has no judge: then the files say so, and models/features/ has no
judge.keras. Fashion-MNIST: about a minute on two cores, 91 % or more on the test split.
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
    from stages.networks.judge import FEATURES, FILE, Judge
    from stages.reference import Reference

    workspace.input("reports/validation.json")  # there only where the data is what its schema says
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    facts = {
        **{f"{split}_images": data.splits[split].records for split in ("train", "test")},
        "params": dataclasses.asdict(settings),
    }
    with workspace.outputs("models/features", "data/reference.npz", "reports/features.json") as new:
        made = new("models/features")
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
        labels, _, train_features = training.read_split(folder, data, "train", judge)
        test_labels, test_classes, test_features = training.read_split(folder, data, "test", judge)
        if not np.isfinite(train_features).all():
            raise StageError("features: the judge's training diverged; lower features.learning_rate")
        histogram = class_histogram(labels, len(data.classes))
        reference.save(new("data/reference.npz"), Reference(gaussian(train_features), histogram, test_features))
        accuracy = float(np.mean(test_classes == test_labels))
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
    shell.say(f"the judge is right on {accuracy:.2%} of {len(test_labels):,} test images")
    return {"images_per_second": settings.images / seconds}


if __name__ == "__main__":
    shell.run_stage("features", "features", Settings, features, __doc__, tensorflow=True)
