"""The settings of the augmentation. Does not import TensorFlow, so that reading the params stays fast."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError

from stages.params import FORBID_UNKNOWN, Float, Int

TransformName = Literal["colour", "translation", "cutout"]

_SHARE: Any = Annotated[Float, Field(ge=0, le=1)]  # Any, because mypy takes an annotated type for no type
_NUMBER = TypeAdapter(_SHARE)


def _probability(value: object) -> float | str:
    if value == "adaptive":
        return "adaptive"
    try:
        return float(_NUMBER.validate_python(value))
    except ValidationError:
        raise ValueError(f"expected adaptive or a number from 0 to 1, got {value!r}") from None


@dataclass(frozen=True)
class AugmentSettings:
    """The group `train.augment`: random changes of what the discriminator sees, real images and samples alike.

    The generator learns through them and does not copy them while each image has a good chance to stay as it is.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    transforms: tuple[TransformName, ...] = ()
    """The changes, in the order in which they are applied; none: no augmentation."""
    probability: Annotated[float | Literal["adaptive"], PlainValidator(_probability)] = "adaptive"
    """The chance of each transform for each image. adaptive: it starts at 0 and follows the over-fitting of the
    discriminator (Karras et al. 2020)."""
    target: Annotated[Float, Field(gt=0, lt=1)] = 0.3
    """The over-fitting (0: none, 1: complete) above which an adaptive probability rises, and below which it falls."""
    rise: Annotated[Int, Field(ge=1)] = 100_000
    """Images over which an adaptive probability can rise from 0 to 1."""

    @property
    def adaptive(self) -> bool:
        """Whether the probability follows the over-fitting."""
        return bool(self.transforms) and self.probability == "adaptive"

    def __post_init__(self) -> None:
        """Reject a transform that is there twice."""
        for name in self.transforms:
            if self.transforms.count(name) > 1:
                raise ValueError(f"transforms: expected each transform once, got {name!r} twice")
