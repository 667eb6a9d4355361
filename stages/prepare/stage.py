"""The prepare stage: build the shards, then write the manifest, the tables and the contact sheet."""

import dataclasses
import itertools
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages import artifacts, manifest, pixels, png, resume, shell
from stages.manifest import Manifest
from stages.prepare import decode, engine, plan, shards, tables
from stages.prepare.results import ShardResult
from stages.prepare.settings import Settings
from stages.prepare.sources import formats
from stages.prepare.sources.facts import read_facts
from stages.prepare.sources.index import Source
from stages.prepare.store import Store
from stages.progress import Progress
from stages.workspace import Workspace

# Settings that affect neither a shard nor its result: finished shards stay valid when these change.
_NOT_IN_SHARDS = ("max_rejected",)
_SHOWN_CLASSES = 20


@dataclass(frozen=True)
class Prepared:
    """A prepared data set, except for the records in its shards."""

    source: Source
    settings: Settings
    results: Sequence[ShardResult]
    quarantine: pd.DataFrame
    duplicates: tables.Duplicates
    manifest: Manifest


def prepare(settings: Settings, workspace: Workspace, build_all: engine.Build) -> Mapping[str, float]:
    """Turn data/raw into data/prepared and reports/data.

    Raises StageError if more pictures are rejected than `max_rejected` allows, or if a split is empty.
    """
    raw = workspace.input("data/raw").resolve()
    facts = read_facts(raw)
    versions = shards.tool_versions()
    decisive = {name: value for name, value in dataclasses.asdict(settings).items() if name not in _NOT_IN_SHARDS}
    # A run without an extra rejects what the next one may be able to read.
    key = resume.key_of(decisive, artifacts.sha256(raw / "source.json"), versions, decode.extras())
    with resume.unfinished("prepare", key) as state:
        started = time.monotonic()
        shell.say(f"reading the index of {facts['title']} ...")
        source = formats.open_source(facts, raw, state, settings)
        store = Store.at(os.environ.get("PREPARE_STORE", ""), key, state)
        results = _build_shards(source, settings, store, build_all)
        seconds = time.monotonic() - started
        prepared = _summarise(source, settings, results, versions)
        _publish(prepared, store, workspace)
        _say_summary(prepared)
        _say_hints(prepared)
        store.clear()
    return {"images_per_second": len(source.index) / seconds}


def _build_shards(source: Source, settings: Settings, store: Store, build_all: engine.Build) -> Sequence[ShardResult]:
    """Build all shards in the store. Returns the results in the order of the parts."""
    results: dict[int, ShardResult] = {}
    with Progress("prepare", len(source.index), "images") as progress:
        for number, result in build_all(plan.parts(source, settings), settings, store):
            results[number] = result
            progress.advance(result.found)
    return [results[number] for number in sorted(results)]


def _summarise(
    source: Source, settings: Settings, results: Sequence[ShardResult], versions: dict[str, str]
) -> Prepared:
    """The manifest and the tables of rejected and duplicate pictures."""
    quarantine = _checked_quarantine(results, len(source.index), settings.max_rejected)
    splits = tables.splits(results, source.splits or ("train", "test"), len(source.classes))
    duplicates = tables.duplicates(results, source.index.names)
    mean, std = tables.per_channel(results, "train", settings)
    counts = {
        "found": len(source.index),
        "kept": sum(split.records for split in splits.values()),
        "rejected": len(quarantine),
        "ignored": sum(left_out(source).values()),
        "duplicates": duplicates.repeated,
        "straddling": duplicates.straddling,
    }
    data = Manifest(
        settings.shape,
        settings.dtype,
        source.classes,
        splits,
        {**source.facts, "classes": list(source.classes)},
        settings.recorded,
        versions,
        counts,
        tuple(mean),
        tuple(std),
    )
    return Prepared(source, settings, results, quarantine, duplicates, data)


def left_out(source: Source) -> Counter[str]:
    """The number of files that are not among the pictures, by reason: of a folder (download) and of archives."""
    return Counter(source.facts.get("left_out", {})) + Counter(source.index.left_out)


def _files(prepared: Prepared) -> pd.DataFrame:
    """The table of what became of all files."""
    return tables.files(prepared.manifest.counts["kept"], prepared.quarantine, left_out(prepared.source))


def _checked_quarantine(results: Sequence[ShardResult], total: int, max_rejected: float) -> pd.DataFrame:
    """The table of rejected pictures. If there are too many, it stays in .state/ and StageError names the file."""
    quarantine = tables.quarantine(results)
    path = resume.state_folder() / "prepare" / "quarantine.csv"
    quarantine.to_csv(path, index=False)
    tables.check_rejected(quarantine, total, max_rejected, str(path))
    path.unlink()
    return quarantine


