"""The models that the page offers: the one in models/, and those of tags, branches and experiments."""

import sys
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo import revisions
from demo.errors import SHOWN, RefusedError
from demo.revisions import WORKSPACE, Revision
from stages import artifacts, manifest, shell
from stages.errors import StageError
from stages.play import assembly

if TYPE_CHECKING:
    from demo.model import Model  # it loads TensorFlow, which a page from Git does not need

GENERATOR, PAGE, DATA = "models/generator.keras", "reports/play.html", "data/prepared"
_MANIFEST = f"{DATA}/{manifest.FILE}"
# What the page is made of. The page in Git comes first: it is there if nothing else can be fetched.
_FILES = (PAGE, GENERATOR, "models/discriminator.keras", "models/model.json", "models/timeline.npz", _MANIFEST)
_FOLDERS = ("models/features", "reports/evaluate")
# The number of models in memory, and the seconds before the list of revisions is read again.
_MAX_MODELS = 4
_LIST_SECONDS = 10.0


@dataclass(frozen=True)
class Offered:
    """A model to play with: its name, and the payload of its page.

    `model` computes what needs Python. If it is None, the payload is that of a committed page, and `missing` says why.
    """

    name: str
    payload: dict[str, Any]
    model: "Model | None"
    missing: str = ""

    def python(self) -> "Model":
        """The model. Raises RefusedError if there is only its page."""
        if self.model is None:
            raise RefusedError(SHOWN, "no_model", self.missing)
        return self.model


class Models:
    """The models of a project by the names that the page offers. The four used last stay in memory."""

    def __init__(self, project: Path) -> None:
        self._project, self._lock, self._loading = project.resolve(), threading.Lock(), threading.Lock()
        self._loaded: OrderedDict[str, Offered] = OrderedDict()
        self._listed: tuple[float, dict[str, Revision]] = (-_LIST_SECONDS, {})
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

    def _here(self) -> Path | None:
        """The generator in models/, else the committed page; None without both."""
        return next((path for name in (GENERATOR, PAGE) if (path := self._project / name).exists()), None)

    def offered(self) -> dict[str, str]:
        """Names and their kinds: first `workspace` (kind `folder` or `page`), then Git's and DVC's revisions."""
        here = self._here()
        kinds = {WORKSPACE: "folder" if here.suffix == ".keras" else "page"} if here else {}
        return kinds | {name: revision.kind for name, revision in self._revisions().items()}

    def first(self) -> Offered:
        """The model that the page starts with. Raises StageError if there is none, or if it cannot be loaded."""
        name = next(iter(self.offered()), None)
        if name is None:
            raise artifacts.missing(self._project / GENERATOR)
        return self.get(name)

    def get(self, name: str) -> Offered:
        """The model of an offered name. Raises StageError for any other name, and if its files cannot be used."""
        here, revision = self._here(), self._revisions().get(name)
        if revision is None and not (name == WORKSPACE and here):
            raise RefusedError(
                404, "bad_request", f"no model {name!r} is offered; choose one of {', '.join(self.offered())}"
            )
        # The files here may be made anew while the page is open.
        key = revision.commit if revision else f"{here} {here.stat().st_mtime_ns}"  # type: ignore[union-attr]
        found = self._find(key)
        if found is None:
            with self._loading:  # one at a time; users of models in memory do not wait
                found = self._find(key) or self._add(key, self._load(name, revision))
        return found

    def _find(self, key: str) -> Offered | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _add(self, key: str, offered: Offered) -> Offered:
        with self._lock:
            if offered.model or offered.name == WORKSPACE:  # the files of a revision may be fetched later
                self._loaded[key] = offered
            if len(self._loaded) > _MAX_MODELS:
                self._loaded.popitem(last=False)
        return offered

    def _load(self, name: str, revision: Revision | None) -> Offered:
        """The model of a revision, or that of the project's folder; the page in Git if its files cannot be used."""
        folder = Path(self._copies.name) / revision.commit if revision else self._project
        try:
            if revision and not folder.exists():
                self._copy(revision, folder)
            if not (folder / GENERATOR).exists():
                raise StageError(f"{GENERATOR}: missing; `make repro` trains a model, `dvc pull` downloads one")
            return _opened(name, folder)
        except StageError as error:
            source = folder if folder.exists() else _part(folder)
            reason = str(error).replace(f"{source}/", "")  # the page must not show this machine's folders
            if (source / PAGE).exists():
                return _committed(name, source, reason)
            raise StageError(reason) from None

    def _copy(self, revision: Revision, target: Path) -> None:
        """Copy the files of a revision. Its prepared images are those of the project if they have the same manifest.

        A model that has left memory may still be reading from its copy, so a copy never changes.
        """
        part = _part(target)
        revisions.fetch(self._project, revision, _FILES, _FOLDERS, part)
        theirs, ours = part / _MANIFEST, self._project / _MANIFEST
        if theirs.exists() and ours.exists() and theirs.read_bytes() == ours.read_bytes():
            theirs.unlink()
            theirs.parent.rmdir()
            theirs.parent.symlink_to(ours.parent)
        part.rename(target)


def _part(folder: Path) -> Path:
    """Where a copy is as long as it is not complete."""
    return folder.with_suffix(".part")


def _opened(name: str, folder: Path) -> Offered:
    """The model in the files of a folder."""
    if "tensorflow" not in sys.modules:
        shell.load_tensorflow("demo")
    from demo.model import Model

    model = Model(folder)
    return Offered(name, model.payload(), model)


def _committed(name: str, folder: Path, missing: str) -> Offered:
    """The networks in the page of a folder."""
    path = folder / PAGE
    try:
        return Offered(name, assembly.payload_of(path.read_text(encoding="utf-8")), None, missing)
    except ValueError as error:
        raise StageError(f"{missing}; and {PAGE} cannot be read: {error}") from None
