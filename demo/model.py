"""One trained model: what its page is made of, and what needs Python."""

import base64
import dataclasses
import io
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import tensorflow as tf
from pydantic import TypeAdapter, ValidationError

from demo.errors import SHOWN, RefusedError
from stages import artifacts, manifest, neighbours, pixels, png, records
from stages.errors import StageError
from stages.inversion import Inverter, Search
from stages.latent import Sampler
from stages.manifest import Manifest
from stages.networks import judge as judges
from stages.networks import saving
from stages.pixels import batch_size_for, to_uint8
from stages.play import stage
from stages.play.contents import encoded
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings as Prepare
from stages.prepare.shards import prepare_image
from stages.progress import Progress
from stages.workspace import Workspace

MAX_PIXELS = 50_000_000  # of an upload: 150 MB as RGB
_NEAREST = 8
# A picture's score is compared with the scores of this many real images and samples.
_SCORED, _SCORED_AT_ONCE = 1000, 100
# The search for the nearest training images holds their thumbnails (a byte per value) in at most this much memory.
_THUMBNAIL_BYTES = 512 << 20
_SEARCHED_AT_ONCE = 20_000
# Half the steps of `python -m stages.invert`, in half its time; and an end for a network that is too large for that.
_SEARCH, _SEARCH_SECONDS = Search(restarts=8, steps=500), 120.0

tf.get_logger().setLevel(logging.ERROR)  # it warns of the first batches of new sizes, which are expected here

T = TypeVar("T")


def _once(work: Callable[[Any], T]) -> T:
    """A property that is computed once, by one thread while the others wait. An error is not kept."""
    name = f"_kept_{work.__name__}"

    def get(self: "Model") -> T:
        with self._lock:
            if name not in self.__dict__:
                self.__dict__[name] = work(self)
            return self.__dict__[name]

    return property(get, doc=work.__doc__)  # type: ignore[return-value]


