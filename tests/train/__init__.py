"""Tests of stages/train."""
