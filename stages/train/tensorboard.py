"""The log as TensorBoard's event files: `train.tensorboard: true`.

TensorFlow can write event files without the package `tensorboard`. Only the functions `tf.summary.scalar` and
`tf.summary.image` are in that package, so this module writes the same records with `tf.summary.write`.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from stages import png

_SCALAR, _PICTURES = 1, 3  # tensorboard/compat/proto/summary.proto: DATA_CLASS_SCALAR, DATA_CLASS_BLOB_SEQUENCE


def _metadata(plugin: Literal["scalars", "images"], data_class: int) -> tf.compat.v1.SummaryMetadata:
    data = tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin)
    return tf.compat.v1.SummaryMetadata(plugin_data=data, data_class=data_class)


class TensorBoard:
    """Event files in a folder. Each row of the log is a step, which is the number of images seen."""

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, images: int, values: Mapping[str, float], grid: np.ndarray | None) -> None:
        """Write the values by name, and a picture, uint8 (H, W, C), if there is one."""
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.write(name, tf.constant(value, tf.float32), images, _metadata("scalars", _SCALAR))
            if grid is not None:
                content = io.BytesIO()
                png.save_png(grid, content, 1)
                parts = [str(grid.shape[1]), str(grid.shape[0]), content.getvalue()]
                tf.summary.write("fixed_z", tf.constant(parts), images, _metadata("images", _PICTURES))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
