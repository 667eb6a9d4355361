"""What the page asks of a trained model, and the models of the revisions that it offers."""

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
from stages.networks import judge as judges
from stages.networks import saving
from stages.pixels import batch_size_for, to_uint8

GENERATOR, DISCRIMINATOR, FACTS = "models/generator.keras", "models/discriminator.keras", "models/model.json"
TIMELINE, METRICS, MANIFEST = "models/timeline.npz", "reports/metrics.json", f"data/prepared/{manifest.FILE}"
JUDGE, DATA = "models/features", "data/prepared"

# Real images and samples that a picture's score is held against.
_COMPARED, _SCORED_AT_ONCE = 1000, 100
# Training images are searched by their thumbnails, a byte for each value, in so many bytes at most.
_THUMBNAIL_BYTES = 512 << 20
_SEARCHED_AT_ONCE = 20_000
# Models held at a time, and seconds for which the list of revisions is not read again.
_HELD = 4
_LISTED_FOR = 10.0

T = TypeVar("T")


def _once(work: Callable[[Any], T]) -> T:
    """A property that is worked out at its first use, by one thread while the others wait; an error is not kept."""
    name = f"_kept_{work.__name__}"

    def get(self: "Model") -> T:
        with self._lock:
            if name not in self.__dict__:
                self.__dict__[name] = work(self)
            return self.__dict__[name]

    return property(get, doc=work.__doc__)  # type: ignore[return-value]


