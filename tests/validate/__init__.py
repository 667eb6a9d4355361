"""Tests of stages/validate."""
