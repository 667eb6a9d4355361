"""Image operations: each takes and gives uint8 in (height, width, channels) order and does one thing."""

from collections.abc import Sequence

import cv2
import numpy as np

# Area averaging is the exact antialiased reduction; linear does not ring. Both give the same bytes with OpenCV's
# processor-specific paths on and off, which its cubic filter does not.
FILTERS = "area when shrinking, linear when enlarging"


def crop(image: np.ndarray, how: str | Sequence[int]) -> np.ndarray:
    """Cut out a region: `none`, `square` (the largest, centred; an odd rest goes to the right and the bottom) or a box.

    A box is (left, top, right, bottom) in pixels, right and bottom exclusive. Raises ValueError where it does not lie
    within the image.
    """
    height, width = image.shape[:2]
    if isinstance(how, str):
        if how == "none":
            return image
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return image[top : top + side, left : left + side]
    left, top, right, bottom = how
    if right > width or bottom > height:
        raise ValueError(f"the crop {list(how)} does not lie within an image of {width}×{height}")
    return image[top:bottom, left:right]


def _resample(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """To height × width, antialiased; the number of channels stays. What shrinks shrinks first, then the rest grows."""
    shrunk = min(height, image.shape[0]), min(width, image.shape[1])
    channels = image.shape[2]
    for (h, w), how in ((shrunk, cv2.INTER_AREA), ((height, width), cv2.INTER_LINEAR)):
        if image.shape[:2] != (h, w):
            image = cv2.resize(image, (w, h), interpolation=how)
            image = image.reshape(h, w, channels)  # OpenCV drops the axis of a single channel
    return image


def fit(image: np.ndarray, size: int, how: str) -> np.ndarray:
    """Into size × size: `resize` in both directions, or `pad` (shrunk to fit where larger, centred on black)."""
    if how == "resize":
        return _resample(image, size, size)
    height, width = image.shape[:2]
    scale = min(1.0, size / max(height, width))
    inner = _resample(image, max(1, round(height * scale)), max(1, round(width * scale)))
    top, left = (size - inner.shape[0]) // 2, (size - inner.shape[1]) // 2
    canvas = np.zeros((size, size, image.shape[2]), np.uint8)
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Gray to colour by repeating it, colour (RGB) to gray by its luma (ITU-R BT.601, as OpenCV rounds it)."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
