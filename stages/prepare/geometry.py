"""Image operations on uint8 arrays in (height, width, channels) order."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from stages.prepare.settings import CELEBA_CROPS
from stages.sizes import Size, sides

# Area averaging is the exact antialiased reduction, and linear interpolation does not ring. Both give the same bytes
# with and without OpenCV's processor-specific code; its cubic filter does not. Pillow's filters widen with the
# reduction, so they are antialiased too, and they compute in whole numbers.
_PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class OutsideImageError(Exception):
    """The crop's box is not inside the image."""


def crop(image: np.ndarray, how: str | Sequence[int]) -> np.ndarray:
    """Crop an image: `none`, `square` (the largest centred one; an odd pixel is cut at the right or bottom) or a box.

    A box is (left, top, right, bottom) in pixels, right and bottom exclusive, or the name of a CelebA crop. Raises
    OutsideImageError if it is not inside the image.
    """
    height, width = image.shape[:2]
    if how == "none":
        return image
    if how == "square":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return image[top : top + side, left : left + side]
    left, top, right, bottom = CELEBA_CROPS[how] if isinstance(how, str) else how
    if right > width or bottom > height:
        raise OutsideImageError
    return image[top:bottom, left:right]


def _resample(image: np.ndarray, height: int, width: int, how: str) -> np.ndarray:
    """Resize to height × width, antialiased, with the same channels."""
    if image.shape[:2] == (height, width):
        return image
    channels = image.shape[2]
    if how != "area":
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        return np.asarray(picture.resize((width, height), _PILLOW[how])).reshape(height, width, channels)
    if channels != 4:
        return _area(image, height, width)
    # The colours of transparent pixels must not bleed into their neighbours: weight them by alpha, as Pillow does.
    weighted = _area(np.asarray(Image.fromarray(image).convert("RGBa")), height, width)
    return np.asarray(Image.frombytes("RGBa", (width, height), weighted.tobytes()).convert("RGBA"))


def _area(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize to height × width by OpenCV's area filter, and linearly where it enlarges."""
    channels = image.shape[2]
    shrunk = min(height, image.shape[0]), min(width, image.shape[1])  # shrink first, then enlarge
    for (h, w), interpolation in ((shrunk, cv2.INTER_AREA), ((height, width), cv2.INTER_LINEAR)):
        if image.shape[:2] != (h, w):
            image = cv2.resize(image, (w, h), interpolation=interpolation)
            image = image.reshape(h, w, channels)  # OpenCV drops the axis of a single channel
    return image


def fit(
    image: np.ndarray, size: Size, how: str, resample: str = "area", background: tuple[int, int, int] = (0, 0, 0)
) -> np.ndarray:
    """Fit into a size: `resize` in both directions, or `pad` (shrink to fit, then centre on `background`).

    The background of an image with alpha is transparent.
    """
    rows, columns = sides(size)
    if how == "resize":
        return _resample(image, rows, columns, resample)
    height, width = image.shape[:2]
    scale = min(1.0, rows / height, columns / width)
    inner = _resample(image, max(1, round(height * scale)), max(1, round(width * scale)), resample)
    top, left = (rows - inner.shape[0]) // 2, (columns - inner.shape[1]) // 2
    canvas = np.empty((rows, columns, image.shape[2]), np.uint8)
    channels = image.shape[2]
    canvas[:] = 0 if channels == 4 else to_channels(np.array(background, np.uint8).reshape(1, 1, 3), channels)
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Gray to colour by repetition, colour (RGB) to gray by its luma (ITU-R BT.601, rounded by OpenCV).

    4 channels are colour and alpha. Alpha is straight, as in a PNG: the colour is not multiplied by it. An image
    without alpha becomes opaque. Invisible pixels become black, because their colours would be noise to learn.
    """
    if channels == 4:
        alpha = image[..., 3:] if image.shape[2] == 4 else np.full((*image.shape[:2], 1), 255, np.uint8)
        return np.concatenate([to_channels(image[..., :3], 3) * (alpha > 0), alpha], axis=2)
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
