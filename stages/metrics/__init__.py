"""Metrics: one file each, arrays in, numbers out. catalog.py lists them."""
