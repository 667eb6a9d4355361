"""Tests of stages/evaluate."""
