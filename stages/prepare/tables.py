"""What the shards' results come to: classes, rejections, sizes, duplicates."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stages.errors import StageError
from stages.manifest import Split
from stages.prepare.decode import REASONS
from stages.prepare.settings import Settings
from stages.prepare.shards import ShardResult
from stages.prepare.sources import NO_LABEL, Names

# Reasons for which not the picture is to blame, but this key of `prepare`.
_KEYS = {"outside_crop": "crop", "too_small": "min_size"}


def _sums(results: Sequence[ShardResult], channels: int) -> pd.DataFrame:
    """One row per shard, split and label, with the exact sums."""
    columns = ["images", "min", "max", *(f"sum{i}" for i in range(channels)), *(f"squares{i}" for i in range(channels))]
    rows = [(*where.split("/"), *row) for result in results for where, row in result.sums.items()]
    table = pd.DataFrame(rows, columns=["split", "label", *columns])
    return table.astype({"label": int, **dict.fromkeys(columns, "int64")})


def _moments(table: pd.DataFrame, channels: int, values_per_channel: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in [-1,1], per row and channel."""
    count = (table["images"] * values_per_channel).to_numpy()[:, None]
    mean = table[[f"sum{i}" for i in range(channels)]].to_numpy() / count
    squares = table[[f"squares{i}" for i in range(channels)]].to_numpy() / count
    return mean / 127.5 - 1, np.sqrt(np.maximum(squares - mean**2, 0)) / 127.5


