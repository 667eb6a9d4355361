"""The judge: a small network trained on the real data. Its classes and features measure generated images.

It is a classifier if the data has labels. Without labels, its features are trained on the pictures alone, and clusters
of the training pictures take the place of classes.
"""

from collections.abc import Callable
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
LABELLED, UNLABELLED, NONE = "judge", "judge_unlabelled", "none"
"""The values of `network` in features.json: which judge the data has."""
NAMES = {LABELLED: "the judge of the labels", UNLABELLED: "the judge without labels"}
"""The judges in words."""
CLUSTERS = "clusters"
"""The key of features.json with the share of each cluster among the training images; only without labels."""
REJECTED = "rejected"
"""The key of features.json that says why judges were rejected, by their kind; missing if none was."""
FEATURES = 64
FLATTERED = "flattered"
"""The key of features.json with the corruptions that leave the precision as high as real pictures; missing if none."""
_BATCH = 500
_NO_SHARES = np.zeros(0)


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


def train_step(model: keras.Model, learning_rate: float, steps: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function that trains the model on a batch of images and labels, and returns the loss."""
    variables = model.trainable_variables
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    optimizer.build(variables)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits, _ = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step


@dataclass(frozen=True)
class Prediction:
    """The judge's output for N images: the most probable classes int64 (N,) and features float32 (N, 64)."""

    classes: np.ndarray
    features: np.ndarray


def load(folder: Path, data: Manifest) -> "Judge | None":
    """Load a data set's judge from models/features; None if it has none: no network passed its checks.

    Raises StageError if a file is missing or not a network, or was trained on other images or classes.
    """
    facts = artifacts.read_json(folder / FACTS, "network")
    if facts["network"] == NONE:
        return None
    path = folder / FILE
    model = saving.load(path)
    labelled = facts["network"] == LABELLED
    names = data.classes if labelled else cluster_names(len(facts[CLUSTERS]))
    shape, classes = tuple(model.input_shape[1:]), model.outputs[0].shape[-1]
    if (shape, classes) != (data.shape, len(names)):
        raise StageError(
            f"{path}: trained on {shape} images of {classes} classes, but the data set has "
            f"{data.shape} images of {len(names)}; run `dvc repro`"
        )
    shares = data.splits["train"].shares if labelled else np.array(facts[CLUSTERS])
    return Judge(model, names, shares, labelled=labelled)


def cluster_names(count: int) -> tuple[str, ...]:
    """The names of clusters, in the order of the judge's classes: cluster 1, cluster 2 and so on."""
    return tuple(f"cluster {number}" for number in range(1, count + 1))


def is_labelled(folder: Path) -> bool:
    """Whether the judge in models/features is one of labels."""
    return bool(artifacts.read_json(folder / FACTS, "network")["network"] == LABELLED)


def rejected(folder: Path) -> dict[str, str]:
    """Why the features stage rejected judges, by their kind, from models/features."""
    return dict(artifacts.read_json(folder / FACTS).get(REJECTED, {}))


def flattered(folder: Path) -> list[str]:
    """The corruptions that the precision in the judge's features does not see, from models/features."""
    return list(artifacts.read_json(folder / FACTS).get(FLATTERED, []))


class Judge:
    """A trained judge in inference mode.

    `names` and `shares` (K,) are those of its classes in the training data. They are clusters if it is not `labelled`.
    """

    def __init__(
        self, model: keras.Model, names: tuple[str, ...] = (), shares: np.ndarray = _NO_SHARES, *, labelled: bool = True
    ) -> None:
        self.names, self.shares, self.labelled = names, shares, labelled
        self._infer = tf.function(lambda images: model(images, training=False), reduce_retracing=True)

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 NHWC in [-1,1] => their features float32 (N, 64), in a graph and differentiable."""
        return self._infer(images)[1]

    def __call__(self, images: np.ndarray) -> Prediction:
        """Images float32 NHWC in [-1,1] => their classes and features, in batches of 500."""
        outputs = [self._infer(tf.constant(images[i : i + _BATCH])) for i in range(0, len(images), _BATCH)]
        logits = np.concatenate([batch[0].numpy() for batch in outputs])
        return Prediction(logits.argmax(1), np.concatenate([batch[1].numpy() for batch in outputs]))
