"""Commands around the pipeline: they look at the machine, dvc.lock and the history. No stage needs them."""

# Which way a metric is better: however far it goes, or near a value, or near another metric, which is of real images.
BETTER = {
    **dict.fromkeys(("fid", "kid", "mode_kl", "swd"), "lower"),
    **{f"swd_{16 << level}": "lower" for level in range(7)},
    **dict.fromkeys(("precision", "recall", "coverage", "modes_covered", "rarest_mode"), "higher"),
    **dict.fromkeys(("density", "nearest_distance"), "near 1"),
    **{name: f"near {name}_real" for name in ("ms_ssim", "checkerboard", "memorization")},
}
