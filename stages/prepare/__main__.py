"""Decode, crop, resize and normalise the pictures, and write them as sharded TFRecords.

    python -m stages.prepare

Reads data/raw, directly from its archives, and the `prepare` section of the params. Writes data/prepared (the shards,
manifest.json, quarantine.csv with the rejected pictures and the reasons, duplicates.csv) and reports/data (images,
mean, std, min and max per split and class; counts per reason and per size; a contact sheet). Keeps official splits. The
bytes are the same on every run, on every machine and for any number of workers. After a kill, the next run keeps the
finished shards. Fashion-MNIST takes a few seconds. Prints:

    reading the index of Fashion-MNIST ...
    train: 60,000 records in 30 shards
    test: 10,000 records in 5 shards
    10 classes (train, test): T-shirt/top: 6,000, 1,000; Trouser: 6,000, 1,000; ...
    70,000 files: 70,000 kept, 0 rejected, 0 left out
    0 of 70,000 pictures rejected, 0 exact duplicates, 0 of them in more than one split (...)
    prepare: done in 2.8 s
"""

from collections.abc import Mapping

from stages import shell
from stages.prepare import engine
from stages.prepare.settings import Settings
from stages.workspace import Workspace


def prepare(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The workers start first: they import OpenCV while this process imports the stage."""
    with engine.start() as build_all:
        from stages.prepare import stage

        return stage.prepare(settings, workspace, build_all)


if __name__ == "__main__":
    shell.run_stage("prepare", "prepare", Settings, prepare, __doc__)
