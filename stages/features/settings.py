"""What the features stage can be told."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stages.params import FORBID_UNKNOWN, Float, Int, Seed, Text


def _address(value: str) -> str:
    urlsplit(value)  # raises ValueError for brackets that are no IPv6 address
    return value


@dataclass(frozen=True)
class Settings:
    """The `features` section: the judge's size and training, and whether Inception is wanted besides."""

    __pydantic_config__ = FORBID_UNKNOWN

    network: Literal["judge", "inception"] = "judge"
    """What samples are measured in: the judge's features; inception: also in those of the graph of 2015 that published
    Fréchet distances are measured in (a download of 89 MB, and slow without a GPU). The judge is trained either way."""
    base_channels: Annotated[Int, Field(ge=4, le=512)] = 24
    images: Annotated[Int, Field(ge=1)] = 240_000
    """How many images the judge sees in training, repeats counted."""
    batch_size: Annotated[Int, Field(ge=2)] = 128
    learning_rate: Annotated[Float, Field(gt=0)] = 3e-3
    """Of Adam at the start; it falls to zero along a cosine."""
    seed: Seed = 0
    inception_url: Annotated[Text, AfterValidator(_address)] = (
        "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
    )
    """Where the graph is fetched from: the published archive, or another one with classify_image_graph_def.pb in it."""
    inception_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """What classify_image_graph_def.pb must hash to; by default the first download decides, and dvc.lock holds it."""

    def __post_init__(self) -> None:
        """Reject a training that has no step."""
        if self.images < self.batch_size:
            raise ValueError(f"images: expected at least a batch ({self.batch_size}), got {self.images}")

    @property
    def of_judge(self) -> dict[str, Any]:
        """What decides about the judge.

        Nothing about Inception: features.json holds this, the train stage reads that file, and another network to
        measure samples in must not make a trained GAN stale.
        """
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in ("network", "inception_url", "inception_sha256")
        }
