"""Tests: about one file per module; `slow` marks kills, whole pipelines and fresh clones."""
