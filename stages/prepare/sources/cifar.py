"""CIFAR-10's binary version: records of one label byte and 3 × 32 × 32 bytes of red, green and blue (its README)."""

from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.settings import Settings
from stages.prepare.sources.facts import file_with_ending
from stages.prepare.sources.index import IndexBuilder, Pixels, Source, check_labels

_PIXELS = Pixels((32, 32, 3), planar=True)
_VALUES = 3 * 32 * 32
_RECORD = 1 + _VALUES


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """The .bin files of a .tar.gz. Those with "test" in their name are the test split."""
    origin = file_with_ending(facts, folder, ".tar.gz")
    path = archives.unpacked(origin, scratch)
    content = np.memmap(path, np.uint8, "r")
    builder, labels, splits = IndexBuilder(), [], []
    for member in sorted(archives.members(path, origin), key=lambda m: m.name):
        if not member.name.endswith(".bin"):
            continue
        count, rest = divmod(member.length, _RECORD)
        if rest:
            raise StageError(f"{origin}: {member.name}: {member.length:,} bytes, not a multiple of {_RECORD:,}")
        starts = member.offset + _RECORD * np.arange(count)
        for i, start in enumerate(starts.tolist()):
            builder.add(0, Member(f"{member.name}#{i}", start + 1, _VALUES, _VALUES, archives.PLAIN))
        labels.append(np.asarray(content[starts]))
        splits.append(np.full(count, 1 if "test" in member.name else 0))
    if not len(builder):
        raise StageError(f"{origin}: no .bin files in it")
    all_labels = np.concatenate(labels)
    check_labels(origin, all_labels, facts["classes"])
    index = builder.index(all_labels, np.concatenate(splits))
    return Source(facts, tuple(facts["classes"]), ("train", "test"), (str(path),), index, _PIXELS)
