"""Tests of stages/report."""