class Model:
    """A trained model from a project's folder, or from what was copied of a revision.

    The generator must be there; what needs another file that is not raises StageError when it is asked for.
    `prepared` is a folder of prepared images: they are used where they are the ones that this model was trained on.
    """

    def __init__(self, name: str, folder: Path, prepared: Path) -> None:
        self.name = name
        self.folder, self._images, self._lock = folder, prepared, threading.RLock()
        self.generator = saving.load(folder / GENERATOR)
        self.sha256 = artifacts.sha256(folder / GENERATOR)
        self.sampler = Sampler(self.generator)
        self.facts = artifacts.read_json(folder / FACTS) if (folder / FACTS).exists() else {}
        self.metrics = artifacts.read_json(folder / METRICS) if (folder / METRICS).exists() else {}
        self.directions = directions(self.generator, DIRECTIONS)
        for count in (1, 2, 3):  # TensorFlow compiles for one number of images, for another, and then for any
            self.sampler(np.zeros((count, self.sampler.dimensions), np.float32))

    @_once
    def data(self) -> Manifest | None:
        """What the model's data says of itself; None where that is not there."""
        folder = next(filter(self._are_its_own, (self.folder / DATA, self._images)), None)
        return manifest.read(folder) if folder else None

    def _are_its_own(self, folder: Path) -> bool:
        path = folder / manifest.FILE
        return path.exists() and artifacts.sha256(path) == self.facts.get("data_manifest_sha256")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the data's classes, where there are classes and a judge to tell them."""
        data = self.data
        return data.classes if data and (self.folder / JUDGE / judges.FILE).exists() else ()

    @_once
    def class_means(self) -> np.ndarray:
        """The mean z of each class, float32 (K, dimensions); NaN for a class that no sample falls into."""
        judge = judges.load(self.folder / JUDGE, self.data) if self.data and self.classes else None
        if judge is None:
            raise StageError("this model has no classes")
        return self.sampler.class_means(lambda images: judge(images).classes, len(self.classes))

    @_once
    def timeline(self) -> tuple[np.ndarray, np.ndarray]:
        """Images seen (T,) and the samples of fixed z at each of these, float32 (T, N, H, W, C) in [-1,1]."""
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
        """What the discriminator says of images (N, H, W, C), float32 (N,): a probability where its loss has one."""
        outputs = self._discriminate(tf.constant(images)).numpy()[:, 0]
        return 1 / (1 + np.exp(-outputs)) if self.is_probability else outputs

    @property
    def is_probability(self) -> bool:
        """Whether `scores` are probabilities of "real"."""
        return bool(self.facts.get("logistic", True))

    def _prepared(self) -> Manifest:
        """The prepared images in the project's folder. Raises StageError where they are not this model's own."""
        if not self._are_its_own(self._images):
            raise StageError("the images that this model was trained on are not in data/prepared")
        return manifest.read(self._images)

    @_once
    def usual_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """The scores of the first 1,000 held-out real images (none where they are not here) and of as many samples."""
        samples = self.sampler(latent(range(_COMPARED), self.sampler.dimensions))
        scores = np.concatenate([self.scores(part) for part in np.array_split(samples, _COMPARED // _SCORED_AT_ONCE)])
        try:
            data = self._prepared()
        except StageError:
            return np.empty(0, np.float32), scores
        read = records.batches(self._images, data, "test", _SCORED_AT_ONCE).take(_COMPARED // _SCORED_AT_ONCE)
        return np.concatenate([self.scores(images.numpy()) for images, _ in read]), scores

    @_once
    def _thumbnails(self) -> np.ndarray:
        """Those of the training images, as many as there is room for: uint8 (N, 16 · 16 · C)."""
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

        Raises StageError where the images that the model was trained on are not here.
        """
        known = self._thumbnails
        search = neighbours.Nearest(neighbours.thumbnails(image[None]), min(k, len(known)))
        for first in range(0, len(known), _SEARCHED_AT_ONCE):
            search.add(pixels.normalise(known[first : first + _SEARCHED_AT_ONCE]))
        return records.at(self._images, self._prepared(), "train", search.indices[0].tolist()), len(known)

    @_once
    def _insides(self) -> dict[str, Any]:
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        return {
            name: keras.Model(model.inputs, [layer.output for layer in model.layers])
            for name, model in networks.items()
        }

    def layers(self, network: str, value: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The name of each layer of the `generator` or `discriminator`, and what it gives for one input (1, …)"""
        model = self._insides[network]
        outputs = model(tf.constant(value), training=False)
        return [(layer.name, np.asarray(output)) for layer, output in zip(model.layers, outputs, strict=True)]


class Models:
    """The models of a project by the names that the page offers, the last four used in memory."""

    def __init__(self, project: Path) -> None:
        self._project, self._lock, self._loading = project, threading.Lock(), threading.Lock()
        self._held: OrderedDict[str, Model] = OrderedDict()
        self._listed: tuple[float, dict[str, Revision]] = (0.0, {})
        self._fetched = tempfile.TemporaryDirectory(prefix="demo-revisions-")

    def close(self) -> None:
        """Remove what was copied of revisions."""
        self._fetched.cleanup()

    def _revisions(self) -> dict[str, Revision]:
        at, found = self._listed
        if time.monotonic() - at > _LISTED_FOR:
            found = {name: known for name, known in revisions.offered(self._project).items() if name != WORKSPACE}
            self._listed = time.monotonic(), found
        return found

    def offered(self) -> dict[str, str]:
        """Names and their kinds: what models/ holds first (`workspace`, where there is one), then Git's and DVC's."""
        here = {WORKSPACE: "folder"} if (self._project / GENERATOR).exists() else {}
        return here | {name: revision.kind for name, revision in self._revisions().items()}

    def get(self, name: str) -> Model:
        """The model of an offered name. Raises StageError for any other name, and where its files cannot be had."""
        revision = self._revisions().get(name)
        if revision is None and not (name == WORKSPACE and (self._project / GENERATOR).exists()):
            raise StageError(f"no model {name!r} is offered")
        # What models/ holds may be trained anew while the page is open.
        key = revision.commit if revision else str((self._project / GENERATOR).stat().st_mtime_ns)
        model = self._kept(key)
        if model is None:
            with self._loading:  # one at a time, while those who look at models that are held go on
                model = self._kept(key) or self._keep(key, self._load(revision))
        return model

    def _kept(self, key: str) -> Model | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def _keep(self, key: str, model: Model) -> Model:
        with self._lock:
            self._held[key] = model
            if len(self._held) > _HELD:
                self._held.popitem(last=False)
        return model

    def _load(self, revision: Revision | None) -> Model:
        if revision is None:
            return Model(WORKSPACE, self._project, self._project / DATA)
        folder = Path(self._fetched.name) / revision.commit
        if not folder.exists():  # else it stays as it is: a model that is no longer held may still be read from
            part = folder.with_suffix(".part")
            files = (GENERATOR, DISCRIMINATOR, FACTS, TIMELINE, METRICS, MANIFEST)
            revisions.fetch(self._project, revision, files, (JUDGE,), part)
            if not (part / GENERATOR).exists():
                raise StageError(f"{revision.name} ({revision.commit[:7]}): it has no {GENERATOR}")
            part.rename(folder)
        return Model(revision.name, folder, self._project / DATA)
