"""Adam with a β2 that can change from step to step."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


class Adam(keras.optimizers.Adam):
    """Adam (Kingma, Ba 2015, arXiv:1412.6980, algorithm 1) with a β2 that is a number or a function of the step.

    v starts at zero, so it underestimates the mean of the squared gradients: by the factor 1 − β2ᵗ for a constant β2,
    by 1 minus the product of all β2 so far otherwise. The update divides by this factor.
    """

    def __init__(
        self,
        rate: keras.optimizers.schedules.LearningRateSchedule,
        beta_1: float,
        beta_2: float | Callable[[tf.Tensor], tf.Tensor],
    ) -> None:
        super().__init__(rate, beta_1, beta_2)
        self.beta_2_product: keras.Variable
        """The product of the β2 of all steps so far (float32)."""

    def build(self, var_list: Sequence[keras.Variable]) -> None:
        """Create the moments of each variable, and the product."""
        super().build(var_list)
        options = {"aggregation": "only_first_replica", "name": "beta_2_product"}
        self.beta_2_product = self.add_variable((), "ones", **options)

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Any = None) -> None:
        """Take one step."""
        beta_2 = self.beta_2(self.iterations.value) if callable(self.beta_2) else self.beta_2
        self.beta_2_product.assign(self.beta_2_product * beta_2)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update the moments of a variable, then the variable."""
        if not callable(self.beta_2):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (tf.square(gradient) - v) * (1 - self.beta_2(self.iterations.value)))
        step = tf.cast(self.iterations.value + 1, tf.float32)
        rate = learning_rate * tf.sqrt(1 - self.beta_2_product) / (1 - self.beta_1**step)
        self.assign_sub(variable, m * rate / (tf.sqrt(v) + self.epsilon))
