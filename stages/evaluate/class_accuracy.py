"""The classification accuracy score: a judge that learned the classes from samples (Ravuri, Vinyals 2019)."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from stages.latent import Sampler
from stages.manifest import Manifest
from stages.networks import judge as judges
from stages.networks.judge import Judge
from stages.progress import Progress

# Added to `evaluate.first_seed`, so that no sample of the training is measured.
_AFTER = 1 << 32


def train_on_samples(
    sampler: Sampler, data: Manifest, params: Mapping[str, Any], first_seed: int, images: int
) -> Judge:
    """Train a judge like the data's, with the params of the features stage, on `images` samples, each seen once.

    The class of a sample is the one that the generator was asked for. Ravuri, Vinyals 2019 (arXiv:1905.10887), section
    3. The sampler must have classes.
    """
    assert sampler.classes is not None  # noqa: S101 - the caller checks it
    names, batch = sampler.classes.names, int(params["batch_size"])
    model = judges.judge(
        data.shape[:2], data.shape[2], len(names), base_channels=params["base_channels"], seed=params["seed"]
    )
    steps = images // batch
    step = judges.train_step(model, params["learning_rate"], steps)
    with Progress("train a judge on samples", steps * batch, "images") as progress:
        for number in range(steps):
            seeds = range(first_seed + _AFTER + number * batch, first_seed + _AFTER + (number + 1) * batch)
            step(tf.constant(sampler.images(seeds)), tf.constant(sampler.classes.of_seeds(seeds)))
            progress.advance(batch)
    return Judge(model, names)
