"""Flags: problems during training. `train` writes them to models/model.json, and later stages read them there."""

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["non_finite", "discriminator_saturated", "generator_collapsed", "exploded"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Flag:
    """One problem: the number of images seen when it arose, its kind, and a sentence about it."""

    images: int
    kind: Kind
    message: str
