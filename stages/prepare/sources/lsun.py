"""LSUN: image files in an LMDB within a zip, one zip for each split, without labels."""

import functools
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.settings import Settings
from stages.prepare.sources.folders import SPLIT_NAMES, official_splits
from stages.prepare.sources.index import IndexBuilder, Source


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """The databases of all zips. The split is in a zip's name (`bedroom_val_lmdb.zip`)."""
    names, split_of_file = official_splits(
        [
            next((split for word, split in SPLIT_NAMES.items() if f"_{word}_" in f["name"]), "train")
            for f in facts["files"]
        ]
    )
    builder, files, splits = IndexBuilder(), [], array("b")
    for number, file in enumerate(facts["files"]):
        path = archives.extract_one(folder / file["name"], "data.mdb", scratch)
        files.append(str(path))
        added = _add_keys(builder, number, path, folder / file["name"])
        splits.extend([split_of_file[number]] * added)
    official = tuple(names) if len(names) > 1 else ()
    index = builder.index(None, np.array(splits) if official else None)
    return Source(facts, (), official, tuple(files), index, read=read)


def _add_keys(builder: IndexBuilder, file: int, path: Path, origin: Path) -> int:
    """Add each key of a database as a picture. Returns how many there are."""
    import lmdb

    before = len(builder)
    try:
        with _database(str(path)) as environment, environment.begin() as transaction:
            for key in transaction.cursor().iternext(values=False):
                builder.add(file, Member(key.decode("ascii", "replace"), 0, 0, 0, archives.PLAIN))
    except lmdb.Error as error:
        raise StageError(f"{origin}: no LMDB in it ({error}); delete it and download it again") from None
    return len(builder) - before


def _database(path: str, readahead: bool = True) -> Any:
    import lmdb  # here: no other format needs it

    return lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=readahead)


@functools.lru_cache(maxsize=8)
def _open_database(path: str) -> Any:
    """A database that stays open in this process."""
    return _database(path, readahead=False)


def read(path: str, member: Member) -> bytes:
    """The bytes under a member's name in a database; empty if there are none."""
    with _open_database(path).begin() as transaction:
        return transaction.get(member.name.encode("ascii", "replace")) or b""
