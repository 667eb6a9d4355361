"""Three convolutions on the user's matrix: strided, transposed and fractionally-strided."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from stages.errors import StageError
from stages.networks.layers import insert_zeros

KINDS = ("strided", "transposed", "fractional")
_STRIDE = 2
_MAX_SIDE = 9

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
class Convolution:
    """A computed convolution: `kernel` slides over `field` in steps of `step`. `own` marks the matrix in the field."""

    field: np.ndarray
    own: np.ndarray
    kernel: np.ndarray
    step: int
    result: np.ndarray

    def window(self, number: int) -> tuple[slice, slice]:
        """The part of the field that gives one number of the result. The numbers count row by row."""
        top, left = (self.step * position for position in divmod(number, self.result.shape[1]))
        return slice(top, top + self.kernel.shape[0]), slice(left, left + self.kernel.shape[1])


def matrix_of(text: str) -> np.ndarray:
    """float32 (H, W) from rows of numbers. Raises StageError unless there are 1 to 9 rows of 1 to 9 finite numbers."""
    rows = [line.replace(",", " ").split() for line in text.strip().splitlines()]
    try:
        matrix = np.array([[float(value) for value in row] for row in rows], np.float32)
    except ValueError:
        matrix = np.empty(0, np.float32)
    if (
        matrix.ndim != 2
        or not 1 <= min(matrix.shape) <= max(matrix.shape) <= _MAX_SIDE
        or not np.isfinite(matrix).all()
    ):
        raise StageError(f"matrix: {text.strip()[:40]!r}")
    return matrix


def convolve(kind: str, matrix: np.ndarray, kernel: np.ndarray) -> Convolution:
    """Slide `kernel` (k, l) over `matrix` (H, W). As usual in deep learning, the kernel is not turned first.

    `strided`: in steps of 2 over the matrix. `transposed`: in steps of 1 over the matrix with a border of k − 1 zeros.
    `fractional`: in steps of 1 over the matrix with a zero between neighbours and a border of k // 2 zeros. Raises
    StageError for an unknown kind, and for a kernel that is larger than its field.
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
        raise StageError("kernel: larger than the field that it slides over")
    step = _STRIDE if kind == "strided" else 1
    result = tf.nn.conv2d(field[..., :1], kernel[..., None, None], step, "VALID")
    return Convolution(field[0, ..., 0], field[0, ..., 1] == 1, kernel, step, result.numpy()[0, ..., 0])
