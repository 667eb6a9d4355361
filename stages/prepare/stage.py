"""The prepare stage: from archives of pictures to sharded TFRecords."""

import dataclasses
import itertools
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence

import numpy as np

from stages import artifacts, manifest, pixels, png, resume, shell
from stages.prepare import engine, shards, sources, tables
from stages.prepare.settings import Settings
from stages.prepare.shards import ShardResult
from stages.prepare.sources import Source
from stages.prepare.store import Store
from stages.progress import Progress
from stages.workspace import Workspace

# What decides neither a shard's bytes nor what is noted of it: with another value, finished shards are still good.
_NOT_IN_SHARDS = ("max_rejected",)


def prepare(settings: Settings, workspace: Workspace, build_all: engine.Build) -> Mapping[str, float]:
    """Turn data/raw into data/prepared and reports/data."""
    raw = workspace.input("data/raw").resolve()
    facts = sources.facts_of(raw)
    tools = shards.tools()
    decisive = {name: value for name, value in dataclasses.asdict(settings).items() if name not in _NOT_IN_SHARDS}
    key = resume.key_of(decisive, artifacts.sha256(raw / "source.json"), tools)
    with resume.unfinished("prepare", key) as state:
        started = time.monotonic()
        shell.say(f"reading the index of {facts['title']} ...")
        source = sources.open_source(raw, facts, settings, state)
        store = Store.at(os.environ.get("PREPARE_STORE", ""), key, state)
        done: dict[int, shards.ShardResult] = {}
        with Progress("prepare", len(source.index), "images") as progress:
            for number, result in build_all(shards.parts(source, settings), settings, store):
                done[number] = result
                progress.advance(result.found)
        seconds = time.monotonic() - started
        publish(source, [done[number] for number in sorted(done)], settings, tools, store, workspace)
        store.clear()
    return {"images_per_second": len(source.index) / seconds}


def _preview(source: Source, results: Sequence[ShardResult], settings: Settings) -> np.ndarray:
    """The first pictures that were kept, uint8 (≤64, H, W, C), all of one shard."""

    if kept := [result.preview for result in results if len(result.preview)]:
        return kept[0]
    # All of the first shard was rejected, and no other has a preview: the next is made once more, for its pictures.
    number = next(number for number, result in enumerate(results) if result.shards)
    part = next(itertools.islice(shards.parts(source, settings), number, None))
    with tempfile.TemporaryDirectory() as folder:
        return shards.build_shard(dataclasses.replace(part, preview=shards.PREVIEW), settings, Store(folder)).preview


def publish(
    source: Source,
    results: list[ShardResult],
    settings: Settings,
    tools: dict[str, str],
    store: Store,
    workspace: Workspace,
) -> None:
    """Put finished shards and what is to be said of them where they belong.

    Raises StageError where more was rejected than `max_rejected` allows, and where a split would be empty.
    """

    found, names = len(source.index), source.splits or ("train", "test")
    rejected = tables.quarantine(results)
    listed = resume.state_folder() / "prepare" / "quarantine.csv"
    rejected.to_csv(listed, index=False)
    tables.check_rejected(rejected, found, settings.max_rejected, str(listed))
    listed.unlink()
    splits = tables.splits(results, names, len(source.classes))
    copies, repeated, straddling = tables.duplicates(results, source.index.names)
    mean, std = tables.per_channel(results, "train", settings)
    described = manifest.Manifest(
        (settings.size, settings.size, settings.channels),
        settings.dtype,
        source.classes,
        splits,
        {**source.facts, "classes": list(source.classes)},
        dataclasses.asdict(settings),
        tools,
        {
            "found": found,
            "kept": sum(split.records for split in splits.values()),
            "rejected": len(rejected),
            "ignored": source.ignored,
            "duplicates": repeated,
            "straddling": straddling,
        },
        tuple(mean),
        tuple(std),
    )
    with workspace.outputs("data/prepared", "reports/data") as new:
        folder, report = new("data/prepared"), new("reports/data")
        folder.mkdir()
        report.mkdir()
        manifest.write(folder, described)
        rejected.to_csv(folder / "quarantine.csv", index=False)
        copies.to_csv(folder / "duplicates.csv", index=False)
        tables.classes(results, list(splits), source.classes, settings).to_csv(report / "classes.csv", index=False)
        tables.rejected(rejected).to_csv(report / "rejected.csv", index=False)
        tables.sizes(results).to_csv(report / "sizes.csv", index=False)
        preview = _preview(source, results, settings)
        png.save_png(
            png.grid(pixels.normalise(preview), 8),
            report / "contact_sheet.png",
            max(1, 64 // settings.size),
            {
                "Description": f"The first {len(preview)} prepared pictures in stored order, uncurated",
                "Source": f"{source.facts['title']} ({source.facts['licence']})",
                "Params": json.dumps(described.params),
            },
        )
        for name, split in splits.items():
            for shard in split.shards:
                store.move(shard.name, folder / shard.name)
            manifest.verified_shards(folder, described, name)
    for name, split in splits.items():
        shards = f"{len(split.shards):,} shard{'s' if len(split.shards) > 1 else ''}"
        shell.say(f"{name}: {split.records:,} records in {shards}")
    shell.say(
        f"{len(rejected):,} of {found:,} pictures rejected, {repeated:,} exact duplicates, {straddling:,} of them in "
        "more than one split (data/prepared/quarantine.csv, duplicates.csv)"
    )
