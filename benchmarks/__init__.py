"""Side-by-side timings: ratios taken in one run, never absolute promises."""
