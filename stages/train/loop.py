"""The loop around the step: epochs of shuffled data, the log, a picture and a score after each, the best kept."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dvclive import Live

from stages import artifacts, images, manifest, records
from stages.errors import StageError
from stages.latent import Sampler, latent
from stages.manifest import Manifest
from stages.progress import Progress
from stages.train.settings import Settings
from stages.train.trainer import Trainer

# Points in a curve: enough to see a collapse begin, few enough to keep in Git.
_LOG_POINTS = 200
_FIXED_Z = 32
_COLUMNS = 8


@dataclass
class Result:
    """What came of a training: the weights of the best checkpoint, and the fixed z over time.

    `timeline` has, for each epoch's end, the images seen and uint8 images (32, H, W, C).
    """

    generator: list[np.ndarray] = field(default_factory=list)
    discriminator: list[np.ndarray] = field(default_factory=list)
    best_score: float = math.inf
    best_images: int = 0
    images: int = 0
    images_per_second: float = 0.0
    timeline: list[tuple[int, np.ndarray]] = field(default_factory=list)


def train(
    trainer: Trainer,
    folder: Path,
    data: Manifest,
    settings: Settings,
    score: Callable[[Sampler], float],
    log: Path,
) -> Result:
    """Train until `settings.images` are seen; DVCLive's log goes to `log`. Returns the best checkpoint, not the last.

    `score` judges the averaged generator after each epoch, lower is better. Raises StageError where the data set is
    smaller than a batch, a shard is damaged, or a loss is no longer finite.
    """
    available = data.splits["train"].records
    if available < settings.batch_size:
        raise StageError(f"train.batch_size: {settings.batch_size} is more than the {available} images of the data set")
    files = manifest.verified_shards(folder, data, "train")
    sampler = Sampler(trainer.average)
    fixed_z = latent(range(_FIXED_Z), settings.latent_dim)
    result = Result()
    log_every = max(1, trainer.steps // _LOG_POINTS)
    per_epoch = available // settings.batch_size
    done, epoch, seconds = 0, 0, 0.0
    with (
        Live(str(log), dvcyaml=False, save_dvc_exp=False) as live,
        Progress("train", trainer.steps * settings.batch_size, "images") as progress,
    ):
        while done < trainer.steps:
            batches = iter(
                records.shuffled_epoch(
                    files, data, settings.batch_size, settings.seed, epoch, horizontal_flip=settings.horizontal_flip
                )
            )
            end = min(trainer.steps, done + per_epoch)
            while done < end:
                # Up to the next multiple, so that the curves' points lie the same way in every epoch.
                count = min(log_every - done % log_every, end - done)
                started = time.monotonic()
                means = trainer.run(batches, done, count)
                seconds += time.monotonic() - started
                done += count
                seen = done * settings.batch_size
                _require_finite(means, seen)
                live.step = seen
                for name, value in means.items():
                    live.log_metric(name, artifacts.rounded(value))
                if done < end:
                    live.next_step()
                progress.advance(
                    count * settings.batch_size,
                    f"loss D {means['loss/discriminator']:.2f} G {means['loss/generator']:.2f}",
                )
            epoch += 1
            if 0 < trainer.steps - done < per_epoch // 10:
                live.next_step()
                continue  # so little is left that it makes no epoch of its own: picture and score come after it
            pictures = sampler(fixed_z)
            if not np.isfinite(pictures).all():
                raise _diverged("a sample", math.nan, seen)
            value = score(sampler)
            live.log_metric("score", artifacts.rounded(value))
            grid = images.grid(pictures, _COLUMNS)
            live.log_image(f"fixed_z/{seen}.png", grid[..., 0] if grid.shape[2] == 1 else grid)
            live.next_step()
            progress.say(f"epoch {epoch}: {seen:,} images seen, score {value:.2f}")
            result.timeline.append((seen, images.to_bytes(pictures)))
            if value < result.best_score:
                result.best_score, result.best_images = value, seen
                result.generator = trainer.average.get_weights()
                result.discriminator = trainer.discriminator.get_weights()
        live.step = seen  # next_step() has gone one past the last image
    result.images, result.images_per_second = seen, seen / seconds
    return result


def _require_finite(means: dict[str, float], seen: int) -> None:
    for name, value in means.items():
        if not math.isfinite(value):
            raise _diverged(name, value, seen)


def _diverged(name: str, value: float, seen: int) -> StageError:
    return StageError(
        f"train: {name} is {value} after {seen:,} images: training diverged; "
        f"lower train.learning_rate, or use batch_norm: dcgan"
    )
