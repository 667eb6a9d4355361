"""The sample stage: pictures of samples, of real images and of the training."""

import dataclasses
import json
from collections.abc import Mapping

import numpy as np

from stages import artifacts, manifest, pixels, png, records, shell
from stages.errors import StageError
from stages.latent import Sampler, latent
from stages.networks import judge as judges
from stages.sample import drawing
from stages.sample.settings import Settings
from stages.workspace import Workspace

# Samples whose nearest training images are shown, and how many of these.
_NEAREST_OF, _NEAREST = 16, 2
_FRAME, _LAST_FRAME = 600, 2400  # milliseconds
# The setting that a picture has its size by.
_SIZED_BY = {"grid": "count", "real": "count", "interpolation": "interpolate", "arithmetic": "arithmetic"}


def sample(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn the generator into the pictures of reports/samples."""

    model = workspace.input("models/generator.keras")
    generated = f"generator.keras, SHA-256 {artifacts.sha256(model)}"
    sampler = Sampler.load(model)
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    if sampler.shape != data.shape:
        raise StageError(f"{model}: makes {sampler.shape} images, but the data set has {data.shape}; run `dvc repro`")
    prepared = f"{data.source['title']} ({data.source['licence']}), manifest SHA-256 " + artifacts.sha256(
        folder / manifest.FILE
    )
    judge = judges.load(workspace.input("models/features"), data) if settings.arithmetic else None
    if settings.arithmetic and judge is None:
        raise StageError("sample.arithmetic: the data has no classes to calculate with; leave it out, or empty")
    seen, history = artifacts.read_arrays(workspace.input("models/timeline.npz"), "images_seen", "pictures")
    history = pixels.normalise(history)

    with workspace.outputs("reports/samples") as new:
        made = new("reports/samples")
        made.mkdir()

        def facts(description: str, source: str) -> dict[str, str]:
            params = json.dumps(dataclasses.asdict(settings))
            return {"Description": description, "Source": source, "Params": params}

        def save(name: str, picture: np.ndarray, description: str, source: str = generated) -> None:
            try:
                png.save_png(picture, made / f"{name}.png", settings.scale, facts(description, source))
            except StageError as error:
                raise StageError(f"sample.{_SIZED_BY.get(name, 'columns')}: {name}.png: {error}") from None

        seeds = range(settings.first_seed, settings.first_seed + settings.count)
        samples = sampler(latent(seeds, sampler.dimensions))
        save(
            "grid",
            png.grid(samples, settings.columns),
            f"Samples of the seeds {seeds[0]} to {seeds[-1]} in order, uncurated",
        )
        count = min(settings.count, data.splits["test"].records)
        real = next(iter(records.batches(folder, data, "test", count)))[0].numpy()
        save(
            "real",
            png.grid(real, settings.columns),
            f"The first {count} images of the prepared test split in stored order, uncurated",
            prepared,
        )
        during = f"the averaged generator during the training that gave {generated}"
        picture, shown = drawing.timeline(history[:, : settings.columns])
        which = "each score" if len(shown) == len(seen) else f"{len(shown)} of {len(seen)} scores"
        save(
            "timeline",
            picture,
            f"The same z at {which} of the training, from top to bottom; images seen: "
            + ", ".join(str(seen[score]) for score in shown),
            during,
        )
        png.save_animation(
            [png.grid(pictures, settings.columns) for pictures in history],
            made / "timeline_animated.png",
            settings.scale,
            facts(
                f"The same {history.shape[1]} z at each score of the training, one after the other; images seen: "
                + ", ".join(map(str, seen)),
                during,
            ),
            [_FRAME] * (len(history) - 1) + [_LAST_FRAME],
        )
        save(
            "interpolation",
            png.grid(
                drawing.interpolations(sampler, settings.interpolate, settings.interpolation_steps),
                settings.interpolation_steps,
            ),
            "Spherical interpolations, a row from each seed to the next: " + " → ".join(map(str, settings.interpolate)),
        )
        first = samples[:_NEAREST_OF]
        neighbours = min(_NEAREST, data.splits["train"].records)
        found = drawing.nearest(folder, data, first, neighbours)
        save(
            "nearest",
            drawing.bands(np.concatenate([first[:, None], found], axis=1), settings.columns),
            f"Samples of the seeds {seeds[0]} to {seeds[len(first) - 1]}, and below each the {neighbours} nearest of "
            f"{data.splits['train'].records:,} training images (Euclidean distance at 16 × 16 pixels)",
            f"{generated}; {prepared}",
        )
        if judge is not None:
            pictures, rows = drawing.arithmetic(sampler, judge, data.classes, settings.arithmetic)
            left_out = len(settings.arithmetic) - len(rows)
            if left_out:
                shell.say(f"sample.arithmetic: {left_out} of its rows left out: the judge holds no sample for a class")
            if rows:
                save(
                    "arithmetic",
                    png.grid(pictures, 8),
                    "Mean z of classes, a row each: "
                    + "; ".join(f"{a}, {b}, {c}, then {a} − {b} + {c}" for a, b, c in rows)
                    + "; and four z close to that",
                )
    return {}