def _publish(prepared: Prepared, store: Store, workspace: Workspace) -> None:
    """Write the outputs and move the shards from the store to their place."""
    with workspace.outputs("data/prepared", "reports/data") as new:
        folder, report = new("data/prepared"), new("reports/data")
        folder.mkdir()
        report.mkdir()
        manifest.write(folder, prepared.manifest)
        _write_tables(prepared, folder, report)
        _write_contact_sheet(prepared, report / "contact_sheet.png", artifacts.sha256(folder / manifest.FILE))
        for name, split in prepared.manifest.splits.items():
            for shard in split.shards:
                store.move(shard.name, folder / shard.name)
            manifest.verified_shards(folder, prepared.manifest, name)


def _write_tables(prepared: Prepared, folder: Path, report: Path) -> None:
    """Write the lists of pictures to data/prepared and the statistics to reports/data."""
    results, data = prepared.results, prepared.manifest
    prepared.quarantine.to_csv(folder / "quarantine.csv", index=False)
    prepared.duplicates.table.to_csv(folder / "duplicates.csv", index=False)
    classes = tables.classes(results, list(data.splits), data.classes, prepared.settings)
    classes.to_csv(report / "classes.csv", index=False)
    _files(prepared).to_csv(report / "files.csv", index=False)
    tables.sizes(results).to_csv(report / "sizes.csv", index=False)


def _write_contact_sheet(prepared: Prepared, path: Path, manifest_sha256: str) -> None:
    """Draw the first pictures of the first shard that has any."""
    preview = _preview(prepared)
    facts = prepared.source.facts
    png.save_png(
        png.grid(pixels.normalise(preview), 8),
        path,
        max(1, 64 // max(prepared.settings.shape[:2])),
        png.Provenance(
            description=f"The first {len(preview)} prepared pictures in stored order, uncurated",
            source=f"{facts['title']} ({facts['licence']})",
            params=prepared.manifest.params,
            stage="prepare",
            manifest_sha256=manifest_sha256,
        ),
    )


def _preview(prepared: Prepared) -> np.ndarray:
    """The first pictures that were kept, all of one shard: uint8 (≤64, H, W, C)."""
    if previews := [result.preview for result in prepared.results if len(result.preview)]:
        return previews[0]
    # The whole first shard was rejected, and only that one keeps a preview. Build the next one again for its pictures.
    number = next(number for number, result in enumerate(prepared.results) if result.shards)
    part = next(itertools.islice(plan.parts(prepared.source, prepared.settings), number, None))
    part = dataclasses.replace(part, preview=plan.PREVIEW)
    with tempfile.TemporaryDirectory() as folder:
        return shards.build_shard(part, prepared.settings, Store(folder)).preview


def _say_classes(data: Manifest) -> None:
    """Print the number of images of each class in each split."""
    if not data.classes:
        shell.say("no classes")
        return
    labels = [split.labels for split in data.splits.values()]
    counts = [
        f"{name}: {', '.join(f'{count:,}' for count in row)}" for name, *row in zip(data.classes, *labels, strict=True)
    ]
    more = (
        f"; {len(counts) - _SHOWN_CLASSES:,} others in reports/data/classes.csv" if len(counts) > _SHOWN_CLASSES else ""
    )
    shown = "; ".join(shell.printable(count) for count in counts[:_SHOWN_CLASSES])
    shell.say(f"{len(counts):,} classes ({', '.join(data.splits)}): {shown}{more}")


def _say_summary(prepared: Prepared) -> None:
    """Print the size of each split, the classes, what became of all files, and the rejected and duplicate pictures."""
    data = prepared.manifest
    for name, split in data.splits.items():
        plural = "s" if len(split.shards) > 1 else ""
        shell.say(f"{name}: {split.records:,} records in {len(split.shards):,} shard{plural}")
    _say_classes(data)
    shell.say(tables.summary(_files(prepared)))
    counts = data.counts
    shell.say(
        f"{counts['rejected']:,} of {counts['found']:,} pictures rejected, {counts['duplicates']:,} exact duplicates, "
        f"{counts['straddling']:,} of them in more than one split (data/prepared/quarantine.csv, duplicates.csv)"
    )


def _say_hints(prepared: Prepared) -> None:
    """Print what the pictures need that this stage cannot know or does not have: their white, other formats."""
    if details := tables.unsupported(prepared.quarantine):
        shell.say(f"unsupported: {details}")
    if warning := tables.dark(prepared.results, prepared.settings.white):
        shell.say(f"prepare.white: {warning}")
