"""Tables from the results of the shards: classes, rejected pictures, sizes, duplicates."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.errors import StageError
from stages.image_names import LEFT_OUT
from stages.manifest import Split
from stages.prepare import archives
from stages.prepare.decode import REASONS
from stages.prepare.results import ShardResult
from stages.prepare.settings import Settings
from stages.prepare.sources.index import NO_LABEL, Names

# Reasons that a setting of `prepare` decides.
_KEYS = {"outside_crop": "crop", "too_small": "min_size"}
# What to do about other reasons, if it is not to fix or remove the pictures.
_ADVICE = {"encrypted": f"They need a password: {archives.UNPACK_AGAIN}"}


def _sums(results: Sequence[ShardResult], channels: int) -> pd.DataFrame:
    """One row per shard, split and label, with the exact sums."""
    columns = ["images", "min", "max", *(f"sum{i}" for i in range(channels)), *(f"squares{i}" for i in range(channels))]
    rows = [(*group.split("/"), *row) for result in results for group, row in result.sums.items()]
    table = pd.DataFrame(rows, columns=["split", "label", *columns])
    return table.astype({"label": int, **dict.fromkeys(columns, "int64")})


def _moments(table: pd.DataFrame, channels: int, values_per_channel: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean and standard deviation in [-1,1], per row and channel."""
    count = (table["images"] * values_per_channel).to_numpy()[:, None]
    mean = table[[f"sum{i}" for i in range(channels)]].to_numpy() / count
    squares = table[[f"squares{i}" for i in range(channels)]].to_numpy() / count
    return mean / 127.5 - 1, np.sqrt(np.maximum(squares - mean**2, 0)) / 127.5


