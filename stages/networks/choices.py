"""The closed sets that the networks' params choose from. Free of TensorFlow, so that reading params stays fast."""

from typing import Literal

Activation = Literal["relu", "leaky_relu", "elu", "maxout", "tanh"]
BatchNormPlan = Literal["dcgan", "none", "all"]
"""Which layers have batch norm. dcgan: all but the generator's last and the discriminator's first layer."""
KernelSize = Literal[4, 5]
Precision = Literal["float32", "mixed_bfloat16"]
Upsampling = Literal["transposed", "fractional", "resize"]
Stem = Literal["conv", "dense"]
"""The generator's first layers: from z to 4 × 4."""
Head = Literal["conv", "dense", "gap"]
"""The discriminator's last layers: from 4 × 4 to the logit."""
