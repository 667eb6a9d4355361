"""Train the DCGAN.

    python -m stages.train

Reads data/prepared, the judge and the reference, and the `train` section. Writes the best checkpoint by score (the
Fréchet distance in the judge's features): models/generator.keras (the moving average, what samples come from) and
models/discriminator.keras; models/model.json (how they came about); models/timeline.npz (the same 32 z after every
epoch); and reports/train/ (DVCLive's curves and the fixed-z pictures). The default takes about four minutes on two
cores.
"""

import dataclasses
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from stages import artifacts, shell
from stages.artifacts import Workspace
from stages.train.settings import Settings


def _processor() -> str:
    """The name of the processor: results are the same to the byte on one kind of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def train(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn data/prepared into the two networks."""
    import keras
    import numpy as np
    import tensorflow as tf

    from stages import manifest, reference
    from stages.latent import Sampler, latent
    from stages.metrics.frechet import frechet_distance, gaussian
    from stages.networks import saving
    from stages.networks.judge import load as load_judge
    from stages.train.loop import train as run
    from stages.train.trainer import Trainer

    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    judge = load_judge(workspace.input("models/features.keras"), data)
    real = reference.load(workspace.input("data/reference.npz")).train
    # Seeds that no other stage draws from, the same after every epoch.
    score_z = latent(range(1 << 40, (1 << 40) + settings.score_samples), settings.latent_dim)

    def score(sampler: Sampler) -> float:
        return frechet_distance(gaussian(judge(sampler(score_z)).features), real)

    trainer = Trainer(settings, data.shape[0], data.shape[2])
    outputs = (
        *("models/generator.keras", "models/discriminator.keras", "models/model.json", "models/timeline.npz"),
        *("reports/train/metrics.json", "reports/train/plots"),
    )
    with workspace.outputs(*outputs) as new:
        log = new("reports/train/metrics.json").parent
        shell.say(
            f"generator {trainer.generator.count_params():,} parameters, "
            f"discriminator {trainer.discriminator.count_params():,}; watch {log}/plots/images"
        )
        result = run(trainer, folder, data, settings, score, log)
        trainer.average.set_weights(result.generator)
        trainer.discriminator.set_weights(result.discriminator)
        saving.save(trainer.average, new("models/generator.keras"))
        saving.save(trainer.discriminator, new("models/discriminator.keras"))
        np.savez(
            new("models/timeline.npz"),
            images_seen=np.array([seen for seen, _ in result.timeline]),
            pictures=np.stack([pictures for _, pictures in result.timeline]),
        )
        artifacts.write_json(
            new("models/model.json"),
            {
                "generator": {
                    "sha256": artifacts.sha256(new("models/generator.keras")),
                    "parameters": trainer.average.count_params(),
                },
                "discriminator": {
                    "sha256": artifacts.sha256(new("models/discriminator.keras")),
                    "parameters": trainer.discriminator.count_params(),
                },
                "images_seen": result.images,
                "best_images_seen": result.best_images,
                "best_score": artifacts.rounded(result.best_score),
                "score": f"Fréchet distance in the judge's features, {settings.score_samples} samples",
                "data_manifest_sha256": artifacts.sha256(folder / manifest.FILE),
                "params": dataclasses.asdict(settings),
                "environment": {
                    "tensorflow": tf.__version__,
                    "keras": keras.__version__,
                    "numpy": np.__version__,
                    "processor": _processor(),
                    "cores": os.cpu_count(),
                    "accelerators": [device.name for device in tf.config.list_physical_devices("GPU")],
                },
            },
        )
    shell.say(f"best: score {result.best_score:.2f} after {result.best_images:,} of {result.images:,} images")
    return {"images_per_second": result.images_per_second}


if __name__ == "__main__":
    shell.run_stage("train", "train", Settings, train, __doc__, tensorflow=True)
