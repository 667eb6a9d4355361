"""Tests of the whole: dvc.yaml, stages together, clones, interrupts, remotes, README and docs."""
