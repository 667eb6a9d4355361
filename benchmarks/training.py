"""Training: our loop against its bare step, against the usual TensorFlow loop, against PyTorch, against the arithmetic.

    python -m benchmarks.training [--quick]

Each contestant is a process of its own with all cores; they train in turn, a round at a time, in one go, and what
counts is the ratio of the medians. Writes benchmarks/results/training.json. A quarter of an hour on two cores, two
minutes with --quick, which takes the default network only and fewer rounds.

What is compared, for the same network and batch:

- loop: stages.train.loop with everything on: TFRecords, average, log, guards, checkpoints. Of these there is one a
  minute; while the loop waits for its turn its clock stands still, and a checkpoint, timed alone, is reckoned in;
- bare: the same step on a batch that is always there;
- simultaneous: bare, with `train.updates: simultaneous`, which is how the tutorial's step has it;
- tutorial: two tapes and a compiled step for each batch, of plain Keras layers, as TensorFlow's DCGAN tutorial has it,
  on a batch that is always there; once as TensorFlow sets itself up, once in the environment that our stages choose;
- torch: the recipe of PyTorch's DCGAN example, on a batch that is always there; only where torch is installed. Its
  threads wait for each other in a loop, which is best on a machine of one's own and many times slower on one that is
  shared (seen: 13 times), so that it runs once so and once with waiting threads asleep, and the faster counts;
- peak: a large product of matrices, by TensorFlow.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from benchmarks import photos
from benchmarks.data import RESULTS, project_of
from stages import artifacts
from stages.machine import processor

ROOT = Path(__file__).parents[1]
PICTURES, TINY_PICTURES = 1_000, 360
PEAK_SIZE = 2048
TINY_EPOCHS = 200
INSTALL_TORCH = ".venv/bin/pip install torch==2.13.0"


@dataclass(frozen=True)
class Network:
    """A configuration: images of `size` × `size` × `channels`, `base` channels next to the image, batches of `batch`.

    `steps` are those of the training that the loop is told of: they decide how often it logs.
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
    """How often a step goes through a network: forward, for the gradients of weights, for those of layers' inputs.

    `to_the_image` is how many of the last go through the first layer too (that of z is never wanted, and the image's
    only where it leads on to the generator).
    """

    forward: int
    weights: int
    inputs: int
    to_the_image: int


# Of stages.train.trainer: D sees real, fake, and after its update fake again; the last goes on to G but not to D's
# weights.
GENERATOR_PASSES = Passes(forward=1, weights=1, inputs=1, to_the_image=0)
DISCRIMINATOR_PASSES = Passes(forward=3, weights=2, inputs=3, to_the_image=1)


def multiply_adds(layers: Sequence[Any], passes: Passes) -> int:
    """Of one image through the convolutions and dense layers of a Keras model, in all its passes.

    A convolution with kernel (k, k, a, b) does k·k·a·b of them for each pixel of its output, a transposed one for each
    pixel of its input, a dense layer a·b. The gradient of the weights and that of the input cost as many again each:

        M · (forward + weights + inputs), less M of the first layer for each pass that ends before it.

    Normalisation, activations and optimizers are not counted.
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


# ---- The contestants. Each runs in a process of its own: `--child` and a JSON object of what it is to be.


def _report(**values: float) -> None:
    print(json.dumps(values), flush=True)


def _memory(what: str) -> float:
    """Of this process in megabytes: VmRSS, what it has in memory now, or VmHWM, the most it ever had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def _obey(step: Callable[[int], object]) -> None:
    """Take as many steps as each line of stdin says, and say how long they took."""
    for line in sys.stdin:
        started = time.perf_counter()
        step(int(line))
        _report(steps=int(line), seconds=time.perf_counter() - started, peak_rss=_memory("VmHWM"))


def _settings(network: Network, precision: str, updates: str = "alternating") -> Any:
    from stages.train.settings import Settings

    return Settings(
        generator_channels=network.base,
        discriminator_channels=network.base,
        batch_size=network.batch,
        images=network.steps * network.batch,
        score_every=network.steps * network.batch,
        precision=precision,  # type: ignore[arg-type]
        updates=updates,  # type: ignore[arg-type]
    )


