"""The trained models that the page offers, and the computations on each."""

import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from demo import revisions
from demo.revisions import WORKSPACE, Revision
from demo.state import DIRECTIONS
from stages import artifacts, manifest, neighbours, pixels, records
from stages.errors import StageError
from stages.latent import Sampler, directions, latent
from stages.manifest import Manifest
from stages.metrics import files as metrics_files
from stages.networks import judge as judges
from stages.networks import saving
from stages.pixels import batch_size_for, to_uint8

GENERATOR, DISCRIMINATOR, FACTS = "models/generator.keras", "models/discriminator.keras", "models/model.json"
TIMELINE, MANIFEST = "models/timeline.npz", f"data/prepared/{manifest.FILE}"
JUDGE, DATA = "models/features", "data/prepared"

# A picture's score is compared with the scores of this many real images and samples.
_SCORED, _SCORED_AT_ONCE = 1000, 100
# The search for the nearest training images holds their thumbnails (a byte per value) in at most this much memory.
_THUMBNAIL_BYTES = 512 << 20
_SEARCHED_AT_ONCE = 20_000
# The number of models in memory, and the seconds before the list of revisions is read again.
_MAX_MODELS = 4
_LIST_SECONDS = 10.0

T = TypeVar("T")


def _metrics(folder: Path) -> dict[str, Any]:
    """The metrics with their protocol; empty if the folder has none."""
    parts = (artifacts.read_json(folder / name) if (folder / name).exists() else {} for name in metrics_files.FILES)
    return metrics_files.joined(*parts)


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
    """A trained model from a project's folder, or from the copy of a revision.

    Only the generator is required. A property or method that needs another file raises StageError if that is missing.
    `prepared` is a folder of prepared images. They are used only if this model was trained on them.
    """

    def __init__(self, name: str, folder: Path, prepared: Path) -> None:
        self.name = name
        self.folder, self._images, self._lock = folder, prepared, threading.RLock()
        self.generator = saving.load(folder / GENERATOR)
        if saving.classes(folder / GENERATOR):
            raise StageError(
                "a conditional model, which this page does not draw; use `python -m stages.sample --every-class "
                "--seeds 0-7 --out x.png`"
            )
        self.sha256 = artifacts.sha256(folder / GENERATOR)
        self.sampler = Sampler(self.generator)
        self.facts = artifacts.read_json(folder / FACTS) if (folder / FACTS).exists() else {}
        self.metrics = _metrics(folder)
        self.directions = directions(self.generator, DIRECTIONS)
        for count in (1, 2, 3):  # TensorFlow compiles for one batch size, for a second, and then for any
            self.sampler(np.zeros((count, self.sampler.dimensions), np.float32))

    @_once
    def data(self) -> Manifest | None:
        """The manifest of the training data; None if it is missing."""
        folder = next(filter(self._is_training_data, (self.folder / DATA, self._images)), None)
        return manifest.read(folder) if folder else None

    def _is_training_data(self, folder: Path) -> bool:
        path = folder / manifest.FILE
        return path.exists() and artifacts.sha256(path) == self.facts.get("data_manifest_sha256")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the data's classes; empty without classes or without a judge of the labels."""
        data = self.data
        has_judge = (self.folder / JUDGE / judges.FILE).exists() and judges.is_labelled(self.folder / JUDGE)
        return data.classes if data and has_judge else ()

    @_once
    def class_means(self) -> np.ndarray:
        """The mean z of each class, float32 (K, dimensions); NaN for a class that no sample falls into."""
        judge = judges.load(self.folder / JUDGE, self.data) if self.data and self.classes else None
        if judge is None:
            raise StageError("this model has no classes")
        return self.sampler.class_means(lambda images: judge(images).classes, len(self.classes))

    @_once
    def timeline(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of images seen (T,), and the samples of fixed z at each, float32 (T, N, H, W, C) in [-1,1]."""
        seen, pictures = artifacts.read_arrays(self.folder / TIMELINE, "images_seen", "pictures")
        return seen, pixels.normalise(pictures)

    @_once
    def discriminator(self) -> keras.Model:
        """The discriminator."""
        return saving.load(self.folder / DISCRIMINATOR)

    @_once
    def _discriminate(self) -> Any:
        model = self.discriminator
        return tf.function(lambda images: model(images, training=False), reduce_retracing=True)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The discriminator's scores of images (N, H, W, C), float32 (N,): probabilities if `is_probability`."""
        outputs = self._discriminate(tf.constant(images)).numpy()[:, 0]
        return 1 / (1 + np.exp(-outputs)) if self.is_probability else outputs

    @property
    def is_probability(self) -> bool:
        """Whether `scores` are probabilities of "real". D's output for one image is none if its loss compares two."""
        return bool(self.facts.get("logistic", True)) and not self.facts.get("paired", False)

    def _prepared(self) -> Manifest:
        """The manifest of the prepared images. Raises StageError if this model was not trained on them."""
        if not self._is_training_data(self._images):
            raise StageError("the images that this model was trained on are not in data/prepared")
        return manifest.read(self._images)

    @_once
    def usual_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """The scores of the first 1,000 held-out real images (empty if they are missing) and of 1,000 samples."""
        samples = self.sampler(latent(range(_SCORED), self.sampler.dimensions))
        scores = np.concatenate([self.scores(part) for part in np.array_split(samples, _SCORED // _SCORED_AT_ONCE)])
        try:
            data = self._prepared()
        except StageError:
            return np.empty(0, np.float32), scores
        read = records.batches(self._images, data, "test", _SCORED_AT_ONCE).take(_SCORED // _SCORED_AT_ONCE)
        return np.concatenate([self.scores(images.numpy()) for images, _ in read]), scores

    @_once
    def _thumbnails(self) -> np.ndarray:
        """Thumbnails of the training images, as many as fit into memory: uint8 (N, 16 · 16 · C)."""
        room = _THUMBNAIL_BYTES // (neighbours.SIDE**2 * self.sampler.shape[2])
        parts: list[np.ndarray] = []
        for images, _ in records.batches(self._images, self._prepared(), "train", batch_size_for(self.sampler.shape)):
            parts.append(to_uint8(neighbours.thumbnails(images.numpy())))
            room -= len(images)
            if room <= 0:
                break
        return np.concatenate(parts)

    def nearest(self, image: np.ndarray, k: int) -> tuple[np.ndarray, int]:
        """The `k` training images nearest to one (H, W, C), float32 (k, H, W, C), and how many were searched.

        Raises StageError if the images that the model was trained on are missing.
        """
        searched = self._thumbnails
        search = neighbours.Nearest(neighbours.thumbnails(image[None])[None], min(k, len(searched)))
        for first in range(0, len(searched), _SEARCHED_AT_ONCE):
            search.add(pixels.normalise(searched[first : first + _SEARCHED_AT_ONCE]))
        images = records.images_at(self._images, self._prepared(), "train", search.indices[0].tolist())
        return images, len(searched)

    @_once
    def _insides(self) -> dict[str, Any]:
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        return {
            name: keras.Model(model.inputs, [layer.output for layer in model.layers])
            for name, model in networks.items()
        }

    def layers(self, network: str, value: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The name and the output of each layer of the `generator` or `discriminator` for one input (1, …)."""
        model = self._insides[network]
        outputs = model(tf.constant(value), training=False)
        return [(layer.name, np.asarray(output)) for layer, output in zip(model.layers, outputs, strict=True)]


class Models:
    """The models of a project by the names that the page offers. The four used last stay in memory."""

    def __init__(self, project: Path) -> None:
        self._project, self._lock, self._loading = project, threading.Lock(), threading.Lock()
        self._loaded: OrderedDict[str, Model] = OrderedDict()
        self._listed: tuple[float, dict[str, Revision]] = (0.0, {})
        self._copies = tempfile.TemporaryDirectory(prefix="demo-revisions-")

    def close(self) -> None:
        """Remove the copies of revisions."""
        self._copies.cleanup()

    def _revisions(self) -> dict[str, Revision]:
        when, listed = self._listed
        if time.monotonic() - when > _LIST_SECONDS:
            listed = revisions.offered(self._project)
            listed.pop(WORKSPACE, None)
            self._listed = time.monotonic(), listed
        return listed

    def offered(self) -> dict[str, str]:
        """Names and their kinds: first `workspace` if models/ has a model, then Git's and DVC's revisions."""
        here = {WORKSPACE: "folder"} if (self._project / GENERATOR).exists() else {}
        return here | {name: revision.kind for name, revision in self._revisions().items()}

    def get(self, name: str) -> Model:
        """The model of an offered name. Raises StageError for any other name, and if its files cannot be fetched."""
        revision = self._revisions().get(name)
        if revision is None and not (name == WORKSPACE and (self._project / GENERATOR).exists()):
            raise StageError(f"no model {name!r} is offered")
        # models/ may be retrained while the page is open.
        key = revision.commit if revision else str((self._project / GENERATOR).stat().st_mtime_ns)
        model = self._find(key)
        if model is None:
            with self._loading:  # one at a time; users of models in memory do not wait
                model = self._find(key) or self._add(key, self._load(revision))
        return model

    def _find(self, key: str) -> Model | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _add(self, key: str, model: Model) -> Model:
        with self._lock:
            self._loaded[key] = model
            if len(self._loaded) > _MAX_MODELS:
                self._loaded.popitem(last=False)
        return model

    def _load(self, revision: Revision | None) -> Model:
        if revision is None:
            return Model(WORKSPACE, self._project, self._project / DATA)
        folder = Path(self._copies.name) / revision.commit
        # A model that has left memory may still be reading from its copy, so a copy never changes.
        if not folder.exists():
            part = folder.with_suffix(".part")
            files = (GENERATOR, DISCRIMINATOR, FACTS, TIMELINE, MANIFEST, *metrics_files.FILES)
            revisions.fetch(self._project, revision, files, (JUDGE,), part)
            if not (part / GENERATOR).exists():
                raise StageError(f"{revision.name} ({revision.commit[:7]}): has no {GENERATOR}")
            part.rename(folder)
        return Model(revision.name, folder, self._project / DATA)
