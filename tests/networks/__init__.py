"""Tests of stages/networks."""
