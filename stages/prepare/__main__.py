"""Decode, crop, fit, normalise to [-1,1] and write sharded TFRecords.

    python -m stages.prepare

Reads data/raw, straight out of its archives, and the `prepare` section. Writes data/prepared/ (the shards,
manifest.json, quarantine.csv with what was rejected and why, duplicates.csv) and reports/data/ (images, mean, std, min
and max per split and class; counts per reason and size; a contact sheet). Official splits are kept. The same bytes on
every run, every machine and for any number of workers. After a kill it goes on from the finished shards.
"""

from collections.abc import Mapping

from stages import shell
from stages.prepare import engine
from stages.prepare.settings import Settings
from stages.workspace import Workspace


def prepare(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The workers start first, so that they and this process import OpenCV at the same time."""
    with engine.start() as build_all:
        from stages.prepare import stage

        return stage.prepare(settings, workspace, build_all)


if __name__ == "__main__":
    shell.run_stage("prepare", "prepare", Settings, prepare, __doc__)
