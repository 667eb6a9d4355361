"""Measure the samples against the data.

    python -m stages.evaluate

Reads models/generator.keras, the judge, the reference and the `evaluate` section. Writes reports/metrics.json (the
Fréchet distance in the judge's features with the real-against-real floor, the modes covered, the KL of the class
histogram, and the protocol they hold under) and reports/modes.csv (the class histogram). About ten seconds.
"""

import time
from collections.abc import Mapping

from stages import artifacts, shell
from stages.artifacts import Workspace
from stages.errors import StageError
from stages.evaluate.settings import Settings


def evaluate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn the generator into metrics."""
    import numpy as np
    import pandas as pd

    from stages import manifest, reference
    from stages.latent import Sampler, latent
    from stages.metrics.frechet import frechet_distance, gaussian
    from stages.metrics.modes import class_histogram, modes
    from stages.networks import saving
    from stages.networks.judge import load as load_judge
    from stages.progress import Progress

    data = manifest.read(workspace.input("data/prepared/manifest.json").parent)
    real = reference.load(workspace.input("data/reference.npz"))
    network = workspace.input("models/features.keras")
    model = workspace.input("models/generator.keras")
    judge, sampler = load_judge(network, data), Sampler(saving.load(model))
    if sampler.shape != data.shape:
        raise StageError(f"{model}: makes {sampler.shape} images, but the data set has {data.shape}; run `dvc repro`")
    classes, features = [], []
    started = time.monotonic()
    with Progress("evaluate", settings.samples, "samples") as progress:
        for first in range(0, settings.samples, 1000):
            seeds = range(settings.first_seed + first, settings.first_seed + min(first + 1000, settings.samples))
            judgement = judge(sampler(latent(seeds, sampler.dimensions)))
            classes.append(judgement.classes)
            features.append(judgement.features)
            progress.advance(len(seeds))
    histogram = class_histogram(np.concatenate(classes), len(data.classes))
    floor_samples = min(settings.samples, len(real.held_out))
    values = {
        "fid": frechet_distance(gaussian(np.concatenate(features)), real.train),
        "fid_floor": frechet_distance(gaussian(real.held_out[:floor_samples]), real.train),
        **modes(histogram, real.histogram, settings.mode_threshold),
    }
    metrics = {name: value if isinstance(value, int) else artifacts.rounded(value) for name, value in values.items()}
    protocol = {
        "feature_network": "judge",
        "feature_network_sha256": artifacts.sha256(network),
        "samples": settings.samples,
        "first_seed": settings.first_seed,
        "floor_samples": floor_samples,
        "mode_threshold": settings.mode_threshold,
        "data": data.source["title"],
        "crop": str(data.params["crop"]),
        "fit": data.params["fit"],
        "size": data.shape[0],
        "channels": data.shape[2],
    }
    with workspace.outputs("reports/metrics.json", "reports/modes.csv") as new:
        artifacts.write_json(new("reports/metrics.json"), {**metrics, "protocol": protocol})
        pd.DataFrame({"class": data.classes, "generated": histogram.round(6), "real": real.histogram.round(6)}).to_csv(
            new("reports/modes.csv"), index=False
        )
    shell.say("  ".join(f"{name} {value:g}" for name, value in metrics.items()))
    return {"samples_per_second": settings.samples / (time.monotonic() - started)}


if __name__ == "__main__":
    shell.run_stage("evaluate", "evaluate", Settings, evaluate, __doc__, tensorflow=True)
