"""Metrics: one file each, arrays in, floats out."""
