"""The table of losses: their names and properties. Does not import TensorFlow, so that reading params stays fast.

The formulas of a loss are in the module of the same name, next to this one.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

if TYPE_CHECKING:
    import tensorflow as tf

    LossName = str


class Formulas(Protocol):
    """The module of a loss. It takes D's outputs (N, 1) before any sigmoid, and returns means over the batch."""

    def discriminator(self, real: "tf.Tensor", fake: "tf.Tensor", smoothing: float = 0.0) -> "tf.Tensor":
        """The loss that D minimises."""

    def generator(self, real: "tf.Tensor", fake: "tf.Tensor") -> "tf.Tensor":
        """The loss that G minimises."""

    def bounds(self, smoothing: float) -> tuple[float, float] | None:
        """D's loss when D is right about every image, and when it cannot tell real from fake. None: unbounded."""


@dataclass(frozen=True)
class Loss:
    """A loss that `train.loss.name` can name.

    `logistic`: D's outputs are logits, and their sigmoid is the probability of "real".
    `paired`: the loss compares the output for image i of the real batch with that for image i of the fake batch. One
    output alone has no meaning, and G's loss needs both.
    `smoothing`: the loss has labels, which `train.loss.label_smoothing` can soften.
    `penalty`: D's loss includes the gradient penalty, and D can have no batch norm.
    """

    name: str
    logistic: bool = False
    paired: bool = False
    smoothing: bool = False
    penalty: bool = False

    @property
    def formulas(self) -> Formulas:
        """The module with the formulas, imported on first use."""
        return cast(Formulas, import_module(f"{__package__}.{self.name}"))


_ROWS = (
    Loss("non_saturating", logistic=True, smoothing=True),
    Loss("minimax", logistic=True, smoothing=True),
    Loss("relativistic", logistic=True, paired=True),
    Loss("least_squares", smoothing=True),
    Loss("hinge"),
    Loss("wasserstein_gp", penalty=True),
)
LOSSES = {loss.name: loss for loss in _ROWS}
"""By name, in the order in which an error about an unknown loss lists them."""

if not TYPE_CHECKING:  # a type checker cannot read a table, so it sees any str
    LossName = Literal[tuple(LOSSES)]
