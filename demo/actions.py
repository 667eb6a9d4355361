"""The page's actions: each takes the state of the page and returns the HTML that answers it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError

from demo import convolutions, drawing
from demo.models import MANIFEST, Model, Models
from demo.state import Place, State, place_of
from stages import pixels, png
from stages.errors import StageError
from stages.latent import near, rescaled, slerp
from stages.manifest import Manifest
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings as Prepare
from stages.prepare.shards import prepare_image

LANGUAGES = ("en", "zh")
MAX_BYTES = 20 << 20
_MAX_PIXELS = 50_000_000  # of an upload: 150 MB as RGB
_STEPS, _FRAMES, _MILLISECONDS = 9, 16, 80  # pictures of a path; frames of its animation, one way, and their duration
_CLOSE, _NEAREST = 4, 8
_CLASS = "class:"


def words(language: str) -> dict[str, str]:
    """The page's texts in a language of LANGUAGES."""
    content = (resources.files("demo") / "words.yaml").read_text(encoding="utf-8")
    return {name: texts[language] for name, texts in yaml.safe_load(content).items()}


class Actions:
    """The actions on these models. Their texts are those of one language."""

    def __init__(self, models: Models, texts: Mapping[str, str]) -> None:
        self._models, self._texts = models, texts

    def say(self, name: str, /, **values: object) -> str:
        """The text of this name, with values in place of its braces."""
        return self._texts[name].format(**values)

    def models(self) -> list[tuple[str, str]]:
        """The models to choose from, as (label, name)."""
        return [(f"{name} · {self.say('kind_' + kind)}", name) for name, kind in self._models.offered().items()]

    def _side_by_side(self, names: Sequence[str], draw: Callable[[Model], str]) -> str:
        """The HTML that `draw` returns for each model, side by side. An error takes the place of its model's HTML."""
        sections = []
        for name in dict.fromkeys(name for name in names if name):
            folder = ""
            try:
                model = self._models.get(name)
                folder = f"{model.folder}/"
                sections.append((name, draw(model)))
            except StageError as error:  # the page must not show this machine's folders
                sections.append((name, drawing.message(self.say("error", reason=str(error).replace(folder, "")))))
        return drawing.pair(sections)

    def _both(self, state: State, draw: Callable[[Model], str]) -> str:
        return self._side_by_side((state.model, state.beside), draw)

    def _on_same_z(
        self, state: State, z_of: Callable[[Model], np.ndarray], draw: Callable[[Model, np.ndarray], str]
    ) -> str:
        """Both models on the same z (…, dimensions), which `z_of` computes for the first model."""
        shared: list[np.ndarray] = []

        def draw_shared(model: Model) -> str:
            if not shared:
                shared.append(z_of(model))
            (z,) = shared
            if model.sampler.dimensions != z.shape[-1]:
                return drawing.message(self.say("other_dimensions", its=model.sampler.dimensions, ours=z.shape[-1]))
            return draw(model, z)

        return self._both(state, draw_shared)

    def _at_place(self, state: State, draw: Callable[[Model, np.ndarray], str]) -> str:
        """Both models on the z (dimensions,) of the explored place."""
        return self._on_same_z(state, lambda model: state.place.z(model.directions), draw)

    def _large(
        self, model: Model, picture: np.ndarray, alt: str, name: str, description: str, seed: int | None = None
    ) -> str:
        """A sample (H, W, C), large, with a link that saves it; `seed` if the seed alone decides on the picture."""
        keys = {} if seed is None else {"seeds": str(seed), "grid": "1x1"}
        provenance = self._provenance(model, description, **keys)
        return drawing.single(picture, alt, provenance, name, self.say("download"))

    def _provenance(self, model: Model, description: str, seeds: str = "", grid: str = "") -> png.Provenance:
        return png.Provenance(
            description=description,
            source=f"generator.keras of {model.name}, SHA-256 {model.sha256}",
            stage="demo",
            seeds=seeds,
            generator_sha256=model.sha256,
            grid=grid,
        )

    # The models

    def about(self, state: State) -> str:
        """The data, size and quality of the chosen models."""

        def facts(model: Model) -> str:
            data, metrics = model.data, model.metrics
            source = self._source(data) if data else self.say("unknown_data")
            parts = [self.say("facts_parameters", parameters=f"{model.generator.count_params():,}")]
            if "best_images_seen" in model.facts:
                parts.append(self.say("facts_seen", seen=f"{model.facts['best_images_seen']:,}"))
            if "fid" in metrics:
                parts.append(self.say("facts_fid", fid=f"{metrics['fid']:.1f}") + self._floor(metrics))
            parts.append(f"SHA-256 {model.sha256[:12]}…")
            return drawing.paragraphs(self.say("lead", data=source), " · ".join(parts))

        return self._both(state, facts)

    def _source(self, data: Manifest) -> str:
        """The title of the training data, and its licence if one is stated."""
        title, licence = data.source["title"], data.source["licence"]
        return str(title) if licence == "not stated" else f"{title} ({licence})"

    def _floor(self, metrics: dict[str, Any]) -> str:
        """The FID of held-out images; empty if they are fewer than the samples, because that alone raises the FID."""
        protocol = metrics.get("protocol", {})  # another version of the code may write neither number
        few = protocol.get("floor_samples", 0) < protocol.get("samples", 1)
        return "" if few else self.say("facts_floor", floor=f"{metrics['fid_floor']:.2g}")

    # Draw

    def draw(self, state: State) -> str:
        """Samples of consecutive seeds, as buttons."""
        seeds = range(state.first, state.first + state.count)

        def grid(model: Model, z: np.ndarray) -> str:
            pictures = model.sampler(z)
            columns = math.ceil(math.sqrt(len(seeds)))
            scaled = f", z times {state.spread:g}" if state.spread != 1 else ""
            description = f"Samples of the seeds {seeds[0]} to {seeds[-1]} in order{scaled}, uncurated"
            keys = {"seeds": f"{seeds[0]}-{seeds[-1]}", "grid": png.grid_layout(len(seeds), columns)}
            provenance = self._provenance(model, description, **({} if scaled else keys))
            whole = drawing.png(png.grid(pictures, columns), 2, provenance)
            save = drawing.saved(whole, f"seeds-{seeds[0]}-{seeds[-1]}.png", self.say("download"))
            return drawing.choices(pictures, [self.say("seed_alt", seed=seed) for seed in seeds]) + save

        return self._on_same_z(
            state,
            lambda model: np.stack([Place(seed, state.spread).z(model.directions) for seed in seeds]),
            grid,
        )

    # Explore

    def explore(self, state: State) -> str:
        """The picture of the explored place, large."""
        place = state.place

        def picture(model: Model, z: np.ndarray) -> str:
            description = f"Sample of the place {place} (seed * scale; direction of the first layer: length)"
            alt, name = self.say("seed_alt", seed=place), f"seed-{place.seed}.png"
            seed = place.seed if str(place) == str(place.seed) else None
            return self._large(model, model.sampler(z[None])[0], alt, name, description, seed)

        return self._at_place(state, picture)

    def nearest(self, state: State) -> str:
        """The training images nearest to the picture of the explored place."""
        return self._at_place(state, lambda model, z: self._neighbours(model, model.sampler(z[None])[0]))

    def _neighbours(self, model: Model, picture: np.ndarray) -> str:
        images, searched = model.nearest(picture, _NEAREST)
        alts = [self.say("nearest_alt", number=number) for number in range(1, len(images) + 1)]
        return drawing.row(images, alts) + drawing.paragraphs(self.say("nearest_about", count=f"{searched:,}"))

    def tray(self, state: State) -> str:
        """The pinned pictures, as buttons."""
        if not state.pins:
            return drawing.message(self.say("pins_none"))

        def buttons(model: Model) -> str:
            pictures = model.sampler(np.stack([pin.z(model.directions) for pin in state.pins]))
            return drawing.choices(pictures, [self.say("unpin", place=pin) for pin in state.pins], kind="tray")

        return self._side_by_side((state.model,), buttons)

    # Between and Calculate

    def ends(self, state: State) -> list[tuple[str, str]]:
        """The choices for the ends of a path and the terms of a sum, as (label, value): pins, and means of classes."""
        try:
            classes = self._models.get(state.model).classes
        except StageError:
            classes = ()
        pins = [(f"{number} · {pin}", str(pin)) for number, pin in enumerate(state.pins, 1)]
        return pins + [(self.say("mean_of", name=name), f"{_CLASS}{i}") for i, name in enumerate(classes)]

    def _z_of(self, model: Model, end: str) -> np.ndarray:
        """The z (dimensions,) of a value of `ends`. Raises StageError for any other value."""
        number = end.removeprefix(_CLASS)
        if number != end and number in map(str, range(len(model.classes))):
            mean = model.class_means[int(number)]
            if not np.isfinite(mean).all():
                raise StageError(self.say("undefined_sum"))
            return rescaled(mean[None])[0]
        place = place_of(end)
        if place is None:
            raise StageError(self.say("no_such", name=end))
        return place.z(model.directions)

    def between(self, state: State) -> str:
        """The path from one place to another as a strip, and the picture at the position `way` (0 to 1), large."""

        def path(model: Model) -> np.ndarray:
            a, b = self._z_of(model, state.start), self._z_of(model, state.end)
            return np.concatenate([slerp(a, b, _STEPS), slerp(a, b, 101)[[round(state.way * 100)]]])

        def strip(model: Model, z: np.ndarray) -> str:
            pictures = model.sampler(z)
            alts = [self.say("way_alt", percent=round(100 * i / (_STEPS - 1))) for i in range(_STEPS)]
            description = f"{state.way:.0%} of the way from {state.start} to {state.end}, spherical interpolation"
            alt = self.say("way_alt", percent=round(state.way * 100))
            return drawing.row(pictures[:-1], alts) + self._large(model, pictures[-1], alt, "between.png", description)

        return self._on_same_z(state, path, strip)

    def animation(self, state: State) -> str:
        """The path there and back as an animated PNG."""

        def path(model: Model) -> np.ndarray:
            there = slerp(self._z_of(model, state.start), self._z_of(model, state.end), _FRAMES)
            return np.concatenate([there, there[-2:0:-1]])

        def animated(model: Model, z: np.ndarray) -> str:
            description = f"From {state.start} to {state.end} and back, spherical interpolation"
            provenance = self._provenance(model, description)
            address = drawing.apng(list(pixels.to_uint8(model.sampler(z))), provenance, _MILLISECONDS)
            save = drawing.saved(address, "between.png", self.say("download_animation"))
            return drawing.figure(drawing.image(address, self.say("animation_alt")) + save, large=True)

        return self._on_same_z(state, path, animated)

    def calculate(self, state: State) -> str:
        """A − B + C: the three terms, the sum, and four z close to it."""
        terms = (state.a, state.b, state.c)

        def total(model: Model) -> np.ndarray:
            parts = [self._z_of(model, term) for term in terms]
            z = parts[0] - parts[1] + parts[2]
            if np.linalg.norm(z) < 1e-3:
                raise StageError(self.say("undefined_sum"))
            # A mean is shorter than a z. A sum with a mean gets the length that the sample stage gives its sums.
            z = rescaled(z[None], 3 if any(term.startswith(_CLASS) for term in terms) else 1)[0]
            return np.concatenate([parts, z[None], near(z, _CLOSE, np.random.default_rng(0))])

        def row(model: Model, z: np.ndarray) -> str:
            names = ["A", "B", "C", "A − B + C", *[self.say("close")] * _CLOSE]
            return drawing.row(model.sampler(z), names, names)

        return self._on_same_z(state, total, row)

    # Training

    def moments(self, state: State) -> int:
        """The number of moments of the training at which samples were drawn, at least 1."""
        try:
            return max(1, len(self._models.get(state.model).timeline[0]))
        except StageError:
            return 1

    def training(self, state: State) -> str:
        """The samples of fixed z at a moment of the training (from 1)."""

        def samples(model: Model) -> str:
            seen, pictures = model.timeline
            number = min(state.moment, len(seen))
            about = self.say("moment_about", seen=f"{int(seen[number - 1]):,}", number=number, total=len(seen))
            alts = [self.say("moment_alt", number=i) for i in range(1, len(pictures[number - 1]) + 1)]
            return drawing.paragraphs(about) + drawing.row(pictures[number - 1], alts)

        return self._both(state, samples)

    # Discriminator

    def score(self, state: State, uploaded: Path) -> str:
        """The discriminators' scores of an uploaded file, and the nearest training images. Deletes the file."""
        try:
            content = uploaded.read_bytes()
        finally:
            uploaded.unlink()

        def verdict(model: Model) -> str:
            settings = self._prepare_settings(model)
            try:
                picture = pixels.normalise(prepare_image(decode(content, settings), settings))
            except RejectedError as error:
                explanation = self.say(f"reason_{error.reason}")
                return drawing.message(self.say("rejected", reason=error.reason, explanation=explanation))
            return self._verdict(model, picture)

        return self._both(state, verdict)

    def _prepare_settings(self, model: Model) -> Prepare:
        """The settings that prepared the model's training data. Raises StageError if this version cannot read them."""
        height, width, channels = model.sampler.shape
        values = model.data.params if model.data else {"crop": "square", "size": [height, width], "channels": channels}
        try:
            settings = TypeAdapter(Prepare).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(["params", *map(str, first["loc"])])
            raise StageError(
                f"{MANIFEST}: {where}: {first['msg']}; another version of the code prepared its data"
            ) from None
        return dataclasses.replace(settings, max_pixels=min(settings.max_pixels, _MAX_PIXELS))

    def _score(self, model: Model, score: float) -> str:
        return self.say("score_probability" if model.is_probability else "score_number", score=f"{score:.3f}")

    def _verdict(self, model: Model, picture: np.ndarray) -> str:
        """The discriminator's input, its score beside the usual scores, and the nearest training images."""
        score = float(model.scores(picture[None])[0])
        real, samples = model.usual_scores
        lines = [self._score(model, score)]
        for name, others in (("score_samples", samples), ("score_real", real)):
            if len(others):
                share = round(100 * float((others < score).mean()))
                lines.append(self.say(name, share=share, count=f"{len(others):,}"))
        caption = [self.say("input")]
        try:
            neighbours = drawing.heading(self.say("nearest")) + self._neighbours(model, picture)
        except StageError as error:
            neighbours = drawing.message(self.say("error", reason=error))
        return drawing.row(picture[None], caption, caption) + drawing.paragraphs(*lines) + neighbours

    # Inside

    def inside(self, state: State) -> str:
        """The picture of the explored place through the layers of the generator, then of the discriminator."""

        def layers(model: Model, z: np.ndarray) -> str:
            outputs = model.layers("generator", z[None])
            picture = outputs[-1][1]
            figures = [drawing.numbers(z, self.say("inside_z", dimensions=len(z))), *map(self._layer, outputs)]
            generator = drawing.heading(self.say("inside_generator")) + drawing.strip(figures)
            figures = list(map(self._layer, model.layers("discriminator", picture)))
            discriminator = drawing.heading(self.say("inside_discriminator")) + drawing.strip(figures)
            score = drawing.paragraphs(self._score(model, float(model.scores(picture)[0])))
            return generator + discriminator + score

        return self._at_place(state, layers)

    def _layer(self, named_output: tuple[str, np.ndarray]) -> str:
        """A layer's output as a figure; empty if the output is no picture, or only single numbers."""
        name, output = named_output
        if output.ndim != 4 or output.shape[1] < 2:
            return ""
        caption = self.say("inside_layer", name=name, shape=" × ".join(map(str, output.shape[1:])))
        if name == "image":  # the generator's last layer and the discriminator's first: a picture with colours
            return drawing.figure(drawing.image(drawing.png(pixels.to_uint8(output[0])), caption), caption)
        return drawing.channels(output[0], caption, lambda shown, all_: self.say("inside_shown", shown=shown, all=all_))

    def convolve(self, kind: str, matrix: str, kernel: str, number: int = 0) -> str:
        """A convolution of the user's matrix, with the window of one number of the result marked."""
        try:
            convolution = convolutions.convolve(kind, convolutions.matrix_of(matrix), convolutions.matrix_of(kernel))
        except StageError:
            return drawing.message(self.say("convolution_wrong"))
        number = number if 0 <= number < convolution.result.size else 0
        tables = drawing.convolution(convolution, number, self._texts)
        return drawing.paragraphs(self.say(f"about_{kind}")) + tables
