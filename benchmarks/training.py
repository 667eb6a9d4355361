"""Benchmarks of training: our loop, its bare step, TensorFlow's and PyTorch's DCGAN examples, and the machine's peak.

    python -m benchmarks.training [--quick]

Each contestant (benchmarks/contestants.py) is a process that uses all cores. They take turns, one round at a time, and
the ratios are those of the medians. Writes benchmarks/results/training.json. Takes a quarter of an hour on two cores,
or two minutes with --quick, which runs only the default network and fewer rounds.

All contestants train the same network on batches of the same size:

- loop: stages.train.loop with TFRecords, moving average, log, guards and checkpoints. The loop saves one checkpoint a
  minute, but its clock stops between rounds, so the time of a checkpoint is measured alone and added.
- bare: only the training step, on a batch in memory.
- simultaneous: bare with `train.optimizer.updates: simultaneous`, as in TensorFlow's tutorial.
- augmented: bare with all transforms of `train.augment`, each with a probability of one half.
- tutorial: TensorFlow's DCGAN tutorial, with two tapes, plain Keras layers and one compiled call per batch, on a batch
  in memory. It runs once in TensorFlow's default environment and once in that of our stages.
- torch: PyTorch's DCGAN example, on a batch in memory, if torch is installed. Its waiting threads spin, which is
  fastest on an idle machine and up to 13 times slower on a shared one. It also runs with sleeping threads
  (torch_passive), and the faster one counts.
- peak: the product of two large matrices in TensorFlow.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib import metadata, util
from pathlib import Path
from typing import IO, Any

from benchmarks import photos
from benchmarks.contestants import DEFAULT, MIDDLE, PAPER, PEAK_SIZE, TINY, TINY_EPOCHS, Network
from benchmarks.data import RESULTS, project_of
from stages import artifacts
from stages.machine import processor

ROOT = Path(__file__).parents[1]
PICTURES, TINY_PICTURES = 1_000, 360
INSTALL_TORCH = ".venv/bin/pip install torch==2.13.0"


class Contestant:
    """A process of benchmarks/contestants.py, with the step rates of its rounds."""

    def __init__(self, role: str, network: Network, precision: str, project: Path) -> None:
        self.role, self.rates, self.steps = role, list[float](), 0
        order = {"role": role, "network": asdict(network), "precision": precision, "project": str(project)}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        if role == "tutorial":
            environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
        if role == "torch_passive":
            environment["OMP_WAIT_POLICY"] = "PASSIVE"
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process runs
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contestants", json.dumps(order)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> "Contestant":
        """The process is already running."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def read_report(self) -> dict[str, float]:
        """The next report."""
        line = _pipe(self._process.stdout).readline()
        if not line:
            self._errors.seek(0)
            sys.exit(f"error: the contestant {self.role} failed:\n{self._errors.read()[-2000:]}")
        return json.loads(line)

    def order(self, steps: int) -> dict[str, float]:
        """Order at least this many steps, and return the report."""
        pipe = _pipe(self._process.stdin)
        pipe.write(f"{steps}\n")
        pipe.flush()
        return self.read_report()

    def warm_up(self, seconds: float) -> None:
        """Compile, and choose the number of steps for a round of `seconds`."""
        report = self.order(1)
        if report["seconds"] < 10 * seconds:  # a slower step makes the time of compiling negligible
            report = self.order(1)
        self.steps = max(1, round(seconds * report["steps"] / report["seconds"]))

    def round(self) -> dict[str, float]:
        """Run a round, add its steps per second to the rates, and return the report."""
        report = self.order(self.steps)
        self.rates.append(report["steps"] / report["seconds"])
        return report


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # noqa: S101 - the process was started with pipes
    return pipe


