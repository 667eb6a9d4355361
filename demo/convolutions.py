"""Figures 5 to 7 of the plan on a matrix of one's own: three convolutions, and what their kernel slides over."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from stages.errors import StageError
from stages.networks.layers import insert_zeros

KINDS = ("strided", "transposed", "fractional")
_STRIDE = 2
_MOST = 9

_3_TO_5 = "1 2 3\n4 5 6\n7 8 9"
_KERNEL_7 = "3 4 4\n1 0 2\n-1 0 3"
EXAMPLES = {
    "strided": (
        "2 3 7 4 6 2 9\n6 6 9 8 7 4 3\n3 4 8 3 8 9 7\n7 8 3 6 6 3 4\n4 2 1 8 3 4 6\n3 2 4 1 9 8 3\n0 1 3 9 2 1 4",
        _KERNEL_7,
    ),
    "transposed": (_3_TO_5, _KERNEL_7),
    "fractional": (_3_TO_5, _KERNEL_7),
}


@dataclass(frozen=True)
class Worked:
    """What the kernel slides over (`field`; `own` marks the matrix in it), in what steps, and what that gives."""

    field: np.ndarray
    own: np.ndarray
    kernel: np.ndarray
    step: int
    result: np.ndarray

    def window(self, at: int) -> tuple[slice, slice]:
        """Where in the field the kernel lies for the result's number `at`, row by row."""
        top, left = (self.step * place for place in divmod(at, self.result.shape[1]))
        return slice(top, top + self.kernel.shape[0]), slice(left, left + self.kernel.shape[1])


def matrix_of(text: str) -> np.ndarray:
    """float32 (H, W) from rows of numbers. Raises StageError unless they are 1 to 9 rows of 1 to 9 in each."""
    rows = [line.replace(",", " ").split() for line in text.strip().splitlines()]
    try:
        matrix = np.array([[float(value) for value in row] for row in rows], np.float32)
    except ValueError:
        matrix = np.empty(0, np.float32)
    if matrix.ndim != 2 or not 1 <= min(matrix.shape) <= max(matrix.shape) <= _MOST or not np.isfinite(matrix).all():
        raise StageError(f"matrix: {text.strip()[:40]!r}")
    return matrix


def work(kind: str, matrix: np.ndarray, kernel: np.ndarray) -> Worked:
    """Slide `kernel` (k, l) over `matrix` (H, W), as deep learning has it: without turning it first.

    `strided`: in steps of 2, within the matrix. `transposed`: in steps of 1 over the matrix with k − 1 zeros around.
    `fractional`: in steps of 1 over the matrix with a zero between neighbours, and k // 2 zeros around. Raises
    StageError where a kernel is larger than what it slides over.
    """
    marked = np.stack([matrix, np.ones_like(matrix)], -1)[None]
    if kind not in KINDS:
        raise StageError(f"kind: {kind!r}")
    if kind == "transposed":
        field = tf.pad(marked, [[0, 0], *([side - 1] * 2 for side in kernel.shape), [0, 0]]).numpy()
    elif kind == "fractional":
        spread = insert_zeros(tf.constant(marked), _STRIDE, (0, 0))
        field = tf.pad(spread, [[0, 0], *([side // 2] * 2 for side in kernel.shape), [0, 0]]).numpy()
    else:
        field = marked
    if any(k > side for k, side in zip(kernel.shape, field.shape[1:3], strict=True)):
        raise StageError("kernel: larger than the matrix")
    step = _STRIDE if kind == "strided" else 1
    result = tf.nn.conv2d(field[..., :1], kernel[..., None, None], step, "VALID")
    return Worked(field[0, ..., 0], field[0, ..., 1] == 1, kernel, step, result.numpy()[0, ..., 0])
