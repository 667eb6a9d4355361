"""Checkerboards: how much a period of two pixels, the stride of the last up-sampling, sticks out of the spectrum.

Odena, Dumoulin, Olah 2016 ("Deconvolution and Checkerboard Artifacts", Distill, doi:10.23915/distill.00003): where a
kernel overlaps itself unevenly, it leaves a pattern with the period of its stride. Any sharp or noisy image has power
at that frequency; a pattern has more there than just beside it.
"""

import numpy as np


def power(images: np.ndarray) -> np.ndarray:
    """Images float32 NHWC, square with an even side of 8 or more => the sum of their power spectra, float64 (H, W)."""
    spectra = np.fft.fft2(images, axes=(1, 2))
    return (spectra.real**2 + spectra.imag**2).sum((0, 3), dtype=np.float64)


def checkerboard(total: np.ndarray) -> float:
    """Power at a period of two pixels, in rows or in columns, over the mean power at the two next longer periods.

    `total` (H, W) is a sum of power spectra. 1 for noise, less for smooth pictures, whose spectrum falls: compare
    with real images of the same size. 1 as well where there is no power at all.
    """
    rows, columns = total.sum(1), total.sum(0)
    half = len(total) // 2
    beside = sum(line[half - 1] + line[half - 2] for line in (rows, columns)) / 2
    return float((rows[half] + columns[half]) / beside) if beside > 0 else 1.0
