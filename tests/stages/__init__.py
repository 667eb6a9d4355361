"""Tests of the files directly in stages/."""
