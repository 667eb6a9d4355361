"""The programs that benchmarks/training.py compares. Each runs in its own process and takes orders on stdin.

    python -m benchmarks.contestants ORDER

ORDER is a JSON object with the role, the network, the precision and the project. Each line on stdin is a number of
steps. The contestant takes that many and answers with a line of JSON: the steps, the seconds and the peak memory.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PEAK_SIZE = 2048
"""Side of the matrices whose product measures the peak."""
TINY_EPOCHS = 200


@dataclass(frozen=True)
class Network:
    """A network: images of `size` × `size` × `channels`, `base` channels in the layer next to the image.

    `steps` is the length of the training that the loop assumes, which decides how often it logs.
    """

    name: str
    size: int
    channels: int
    base: int
    batch: int
    steps: int = 200


DEFAULT = Network("default, 32×32×1, base 32, batch 64", 32, 1, 32, 64, steps=7500)
MIDDLE = Network("64×64×3, base 64, batch 128", 64, 3, 64, 128)
PAPER = Network("celeba, 64×64×3, base 128, batch 128", 64, 3, 128, 128)
TINY = Network("tiny, 16×16×3, base 4, batch 16", 16, 3, 4, 16, steps=TINY_EPOCHS * 20)


@dataclass(frozen=True)
class Passes:
    """Passes through a network in one step: forward, for the gradients of the weights, and for those of the inputs.

    `to_the_image` of the last kind also pass the first layer. The gradient of z is never needed, and that of an image
    only to train the generator.
    """

    forward: int
    weights: int
    inputs: int
    to_the_image: int


# In stages.train.trainer: D sees the real batch, the fake batch, and after its update the fake batch again. The third
# pass gives gradients to G, and none to D's weights.
GENERATOR_PASSES = Passes(forward=1, weights=1, inputs=1, to_the_image=0)
DISCRIMINATOR_PASSES = Passes(forward=3, weights=2, inputs=3, to_the_image=1)


def multiply_adds(layers: Sequence[Any], passes: Passes) -> int:
    """Count the multiply-adds of one image in the convolutions and dense layers of a Keras model, over all passes.

    A convolution with a kernel (k, k, a, b) does k·k·a·b for each pixel of its output, a transposed one for each pixel
    of its input, a dense layer a·b. The gradients of the weights and of the inputs cost the same again. The total is

        M · (forward + weights + inputs), minus the first layer's M for each pass that ends before it.

    Normalisation, activations and optimizers are ignored.
    """
    counts = []
    for layer in layers:
        kind = type(layer).__name__
        if kind in ("Conv2D", "Conv2DTranspose", "Dense"):
            across = {"Conv2D": layer.output, "Conv2DTranspose": layer.input}.get(kind)
            pixels = across.shape[1] * across.shape[2] if across is not None else 1
            counts.append(pixels * layer.kernel.shape.num_elements())
    return sum(counts) * (passes.forward + passes.weights + passes.inputs) - counts[0] * (
        passes.inputs - passes.to_the_image
    )


def _report(**values: float) -> None:
    print(json.dumps(values), flush=True)


def _memory(field: str) -> float:
    """The memory of this process in megabytes: VmRSS (now) or VmHWM (peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _obey(step: Callable[[int], object]) -> None:
    """Carry out the orders on stdin and report each."""
    for line in sys.stdin:
        started = time.perf_counter()
        step(int(line))
        _report(steps=int(line), seconds=time.perf_counter() - started, peak_rss=_memory("VmHWM"))


def _settings(network: Network, precision: str, role: str = "bare") -> Any:
    from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
    from stages.train.augment.settings import AugmentSettings
    from stages.train.settings import OptimizerSettings, ScoringSettings, Settings

    return Settings(
        images=network.steps * network.batch,
        batch_size=network.batch,
        horizontal_flip=True,
        augment=AugmentSettings(("colour", "translation", "cutout") if role == "augmented" else (), probability=0.5),
        generator=GeneratorSettings(channels=network.base),
        discriminator=DiscriminatorSettings(channels=network.base),
        optimizer=OptimizerSettings(updates="simultaneous" if role == "simultaneous" else "alternating"),
        scoring=ScoringSettings(every=network.steps * network.batch),
        precision=precision,  # type: ignore[arg-type]
    )


def _one_batch(network: Network) -> Any:
    """A random batch: float32 NHWC [-1,1]."""
    import numpy as np

    shape = (network.batch, network.size, network.size, network.channels)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def run_loop(network: Network, precision: str, project: Path) -> None:
    """Run our whole loop. Between two orders it waits between two calls of the step, and its clock stops.

    The first report has the seconds that a checkpoint takes and the seconds between two checkpoints.
    """
    from stages import manifest, records
    from stages.train import loop, overfitting
    from stages.train.checkpoints import Checkpoints
    from stages.train.flip import horizontal_flip
    from stages.train.guards import Variety
    from stages.train.journal import Journal, Measurement, Real
    from stages.train.losses.catalog import LOSSES
    from stages.train.trainer import Trainer
    from stages.train.watch import Watch

    class Paced(Trainer):
        """Waits for the next order before the first step after the last one. Everything in between is timed."""

        wanted = done = 0
        started = waited = 0.0

        def run(self, batches: Iterator, first: int, count: int) -> dict[str, float]:
            if self.done >= self.wanted:
                if self.done:
                    seconds = time.perf_counter() - self.started
                    _report(steps=self.done, seconds=seconds, peak_rss=_memory("VmHWM"), rss=_memory("VmRSS"))
                stopped = time.perf_counter()
                self.wanted, self.done = int(sys.stdin.readline() or sys.exit()), 0
                self.started = time.perf_counter()
                self.waited += self.started - stopped
            self.done += count
            return super().run(batches, first, count)

    folder = project / "data/prepared"
    data = manifest.read(folder)
    files = manifest.verified_shards(folder, data, "train")
    settings = _settings(network, precision)
    trainer = Paced(settings, network.size, network.channels)
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        Checkpoints(Path(scratch)).save(0, trainer.state())
        seconds = time.perf_counter() - started
    _report(checkpoint_seconds=seconds, between_checkpoints=loop._seconds_between_checkpoints())
    loop.time = SimpleNamespace(monotonic=lambda: time.monotonic() - trainer.waited)  # type: ignore[assignment]
    varied = Variety(1.0, 1.0)
    with tempfile.TemporaryDirectory() as scratch:
        journal = Journal(
            Path(scratch) / "log",
            settings,
            LOSSES[settings.loss.name].formulas.bounds(settings.loss.label_smoothing),
            lambda sampler: Measurement(0.0, varied, None),
            Real(varied, 0),
            settings.images,
            Watch(Path(scratch) / "live", settings.images),
        )
        loop.train(
            trainer,
            lambda first: iter(
                records.shuffled(
                    *(files, data, settings.batch_size, 0),
                    first_batch=first,
                    augment=lambda images, number: horizontal_flip(images, 0, number),
                )
            ),
            settings,
            journal,
            overfitting.Probe(trainer, overfitting.read(folder, data)),
            Checkpoints(Path(scratch)),
        )


def run_bare(network: Network, precision: str, role: str) -> None:
    """Run only our step. The first report of the role `bare` has the multiply-adds of an image in one step."""
    import tensorflow as tf

    from stages.train.trainer import Trainer

    trainer = Trainer(_settings(network, precision, role), network.size, network.channels)
    if role == "bare":
        total = multiply_adds(trainer.generator.layers, GENERATOR_PASSES)
        total += multiply_adds(trainer.discriminator.layers, DISCRIMINATOR_PASSES)
        _report(multiply_adds=total)
    one = (_one_batch(network), tf.zeros(network.batch, tf.int64))
    batches, done = iter(tf.data.Dataset.from_tensors(one).cache().repeat()), 0

    def step(count: int) -> None:
        nonlocal done
        trainer.run(batches, done, count)
        done += count

    _obey(step)


def run_tutorial(network: Network) -> None:
    """Run the loop of TensorFlow's tutorial (https://www.tensorflow.org/tutorials/generative/dcgan) on our network."""
    import keras
    import tensorflow as tf
    from keras import layers

    G, D = keras.Sequential([layers.Input((100,)), layers.Reshape((1, 1, 100))]), keras.Sequential()
    D.add(layers.Input((network.size, network.size, network.channels)))
    doublings = (network.size // 4).bit_length() - 1
    width = network.base * 2 ** (doublings - 1)
    G.add(layers.Conv2DTranspose(width, 4, use_bias=False))
    for i in reversed(range(doublings)):
        G.add(layers.BatchNormalization())
        G.add(layers.ReLU())
        last = {"activation": "tanh"} if i == 0 else {"use_bias": False}
        channels = network.base * 2 ** (i - 1) if i else network.channels
        G.add(layers.Conv2DTranspose(channels, 4, strides=2, padding="same", **last))
    for i in range(doublings):
        D.add(layers.Conv2D(network.base * 2**i, 4, strides=2, padding="same", use_bias=i == 0))
        if i:
            D.add(layers.BatchNormalization())
        D.add(layers.LeakyReLU(0.2))
    D.add(layers.Conv2D(1, 4))
    D.add(layers.Flatten())
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    adam_g, adam_d = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4)

    @tf.function
    def train_step(real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        noise = tf.random.normal((network.batch, 100))
        with tf.GradientTape() as tape_g, tf.GradientTape() as tape_d:
            fake = G(noise, training=True)
            on_real, on_fake = D(real, training=True), D(fake, training=True)
            loss_g = entropy(tf.ones_like(on_fake), on_fake)
            loss_d = entropy(tf.ones_like(on_real), on_real) + entropy(tf.zeros_like(on_fake), on_fake)
        for tape, loss, model, adam in ((tape_g, loss_g, G, adam_g), (tape_d, loss_d, D, adam_d)):
            weights = model.trainable_variables
            adam.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss_g, loss_d

    batches = iter(tf.data.Dataset.from_tensors(_one_batch(network)).cache().repeat())

    def step(count: int) -> None:
        for _ in range(count):
            losses = train_step(next(batches))
        for loss in losses:
            loss.numpy()

    _obey(step)


def run_torch(network: Network) -> None:
    """Run the loop of PyTorch's example (pytorch/examples, dcgan) on our network, in NCHW."""
    import torch
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    doublings = (network.size // 4).bit_length() - 1
    width = network.base * 2 ** (doublings - 1)
    up: list[nn.Module] = [nn.ConvTranspose2d(100, width, 4, bias=False)]
    for i in reversed(range(doublings)):
        before, after = network.base * 2**i, network.base * 2 ** (i - 1) if i else network.channels
        up += [nn.BatchNorm2d(before), nn.ReLU(True), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    down: list[nn.Module] = []
    for i in range(doublings):
        before, after = network.base * 2 ** (i - 1) if i else network.channels, network.base * 2**i
        down += [nn.Conv2d(before, after, 4, 2, 1, bias=False), *([nn.BatchNorm2d(after)] if i else [])]
        down += [nn.LeakyReLU(0.2, inplace=True)]
    G = nn.Sequential(*up, nn.Tanh())
    D = nn.Sequential(*down, nn.Conv2d(width, 1, 4, bias=False), nn.Sigmoid(), nn.Flatten(0))
    for module in (*G, *D):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
    entropy = nn.BCELoss()
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (G, D))
    real = torch.from_numpy(_one_batch(network).transpose(0, 3, 1, 2).copy())
    ones, zeros = torch.ones(network.batch), torch.zeros(network.batch)

    def step(count: int) -> None:
        for _ in range(count):
            D.zero_grad()
            on_real = entropy(D(real), ones)
            on_real.backward()
            fake = G(torch.randn(network.batch, 100, 1, 1))
            on_fake = entropy(D(fake.detach()), zeros)
            on_fake.backward()
            adam_d.step()
            G.zero_grad()
            loss_g = entropy(D(fake), ones)
            loss_g.backward()
            adam_g.step()
            (on_real + on_fake).item(), loss_g.item()  # the example prints them

    _obey(step)


def run_peak(precision: str) -> None:
    """Multiply two n × n matrices: 2·n³ operations a step."""
    import tensorflow as tf

    dtype = tf.bfloat16 if precision == "mixed_bfloat16" else tf.float32
    a, b = (tf.cast(tf.random.stateless_normal((PEAK_SIZE, PEAK_SIZE), (0, i)), dtype) for i in range(2))
    product = tf.function(tf.matmul)

    def step(count: int) -> None:
        for _ in range(count):
            result = product(a, b)
        result[0, 0].numpy()

    _obey(step)


def run(role: str, network: Network, precision: str, project: Path) -> None:
    """Run the contestant of this role."""
    if role in ("loop", "bare", "simultaneous", "augmented", "peak", "tutorial_in_our_environment"):
        from stages import shell

        shell.load_tensorflow("bench")  # sets the environment as in every stage
    if role == "loop":
        run_loop(network, precision, project)
    elif role in ("bare", "simultaneous", "augmented"):
        run_bare(network, precision, role)
    elif role in ("torch", "torch_passive"):
        run_torch(network)
    elif role == "peak":
        run_peak(precision)
    else:
        run_tutorial(network)


def main() -> None:
    """Run the contestant that the command line describes."""
    order = json.loads(sys.argv[1])
    run(order["role"], Network(**order["network"]), order["precision"], Path(order["project"]))


if __name__ == "__main__":
    main()
