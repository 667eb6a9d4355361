"""The judge: a small classifier trained on the real data. Its classes and features measure generated images."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from stages import artifacts
from stages.errors import StageError
from stages.manifest import Manifest
from stages.networks import saving
from stages.networks.layers import BatchNorm, Initializers
from stages.sizes import Size, doublings, sides

FILE, FACTS = "judge.keras", "features.json"
REJECTED = "rejected"
"""The key of features.json that says why the judge was rejected; missing otherwise."""
FEATURES = 64
_BATCH = 500


def judge(size: Size, channels: int, classes: int, *, base_channels: int = 32, seed: int = 0) -> keras.Model:
    """Build the network images (N, height, width, channels) in [-1,1] => logits (N, classes) and features (N, 64).

    A strided 5 × 5 convolution comes first, then 3 × 3 convolutions with max pooling down to the generator's grid, all
    with batch norm, then a fully connected layer of 64 features with a leaky ReLU: a dead feature would make the
    features' covariance singular. Raises ValueError for a size that stages/sizes.py does not allow.
    """
    init = Initializers(seed)
    image = x = keras.Input((*sides(size), channels), name="image")
    x = layers.Conv2D(
        base_channels,
        5,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer=init.he(),
        name="conv_1",
    )(x)
    x = layers.ReLU(name="relu_1")(BatchNorm(name="norm_1")(x))
    for step in range(2, doublings(size) + 1):
        x = layers.Conv2D(
            base_channels * 2 ** min(step - 1, 2),
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=init.he(),
            name=f"conv_{step}",
        )(x)
        x = layers.MaxPooling2D(name=f"pool_{step}")(x)
        x = layers.ReLU(name=f"relu_{step}")(BatchNorm(name=f"norm_{step}")(x))
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(FEATURES, kernel_initializer=init.he(), name="dense")(x)
    features = layers.LeakyReLU(0.1, name="features")(x)
    x = layers.Dropout(0.3, seed=seed, name="dropout")(features)
    logits = layers.Dense(classes, kernel_initializer=init.he(), name="logits")(x)
    return keras.Model(image, [logits, features], name="judge")


@dataclass(frozen=True)
class Prediction:
    """The judge's output for N images: the most probable classes int64 (N,) and features float32 (N, 64)."""

    classes: np.ndarray
    features: np.ndarray


def load(folder: Path, data: Manifest) -> "Judge | None":
    """Load a data set's judge from models/features; None if it has none: fewer than two classes, or a rejected judge.

    Raises StageError if a file is missing or not a network, or was trained on other images or classes.
    """
    if len(data.classes) < 2 or artifacts.read_json(folder / FACTS, "network")["network"] == "none":
        return None
    path = folder / FILE
    model = saving.load(path)
    shape, classes = tuple(model.input_shape[1:]), model.outputs[0].shape[-1]
    if (shape, classes) != (data.shape, len(data.classes)):
        raise StageError(
            f"{path}: trained on {shape} images of {classes} classes, but the data set has "
            f"{data.shape} images of {len(data.classes)}; run `dvc repro`"
        )
    return Judge(model)


def rejection(folder: Path) -> str:
    """Why the features stage rejected the judge, from models/features; empty if it did not."""
    return str(artifacts.read_json(folder / FACTS).get(REJECTED, ""))


class Judge:
    """A trained judge in inference mode."""

    def __init__(self, model: keras.Model) -> None:
        self._infer = tf.function(lambda images: model(images, training=False), reduce_retracing=True)

    def __call__(self, images: np.ndarray) -> Prediction:
        """Images float32 NHWC in [-1,1] => their classes and features, in batches of 500."""
        outputs = [self._infer(tf.constant(images[i : i + _BATCH])) for i in range(0, len(images), _BATCH)]
        logits = np.concatenate([batch[0].numpy() for batch in outputs])
        return Prediction(logits.argmax(1), np.concatenate([batch[1].numpy() for batch in outputs]))
