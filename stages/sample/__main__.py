"""Make the pictures: uncurated samples, real images beside them, the training's timeline, interpolations.

    python -m stages.sample

Reads models/generator.keras, models/timeline.npz, data/prepared and the `sample` section. Writes reports/samples/:
grid.png (one sample per seed, none picked), real.png (test images, likewise), timeline.png (a row per score of
the training, for the same z) and interpolation.png. Each PNG carries in its own text how it came about. A few seconds.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from stages import artifacts, shell
from stages.artifacts import Workspace
from stages.sample.settings import Settings


def sample(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn the generator into the pictures of reports/samples."""
    import numpy as np

    from stages import images, manifest, records, tfrecord
    from stages.latent import Sampler, latent, slerp
    from stages.networks import saving

    model = workspace.input("models/generator.keras")
    generator_hash = artifacts.sha256(model)
    sampler = Sampler(saving.load(model))
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)

    def save(path: Path, picture: np.ndarray, **facts: str) -> None:
        images.save_png(picture, path, settings.scale, {**facts, "Params": json.dumps(dataclasses.asdict(settings))})

    generated = f"generator.keras, SHA-256 {generator_hash}"
    seeds = range(settings.first_seed, settings.first_seed + settings.count)
    with workspace.outputs("reports/samples") as new:
        pictures_folder = new("reports/samples")
        pictures_folder.mkdir()
        save(
            pictures_folder / "grid.png",
            images.grid(sampler(latent(seeds, sampler.dimensions)), settings.columns),
            Description=f"Samples of the seeds {seeds[0]} to {seeds[-1]} in order, uncurated",
            Source=generated,
        )
        count = min(settings.count, data.splits["test"].records)
        pictures = next(iter(records.batches(folder, data, "test", count)))[0].numpy()
        save(
            pictures_folder / "real.png",
            images.grid(pictures, settings.columns),
            Description=f"The first {count} images of the prepared test split in stored order, uncurated",
            Source=f"{data.source['title']} ({data.source['licence']}), manifest SHA-256 "
            + artifacts.sha256(folder / manifest.FILE),
        )
        seen, history = artifacts.read_arrays(workspace.input("models/timeline.npz"), "images_seen", "pictures")
        history = history[:, : settings.columns]
        rows = images.grid(tfrecord.normalise(history.reshape(-1, *history.shape[2:])), history.shape[1])
        save(
            pictures_folder / "timeline.png",
            rows,
            Description="The same z at each score of the training, from top to bottom; images seen: "
            + ", ".join(map(str, seen)),
            Source=f"the averaged generator during the training that gave {generated}",
        )
        ends = latent(settings.interpolate, sampler.dimensions)
        ways = [slerp(a, b, settings.interpolation_steps) for a, b in itertools.pairwise(ends)]
        save(
            pictures_folder / "interpolation.png",
            images.grid(sampler(np.concatenate(ways)), settings.interpolation_steps),
            Description="Spherical interpolations, a row from each seed to the next: "
            + " → ".join(map(str, settings.interpolate)),
            Source=generated,
        )
    return {}


if __name__ == "__main__":
    shell.run_stage("sample", "sample", Settings, sample, __doc__, tensorflow=True)
