"""Tests of stages/prepare."""
