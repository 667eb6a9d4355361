"""The settings of the features stage."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stages.params import FORBID_UNKNOWN, Float, Int, Seed, Text


def _address(value: str) -> str:
    urlsplit(value)  # raises ValueError for brackets that are not an IPv6 address
    return value


@dataclass(frozen=True)
class Settings:
    """The `features` section: the judge's size and training, and whether to measure in Inception's features too."""

    __pydantic_config__ = FORBID_UNKNOWN

    network: Literal["judge", "inception"] = "judge"
    """The network whose features measure the samples. inception: the graph of 2015 that published distances use
    (a download of 89 MB, slow without a GPU). The judge is always trained, for the train stage and class coverage: on
    the labels if there are any, else on the pictures alone."""
    base_channels: Annotated[Int, Field(ge=4, le=512)] = 24
    """Channels of the judge's first layer."""
    images: Annotated[Int, Field(ge=1)] = 240_000
    """The number of images that the judge is trained on, counting repeats and, without labels, both views of each."""
    batch_size: Annotated[Int, Field(ge=2)] = 128
    """Images in a training batch of the judge."""
    learning_rate: Annotated[Float, Field(gt=0)] = 3e-3
    """Adam's initial learning rate. It falls to zero along a cosine."""
    seed: Seed = 0
    """Seed of the judge's initial weights, its dropout and the order of the images."""
    inception_url: Annotated[Text, AfterValidator(_address)] = (
        "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
    )
    """The address of the graph: the published archive, or another one that contains classify_image_graph_def.pb."""
    inception_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """The expected SHA-256 of classify_image_graph_def.pb. Empty: not checked, and dvc.lock records the first
    download's hash."""

    def __post_init__(self) -> None:
        """Reject settings that give less than one training step."""
        if self.images < self.batch_size:
            raise ValueError(f"images: expected at least a batch ({self.batch_size}), got {self.images}")

    @property
    def judge_params(self) -> dict[str, Any]:
        """The settings that the judge depends on, for features.json.

        They exclude Inception's: the train stage reads features.json, and choosing another network to measure samples
        must not make a trained GAN stale.
        """
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in ("network", "inception_url", "inception_sha256")
        }
