"""What a prepared data set says of itself: manifest.json beside the shards."""

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
    """One TFRecord file: its name in the folder, its SHA-256 and how many records it holds."""

    name: str
    sha256: str
    records: int


@dataclass(frozen=True)
class Split:
    """One split: its shards, its records, and how many records each class has (in the classes' order)."""

    records: int
    labels: tuple[int, ...]
    shards: tuple[Shard, ...]

    @property
    def shares(self) -> np.ndarray:
        """The share of each class among the records, float64 (K,); empty where there are no labels."""
        return np.array(self.labels, np.float64) / max(self.records, 1)


@dataclass(frozen=True)
class Manifest:
    """A prepared data set: `shape` is (height, width, channels) of every image, `dtype` how its pixels are stored.

    `classes` is empty where there are no labels. `source` holds the facts of the data set (title, licence, home page,
    hashes of its files), `params` the settings of the prepare stage, `tools` the versions of what decoded and
    resampled. `counts` says how many images were found, kept and rejected, how many of the kept are exact duplicates of
    others, and how many such pictures are in more than one split; `mean` and `std` are those of the training split, per
    channel, in [-1,1].
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
    """The manifest of the shards in `folder`. Raises StageError naming the file where it is missing or malformed."""
    path = folder / FILE
    try:
        return TypeAdapter(Manifest).validate_python(artifacts.read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StageError(f"{path}: {where}: {first['msg']}; run the prepare stage again") from None


def verified_shards(folder: Path, manifest: Manifest, split: str) -> list[Path]:
    """The shards of `split`, each read once and held against its SHA-256.

    Raises StageError that names the shard which is missing or whose bytes have changed, or the split that is unknown.
    """
    if split not in manifest.splits:
        raise StageError(f"{folder / FILE}: no split {split!r}; it has {', '.join(manifest.splits)}")
    paths = []
    for shard in manifest.splits[split].shards:
        path = folder / shard.name
        if not path.is_file():
            raise StageError(f"{path}: the shard is missing; `dvc repro` makes it again, `dvc pull` fetches it")
        if artifacts.sha256(path) != shard.sha256:
            raise StageError(
                f"{path}: the shard's bytes have changed since it was written (its SHA-256 is not the manifest's); "
                f"delete it and run `dvc checkout`, `dvc pull` or `dvc repro`"
            )
        paths.append(path)
    return paths