class Model:
    """A trained model in the files of a project's folder. Raises StageError if they cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.RLock()
        self._prepared, self._data = folder / "data/prepared", manifest.read(folder / "data/prepared")
        self._facts = artifacts.read_json(folder / "models/model.json")
        path = folder / "models/generator.keras"
        self.sampler = Sampler.load(path, self._data.shape, self._data.classes)

    def payload(self) -> dict[str, Any]:
        """What the play stage packs of this model."""
        return stage.payload(Workspace(self._folder, self._folder))

    def weights(self, label: Any) -> np.ndarray | None:
        """The input of one class, float32 (1, K); None for an unconditional model. Raises RefusedError for no class."""
        classes = self.sampler.classes
        if classes is None:
            return None
        if not isinstance(label, int) or not 0 <= label < len(classes.names):
            raise RefusedError(400, "bad_request", f"class: expected 0 to {len(classes.names) - 1}, got {label!r}")
        return classes.vectors([label])

    def sample(self, z: Any, label: Any) -> np.ndarray:
        """The sample of a z, a list of numbers: float32 (H, W, C). Raises RefusedError for anything else."""
        try:
            vector = np.asarray(z, np.float32)
        except (TypeError, ValueError):
            vector = np.empty(0, np.float32)
        if vector.shape != (self.sampler.dimensions,) or not np.isfinite(vector).all():
            raise RefusedError(400, "bad_request", f"z: expected {self.sampler.dimensions} finite numbers")
        return self.sampler(vector[None], self.weights(label))[0]

    # The training images

    def _training_data(self) -> Manifest:
        """The manifest of the prepared images. Raises RefusedError if this model was not trained on them."""
        path = self._prepared / manifest.FILE
        is_own = artifacts.sha256(path) == self._facts.get("data_manifest_sha256")
        if not is_own or not all((self._prepared / shard.name).exists() for shard in self._data.splits["train"].shards):
            raise RefusedError(
                SHOWN,
                "no_data",
                "the images that this model was trained on are not in data/prepared; `dvc pull` or `make repro` puts "
                "them there",
            )
        return self._data

    @_once
    def _thumbnails(self) -> np.ndarray:
        """Thumbnails of the training images, as many as fit into memory: uint8 (N, 16 · 16 · C)."""
        room = _THUMBNAIL_BYTES // (neighbours.SIDE**2 * self.sampler.shape[2])
        parts: list[np.ndarray] = []
        for images, _ in records.batches(
            self._prepared, self._training_data(), "train", batch_size_for(self.sampler.shape)
        ):
            parts.append(to_uint8(neighbours.thumbnails(images.numpy())))
            room -= len(images)
            if room <= 0:
                break
        return np.concatenate(parts)

    def nearest(self, image: np.ndarray) -> dict[str, Any]:
        """The training images nearest to one (H, W, C): `pictures`, and the number of those `searched`.

        Raises RefusedError if the images that the model was trained on are missing.
        """
        data, searched = self._training_data(), self._thumbnails
        search = neighbours.Nearest(neighbours.thumbnails(image[None])[None], min(_NEAREST, len(searched)))
        for first in range(0, len(searched), _SEARCHED_AT_ONCE):
            search.add(pixels.normalise(searched[first : first + _SEARCHED_AT_ONCE]))
        images = records.images_at(self._prepared, data, "train", search.indices[0].tolist())
        return {"pictures": list(map(address, images)), "searched": len(searched)}

    # The discriminator

    def prepare(self, content: bytes) -> np.ndarray:
        """A picture in a file's bytes as the training images were prepared: float32 (H, W, C) in [-1,1].

        Raises RefusedError for a file that the prepare stage would reject.
        """
        settings = self._prepare_settings()
        try:
            return pixels.normalise(prepare_image(decode(content, settings), settings))
        except RejectedError as error:
            detail = f": {error.detail}" if error.detail else ""
            raise RefusedError(
                SHOWN, error.reason, f"this picture cannot be used ({error.reason}{detail}); choose a JPEG or a PNG"
            ) from None

    def _prepare_settings(self) -> Prepare:
        # The labels are not needed, and the manifest's form of a column of labels is not that of params.yaml.
        params = {name: value for name, value in self._data.params.items() if name != "labels"}
        try:
            settings = TypeAdapter(Prepare).validate_python(params)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(["params", *map(str, first["loc"])])
            raise StageError(
                f"data/prepared/manifest.json: {where}: {first['msg']}; another version of the code prepared its data"
            ) from None
        return dataclasses.replace(settings, max_pixels=min(settings.max_pixels, MAX_PIXELS))

    @_once
    def _discriminate(self) -> Any:
        model = saving.load(self._folder / "models/discriminator.keras")
        classes = self.sampler.classes
        return tf.function(
            lambda *inputs: model(list(inputs) if classes else inputs[0], training=False), reduce_retracing=True
        )

    def _outputs(self, images: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """D's outputs for images (N, H, W, C), float32 (N,): probabilities if `_is_probability`."""
        inputs = [images] if weights is None else [images, weights]
        outputs = self._discriminate(*map(tf.constant, inputs)).numpy()[:, 0]
        return 1 / (1 + np.exp(-outputs)) if self._is_probability else outputs

    @property
    def _is_probability(self) -> bool:
        """Whether D's output for one image is a probability of "real". It is none if the loss compares two images."""
        return bool(self._facts.get("logistic", True)) and not self._facts.get("paired", False)

    @_once
    def _usual_outputs(self) -> tuple[np.ndarray, np.ndarray]:
        """D's outputs for 1,000 samples, and for the first 1,000 held-out images (empty if they are missing)."""
        samples = [
            self._outputs(self.sampler.images(seeds), self.sampler.weights(seeds))
            for first in range(0, _SCORED, _SCORED_AT_ONCE)
            for seeds in [range(first, first + _SCORED_AT_ONCE)]
        ]
        real = [np.empty(0, np.float32)]
        try:
            for images, labels in records.batches(self._prepared, self._training_data(), "test", _SCORED_AT_ONCE).take(
                _SCORED // _SCORED_AT_ONCE
            ):
                classes = self.sampler.classes
                real.append(self._outputs(images.numpy(), classes.vectors(labels.numpy()) if classes else None))
        except StageError:
            pass  # the samples alone are compared
        return np.concatenate(samples), np.concatenate(real)

    def judge(self, image: np.ndarray, label: Any) -> dict[str, Any]:
        """D's answer for an image (H, W, C): its `output`, and of how many others' outputs that is higher than."""
        output = float(self._outputs(image[None], self.weights(label))[0])
        samples, real = self._usual_outputs
        return {
            "picture": address(image),
            "output": output,
            "probability": self._is_probability,
            "samples": {"share": float((samples < output).mean()), "count": len(samples)},
            "real": {"share": float((real < output).mean()), "count": len(real)} if len(real) else None,
        }

    # Back to z

    @_once
    def _inverter(self) -> "_Inverter":
        folder = self._folder / "models/features"
        return _Inverter(self.sampler, judges.load(folder, self._data) if folder.exists() else None)

    def invert(self, image: np.ndarray, tell: Callable[[float], None]) -> dict[str, Any]:
        """The z of the sample nearest to an image (H, W, C), for one caller at a time.

        `tell` gets the share that is done, and may raise an error to end the search. Raises RefusedError if it takes
        too long.
        """
        ends = time.monotonic() + _SEARCH_SECONDS

        def told(share: float) -> None:
            if time.monotonic() > ends:
                raise RefusedError(
                    SHOWN, "too_slow", "the search takes too long for the page; `python -m stages.invert` has no limit"
                )
            tell(share)

        told(0)
        self._inverter.tell = told
        found = self._inverter("demo: back to z", image[None], _SEARCH)
        classes = self.sampler.classes
        return {
            "z": encoded(found.z[0]),
            "class": int(classes.of_seeds(found.seeds)[0]) if classes else None,
            "picture": address(image),
            "sample": address(found.samples[0]),
            "pixels": float(found.pixels[0]),
            "random": self._inverter.random_pixels,
        }


class _Inverter(Inverter):
    """Tells the share of the steps that are done."""

    tell: Callable[[float], None]

    def _invert(
        self, images: np.ndarray, starts: np.ndarray, steps: int, progress: Progress
    ) -> tuple[np.ndarray, np.ndarray]:
        told = cast(Progress, _Told(progress, lambda done: self.tell(done / steps)))
        return super()._invert(images, starts, steps, told)


class _Told:
    """A progress that also calls a function with the units that are done."""

    def __init__(self, progress: Progress, tell: Callable[[int], None]) -> None:
        self._progress, self._tell = progress, tell

    def advance(self, units: int) -> None:
        """Count `units` more."""
        self._progress.advance(units)
        self._tell(self._progress.done)


def address(image: np.ndarray) -> str:
    """An image float32 (H, W, C) in [-1,1] as the data URL of a PNG."""
    file = io.BytesIO()
    png.save_png(to_uint8(image), file, 1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