def _grouped(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    how = {name: name if name in ("min", "max") else "sum" for name in table.columns if name not in ("split", "label")}
    return table.groupby(by, observed=True).agg(how).reset_index()


def classes(
    results: Sequence[ShardResult], splits: Sequence[str], names: Sequence[str], settings: Settings
) -> pd.DataFrame:
    """Per split and class, and per split over all: images; mean, std, min and max of the values in [-1,1]."""
    channels, values = settings.channels, settings.size**2
    table = _sums(results, channels)
    over_all = _grouped(table.assign(label=len(names)), ["split", "label"])
    rows = _grouped(table[table["label"] != NO_LABEL], ["split", "label"])
    rows = pd.concat([rows, over_all]).astype({"split": pd.CategoricalDtype(list(splits), ordered=True)})
    rows = rows.sort_values(["split", "label"]).reset_index(drop=True)
    every = pd.DataFrame({"images": rows["images"], "min": rows["min"], "max": rows["max"]})
    every["sum0"] = rows[[f"sum{i}" for i in range(channels)]].sum(axis=1)
    every["squares0"] = rows[[f"squares{i}" for i in range(channels)]].sum(axis=1)
    mean, std = _moments(every, 1, values * channels)
    return pd.DataFrame(
        {
            "split": rows["split"],
            "class": rows["label"].map(dict(enumerate([*names, "all"]))),
            "images": rows["images"],
            "mean": mean[:, 0].round(6),
            "std": std[:, 0].round(6),
            "min": (rows["min"] / 127.5 - 1).round(6),
            "max": (rows["max"] / 127.5 - 1).round(6),
        }
    )


def per_channel(results: Sequence[ShardResult], split: str, settings: Settings) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a split in [-1,1], per channel."""
    table = _sums(results, settings.channels)
    mean, std = _moments(_grouped(table[table["split"] == split], ["split"]), settings.channels, settings.size**2)
    return mean[0].round(6).tolist(), std[0].round(6).tolist()


def quarantine(results: Sequence[ShardResult]) -> pd.DataFrame:
    """Every rejected picture: key, reason, and its own width and height (0 where unknown), sorted by key."""
    rows = [row for result in results for row in result.rejected]
    table = pd.DataFrame(rows, columns=["key", "reason", "width", "height"])
    table["key"] = [key.encode("utf-8", "backslashreplace").decode() for key in table["key"]]
    return table.sort_values(["key", "reason"]).reset_index(drop=True)


def rejected(table: pd.DataFrame) -> pd.DataFrame:
    """How many pictures each reason took, every reason in the same place."""
    counts = table["reason"].value_counts()
    return pd.DataFrame({"reason": REASONS, "images": [int(counts.get(reason, 0)) for reason in REASONS]})


def sizes(results: Sequence[ShardResult]) -> pd.DataFrame:
    """Kept pictures by the shorter side that they came with: from a power of two to below the next."""
    total: Counter[int] = Counter()
    for result in results:
        total.update({int(side): count for side, count in result.sizes.items()})
    return pd.DataFrame(
        [(f"{side} to {2 * side - 1}", count) for side, count in sorted(total.items())], columns=["pixels", "images"]
    )


def duplicates(results: Sequence[ShardResult], keys: Names) -> tuple[pd.DataFrame, int, int]:
    """Pictures with the same decoded pixels as another: the table, how many more than one of each, how many straddle.

    The table has a row for each such picture: the hash of its pixels, whether it is in more than one split, its split
    and key.
    """
    digests = np.concatenate([result.digests for result in results])
    splits = np.concatenate([result.splits for result in results])
    index = np.concatenate([result.index for result in results])
    words = np.ascontiguousarray(digests).view("<u8")
    order = np.lexsort((index, words[:, 1], words[:, 0]))
    words, splits, index = words[order], splits[order], index[order]
    new = np.ones(len(words), bool)
    new[1:] = (words[1:] != words[:-1]).any(axis=1)
    group = np.cumsum(new) - 1
    again = np.bincount(group)[group] > 1 if len(group) else np.zeros(0, bool)
    table = pd.DataFrame(
        {
            "pixels": [row.tobytes().hex() for row in words[again]],
            "split": splits[again],
            "key": [keys[int(i)].encode("utf-8", "backslashreplace").decode() for i in index[again]],
        }
    )
    straddles = table.groupby("pixels")["split"].transform("nunique") > 1 if len(table) else pd.Series([], dtype=bool)
    table.insert(1, "straddles", straddles)
    straddling = int(table.loc[table["straddles"], "pixels"].nunique()) if len(table) else 0
    table = table.sort_values(["straddles", "pixels", "split", "key"], ascending=[False, True, True, True])
    return table.reset_index(drop=True), int((~new).sum()), straddling


def splits(results: Sequence[ShardResult], names: Sequence[str], classes: int) -> dict[str, Split]:
    """Each split's shards and counts. Raises StageError for a split that nothing came to."""
    made = {}
    for name in names:
        found = tuple(result.shards[name] for result in results if name in result.shards)
        if not found:
            raise StageError(
                f"prepare: no picture came to the {name} split; more pictures are needed, or another prepare.test_share"
            )
        labels = tuple(sum(r.sums.get(f"{name}/{i}", [0])[0] for r in results) for i in range(classes))
        made[name] = Split(sum(shard.records for shard in found), labels, found)
    return made


def check_rejected(table: pd.DataFrame, found: int, most: float, place: str) -> None:
    """Raise StageError, with the reasons and the first keys, where more than a part `most`, or all, was rejected."""
    if not len(table) or (len(table) <= most * found and len(table) < found):
        return
    lines = []
    groups = sorted(table.groupby("reason"), key=lambda pair: -len(pair[1]))
    for reason, group in groups:
        first = ", ".join(repr(key)[1:-1] for key in group["key"][:3])
        lines.append(f"  - {reason}: {len(group):,} (first: {first})")
    reason, group = str(groups[0][0]), groups[0][1]
    advice = "Mend or remove them"
    if key := _KEYS.get(reason):
        width, height = max(zip(group["width"], group["height"], strict=True), key=math.prod)
        advice = f"Check prepare.{key}: the largest picture that is {reason} has {width}×{height}"
    if len(table) < found:
        advice += ", or raise prepare.max_rejected"
    raise StageError(
        f"{len(table):,} of {found:,} pictures were rejected"
        + (f", more than prepare.max_rejected ({most:g}) allows:\n" if len(table) > most * found else ":\n")
        + "\n".join(lines)
        + f"\nAll are listed in {place}. {advice}."
    )
