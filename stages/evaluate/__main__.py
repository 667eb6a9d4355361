"""Measure the samples against the data.

    python -m stages.evaluate

Reads models/generator.keras, data/prepared, the judge, the reference and the `evaluate` section. Writes
reports/metrics.json (the sliced Wasserstein distance to the test images, with the floor that real images have among
themselves; where there is a judge, the Fréchet distance in its features with its floor, the modes covered and the KL of
the class histogram; and the protocol they hold under) and reports/modes.csv (the class histogram; without a judge no
more than its header). About twenty seconds.
"""

import time
from collections.abc import Mapping

from stages import artifacts, shell
from stages.artifacts import Workspace
from stages.errors import StageError
from stages.evaluate.settings import Settings


def evaluate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn the generator into metrics."""
    import pandas as pd

    from stages import manifest, reference
    from stages.evaluate import measuring
    from stages.latent import Sampler
    from stages.metrics.frechet import frechet_distance, gaussian
    from stages.metrics.modes import class_histogram, modes
    from stages.metrics.swd import sliced_wasserstein
    from stages.networks import saving
    from stages.networks.judge import FILE
    from stages.networks.judge import load as load_judge

    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    reference_file = workspace.input("data/reference.npz")
    real = reference.load(reference_file)
    features = workspace.input("models/features")
    judge = load_judge(features, data)
    if (real is None) != (judge is None):
        raise StageError(f"{reference_file}: of a data set with{'out' if judge else ''} labels; run `dvc repro`")
    model = workspace.input("models/generator.keras")
    sampler = Sampler(saving.load(model))
    if sampler.shape != data.shape:
        raise StageError(f"{model}: makes {sampler.shape} images, but the data set has {data.shape}; run `dvc repro`")

    count = min(settings.samples, data.splits["test"].records, data.splits["train"].records)
    started = time.monotonic()
    generated, judgement = measuring.measure_samples(sampler, judge, settings, count)
    seconds = time.monotonic() - started
    held_out = measuring.real_descriptors(folder, data, "test", count)
    values = sliced_wasserstein(generated, held_out, measuring.SEED)
    del generated
    trained_on = measuring.real_descriptors(folder, data, "train", count)
    values["swd_floor"] = sliced_wasserstein(trained_on, held_out, measuring.SEED)["swd"]
    protocol: dict[str, str | int | float] = {
        "feature_network": "none",
        "samples": settings.samples,
        "first_seed": settings.first_seed,
        "swd_samples": count,
        "swd_seed": measuring.SEED,
        "mode_threshold": settings.mode_threshold,
        "data": data.source["title"],
        "crop": str(data.params["crop"]),
        "fit": data.params["fit"],
        "size": data.shape[0],
        "channels": data.shape[2],
    }
    table = pd.DataFrame({"class": [], "generated": [], "real": []})
    if real is not None and judgement is not None:
        histogram = class_histogram(judgement.classes, len(data.classes))
        floor_samples = min(settings.samples, len(real.held_out))
        values = {
            "fid": frechet_distance(gaussian(judgement.features), real.train),
            "fid_floor": frechet_distance(gaussian(real.held_out[:floor_samples]), real.train),
            **modes(histogram, real.histogram, settings.mode_threshold),
            **values,
        }
        protocol |= {
            "feature_network": "judge",
            "feature_network_sha256": artifacts.sha256(features / FILE),
            "floor_samples": floor_samples,
        }
        table = pd.DataFrame({"class": data.classes, "generated": histogram.round(6), "real": real.histogram.round(6)})
    metrics = {name: value if isinstance(value, int) else artifacts.rounded(value) for name, value in values.items()}
    with workspace.outputs("reports/metrics.json", "reports/modes.csv") as new:
        artifacts.write_json(new("reports/metrics.json"), {**metrics, "protocol": protocol})
        table.to_csv(new("reports/modes.csv"), index=False)
    shell.say("  ".join(f"{name} {value:g}" for name, value in metrics.items()))
    return {"samples_per_second": (count if judge is None else settings.samples) / seconds}


if __name__ == "__main__":
    shell.run_stage("evaluate", "evaluate", Settings, evaluate, __doc__, tensorflow=True)