def _one_batch(network: Network) -> Any:
    """Float32 NHWC [-1,1]."""
    import numpy as np

    shape = (network.batch, network.size, network.size, network.channels)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def loop_child(network: Network, precision: str, project: Path) -> None:
    """Our loop with everything on. It is stopped between two calls of the step, and the clock with it.

    The first report is of the seconds that a checkpoint takes, and of those between two. For TINY, which is there for
    its memory, a report is made at every call.
    """
    from stages import manifest, records
    from stages.train import loop
    from stages.train.checkpoints import Checkpoints
    from stages.train.journal import Journal, Measurement, Real
    from stages.train.losses import OBJECTIVES
    from stages.train.trainer import Trainer

    class Paced(Trainer):
        """Waits for the next order where the last one is carried out; all that the loop does in between is timed."""

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
    with tempfile.TemporaryDirectory() as scratch:
        journal = Journal(
            Path(scratch) / "log",
            settings,
            OBJECTIVES[settings.loss].bounds(settings.label_smoothing),
            lambda sampler: Measurement(0.0, 1.0, None),
            Real(1.0, 0),
            settings.images,
        )
        loop.train(
            trainer,
            lambda first: iter(
                records.shuffled(files, data, settings.batch_size, 0, first_batch=first, horizontal_flip=True)
            ),
            settings,
            journal,
            Checkpoints(Path(scratch)),
        )


def bare_child(network: Network, precision: str, updates: str) -> None:
    """Our step alone. With alternating updates the first report is of the multiply-adds of an image in one step."""
    import tensorflow as tf

    from stages.train.trainer import Trainer

    trainer = Trainer(_settings(network, precision, updates), network.size, network.channels)
    if updates == "alternating":
        counted = multiply_adds(trainer.generator.layers, GENERATOR_PASSES)
        counted += multiply_adds(trainer.discriminator.layers, DISCRIMINATOR_PASSES)
        _report(multiply_adds=counted)
    one = (_one_batch(network), tf.zeros(network.batch, tf.int64))
    batches, done = iter(tf.data.Dataset.from_tensors(one).cache().repeat()), 0

    def step(count: int) -> None:
        nonlocal done
        trainer.run(batches, done, count)
        done += count

    _obey(step)


def tutorial_child(network: Network) -> None:
    """The way of TensorFlow's tutorial: https://www.tensorflow.org/tutorials/generative/dcgan, with our network."""
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


def torch_child(network: Network) -> None:
    """The recipe of PyTorch's example (pytorch/examples, dcgan), with our network: NCHW, D twice and G once a step."""
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
            answer = entropy(D(fake), ones)
            answer.backward()
            adam_g.step()
            (on_real + on_fake).item(), answer.item()  # the example prints them

    _obey(step)


def peak_child(precision: str) -> None:
    """A product of two square matrices: a step is 2·n³ operations."""
    import tensorflow as tf

    dtype = tf.bfloat16 if precision == "mixed_bfloat16" else tf.float32
    a, b = (tf.cast(tf.random.stateless_normal((PEAK_SIZE, PEAK_SIZE), (0, i)), dtype) for i in range(2))
    product = tf.function(tf.matmul)

    def step(count: int) -> None:
        for _ in range(count):
            result = product(a, b)
        result[0, 0].numpy()

    _obey(step)


def child(role: str, network: Network, precision: str, project: Path) -> None:
    """Be one of the contestants."""
    if role in ("loop", "bare", "simultaneous", "peak", "tutorial_in_our_environment"):
        from stages import shell

        shell.load_tensorflow("bench")  # as every stage does: it sets the environment
    if role == "loop":
        loop_child(network, precision, project)
    elif role in ("bare", "simultaneous"):
        bare_child(network, precision, "alternating" if role == "bare" else role)
    elif role in ("torch", "torch_passive"):
        torch_child(network)
    elif role == "peak":
        peak_child(precision)
    else:
        tutorial_child(network)


# ---- The parent, which tells them when to run.