def compare(network: Network, precision: str, project: Path, rounds: int, seconds: float) -> dict[str, float | None]:
    """Run all contestants in turn. Returns their images per second, the ratios, and the share of the machine's peak."""
    plain = precision == "float32"
    roles = ["loop", "bare", "simultaneous", "augmented", "peak"]
    roles += ["tutorial", "tutorial_in_our_environment"] if plain else []
    if plain and util.find_spec("torch"):
        roles += ["torch"] if network is PAPER else ["torch", "torch_passive"]
    peak_memory: dict[str, float] = {}
    with ExitStack() as stack:
        contestants = [stack.enter_context(Contestant(role, network, precision, project)) for role in roles]
        timing = contestants[0].read_report()
        checkpoint, between = timing["checkpoint_seconds"], timing["between_checkpoints"]
        image_cost = contestants[1].read_report()["multiply_adds"]
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

    others = [role for role in images if role not in ("loop", "bare", "simultaneous", "augmented")]
    return {
        **{f"{role}_images_per_second": value and round(value, 1) for role, value in images.items()},
        "loop_over_bare": ratio("loop", "bare"),
        "augmented_over_bare": ratio("augmented", "bare"),
        **{f"loop_over_{role}": ratio("loop", role) for role in others},
        **{f"simultaneous_over_{role}": ratio("simultaneous", role) for role in ("bare", *others)},
        "multiply_adds_per_image": image_cost,
        "bare_gigaflops": round(2e-9 * image_cost * rate["bare"] * network.batch, 1),
        "matrix_product_peak_gigaflops": round(peak * 1e-9, 1),
        "bare_share_of_peak": round(2 * image_cost * rate["bare"] * network.batch / peak, 3),
        "checkpoint_seconds": round(checkpoint, 3),
        "loop_peak_megabytes": round(peak_memory["loop"]),
    }


def first_step_seconds(project: Path) -> float:
    """Seconds from the start of `python -m stages.train` to the first row of its log, written after the first step."""
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
                    sys.exit(f"error: the train stage failed before its first step:\n{errors.read()[-2000:]}")
                time.sleep(0.02)
            return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()


def import_seconds() -> float:
    """Seconds to import TensorFlow and Keras in a new process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tensorflow, keras"], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def memory_over_epochs(project: Path, epochs: int) -> dict[str, float]:
    """Resident megabytes of a training with many short epochs, after a tenth of them and after all."""
    per_epoch = TINY.steps // TINY_EPOCHS
    with Contestant("loop", TINY, "float32", project) as contestant:
        contestant.read_report()
        early = contestant.order(per_epoch * epochs // 10)["rss"]
        late = contestant.order(per_epoch * (epochs - epochs // 10) - 100)["rss"]
    return {"epochs": epochs, "megabytes_after_a_tenth": round(early), "megabytes_after_all": round(late)}


def prepared(folder: Path, size: int, channels: int, encoded: Sequence[bytes], train: str = "") -> Path:
    """Create a project with prepared pictures. If there is a `train` section, the features stage has run too."""
    archive = folder / f"photos{size}.zip"
    photos.write(archive, len(encoded), encoded)
    project = project_of(folder / f"project{size}", archive)
    params = f"prepare: {{crop: square, size: {size}, channels: {channels}, dtype: uint8}}\n{train}"
    (project / "params.yaml").write_text(params)
    for stage in ("prepare", "validate", "features") if train else ("prepare",):
        result = subprocess.run(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
            stderr=subprocess.PIPE,
            text=True,
        )
        if result.returncode:
            sys.exit(f"error: the {stage} stage failed with exit code {result.returncode}:\n{result.stderr[-2000:]}")
    return project


def bfloat16_units() -> bool:
    """Whether the processor has bfloat16 units. Emulating them is ten times slower, so it is measured only once."""
    flags = Path("/proc/cpuinfo").read_text()
    return any(name in flags for name in ("avx512_bf16", "amx_bf16"))


def main(quick: bool, report: Callable[[str], None] = print) -> None:
    """Measure, print the results and write them."""
    started = time.perf_counter()
    # Network, rounds, seconds of a round (a round has at least one step).
    plan = [(DEFAULT, 3, 1.5)] if quick else [(DEFAULT, 9, 2.0), (MIDDLE, 3, 2.0), (PAPER, 3, 1.0)]
    compared: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        encoded = photos.make(PICTURES)
        tiny = (
            "validate: {}\nfeatures: {images: 3200, batch_size: 32}\n"
            f"train: {{images: 3200, batch_size: {TINY.batch}, generator: {{channels: 4}}, "
            "discriminator: {channels: 4}}\n"
        )
        projects = {
            network.size: prepared(Path(scratch), network.size, network.channels, encoded)
            for network in {network.size: network for network, _, _ in plan}.values()
        }
        projects[TINY.size] = prepared(Path(scratch), TINY.size, TINY.channels, encoded[:TINY_PICTURES], tiny)
        startup = [(first_step_seconds(projects[TINY.size]), import_seconds()) for _ in range(1 if quick else 3)]
        for network, rounds, seconds in plan:
            results = compared[network.name] = {}
            for precision in ("float32", "mixed_bfloat16"):
                if precision == "float32" or bfloat16_units() or (network is DEFAULT and not quick):
                    results[precision] = compare(network, precision, projects[network.size], rounds, seconds)
                    for name, value in results[precision].items():
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="take two minutes instead of fifteen")
    main(parser.parse_args().quick)
