"""Checkerboards: how much a period of two pixels, the stride of the last up-sampling, stands out in the spectrum.

Odena, Dumoulin, Olah 2016 ("Deconvolution and Checkerboard Artifacts", Distill, doi:10.23915/distill.00003): a kernel
that overlaps itself unevenly leaves a pattern with the period of its stride. Any sharp or noisy image has power at that
frequency; a pattern has more power there than at the neighbouring frequencies.
"""

import numpy as np


def power(images: np.ndarray) -> np.ndarray:
    """Images float32 NHWC, with even sides of 8 or more => the sum of their power spectra, float64 (H, W)."""
    spectra = np.fft.fft2(images, axes=(1, 2))
    return (spectra.real**2 + spectra.imag**2).sum((0, 3), dtype=np.float64)


def checkerboard(total: np.ndarray) -> float:
    """Power at a period of two pixels, in rows or in columns, over the mean power at the two next longer periods.

    `total` (H, W) is a sum of power spectra. The result is 1 for noise, and less for smooth images, whose spectrum
    falls: compare it with real images of the same size. It is 1 for flat images, which have no power.
    """
    lines = [(line, len(line) // 2) for line in (total.sum(1), total.sum(0))]
    neighbours = sum(line[half - 1] + line[half - 2] for line, half in lines) / 2
    return float(sum(line[half] for line, half in lines) / neighbours) if neighbours > 0 else 1.0
