"""The pictures of reports/samples, each with its caption and its provenance."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from stages import neighbours, png, records, shell
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.networks.judge import Judge
from stages.png import Provenance
from stages.sample import drawing
from stages.sample.settings import Settings
from stages.workspace import Workspace

_NEAREST_SAMPLES = 16  # samples whose nearest training images are shown
_NEAREST_IMAGES = 2  # for each of these samples
_ARITHMETIC_COLUMNS = 8
_FRAME, _LAST_FRAME = 600, 2400  # milliseconds


@dataclass(frozen=True)
class Inputs:
    """The inputs of every picture.

    `samples` are those of `seeds`, float32 NHWC in [-1,1]. `history` (scores, N, H, W, C) holds the samples of fixed z
    at each score during training, `images_seen` the number of images seen by then.
    """

    settings: Settings
    workspace: Workspace
    data: Manifest
    sampler: Sampler
    judge: Judge | None
    generator_sha256: str
    manifest_sha256: str
    images_seen: np.ndarray
    history: np.ndarray
    seeds: range
    samples: np.ndarray

    @property
    def generator_source(self) -> str:
        """The generator, for a caption."""
        return f"generator.keras, SHA-256 {self.generator_sha256}"

    @property
    def data_source(self) -> str:
        """The data, for a caption."""
        source = self.data.source
        return f"{source['title']} ({source['licence']}), manifest SHA-256 {self.manifest_sha256}"

    def provenance(self, description: str, source: str = "", *, seeds: str = "", grid: str = "") -> Provenance:
        """The provenance of a picture that the generator made."""
        return Provenance(
            description=description,
            source=source or self.generator_source,
            params=dataclasses.asdict(self.settings),
            stage="sample",
            seeds=seeds,
            generator_sha256=self.generator_sha256,
            manifest_sha256=self.manifest_sha256,
            grid=grid,
        )


@dataclass(frozen=True)
class Drawing:
    """A picture before it is a file: a frame uint8 (H, W, C), several for an animation, and its provenance.

    `setting` is the setting that decides its size, `milliseconds` how long each frame of an animation is shown.
    """

    name: str
    setting: str
    frames: list[np.ndarray]
    provenance: Provenance
    milliseconds: tuple[int, ...] = ()


def grid(inputs: Inputs) -> Drawing:
    """A sample for each seed, none picked. A conditional generator has a row for each class, with the same z."""
    first, last, columns = inputs.seeds[0], inputs.seeds[-1], inputs.settings.columns
    if classes := inputs.sampler.classes:
        return _grid_of_classes(inputs, classes.names, inputs.seeds[:columns])
    provenance = inputs.provenance(
        f"Samples of the seeds {first} to {last} in order, uncurated",
        seeds=f"{first}-{last}",
        grid=png.grid_layout(len(inputs.seeds), columns),
    )
    return Drawing("grid", "count", [png.grid(inputs.samples, columns)], provenance)


def _grid_of_classes(inputs: Inputs, names: tuple[str, ...], seeds: range) -> Drawing:
    rows = min(len(names), png.max_rows(inputs.data.shape, len(seeds)))
    images = np.concatenate([inputs.sampler.images(seeds, index) for index in range(rows)])
    description = (
        f"Samples of the seeds {seeds[0]} to {seeds[-1]}, uncurated, of each class, a row each: "
        f"{', '.join(names[:rows])}. A column has the same z"
    )
    provenance = dataclasses.replace(
        inputs.provenance(description, seeds=f"{seeds[0]}-{seeds[-1]}", grid=f"{rows}x{len(seeds)}"),
        classes=names[:rows],
    )
    return Drawing("grid", "columns", [png.grid(images, len(seeds))], provenance)


def real(inputs: Inputs) -> Drawing:
    """The first test images, as many as the grid has samples."""
    count = min(inputs.settings.count, inputs.data.splits["test"].records)
    folder = inputs.workspace.input("data/prepared")
    images = next(iter(records.batches(folder, inputs.data, "test", count)))[0].numpy()
    description = f"The first {count} images of the prepared test split in stored order, uncurated"
    provenance = dataclasses.replace(inputs.provenance(description, inputs.data_source), generator_sha256="")
    return Drawing("real", "count", [png.grid(images, inputs.settings.columns)], provenance)


def _training_source(inputs: Inputs) -> str:
    return f"the averaged generator during the training of {inputs.generator_source}"


def timeline(inputs: Inputs) -> Drawing:
    """A row of samples for each score during training, for the same z."""
    images_seen = inputs.images_seen
    picture, scores = drawing.timeline(inputs.history[:, : inputs.settings.columns])
    rows = "each score" if len(scores) == len(images_seen) else f"{len(scores)} of {len(images_seen)} scores"
    description = f"The same z at {rows} during training, from top to bottom; images seen: "
    description += ", ".join(str(images_seen[score]) for score in scores)
    if classes := inputs.sampler.classes:
        shown = range(min(inputs.settings.columns, inputs.history.shape[1]))
        names = (classes.names[column % len(classes.names)] for column in shown)
        description += f"; classes from left to right: {', '.join(names)}"
    return Drawing("timeline", "columns", [picture], inputs.provenance(description, _training_source(inputs)))


def animation(inputs: Inputs) -> Drawing:
    """The whole timeline as an animation, a frame for each score."""
    scores, z = inputs.history.shape[:2]
    frames = [png.grid(images, inputs.settings.columns) for images in inputs.history]
    description = f"The same {z} z at each score during training, one after the other; images seen: "
    description += ", ".join(map(str, inputs.images_seen))
    milliseconds = (*[_FRAME] * (scores - 1), _LAST_FRAME)
    provenance = inputs.provenance(description, _training_source(inputs))
    return Drawing("timeline_animated", "columns", frames, provenance, milliseconds)


def interpolation(inputs: Inputs) -> Drawing:
    """A row of samples from each seed to the next."""
    seeds, steps = inputs.settings.interpolate, inputs.settings.interpolation_steps
    images = drawing.interpolations(inputs.sampler, seeds, steps)
    description = f"Spherical interpolations, a row from each seed to the next: {' → '.join(map(str, seeds))}"
    if classes := inputs.sampler.classes:
        names = (classes.names[row % len(classes.names)] for row in range(len(seeds) - 1))
        description += f"; classes from top to bottom: {', '.join(names)}"
    return Drawing("interpolation", "interpolate", [png.grid(images, steps)], inputs.provenance(description))


def class_blends(inputs: Inputs) -> Drawing | None:
    """A row of samples of one z from each class to the next; None for an unconditional generator."""
    classes, seed, steps = inputs.sampler.classes, inputs.seeds[0], inputs.settings.interpolation_steps
    if classes is None:
        return None
    images = drawing.class_blends(inputs.sampler, classes, seed, steps)
    description = (
        f"The z of the seed {seed} under each class, with linear blends to the next class, a row each: "
        f"{' → '.join((*classes.names, classes.names[0]))}"
    )
    picture = png.grid(images[: steps * png.max_rows(inputs.data.shape, steps)], steps)
    return Drawing("class_blends", "interpolation_steps", [picture], inputs.provenance(description))


def nearest(inputs: Inputs) -> Drawing:
    """The first samples, and below each the training images nearest to it."""
    samples, train = inputs.samples[:_NEAREST_SAMPLES], inputs.data.splits["train"].records
    count = min(_NEAREST_IMAGES, train)
    nearest_images = drawing.nearest(inputs.workspace.input("data/prepared"), inputs.data, samples, count)
    images = np.concatenate([samples[:, None], nearest_images], axis=1)
    rows, columns = neighbours.grid(*inputs.data.shape[:2])
    description = (
        f"Samples of the seeds {inputs.seeds[0]} to {inputs.seeds[len(samples) - 1]}, and below each the {count} "
        f"nearest of {train:,} training images, mirrored, shifted and zoomed to match (Euclidean distance at {rows} × "
        f"{columns} pixels)"
    )
    provenance = inputs.provenance(description, f"{inputs.generator_source}; {inputs.data_source}")
    return Drawing("nearest", "columns", [drawing.bands(images, inputs.settings.columns)], provenance)


def arithmetic(inputs: Inputs) -> Drawing | None:
    """A row for each A − B + C of `sample.arithmetic`; None if the setting is empty or no row can be drawn."""
    requested = inputs.settings.arithmetic
    if requested and inputs.sampler.classes:
        shell.say("sample.arithmetic: skipped: the generator is conditional, so its z does not decide the class")
    if inputs.judge is None:
        return None
    images, rows = drawing.arithmetic(inputs.sampler, inputs.judge, inputs.data.classes, requested)
    if len(rows) < len(requested):
        skipped = len(requested) - len(rows)
        shell.say(
            f"sample.arithmetic: skipped {skipped} of {len(requested)} rows: the judge finds no sample of one of their "
            "classes"
        )
    if not rows:
        return None
    sums = "; ".join(f"{a}, {b}, {c}, then {a} − {b} + {c}" for a, b, c in rows)
    description = f"Mean z of classes, one row each: {sums}; and four z close to the result"
    picture = png.grid(images, _ARITHMETIC_COLUMNS)
    return Drawing("arithmetic", "arithmetic", [picture], inputs.provenance(description))


PICTURES = (grid, real, timeline, animation, interpolation, class_blends, nearest, arithmetic)
"""The functions that draw the pictures, in the order in which the stage writes them."""
