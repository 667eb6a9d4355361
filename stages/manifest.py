"""The manifest of a prepared data set: manifest.json, in the folder of the shards."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from stages import artifacts
from stages.errors import StageError

FILE = "manifest.json"


@dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name in the folder, its SHA-256 and its number of records."""

    name: str
    sha256: str
    records: int


@dataclass(frozen=True)
class Split:
    """One split: its number of records, the number of records of each class (in the order of `classes`), its shards."""

    records: int
    labels: tuple[int, ...]
    shards: tuple[Shard, ...]

    @property
    def shares(self) -> np.ndarray:
        """The share of each class among the records, float64 (K,); empty for data without labels."""
        return np.array(self.labels, np.float64) / max(self.records, 1)


@dataclass(frozen=True)
class Manifest:
    """A prepared data set.

    `shape`: (height, width, channels) of every image. `dtype`: the type of the stored pixels. `classes`: the class
    names; empty for data without labels. `source`: facts about the data set (title, licence, home page, hashes of its
    files). `params`: the settings of the prepare stage. `tools`: versions of the libraries that decoded and resampled.
    `counts`: images found, kept and rejected; exact duplicates among the kept; duplicated images in more than one
    split. `mean`, `std`: of the training split, per channel, in [-1,1].
    """

    shape: tuple[int, int, int]
    dtype: Literal["float32", "uint8"]
    classes: tuple[str, ...]
    splits: dict[str, Split]
    source: dict[str, Any]
    params: dict[str, Any]
    tools: dict[str, str]
    counts: dict[str, int] = field(default_factory=dict)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of the shards in `folder`."""
    artifacts.write_json(folder / FILE, dataclasses.asdict(manifest))


def read(folder: Path) -> Manifest:
    """The manifest of the shards in `folder`. Raises StageError, naming the file, if it is missing or malformed."""
    path = folder / FILE
    try:
        return TypeAdapter(Manifest).validate_python(artifacts.read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise artifacts.damaged(path, f"{key}: {first['msg']}") from None


def verified_shards(folder: Path, manifest: Manifest, split: str) -> list[Path]:
    """The shards of `split`. Reads each one and compares its SHA-256 with the manifest.

    Raises StageError, naming the shard or the split, for a missing or changed shard and an unknown split.
    """
    if split not in manifest.splits:
        raise StageError(f"{folder / FILE}: no split {split!r}; it has {', '.join(manifest.splits)}")
    paths = []
    for shard in manifest.splits[split].shards:
        path = folder / shard.name
        if not path.is_file():
            raise artifacts.missing(path)
        if artifacts.sha256(path) != shard.sha256:
            raise artifacts.damaged(path, "its SHA-256 is not the one in the manifest")
        paths.append(path)
    return paths