def _grouped(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The sums, minima and maxima of the rows with equal values in these columns."""
    functions = {
        name: name if name in ("min", "max") else "sum" for name in table.columns if name not in ("split", "label")
    }
    return table.groupby(by, observed=True).agg(functions).reset_index()


def classes(
    results: Sequence[ShardResult], splits: Sequence[str], names: Sequence[str], settings: Settings
) -> pd.DataFrame:
    """Images, and mean, std, min and max of the values in [-1,1]: per split and class, and per split over all."""
    *size, channels = settings.shape
    values = math.prod(size)
    table = _sums(results, channels)
    over_all = _grouped(table.assign(label=len(names)), ["split", "label"])
    rows = _grouped(table[table["label"] != NO_LABEL], ["split", "label"])
    rows = pd.concat([rows, over_all]).astype({"split": pd.CategoricalDtype(list(splits), ordered=True)})
    rows = rows.sort_values(["split", "label"]).reset_index(drop=True)
    pooled = pd.DataFrame({"images": rows["images"], "min": rows["min"], "max": rows["max"]})
    pooled["sum0"] = rows[[f"sum{i}" for i in range(channels)]].sum(axis=1)
    pooled["squares0"] = rows[[f"squares{i}" for i in range(channels)]].sum(axis=1)
    mean, std = _moments(pooled, 1, values * channels)
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
    """The mean and standard deviation of a split in [-1,1], per channel."""
    table = _sums(results, settings.channels)
    mean, std = _moments(
        _grouped(table[table["split"] == split], ["split"]), settings.channels, math.prod(settings.shape[:2])
    )
    return mean[0].round(6).tolist(), std[0].round(6).tolist()


def quarantine(results: Sequence[ShardResult]) -> pd.DataFrame:
    """Every rejected picture, sorted by key: its key, the reason, its own width and height (0 if unknown).

    If any is unsupported in a way that has a name, the column `detail` has these names.
    """
    rows = [row for result in results for row in result.rejected]
    table = pd.DataFrame(rows, columns=["key", "reason", "width", "height", "detail"])
    if not any(table["detail"]):
        table = table.drop(columns="detail")
    table["key"] = [key.encode("utf-8", "backslashreplace").decode() for key in table["key"]]
    return table.sort_values(["key", "reason"]).reset_index(drop=True)


def files(kept: int, quarantine: pd.DataFrame, left_out: Mapping[str, int]) -> pd.DataFrame:
    """The number of files that were kept, rejected and left out: together, all files of the data set.

    Every reason has its fixed row.
    """
    rejected = quarantine["reason"].value_counts()
    rows = [("kept", "", kept)]
    rows += [("rejected", reason, int(rejected.get(reason, 0))) for reason in REASONS]
    rows += [("left out", reason, left_out.get(reason, 0)) for reason in LEFT_OUT]
    return pd.DataFrame(rows, columns=["outcome", "reason", "files"])


def summary(table: pd.DataFrame) -> str:
    """One line for the table of `files`: the total, and what became of the files, by reason."""
    parts = []
    for outcome, rows in table.groupby("outcome", sort=False):
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in zip(rows["reason"], rows["files"], strict=True) if n)
        parts.append(f"{rows['files'].sum():,} {outcome}" + (f" ({reasons})" if outcome != "kept" and reasons else ""))
    return f"{table['files'].sum():,} files: {', '.join(parts)}"


def unsupported(table: pd.DataFrame) -> str:
    """What is unsupported about rejected pictures, with counts; empty if nothing has a name."""
    counts = Counter(detail for detail in table.get("detail", ()) if detail)
    return "; ".join(f"{count:,} {detail}" for detail, count in counts.most_common())


def dark(results: Sequence[ShardResult], white: int) -> str:
    """A warning if most pictures with 16-bit values are so dark that their white is not `white`; else empty."""
    depths: Counter[int] = Counter()
    for result in results:
        depths.update({int(bits): count for bits, count in result.depths.items()})
    # A quarter of the range, because values of 14 bits exist, and hardly a photo has no value above a quarter.
    low = Counter({bits: count for bits, count in depths.items() if bits <= white.bit_length() - 2})
    if not low or 2 * low.total() < depths.total():
        return ""
    most = (1 << max(low)) - 1
    return (
        f"{low.total():,} of {depths.total():,} pictures with 16-bit values use only a small part of the range, 0 to "
        f"{most:,} of {white:,}, and become almost black; if their white is {most:,}, set prepare.white: {most}"
    )


def sizes(results: Sequence[ShardResult]) -> pd.DataFrame:
    """The number of kept pictures by their own shorter side, from each power of two to below the next."""
    total: Counter[int] = Counter()
    for result in results:
        total.update({int(side): count for side, count in result.sizes.items()})
    return pd.DataFrame(
        [(f"{side} to {2 * side - 1}", count) for side, count in sorted(total.items())], columns=["pixels", "images"]
    )


class Duplicates(NamedTuple):
    """Kept pictures with the same decoded pixels as another.

    `table` has a row for each such picture: the hash of its pixels, whether they are in more than one split
    (`straddles`), its split and key. `repeated` counts the pictures beyond the first of each kind. `straddling` counts
    the kinds in more than one split.
    """

    table: pd.DataFrame
    repeated: int
    straddling: int


def duplicates(results: Sequence[ShardResult], keys: Names) -> Duplicates:
    """Find the duplicates by their digests."""
    digests = np.concatenate([result.digests for result in results])
    splits = np.concatenate([result.splits for result in results])
    index = np.concatenate([result.index for result in results])
    words = np.ascontiguousarray(digests).view("<u8")
    order = np.lexsort((index, words[:, 1], words[:, 0]))
    words, splits, index = words[order], splits[order], index[order]
    new = np.ones(len(words), bool)
    new[1:] = (words[1:] != words[:-1]).any(axis=1)
    group = np.cumsum(new) - 1
    is_duplicate = np.bincount(group)[group] > 1 if len(group) else np.zeros(0, bool)
    table = pd.DataFrame(
        {
            "pixels": [row.tobytes().hex() for row in words[is_duplicate]],
            "split": splits[is_duplicate],
            "key": [keys[int(i)].encode("utf-8", "backslashreplace").decode() for i in index[is_duplicate]],
        }
    )
    straddles = table.groupby("pixels")["split"].transform("nunique") > 1 if len(table) else pd.Series([], dtype=bool)
    table.insert(1, "straddles", straddles)
    straddling = int(table.loc[table["straddles"], "pixels"].nunique()) if len(table) else 0
    table = table.sort_values(["straddles", "pixels", "split", "key"], ascending=[False, True, True, True])
    return Duplicates(table.reset_index(drop=True), int((~new).sum()), straddling)


def splits(results: Sequence[ShardResult], names: Sequence[str], classes: int) -> dict[str, Split]:
    """The shards and counts of each split. Raises StageError if a split is empty."""
    splits = {}
    for name in names:
        shards = tuple(result.shards[name] for result in results if name in result.shards)
        if not shards:
            raise StageError(
                f"prepare: the {name} split is empty; add pictures, or change prepare.test_share or prepare.max_images"
            )
        labels = tuple(sum(r.sums.get(f"{name}/{i}", [0])[0] for r in results) for i in range(classes))
        splits[name] = Split(sum(shard.records for shard in shards), labels, shards)
    return splits


def check_rejected(table: pd.DataFrame, total: int, max_rejected: float, path: str) -> None:
    """Raise StageError, with the reasons and the first keys, if all or too many pictures are rejected.

    `table` is the quarantine, also in the file at `path`. `max_rejected` is a share of the `total` pictures.
    """
    if not len(table) or (len(table) <= max_rejected * total and len(table) < total):
        return
    groups = sorted(table.groupby("reason"), key=lambda pair: -len(pair[1]))
    limit = f", more than prepare.max_rejected ({max_rejected:g}) allows" if len(table) > max_rejected * total else ""
    lines = [f"{len(table):,} of {total:,} pictures were rejected{limit}:"]
    for reason, group in groups:
        first = ", ".join(group["key"][:3])
        details = f" ({unsupported(group)})" if unsupported(group) else ""
        lines.append(f"  - {reason}: {len(group):,}{details} (first: {first})")
    advice = _advice(str(groups[0][0]), groups[0][1])
    if len(table) < total:
        advice += ", or raise prepare.max_rejected"
    raise StageError("\n".join(lines) + f"\n{path} lists all of them. {advice}.")


def _advice(reason: str, group: pd.DataFrame) -> str:
    """The advice for the most frequent reason."""
    if reason == "unsupported" and group["detail"].str.startswith(archives.PACKED_BY).any():
        return f"Their compression is not read: {archives.UNPACK_AGAIN}"
    if reason == "unsupported":
        return "Convert them to PNG or JPEG, or remove them"
    key = _KEYS.get(reason)
    if key is None:
        return _ADVICE.get(reason, "Fix or remove them")
    width, height = max(zip(group["width"], group["height"], strict=True), key=math.prod)
    return f"Check prepare.{key}: the largest picture rejected as {reason} has {width}×{height} pixels"
