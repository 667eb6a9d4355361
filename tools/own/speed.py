"""Measure how fast this machine trains a network: a few real training steps."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

from pydantic import TypeAdapter

from stages import artifacts, machine, resume, shell
from tools.own.decide import Speed

# Rounds of two seconds: enough to see how much the speed varies, with a minute of waiting at most.
_ROUNDS, _ROUND_SECONDS = 3, 2.0


def remembered(measure: Callable[..., Speed], section: Mapping[str, Any], size: int, channels: int) -> Speed:
    """The speed that an earlier call has measured for the same network on as many cores; else it is measured now.

    So a command that is repeated after an interrupt decides as before, and its training resumes.
    """
    file = resume.state_folder() / "own-speeds.json"
    known: dict[str, list[float]] = {}
    with contextlib.suppress(FileNotFoundError, ValueError):  # a damaged file is written again
        known = json.loads(file.read_text(encoding="utf-8"))
    inputs = json.dumps([section, size, channels, machine.cores()], sort_keys=True)
    key = hashlib.sha256(inputs.encode()).hexdigest()[:16]
    if key in known:
        shell.say(f"own: the speed at {size}×{size} is known from an earlier call (`rm .state/{file.name}` forgets it)")
        return Speed(*known[key])
    shell.say(f"own: measuring a few training steps at {size}×{size} ...")
    speed = measure(section, size, channels)
    part = file.with_suffix(".part")
    artifacts.write_json(part, known | {key: astuple(speed)})
    part.replace(file)
    return speed


def measure(section: Mapping[str, Any], size: int, channels: int) -> Speed:
    """The speed of the step that the `train` section of a params file describes, on random images in memory.

    Takes about ten seconds on two cores, most of them to compile the step. Import TensorFlow before.
    """
    import numpy as np
    import tensorflow as tf

    from stages.train.settings import Settings
    from stages.train.trainer import Trainer

    settings = TypeAdapter(Settings).validate_python(section)
    images = np.random.default_rng(0).uniform(-1, 1, (settings.batch_size, size, size, channels)).astype(np.float32)
    batches = iter(tf.data.Dataset.from_tensors((images, np.zeros(len(images), np.int64))).repeat())
    trainer = Trainer(settings, size, channels)
    done = 0

    def seconds_of(steps: int) -> float:
        nonlocal done
        started = time.monotonic()
        trainer.run(batches, done, steps)
        done += steps
        return time.monotonic() - started

    seconds_of(1)  # compiles
    steps = max(1, round(_ROUND_SECONDS / seconds_of(1)))
    rates = [steps * settings.images_per_step / seconds_of(steps) for _ in range(_ROUNDS)]
    return Speed(min(rates), max(rates))
