"""Tests of stages/sample."""
