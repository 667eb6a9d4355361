"""The check of the disk space: what params.yaml needs, and whether DVC's links could save some."""

import contextlib
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import manifest, params
from stages.download import catalog
from stages.download import settings as download
from stages.errors import StageError
from stages.image_names import is_image_name
from stages.prepare import settings as prepare
from tools.doctor.finding import Finding, Project, size

_GB = 1e9
# Besides its pixels, a record has a key, a label and the frame of TensorFlow's format: measured, 95 to 110 bytes.
_RECORD_OVERHEAD = 110
# Two networks, their optimizers and two checkpoints of the largest preset, the judge, and the reports.
_MODELS_BYTES = 1.0e9


@dataclass(frozen=True)
class Disk:
    """A disk: its device number and its free bytes."""

    device: int
    free: int


def disk_of(folder: Path) -> Disk:
    """The disk of a folder, which need not exist yet."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return Disk(existing.stat().st_dev, shutil.disk_usage(existing).free)


def space(project: Project) -> Iterator[Finding]:
    """Whether the disks have the space that params.yaml needs, and how DVC links files from its cache."""
    yield from space_for(project, project.folder / "params.yaml")


def space_for(project: Project, file: Path) -> Iterator[Finding]:
    """The same for another params file."""
    dataset = params.load(file, "dataset", download.Settings)
    settings = params.load(file, "prepare", prepare.Settings)
    link, possible = _links(project.repo)
    images, raw = _downloaded(project.folder, dataset)
    if images is None:
        free = f"{disk_of(project.folder).free / _GB:.1f} GB free"
        yield Finding("note", f"disk: {free}; the space needed is known once data/prepared exists")
    else:
        images = min(images, settings.max_images or images)
        record = math.prod(settings.shape) * (4 if settings.dtype == "float32" else 1) + _RECORD_OVERHEAD
        prepared = images * record
        text = f"disk: {images:,} images at {'×'.join(map(str, settings.shape))} {settings.dtype}"
        text += f": prepared {prepared / _GB:.1f} GB, downloaded {f'{raw / _GB:.1f} GB' if raw else 'unknown'}"
        cache = Path(project.repo.cache.local_cache_dir)
        yield from _rooms(project.folder, cache, link, (raw or 0, prepared), text)
    if link == "copy" and possible:
        yield Finding(
            "note",
            f"links: DVC copies files from its cache; {' and '.join(possible)} would save the space of the data",
            f"dvc config --local cache.type {','.join(possible)} && dvc checkout --relink   (makes files read-only)",
        )
    elif link:
        yield Finding("ok", f"links: DVC uses {link} for files from its cache")


def _links(repo: Any) -> tuple[str, list[str]]:
    """The kind of link that DVC uses from its cache to the workspace, and the kinds that would work here."""
    from dvc_objects.fs import generic

    cache = repo.cache.local
    if not Path(cache.path).is_dir():
        return "", []
    possible = generic.test_links(["reflink", "hardlink", "symlink"], cache.fs, cache.path, repo.fs, repo.root_dir)
    return next((kind for kind in cache.cache_types if kind in (*possible, "copy")), "copy"), possible


def _downloaded(project: Path, dataset: download.Settings) -> tuple[int | None, int | None]:
    """The numbers of images and of downloaded bytes; None if they are not known in advance."""
    named = catalog.load().get(dataset.source)
    if named is not None:
        sizes = [file.bytes for file in named.files]
        return named.images, None if None in sizes else sum(size for size in sizes if size is not None)
    images = None
    with contextlib.suppress(StageError):  # data that was prepared before
        images = int(manifest.read(project / "data/prepared").counts["found"])
    if dataset.source != "own" or not (project / dataset.own).exists():
        return images, size(project / "data/raw") or None
    place = project / dataset.own
    if place.is_dir():
        images = sum(path.is_file() and is_image_name(str(path.relative_to(place))) for path in place.rglob("*"))
    return images, size(place)


def _room(text: str, needed: float, disk: Disk, remedy: str) -> Finding:
    """Whether a disk has room for the bytes that are still needed."""
    text += f"; {needed / _GB:.1f} GB more needed, {disk.free / _GB:.1f} GB free"
    return Finding("wrong", text, remedy) if needed > disk.free else Finding("ok", text)


def _rooms(project: Path, cache: Path, link: str, sizes: tuple[int, float], text: str) -> Iterator[Finding]:
    """Whether raw and prepared data (`sizes`) and models fit. DVC's cache may be on the same disk or on another."""
    data, present = sum(sizes), sum(size(project / name) for name in ("data/raw", "data/prepared"))
    own, other = disk_of(project), disk_of(cache)
    move = "move the cache: dvc cache dir --local /larger/disk"
    if own.device == other.device:
        copies = 2 if link in ("", "copy") else 1
        text += f", {'twice with' if copies == 2 else 'shared with'} DVC's cache, models 1 GB"
        needed = max(0.0, copies * (data - present) + _MODELS_BYTES)
        yield _room(text, needed, own, f"free some space, or {move}")
        return
    needed, remedy = data - present, "free some space, or let DVC link: dvc config --local cache.type symlink"
    if link == "symlink":  # a file stays here until its stage has ended, and then moves to the cache
        needed, remedy = min(max(sizes), needed), "free some space"
    yield _room(f"{text}, models 1 GB", max(0.0, needed + _MODELS_BYTES), own, remedy)
    needed = max(0.0, data - min(present, size(cache)) + _MODELS_BYTES)
    yield _room(f"disk of DVC's cache, {cache}: the same data", needed, other, f"free some space there, or {move}")
