"""Pixel values, uint8 [0,255] and float32 [-1,1], their alpha, and the number of images in a batch."""

import math

import numpy as np

_TABLE = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
_BATCH, _BATCH_BYTES = 500, 64 << 20


def normalise(image: np.ndarray) -> np.ndarray:
    """uint8 [0,255] => float32 [-1,1], any shape: x/127.5 − 1. A table gives every reader the same bits."""
    return _TABLE[image]


def to_uint8(images: np.ndarray) -> np.ndarray:
    """float32 [-1,1] => uint8 [0,255], any shape, rounded to the nearest value."""
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def over(images: np.ndarray, backdrop: np.ndarray | int) -> np.ndarray:
    """uint8 images with straight alpha (…, H, W, 4) over a backdrop in [0,255] => (…, H, W, 3). Others stay."""
    if images.shape[-1] != 4:
        return images
    alpha = images[..., 3:].astype(np.uint16)
    return ((images[..., :3] * alpha + backdrop * (255 - alpha) + 127) // 255).astype(np.uint8)


def checkerboard(height: int, width: int) -> np.ndarray:
    """The white and gray squares of 4 × 4 pixels that stand for transparency: uint16 (H, W, 1)."""
    rows, columns = np.indices((height, width)) // 4
    return np.where((rows + columns) % 2, 204, 255).astype(np.uint16)[..., None]


def batch_size_for(shape: tuple[int, int, int]) -> int:
    """How many float32 images of shape (H, W, C) to hold at a time: 500, or as many as fit into 64 MB."""
    return max(1, min(_BATCH, _BATCH_BYTES // (4 * math.prod(shape))))
