"""Adam with a learning rate and a β2 that can change from step to step."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


class Adam(keras.optimizers.Adam):
    """Adam (Kingma, Ba 2015, arXiv:1412.6980, algorithm 1) with a β2 that is a function of the step.

    v is a sum of squared gradients, and the weights of the sum add up to 1 − β2ᵗ: dividing by it corrects the start at
    zero. If β2 changes, they add up to 1 less the product of every β2 so far. Keras' Adam takes βᵗ of the present β.
    """

    def __init__(
        self,
        rate: keras.optimizers.schedules.LearningRateSchedule,
        beta_1: float,
        beta_2: Callable[[tf.Tensor], tf.Tensor],
    ) -> None:
        super().__init__(rate, beta_1)
        self._beta_2_at = beta_2
        self.beta_2_product: keras.Variable
        """The product of the β2 of all steps so far (float32); 1 before the first."""

    def build(self, var_list: Sequence[keras.Variable]) -> None:
        """Create the moments of each variable, and the product."""
        super().build(var_list)
        self.beta_2_product = self.add_variable((), "ones", aggregation="only_first_replica", name="beta_2_product")

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Any = None) -> None:
        """Take one step."""
        self.beta_2_product.assign(self.beta_2_product * self._beta_2_at(self.iterations.value))
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update the moments of a variable, then the variable."""
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (tf.square(gradient) - v) * (1 - self._beta_2_at(self.iterations.value)))
        step = tf.cast(self.iterations.value + 1, tf.float32)
        rate = learning_rate * tf.sqrt(1 - self.beta_2_product) / (1 - self.beta_1**step)
        self.assign_sub(variable, m * rate / (tf.sqrt(v) + self.epsilon))
