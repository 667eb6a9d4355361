"""The table of formats: one row each.

A format is a module with one function, `open_source(facts, folder, scratch, settings) -> Source`. `facts` are those of
source.json, `folder` is data/raw, `scratch` is for temporary files, and `settings` is the `prepare` section. It raises
StageError, naming the file, for anything missing or damaged.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages import shell
from stages.errors import StageError
from stages.params import nearest
from stages.prepare import archives
from stages.prepare.settings import LabelColumn, Settings
from stages.prepare.sources import archive, arrays, celeba, cifar, emoji, flowers, idx, lsun, parquet
from stages.prepare.sources.index import NO_LABEL, Source

# A module defers the import of a library that only its format needs: all formats are imported at every start, so that
# the key of unfinished work covers their code.
FORMATS: dict[str, Callable[[dict[str, Any], Path, Path, Settings], Source]] = {
    "idx": idx.open_source,
    "cifar": cifar.open_source,
    "archive": archive.open_source,
    "flowers": flowers.open_source,
    "lmdb": lsun.open_source,
    "parquet": parquet.open_source,
    "arrays": arrays.open_source,
    "celeba": celeba.open_source,
    "emoji": emoji.open_source,
}
# What `prepare.labels` can be for a format, besides auto and none, and how to write it.
_CHOICES: dict[str, dict[type | str, str]] = {
    "celeba": {tuple: "a list of attributes"},
    "archive": {LabelColumn: "{file: …, column: …}", "folders": "folders"},
    "parquet": {LabelColumn: "{column: …}"},
}


def _check_labels_choice(facts: dict[str, Any], labels: object) -> None:
    """Raise StageError if the data set's format does not have what `prepare.labels` asks for."""
    choices = _CHOICES.get(facts["format"], {})
    if labels not in ("auto", "none") and (labels if isinstance(labels, str) else type(labels)) not in choices:
        expected = ", ".join(("auto", "none", *choices.values()))
        raise StageError(f"prepare.labels: for {facts['title']} expected one of {expected}; got {labels!r}")


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """The data set in `folder`, in any format, with the labels and the number of pictures that `settings` selects.

    Raises StageError for a damaged file, an unknown format, labels that the data set does not have, and no pictures.
    """
    if facts["format"] not in FORMATS:
        raise StageError(
            f"{folder / 'source.json'}: unknown format {facts['format']!r}; expected one of {', '.join(FORMATS)}"
        )
    _check_labels_choice(facts, settings.labels)
    source = FORMATS[facts["format"]](facts, folder, scratch, settings)
    if not len(source.index):
        raise StageError(
            f"{folder}: no pictures in {facts['title']} ({sum(source.index.left_out.values()):,} other files)"
        )
    _check_readable(source)
    if settings.labels == "none":
        source.index.label[:] = NO_LABEL
        source = dataclasses.replace(source, classes=())
    return _limited(_thinned(source, settings.thin), settings.max_images)


def _check_readable(source: Source) -> None:
    """Name the archives' members that cannot be read, and why. Raises StageError if all pictures are among them."""
    kinds, counts = np.unique(source.index.kind, return_counts=True)
    reasons = []
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        if not archives.is_readable(kind):
            at = int(np.argmax(source.index.kind == kind))
            place = Path(source.files[source.index.file[at]]).name.removesuffix(".unpacked")
            reasons.append(
                f"{place}: {count:,} of {len(source.index):,} pictures are {archives.why_unreadable(kind)} (first: "
                f"{source.index.names[at]}); {archives.UNPACK_AGAIN}"
            )
    if reasons and not archives.is_readable(int(kinds.max())):
        raise StageError("\n".join(reasons))
    for reason in reasons:
        shell.say(reason)


def _thinned(source: Source, shares: Mapping[str, float]) -> Source:
    """The source with these shares of the pictures of some classes, at least one: those with the smallest hashes.

    Raises StageError for a class that the data does not have.
    """
    index, keep = source.index, np.ones(len(source.index), bool)
    for name, share in shares.items():
        if name not in source.classes:
            near = f"did you mean {nearest(name, list(source.classes))!r}?" if source.classes else "the data has none"
            raise StageError(f"prepare.thin: no class {name!r}; {near}")
        places = np.flatnonzero(index.label == source.classes.index(name))
        kept = max(1, round(share * len(places)))
        shell.say(f"prepare.thin: {kept:,} of the {len(places):,} pictures of {name}, chosen by a hash of their names")
        keep[places[np.argsort(index.names.hashes()[places], kind="stable")[kept:]]] = False
    return dataclasses.replace(source, index=index.select(keep, "thin")) if shares else source


def _limited(source: Source, max_images: int) -> Source:
    """The source with at most `max_images` pictures (0: all), those whose names have the smallest hashes."""
    index = source.index
    if not 0 < max_images < len(index):
        return source
    shell.say(f"prepare.max_images: {max_images:,} of {len(index):,} pictures, chosen by a hash of their names")
    keep = np.zeros(len(index), bool)
    keep[np.argsort(index.names.hashes(), kind="stable")[:max_images]] = True
    return dataclasses.replace(source, index=index.select(keep, "max_images"))
