"""Tests of stages/download."""
