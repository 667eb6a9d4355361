"""Any zip or tar archives of image files. Folders name the classes and the official splits."""

from pathlib import Path
from typing import Any

import numpy as np

from stages import shell
from stages.prepare import archives
from stages.prepare.settings import Settings
from stages.prepare.sources.folders import read_folders
from stages.prepare.sources.index import Index, IndexBuilder, Source


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """One archive or several as one data set. Warns if a few pictures outside the class folders undo all classes."""
    builder, files, ignored = IndexBuilder(), [], 0
    for number, file in enumerate(facts["files"]):
        origin = folder / file["name"]
        path = archives.unpacked(origin, scratch)
        ignored += builder.add_archive(number, path, origin)
        files.append(str(path))
    folders = read_folders(builder.names)
    index = builder.index(folders.label, folders.split)
    if len(folders.loose) and settings.labels == "auto":
        _warn_of_loose_pictures(index, folders.loose)
    return Source(facts, folders.classes, folders.splits, tuple(files), index, ignored=ignored)


def _warn_of_loose_pictures(index: Index, loose: np.ndarray) -> None:
    first = repr(index.names[int(loose[0])])[1:-1]
    shell.say(
        f"no classes, hence no judge and no FID in its features: {len(loose):,} of {len(index):,} pictures are outside "
        f"every class folder (first: {first}); move them into a class folder, or set prepare.labels: none if this is "
        "intended"
    )
