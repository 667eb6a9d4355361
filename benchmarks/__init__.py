"""Benchmarks: they time several programs in one run, because only the ratios hold on other machines."""
