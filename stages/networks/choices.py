"""The closed sets of the networks' params. Does not import TensorFlow, so that reading the params stays fast.

To add a choice, add its name here and build it in the module that uses it: an activation in layers.py, an up-sampling
or a stem in generator.py, a head in discriminator.py, a norm in layers.py (`norm_after`). mypy reports an up-sampling,
stem or head that is not built.
"""

from typing import Literal

Activation = Literal["relu", "leaky_relu", "elu", "maxout", "tanh"]
GeneratorNorm = Literal["batch", "batch_all", "none", "layer"]
DiscriminatorNorm = Literal["batch", "batch_all", "none", "spectral", "layer"]
Initializer = Literal["dcgan", "he"]
KernelSize = Literal[4, 5]
Precision = Literal["float32", "mixed_bfloat16"]
Upsampling = Literal["transposed", "fractional", "resize"]
Stem = Literal["conv", "dense", "both"]
"""The generator's first layers: from z to the grid (stages/sizes.py)."""
Head = Literal["conv", "dense", "gap"]
"""The discriminator's last layers: from the grid to the logit."""
Conditional = Literal["none", "classes", "attributes"]
"""What the networks get besides z or the image."""
