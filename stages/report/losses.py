"""The losses in words, and the values that they have when the discriminator cannot tell samples from real images."""

import math
from dataclasses import dataclass
from typing import Any

_CROSS_ENTROPY = (
    "The discriminator's loss is the sum of two cross-entropies, in nats: of the answer “real” for real images, and of "
    "“not real” for samples."
)
_ONLY_CHANGES = "The generator's loss is minus the mean output for samples, so only its changes have a meaning"


@dataclass(frozen=True)
class Meaning:
    """What both losses measure, as sentences.

    `discriminator` and `generator` are the values at which the discriminator cannot tell samples from real images; None
    if the loss has no such value.
    """

    words: str
    discriminator: float | None = None
    generator: float | None = None


def meaning(loss: dict[str, Any]) -> Meaning:
    """The meaning of a loss, which is `train.loss` of the params; without words if this file does not know it."""
    target = 1 - loss["label_smoothing"]
    meanings = {
        "non_saturating": Meaning(
            f"{_CROSS_ENTROPY} The generator's loss is the cross-entropy of the answer “real” for samples",
            2 * math.log(2),
            math.log(2),
        ),
        "minimax": Meaning(
            f"{_CROSS_ENTROPY} The generator's loss is minus the one for samples, so it is near 0 while the "
            "discriminator recognises them",
            2 * math.log(2),
            -math.log(2),
        ),
        "relativistic": Meaning(
            "The discriminator estimates the probability that a real image is more real than a sample. Its loss is the "
            "cross-entropy of this estimate, in nats. The generator's loss is the cross-entropy with the two exchanged",
            math.log(2),
            math.log(2),
        ),
        "least_squares": Meaning(
            f"The discriminator's loss is half the squared distance of its outputs from {target:g} for real images and "
            "from 0 for samples. The generator's loss is half the squared distance of the outputs for samples from 1",
            target**2 / 4,
            (1 - target / 2) ** 2 / 2,
        ),
        "hinge": Meaning(
            "The discriminator's loss is how far its outputs are below 1 for real images, and above −1 for samples. "
            + _ONLY_CHANGES,
            2.0,
        ),
        "wasserstein_gp": Meaning(
            "The discriminator's loss is its mean output for samples minus that for real images: the further below 0, "
            f"the further apart it holds them. {_ONLY_CHANGES}",
            0.0,
        ),
    }
    return meanings.get(loss["name"], Meaning(""))
