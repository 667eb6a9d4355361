"""Tests of stages/metrics."""
