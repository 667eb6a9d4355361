"""The sizes that images can have. Does not import TensorFlow, so that reading the params stays fast.

The networks double a small grid of pixels until it has the size of the image. The rule that gives the grid: halve the
shorter side until 4 to 7 pixels are left, and halve the longer side as often. So a power of two starts from the paper's
4 × 4, 28 × 28 from 7 × 7, 48 × 48 from 6 × 6, 160 × 160 from 5 × 5, and 64 × 128 from 4 × 8.
"""

SMALLEST, LARGEST = 16, 1024
"""The range of a side, in pixels. At the smallest, the networks have two layers that double."""
SIDES = tuple(sorted(n << k for n in (4, 5, 6, 7) for k in range(2, 9) if n << k <= LARGEST))
"""The sides that an image can have: 4, 5, 6 or 7, doubled at least twice (16, 20, 24, 28, 32, 40, …, 1024)."""

Size = int | tuple[int, int]
"""The side of a square, or (height, width)."""


def sides(size: Size) -> tuple[int, int]:
    """Height and width in pixels."""
    return (size, size) if isinstance(size, int) else size


def doublings(size: Size) -> int:
    """How often the networks double the grid's sides. Raises ValueError, with the nearest sizes, for another size."""
    for side in sides(size):
        if side not in SIDES:
            raise ValueError(
                f"expected sides of {SMALLEST} to {LARGEST} pixels that are a power of two or 3, 5 or 7 times one, "
                f"got {side}; use {' or '.join(map(str, nearest(side)))}"
            )
    return (min(sides(size)) // 4).bit_length() - 1


def grid(size: Size) -> tuple[int, int]:
    """Rows and columns of the grid from which the networks double, by the rule above. Errors as in `doublings`."""
    steps = doublings(size)
    height, width = sides(size)
    return height >> steps, width >> steps


def nearest(side: int) -> list[int]:
    """The next smaller and the next larger side that an image can have, as far as there are any."""
    return [other for other in SIDES if other < side][-1:] + [other for other in SIDES if other > side][:1]
