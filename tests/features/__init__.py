"""Tests of stages/features."""