class Contestant:
    """A child process and what it has reported."""

    def __init__(self, role: str, network: Network, precision: str, project: Path) -> None:
        self.role, self.rates, self.steps = role, list[float](), 0
        order = {"role": role, "network": asdict(network), "precision": precision, "project": str(project)}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        if role == "tutorial":
            environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
        if role == "torch_passive":
            environment["OMP_WAIT_POLICY"] = "PASSIVE"
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.training", "--child", json.dumps(order)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> "Contestant":
        """Nothing to do: it is running."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def hear(self) -> dict[str, float]:
        """Its next report."""
        line = _pipe(self._process.stdout).readline()
        if not line:
            self._errors.seek(0)
            sys.exit(f"error: {self.role} ended:\n{self._errors.read()[-2000:]}")
        return json.loads(line)

    def order(self, steps: int) -> dict[str, float]:
        """Have it take at least so many steps; its report."""
        pipe = _pipe(self._process.stdin)
        pipe.write(f"{steps}\n")
        pipe.flush()
        return self.hear()

    def warm_up(self, seconds: float) -> None:
        """Compile, and find out how many steps a round of `seconds` has."""
        report = self.order(1)
        if report["seconds"] < 10 * seconds:  # else compiling was the least of it
            report = self.order(1)
        self.steps = max(1, round(seconds * report["steps"] / report["seconds"]))

    def round(self) -> dict[str, float]:
        """Run for a round; steps per second are kept."""
        report = self.order(self.steps)
        self.rates.append(report["steps"] / report["seconds"])
        return report


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # noqa: S101 - they were asked for
    return pipe


def compare(network: Network, precision: str, project: Path, rounds: int, seconds: float) -> dict[str, float | None]:
    """All contestants in turn: images per second of each, their ratios, the share of the machine's peak."""
    plain = precision == "float32"
    roles = ["loop", "bare", "simultaneous", "peak", *(["tutorial", "tutorial_in_our_environment"] if plain else [])]
    if plain and util.find_spec("torch"):
        roles += ["torch"] if network is PAPER else ["torch", "torch_passive"]
    peak_memory: dict[str, float] = {}
    with ExitStack() as stack:
        contestants = [stack.enter_context(Contestant(role, network, precision, project)) for role in roles]
        told = contestants[0].hear()
        checkpoint, between = told["checkpoint_seconds"], told["between_checkpoints"]
        counted = contestants[1].hear()["multiply_adds"]
        for contestant in contestants:
            contestant.warm_up(seconds)
        for turn in range(rounds):
            for contestant in contestants if turn % 2 == 0 else reversed(contestants):
                peak_memory[contestant.role] = contestant.round()["peak_rss"]
        rate = {contestant.role: statistics.median(contestant.rates) for contestant in contestants}
    rate["loop"] *= between / (between + checkpoint)
    peak = rate.pop("peak") * 2 * PEAK_SIZE**3
    if "torch_passive" in rate:
        rate["torch"] = max(rate["torch"], rate.pop("torch_passive"))
    images: dict[str, float | None] = {role: value * network.batch for role, value in rate.items()}
    if plain:
        images.setdefault("torch", None)

    def ratio(a: str, b: str) -> float | None:
        return round(rate[a] / rate[b], 3) if b in rate else None

    others = [role for role in images if role not in ("loop", "bare", "simultaneous")]
    return {
        **{f"{role}_images_per_second": value and round(value, 1) for role, value in images.items()},
        "loop_over_bare": ratio("loop", "bare"),
        **{f"loop_over_{role}": ratio("loop", role) for role in others},
        **{f"simultaneous_over_{role}": ratio("simultaneous", role) for role in ("bare", *others)},
        "multiply_adds_per_image": counted,
        "bare_gigaflops": round(2e-9 * counted * rate["bare"] * network.batch, 1),
        "matrix_product_peak_gigaflops": round(peak * 1e-9, 1),
        "bare_share_of_peak": round(2 * counted * rate["bare"] * network.batch / peak, 3),
        "checkpoint_seconds": round(checkpoint, 3),
        "loop_peak_megabytes": round(peak_memory["loop"]),
    }


def first_step_seconds(project: Path) -> float:
    """From the start of `python -m stages.train` to the first row of its log, which is written after the first step."""
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.train", "--base", str(project), "--out", out],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=errors,
        )
        try:
            while not any(Path(out).rglob("generator.tsv")):
                if process.poll() is not None:
                    errors.seek(0)
                    sys.exit(f"error: the train stage ends before its first step:\n{errors.read()[-2000:]}")
                time.sleep(0.02)
            return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()


