"""Tests of stages/invert."""
