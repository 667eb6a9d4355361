"""Crop, fit, normalise to [-1,1] and write sharded TFRecords.

    python -m stages.prepare

Reads data/raw and the `prepare` section. Writes data/prepared/ (the shards and manifest.json) and
reports/data.csv (images, mean, std, min and max per split and class). The official splits are kept. The same bytes on
every run and every machine. Fashion-MNIST at 32×32: 70,000 records in 10 shards, 300 MB as float32, about 10 s.
"""

import dataclasses
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from stages import shell
from stages.artifacts import Workspace
from stages.prepare.settings import Settings
from stages.progress import Progress


def prepare(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn data/raw into data/prepared and reports/data.csv."""
    import cv2

    from stages import manifest
    from stages.prepare import geometry, shards, sources

    cv2.setNumThreads(1)  # one image is too small to share; shards run side by side
    source = sources.open_source(workspace.input("data/raw"))
    classes = source.facts["classes"]
    started = time.monotonic()
    with workspace.outputs("data/prepared", "reports/data.csv") as new:
        folder = new("data/prepared")
        folder.mkdir()
        plans = {
            name: shards.plan(name, len(split.images), settings.records_per_shard, settings.seed)
            for name, split in source.splits.items()
        }
        total = sum(len(split.images) for split in source.splits.values())
        results: dict[str, list[shards.ShardResult]] = {}
        with Progress("prepare", total, "images") as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
            pending = {
                name: [pool.submit(shards.build_shard, p, source.splits[name], settings, folder) for p in plans[name]]
                for name in plans
            }
            try:
                for name, futures in pending.items():
                    results[name] = []
                    for future in futures:
                        results[name].append(future.result())
                        progress.advance(results[name][-1].shard.records)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        shards.statistics(results, classes).to_csv(new("reports/data.csv"), index=False)
        splits = {
            name: manifest.Split(
                sum(result.shard.records for result in done),
                tuple(sum(int((r.pixels["label"] == i).sum()) for r in done) for i in range(len(classes))),
                tuple(result.shard for result in done),
            )
            for name, done in results.items()
        }
        manifest.write(
            folder,
            manifest.Manifest(
                (settings.size, settings.size, settings.channels),
                settings.dtype,
                tuple(classes),
                splits,
                source.facts,
                dataclasses.asdict(settings),
                {"opencv": cv2.__version__, "filters": geometry.FILTERS},
            ),
        )
    for name, split in splits.items():
        shell.say(f"{name}: {split.records:,} records in {len(split.shards)} shards")
    return {"images_per_second": total / (time.monotonic() - started)}


if __name__ == "__main__":
    shell.run_stage("prepare", "prepare", Settings, prepare, __doc__, tensorflow=True)