def import_seconds() -> float:
    """Of that, importing TensorFlow and Keras in a process of their own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tensorflow, keras"], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def memory_over_epochs(project: Path, epochs: int) -> dict[str, float]:
    """Resident megabytes of a training of many short epochs: after a tenth of them, and after all."""
    per_epoch = TINY.steps // TINY_EPOCHS
    with Contestant("loop", TINY, "float32", project) as contestant:
        contestant.hear()
        early = contestant.order(per_epoch * epochs // 10)["rss"]
        late = contestant.order(per_epoch * (epochs - epochs // 10) - 100)["rss"]
    return {"epochs": epochs, "megabytes_after_a_tenth": round(early), "megabytes_after_all": round(late)}


def prepared(folder: Path, size: int, channels: int, encoded: Sequence[bytes], train: str = "") -> Path:
    """A project in which the pictures are prepared, and the features stage has run where there is a train section."""
    archive = folder / f"photos{size}.zip"
    photos.write(archive, len(encoded), encoded)
    project = project_of(folder / f"project{size}", archive)
    params = f"prepare: {{crop: square, size: {size}, channels: {channels}, dtype: uint8}}\n{train}"
    (project / "params.yaml").write_text(params)
    for stage in ("prepare", "validate", "features") if train else ("prepare",):
        done = subprocess.run(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            sys.exit(f"error: the {stage} stage ends with {done.returncode}:\n{done.stderr[-2000:]}")
    return project


def bfloat16_units() -> bool:
    """Whether the processor has them; without, bfloat16 is emulated, ten times slower, and measured once."""
    flags = Path("/proc/cpuinfo").read_text()
    return any(name in flags for name in ("avx512_bf16", "amx_bf16"))


def main(quick: bool, report: Callable[[str], None] = print) -> None:
    """Measure, print, write."""
    started = time.perf_counter()
    # Network, rounds, seconds of a round (at least one step).
    plan = [(DEFAULT, 3, 1.5)] if quick else [(DEFAULT, 9, 2.0), (MIDDLE, 3, 2.0), (PAPER, 3, 1.0)]
    compared: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        encoded = photos.make(PICTURES)
        tiny = (
            "validate: {}\nfeatures: {images: 3200, batch_size: 32}\n"
            f"train: {{generator_channels: 4, discriminator_channels: 4, batch_size: {TINY.batch}, images: 3200}}\n"
        )
        projects = {
            network.size: prepared(Path(scratch), network.size, network.channels, encoded)
            for network in {network.size: network for network, _, _ in plan}.values()
        }
        projects[TINY.size] = prepared(Path(scratch), TINY.size, TINY.channels, encoded[:TINY_PICTURES], tiny)
        startup = [(first_step_seconds(projects[TINY.size]), import_seconds()) for _ in range(1 if quick else 3)]
        for network, rounds, seconds in plan:
            here = compared[network.name] = {}
            for precision in ("float32", "mixed_bfloat16"):
                if precision == "float32" or bfloat16_units() or (network is DEFAULT and not quick):
                    here[precision] = compare(network, precision, projects[network.size], rounds, seconds)
                    for name, value in here[precision].items():
                        report(f"{network.name}, {precision}: {name}: {value}")
        memory = memory_over_epochs(projects[TINY.size], 50 if quick else TINY_EPOCHS)
    torch = bool(util.find_spec("torch"))
    result = {
        "machine": {"processor": processor(), "cores": len(os.sched_getaffinity(0))},
        "versions": {name: metadata.version(name) for name in ("tensorflow", "keras", *(["torch"] if torch else []))},
        "torch": "measured" if torch else f"not installed; {INSTALL_TORCH}",
        "quick": quick,
        "networks": compared,
        "seconds_from_start_to_first_step": round(statistics.median(s for s, _ in startup), 2),
        "seconds_of_importing_tensorflow": round(statistics.median(s for _, s in startup), 2),
        "memory_over_short_epochs": memory,
        "seconds": round(time.perf_counter() - started),
    }
    RESULTS.mkdir(exist_ok=True)
    artifacts.write_json(RESULTS / "training.json", result)
    for name, value in result.items():
        if name != "networks":
            report(f"{name}: {value}")


def _command() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="two minutes instead of fifteen")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.child:
        main(arguments.quick)
        return
    order = json.loads(arguments.child)
    child(order["role"], Network(**order["network"]), order["precision"], Path(order["project"]))


if __name__ == "__main__":
    _command()
