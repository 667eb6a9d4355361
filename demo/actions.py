"""What a person can do on the page: each a function from what it shows to the HTML that it is to show."""

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
from stages.latent import near, resized, slerp
from stages.manifest import Manifest
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings as Prepare
from stages.prepare.shards import prepare_image

LANGUAGES = ("en", "zh")
MOST_BYTES = 20 << 20
_MOST_PIXELS = 50_000_000  # of an upload: 150 MB as RGB
_STEPS, _FRAMES, _FRAME = 9, 16, 80  # pictures of a way, frames of its animation, milliseconds for each
_CLOSE, _NEAREST = 4, 8
_CLASS = "class:"


def words(language: str) -> dict[str, str]:
    """What the page says in a language of LANGUAGES."""
    text = (resources.files("demo") / "words.yaml").read_text(encoding="utf-8")
    return {name: said[language] for name, said in yaml.safe_load(text).items()}


class Actions:
    """What can be done with the models, said in one language."""

    def __init__(self, models: Models, said: Mapping[str, str]) -> None:
        self._models, self._said = models, said

    def say(self, sentence: str, /, **names: object) -> str:
        """A sentence of the page's language."""
        return self._said[sentence].format(**names)

    def models(self) -> list[tuple[str, str]]:
        """The models to choose from, as (label, name)."""
        return [(f"{name} · {self.say('kind_' + kind)}", name) for name, kind in self._models.offered().items()]

    def _each(self, names: Sequence[str], draw: Callable[[Model], str]) -> str:
        """What `draw` makes of each model, beside each other; where it fails, why."""
        sections = []
        for name in dict.fromkeys(name for name in names if name):
            folder = ""
            try:
                model = self._models.get(name)
                folder = f"{model.folder}/"
                sections.append((name, draw(model)))
            except StageError as error:  # where a file lies on this machine is nobody's business
                sections.append((name, drawing.message(self.say("error", what=str(error).replace(folder, "")))))
        return drawing.pair(sections)

    def _on_same_z(
        self, state: State, z_of: Callable[[Model], np.ndarray], draw: Callable[[Model, np.ndarray], str]
    ) -> str:
        """As `_each`, with z (…, dimensions) that are made for the first model and go to both."""
        found: list[np.ndarray] = []

        def drawn(model: Model) -> str:
            if not found:
                found.append(z_of(model))
            ours = found[0].shape[-1]
            if model.sampler.dimensions != ours:
                return drawing.message(self.say("other_dimensions", its=model.sampler.dimensions, ours=ours))
            return draw(model, found[0])

        return self._each((state.model, state.beside), drawn)

    def _at_place(self, state: State, draw: Callable[[Model, np.ndarray], str]) -> str:
        """As `_on_same_z`, with the z (dimensions,) of the place that is explored."""
        return self._on_same_z(state, lambda model: state.place.z(model.directions), draw)

    def _large(self, model: Model, picture: np.ndarray, alt: str, name: str, what: str) -> str:
        """A sample (H, W, C), large, to be saved with the words that say what it is."""
        return drawing.single(picture, alt, self._facts(model, what), name, self.say("download"))

    def _facts(self, model: Model, what: str) -> dict[str, str]:
        return {"Description": what, "Source": f"generator.keras of {model.name}, SHA-256 {model.sha256}"}

    def _source(self, data: Manifest) -> str:
        """What the training images are, with their licence where one is stated."""
        title, licence = data.source["title"], data.source["licence"]
        return str(title) if licence == "not stated" else f"{title} ({licence})"

    def _floor(self, metrics: dict[str, Any]) -> str:
        """The FID of held-out images, where they are as many as the samples: of fewer it is larger for that alone."""
        protocol = metrics.get("protocol", {})  # that of another version may lack either
        few = protocol.get("floor_samples", 0) < protocol.get("samples", 1)
        return "" if few else self.say("facts_floor", floor=f"{metrics['fid_floor']:.2g}")

    def about(self, state: State) -> str:
        """What the chosen models are."""

        def told(model: Model) -> str:
            data, metrics = model.data, model.metrics
            source = self._source(data) if data else self.say("unknown_data")
            parts = [self.say("facts_parameters", parameters=f"{model.generator.count_params():,}")]
            if "best_images_seen" in model.facts:
                parts.append(self.say("facts_seen", seen=f"{model.facts['best_images_seen']:,}"))
            if "fid" in metrics:
                parts.append(self.say("facts_fid", fid=f"{metrics['fid']:.1f}") + self._floor(metrics))
            parts.append(f"SHA-256 {model.sha256[:12]}…")
            return drawing.paragraphs(self.say("lead", data=source), " · ".join(parts))

        return self._each((state.model, state.beside), told)

    def draw(self, state: State) -> str:
        """Samples of consecutive seeds, as buttons."""
        seeds = range(state.first, state.first + state.count)

        def shown(model: Model, z: np.ndarray) -> str:
            pictures = model.sampler(z)
            scaled = f", z times {state.spread:g}" if state.spread != 1 else ""
            facts = self._facts(model, f"Samples of the seeds {seeds[0]} to {seeds[-1]} in order{scaled}, uncurated")
            whole = drawing.png(png.grid(pictures, math.ceil(math.sqrt(len(seeds)))), 2, facts)
            save = drawing.saved(whole, f"seeds-{seeds[0]}-{seeds[-1]}.png", self.say("download"))
            return drawing.choices(pictures, [self.say("seed_alt", seed=seed) for seed in seeds]) + save

        return self._on_same_z(
            state,
            lambda model: np.stack([Place(seed, state.spread).z(model.directions) for seed in seeds]),
            shown,
        )

    def explore(self, state: State) -> str:
        """The picture of a place, large."""
        place = state.place

        def shown(model: Model, z: np.ndarray) -> str:
            what = f"Sample of the place {place} (seed * scale; direction of the first layer: length)"
            alt, name = self.say("seed_alt", seed=place), f"seed-{place.seed}.png"
            return self._large(model, model.sampler(z[None])[0], alt, name, what)

        return self._at_place(state, shown)

    def nearest(self, state: State) -> str:
        """The training images nearest to the picture of a place."""
        return self._at_place(state, lambda model, z: self._nearest(model, model.sampler(z[None])[0]))

    def _nearest(self, model: Model, picture: np.ndarray) -> str:
        found, searched = model.nearest(picture, _NEAREST)
        alts = [self.say("nearest_alt", number=number) for number in range(1, len(found) + 1)]
        return drawing.row(found, alts) + drawing.paragraphs(self.say("nearest_told", count=f"{searched:,}"))

    def tray(self, state: State) -> str:
        """The pinned pictures, as buttons."""
        if not state.pins:
            return drawing.message(self.say("pins_none"))

        def shown(model: Model) -> str:
            pictures = model.sampler(np.stack([pin.z(model.directions) for pin in state.pins]))
            return drawing.choices(pictures, [self.say("unpin", place=pin) for pin in state.pins], kind="tray")

        return self._each((state.model,), shown)

    def ends(self, state: State) -> list[tuple[str, str]]:
        """What a way or a sum can be made of, as (label, value): pins, and the means of classes."""
        try:
            classes = self._models.get(state.model).classes
        except StageError:
            classes = ()
        chosen = [(f"{number} · {pin}", str(pin)) for number, pin in enumerate(state.pins, 1)]
        return chosen + [(self.say("mean_of", name=name), f"{_CLASS}{i}") for i, name in enumerate(classes)]

    def _z_of(self, model: Model, end: str) -> np.ndarray:
        """The z (dimensions,) of a value of `ends`. Raises StageError for what is none."""
        number = end.removeprefix(_CLASS)
        if number != end and number in map(str, range(len(model.classes))):
            mean = model.class_means[int(number)]
            if not np.isfinite(mean).all():
                raise StageError(self.say("undefined_sum"))
            return resized(mean[None])[0]
        place = place_of(end)
        if place is None:
            raise StageError(self.say("no_such", what=end))
        return place.z(model.directions)

    def between(self, state: State) -> str:
        """A way from one place to another as a strip, and the picture at `way` (0 to 1) large."""

        def path(model: Model) -> np.ndarray:
            a, b = self._z_of(model, state.start), self._z_of(model, state.end)
            return np.concatenate([slerp(a, b, _STEPS), slerp(a, b, 101)[[round(state.way * 100)]]])

        def shown(model: Model, z: np.ndarray) -> str:
            pictures = model.sampler(z)
            alts = [self.say("way_alt", percent=round(100 * i / (_STEPS - 1))) for i in range(_STEPS)]
            what = f"{state.way:.0%} of the way from {state.start} to {state.end}, spherical interpolation"
            alt = self.say("way_alt", percent=round(state.way * 100))
            return drawing.row(pictures[:-1], alts) + self._large(model, pictures[-1], alt, "between.png", what)

        return self._on_same_z(state, path, shown)

    def animation(self, state: State) -> str:
        """The way there and back as an animated PNG."""

        def path(model: Model) -> np.ndarray:
            way = slerp(self._z_of(model, state.start), self._z_of(model, state.end), _FRAMES)
            return np.concatenate([way, way[-2:0:-1]])

        def shown(model: Model, z: np.ndarray) -> str:
            facts = self._facts(model, f"From {state.start} to {state.end} and back, spherical interpolation")
            address = drawing.apng(list(pixels.to_uint8(model.sampler(z))), facts, _FRAME)
            save = drawing.saved(address, "between.png", self.say("download_animation"))
            return drawing.figure(drawing.image(address, self.say("animation_alt")) + save, large=True)

        return self._on_same_z(state, path, shown)

    def calculate(self, state: State) -> str:
        """A − B + C: the three, the sum, and four close to it."""
        terms = (state.a, state.b, state.c)

        def total(model: Model) -> np.ndarray:
            parts = [self._z_of(model, term) for term in terms]
            z = parts[0] - parts[1] + parts[2]
            if np.linalg.norm(z) < 1e-3:
                raise StageError(self.say("undefined_sum"))
            # A mean is shorter than a z: a sum with one has the length of the sample stage's, another that of a z.
            z = resized(z[None], 3 if any(term.startswith(_CLASS) for term in terms) else 1)[0]
            return np.concatenate([parts, z[None], near(z, _CLOSE, np.random.default_rng(0))])

        def shown(model: Model, z: np.ndarray) -> str:
            names = ["A", "B", "C", "A − B + C", *[self.say("close")] * _CLOSE]
            return drawing.row(model.sampler(z), names, names)

        return self._on_same_z(state, total, shown)

    def moments(self, state: State) -> int:
        """At how many moments of the training samples were drawn, at least 1."""
        try:
            return max(1, len(self._models.get(state.model).timeline[0]))
        except StageError:
            return 1

    def training(self, state: State) -> str:
        """The samples of fixed z at a moment of the training (from 1)."""

        def shown(model: Model) -> str:
            seen, pictures = model.timeline
            at = min(state.moment, len(seen)) - 1
            told = self.say("moment_told", seen=f"{int(seen[at]):,}", at=at + 1, total=len(seen))
            alts = [self.say("moment_alt", number=number) for number in range(1, len(pictures[at]) + 1)]
            return drawing.paragraphs(told) + drawing.row(pictures[at], alts)

        return self._each((state.model, state.beside), shown)

    def ask(self, state: State, uploaded: Path) -> str:
        """What the discriminators say of an uploaded file, which is deleted; and the nearest training images."""
        try:
            content = uploaded.read_bytes()
        finally:
            uploaded.unlink()

        def shown(model: Model) -> str:
            height, _, channels = model.sampler.shape
            known = model.data.params if model.data else {"crop": "square", "size": height, "channels": channels}
            try:
                settings = TypeAdapter(Prepare).validate_python(known)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(["params", *map(str, first["loc"])])
                raise StageError(
                    f"{MANIFEST}: {where}: {first['msg']}; another version of the code prepared its data"
                ) from None
            settings = dataclasses.replace(settings, max_pixels=min(settings.max_pixels, _MOST_PIXELS))
            try:
                picture = pixels.normalise(prepare_image(decode(content, settings), settings))
            except RejectedError as error:
                explained = self.say(f"reason_{error.reason}")
                return drawing.message(self.say("rejected", reason=error.reason, explained=explained))
            return self._judged(model, picture)

        return self._each((state.model, state.beside), shown)

    def _score(self, model: Model, score: float) -> str:
        return self.say("score_probability" if model.is_probability else "score_number", score=f"{score:.3f}")

    def _judged(self, model: Model, picture: np.ndarray) -> str:
        score = float(model.scores(picture[None])[0])
        real, samples = model.usual_scores
        told = [self._score(model, score)]
        for name, others in (("score_samples", samples), ("score_real", real)):
            if len(others):
                share = round(100 * float((others < score).mean()))
                told.append(self.say(name, share=share, count=f"{len(others):,}"))
        seen = drawing.row(picture[None], [self.say("sees")], [self.say("sees")])
        try:
            alike = drawing.heading(self.say("nearest")) + self._nearest(model, picture)
        except StageError as error:
            alike = drawing.message(self.say("error", what=error))
        return seen + drawing.paragraphs(*told) + alike

    def inside(self, state: State) -> str:
        """The picture of a place as it comes about in the generator, and as it is taken apart in the discriminator."""

        def shown(model: Model, z: np.ndarray) -> str:
            made = model.layers("generator", z[None])
            figures = [drawing.numbers(z, self.say("inside_z", dimensions=len(z))), *map(self._layer, made)]
            generated = drawing.heading(self.say("inside_generator")) + drawing.strip(figures)
            picture = made[-1][1]
            figures = list(map(self._layer, model.layers("discriminator", picture)))
            judged = drawing.heading(self.say("inside_discriminator")) + drawing.strip(figures)
            return generated + judged + drawing.paragraphs(self._score(model, float(model.scores(picture)[0])))

        return self._at_place(state, shown)

    def _layer(self, given: tuple[str, np.ndarray]) -> str:
        """What a layer gives, as a figure; nothing for one that only reshapes, or gives single numbers."""
        name, output = given
        if output.ndim != 4 or output.shape[1] < 2:
            return ""
        told = self.say("inside_layer", name=name, shape=" × ".join(map(str, output.shape[1:])))
        if name == "image":  # the generator's last and the discriminator's first, which has colours
            return drawing.figure(drawing.image(drawing.png(pixels.to_uint8(output[0])), told), told)
        return drawing.channels(output[0], told, lambda some, of: self.say("inside_shown", shown=some, all=of))

    def convolve(self, kind: str, matrix: str, kernel: str, at: int = 0) -> str:
        """A convolution on a matrix of one's own, with the window of the result's number `at` marked."""
        try:
            worked = convolutions.work(kind, convolutions.matrix_of(matrix), convolutions.matrix_of(kernel))
        except StageError:
            return drawing.message(self.say("convolution_wrong"))
        at = at if 0 <= at < worked.result.size else 0
        return drawing.paragraphs(self.say(f"told_{kind}")) + drawing.convolution(worked, at, self._said)
