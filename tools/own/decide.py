"""Decide how to train on pictures: what to write into params.yaml, and why.

Each rule yields its decisions from a look at the pictures. A rule leaves alone what presets/own.yaml has, unless the
pictures or the wishes speak against it. `decide` lists the decisions in the order of params.yaml.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.errors import StageError
from tools.own.look import Look, Picture, listed
from tools.search.experiment import set_params

FEWEST = 20
"""With fewer pictures, training and test images together are not enough for the smallest batch and a score."""
# A plain ground: this share of the pictures has plain borders, whose colours are this near to their median.
_PLAIN_SHARE, _PLAIN = 0.8, 24
# With smaller pictures, 64×64 would only enlarge them.
_SMALL = 48
# 64×64 is chosen from so many images on: faces and flags of emoji show after 80,000, most other objects do not. The
# second number, from which shapes show, is a rule of thumb.
_WORTH_64, _SHAPES = 100_000, 20_000
# The share of a training's time that its steps take; scores, checkpoints and the start take the rest.
_STEPS_SHARE = 0.85
_SHORT = 30.0
"""A training of fewer minutes has a short judge and few samples, so that the steps after it are short too."""
_SCORES = 8
_FEWEST_HELD_OUT = 8


@dataclass(frozen=True)
class Wish:
    """What the user asks for: the minutes of the training and the side of the images, if any."""

    minutes: float | None = None
    size: int | None = None


@dataclass(frozen=True)
class Speed:
    """The measured images per second of the training's steps: the slowest and the fastest round."""

    slowest: float
    fastest: float


Measure = Callable[[Mapping[str, Any], int, int], Speed]
"""The speed of the step that a `train` section describes, at a size and a number of channels."""


@dataclass(frozen=True)
class Presets:
    """The contents of presets/own.yaml, from which the params are made, and of presets/own-quick.yaml."""

    own: Mapping[str, Any]
    quick: Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    """A value for a key of params.yaml, such as prepare.size, and the reason in one line."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """The decisions, and how many seconds the training takes, at least and at most."""

    decisions: tuple[Decision, ...]
    seconds: tuple[float, float]
    warning: str = ""


def decide(look: Look, own: str, presets: Presets, wish: Wish, measure: Measure) -> Plan:
    """The plan for these pictures, which are at the path `own`.

    Raises StageError for too few pictures, and if most of them cannot be read.
    """
    readable = round(look.count * len(look.pictures) / look.looked_at)
    if readable < FEWEST:
        raise StageError(
            f"PICTURES: {look.place}: {readable} pictures; a GAN needs at least {FEWEST}, and hundreds show more"
        )
    preset = presets.own
    rejected = list(_max_rejected(look, preset))
    geometry = [*_fit(look), *_channels(look)]
    channels = next(decision.value for decision in geometry if decision.key == "prepare.channels")
    held_out = list(_held_out(look, readable, preset))
    training = readable * (1 - (held_out[0].value if held_out else preset["prepare"]["test_share"]))
    batch = _batch(training, preset)

    def speed_at(side: int) -> Speed:
        section = copy.deepcopy(dict(preset["train"]))
        decided = [batch, *_networks(side, channels, presets)]
        set_params(section, {decision.key.removeprefix("train."): decision.value for decision in decided})
        return measure(section, side, channels)

    size, speed = _size(look, wish, speed_at)
    images = _images(wish, speed, batch.value, preset)
    decisions = [
        Decision("dataset.own", own, "the pictures stay where they are; a change there reruns the pipeline"),
        *geometry,
        size,
        *rejected,
        *held_out,
        *_short(wish),
        *_judge_batch(training, preset),
        images,
        batch,
        *_networks(size.value, channels, presets),
        *_optimizers(size.value, channels, images, presets),
        *_scoring(images, batch, wish, preset),
    ]
    return Plan(
        tuple(decisions),
        (images.value / speed.fastest, images.value / speed.slowest / _STEPS_SHARE),
        _warning(images.value, speed),
    )


def _median_colour(look: Look) -> tuple[int, ...] | None:
    """The colour of the ground that most pictures share: empty if transparent, None if there is none."""
    if look.share(lambda picture: picture.border == ()) >= _PLAIN_SHARE:
        return ()
    borders = np.array([picture.border for picture in look.pictures if picture.border])
    if len(borders) < _PLAIN_SHARE * len(look.pictures):
        return None
    median = np.median(borders, axis=0)
    near = np.abs(borders - median).max(axis=1) <= _PLAIN
    return tuple(int(v) for v in median) if near.sum() >= _PLAIN_SHARE * len(look.pictures) else None


def _range(low: float, high: float) -> str:
    """Two numbers with two digits: 0.75 to 1.3, or one if they are the same."""
    first, last = f"{low:.2g}", f"{high:.2g}"
    return first if first == last else f"{first} to {last}"


def _behind(look: Look) -> tuple[list[int], str]:
    """The background for transparent pictures, on which they can be seen, and why."""
    light = np.median([picture.light for picture in look.pictures if picture.is_transparent])
    return ([0, 0, 0], "black, since they are light") if light > 170 else ([255, 255, 255], "white")


def _fit(look: Look) -> Iterator[Decision]:
    """Crop, fit and background: keep the whole of a drawing on a plain ground, else the centre of each picture."""
    ground = _median_colour(look)
    if ground is None:
        low, high = np.quantile(look.ratios, (0.05, 0.95))
        kept = float(np.median(np.minimum(look.ratios, 1 / look.ratios)))
        if low > 0.95 and high < 1.05:
            reason = "nearly all pictures are square"
        else:
            reason = f"width:height is {_range(low, high)}; the centre square keeps {kept:.0%} of the usual picture"
        yield Decision("prepare.crop", "square", reason)
        yield Decision("prepare.fit", "resize", "a square needs no borders")
        if look.share(lambda picture: picture.is_transparent) >= 0.5:
            colour, why = _behind(look)
            yield Decision("prepare.background", colour, f"behind transparent parts: {why}")
        return
    if ground == ():
        colour, why = _behind(look)
        reason, about = "drawings on a transparent ground", f"behind them: {why}"
    else:
        colour, about = list(ground), "the colour of their borders"
        reason = "pictures on a plain ground"
    yield Decision("prepare.crop", "none", f"{reason}: nothing is cut off")
    yield Decision("prepare.fit", "pad", f"{reason}: its colour fills the square")
    yield Decision("prepare.background", colour, about)


def _channels(look: Look) -> Iterator[Decision]:
    """Gray or colour. Transparency only by the user's choice."""
    if look.share(lambda picture: picture.is_gray) == 1:
        yield Decision("prepare.channels", 1, "all pictures are gray")
        return
    transparent = look.share(lambda picture: picture.is_transparent)
    note = f"; {transparent:.0%} have transparent parts, which 4 channels would learn too" if transparent else ""
    yield Decision("prepare.channels", 3, f"{look.share(lambda picture: not picture.is_gray):.0%} are in colour{note}")


def _size(look: Look, wish: Wish, measure: Callable[[int], Speed]) -> tuple[Decision, Speed]:
    """The side of the images, and the speed of the training at this size."""
    if wish.size is not None:
        return Decision("prepare.size", wish.size, "as asked: SIZE"), measure(wish.size)
    side = round(float(np.quantile(look.shorter_sides, 0.1)))
    if side < _SMALL:
        reason = (
            f"a tenth of the pictures or more have a shorter side of at most {side} pixels; no need to enlarge them"
        )
        return Decision("prepare.size", 32, reason), measure(32)
    speed = measure(64)
    possible = _possible(wish, speed)
    if possible is not None and possible < _WORTH_64:
        reason = f"{wish.minutes:g} minutes are {possible:,} images at 64×64 here, and too few for it"
        return Decision("prepare.size", 32, reason), measure(32)
    reason = f"nine tenths of the pictures have a shorter side of at least {side} pixels"
    return Decision("prepare.size", 64, reason), speed


def _possible(wish: Wish, speed: Speed) -> int | None:
    """The images for which the wished minutes suffice, as a round number; None without a wish."""
    if wish.minutes is None:
        return None
    exact = 60 * wish.minutes * _STEPS_SHARE * (speed.slowest + speed.fastest) / 2
    unit = 10 ** max(0, math.floor(math.log10(max(exact, 1))) - 1)
    return int(exact // unit * unit)


def _batch(training: float, preset: Mapping[str, Any]) -> Decision:
    """The batch size: that of the preset, or less, so that an epoch has at least four batches."""
    usual = preset["train"]["batch_size"]
    most = 1 << max(2, int(training / 4).bit_length() - 1)
    if most >= usual:
        return Decision("train.batch_size", usual, f"{training:,.0f} training images are enough for batches of {usual}")
    return Decision(
        "train.batch_size", most, f"only about {training:.0f} training images: at least four batches an epoch"
    )


def _judge_batch(training: float, preset: Mapping[str, Any]) -> Iterator[Decision]:
    """A smaller batch of the judge, which cannot train on fewer pictures than one batch."""
    certain = 0.75 * training  # a hash decides which pictures are held out, so their number varies
    if certain < preset["features"]["batch_size"]:
        most = 1 << max(2, int(certain).bit_length() - 1)
        yield Decision("features.batch_size", most, f"only about {training:.0f} training images")


def _images(wish: Wish, speed: Speed, batch: int, preset: Mapping[str, Any]) -> Decision:
    """The length of the training."""
    possible = _possible(wish, speed)
    if possible is None:
        return Decision("train.images", preset["train"]["images"], "the preset's; MINUTES=30 would fit into 30 minutes")
    reason = f"{wish.minutes:g} minutes at about {(speed.slowest + speed.fastest) / 2:,.0f} images/s on this machine"
    return Decision("train.images", max(possible, 10 * batch), reason)


def _quick(size: int, channels: int, presets: Presets) -> bool:
    """Whether presets/own-quick.yaml trains better: it suits photographs at 32×32 (docs/own-pictures.md).

    Gray images keep the hidden layers: on Fashion-MNIST these halve the Fréchet distance (docs/experiments.md).
    """
    return size <= presets.quick["prepare"]["size"] and channels == presets.quick["prepare"]["channels"]


def _trials(presets: Presets) -> str:
    return f"better in trials at {presets.quick['prepare']['size']}×{presets.quick['prepare']['size']} in colour"


def _networks(size: int, channels: int, presets: Presets) -> Iterator[Decision]:
    """The networks, and γ of both gradient penalties, in proportion to the values of an image.

    The best γ grew so in trials: about 1 at 32×32×1, 6 to 10 at 32×32×3, and 20 to 40 at 64×64×3.
    """
    preset = presets.own
    if _quick(size, channels, presets):
        preset = presets.quick
        for key in ("generator.stem", "discriminator.head"):
            group, name = key.split(".")
            yield Decision(f"train.{key}", preset["train"][group][name], f"no hidden layer: {_trials(presets)}")
    side, depth = preset["prepare"]["size"], preset["prepare"]["channels"]
    share = size**2 * channels / (side**2 * depth)
    for key in ("r1", "r2"):
        usual = preset["train"]["loss"][key]
        if share != 1:
            reason = f"in proportion to the values of an image: {usual:g} is for {side}×{side}×{depth}"
            yield Decision(f"train.loss.{key}", float(f"{usual * share:.2g}"), reason)
        elif usual != presets.own["train"]["loss"][key]:
            yield Decision(f"train.loss.{key}", usual, _trials(presets))


def _optimizers(size: int, channels: int, images: Decision, presets: Presets) -> Iterator[Decision]:
    """The learning rates, and a β₂ that rises over the same share of the training as in presets/own-quick.yaml."""
    if not _quick(size, channels, presets):
        return
    quick = presets.quick["train"]
    for key in ("generator_learning_rate", "discriminator_learning_rate"):
        yield Decision(f"train.optimizer.{key}", quick["optimizer"][key], f"a higher rate: {_trials(presets)}")
    share = quick["optimizer"]["burn_in"] / quick["images"]
    yield Decision(
        "train.optimizer.burn_in", int(share * images.value), f"beta_2 rises over {share:.0%} of the training"
    )
    yield Decision(
        "train.optimizer.beta_2", quick["optimizer"]["beta_2"], "rises, so that the training starts steadily"
    )


def _scoring(images: Decision, batch: Decision, wish: Wish, preset: Mapping[str, Any]) -> Iterator[Decision]:
    """The distance of the scores, in a training that has the user's length."""
    if wish.minutes is None:
        return
    every = max(batch.value, min(preset["train"]["scoring"]["every"], images.value // _SCORES))
    yield Decision("train.scoring.every", every, f"{images.value // every} scores, each with a picture")
    if wish.minutes <= _SHORT:
        yield Decision("train.scoring.samples", 500, "a short training: short scores")


def _short(wish: Wish) -> Iterator[Decision]:
    """Less work around a short training."""
    if wish.minutes is None or wish.minutes > _SHORT:
        return
    yield Decision("features.images", 25_600, "a short training: a short judge")
    yield Decision("evaluate.samples", 1000, "a short training: fewer samples to measure")


def _held_out(look: Look, readable: int, preset: Mapping[str, Any]) -> Iterator[Decision]:
    """A larger share of test images, if the usual share of few pictures could be too small to score with."""
    usual = preset["prepare"]["test_share"]
    if look.splits or readable * usual >= _FEWEST_HELD_OUT:
        return
    share = math.ceil(100 * _FEWEST_HELD_OUT / readable) / 100
    yield Decision("prepare.test_share", share, f"about {_FEWEST_HELD_OUT} of the {readable} pictures, to score with")


def _max_rejected(look: Look, preset: Mapping[str, Any]) -> Iterator[Decision]:
    """Accept the unreadable pictures, if they are not too many. Raises StageError if they are."""
    share = sum(look.rejected.values()) / look.looked_at
    if share > 0.5:
        raise StageError(
            f"PICTURES: {look.place}: {share:.0%} of the pictures cannot be read ({listed(look.rejected)}); convert "
            "them to PNG or JPEG, or remove them"
        )
    if share > 0.8 * preset["prepare"]["max_rejected"]:
        accepted = math.ceil(150 * share) / 100  # the others may have more of them
        yield Decision("prepare.max_rejected", accepted, f"{share:.1%} cannot be read ({listed(look.rejected)})")


def _warning(images: int, speed: Speed) -> str:
    """What to expect of a training that is too short; empty if it is not."""
    if images >= _SHAPES:
        return ""
    minutes = math.ceil(_SHAPES / (60 * _STEPS_SHARE * speed.slowest))
    return f"{images:,} images show little more than colours; MINUTES={minutes} or more would show shapes"


def summary(look: Look) -> Iterator[str]:
    """Lines that say what the pictures are."""
    sides, seen = look.shorter_sides, look.looked_at < look.count
    yield f"{look.count:,} pictures: {listed(look.extensions)}" + (f"; {look.looked_at:,} looked at" if seen else "")
    yield (
        f"shorter side: {int(np.median(sides))} pixels at the median, {sides.min()} at least; width:height "
        f"{_range(look.ratios.min(), look.ratios.max())}"
    )
    kinds: dict[str, Callable[[Picture], bool]] = {
        "gray": lambda picture: picture.is_gray,
        "in colour": lambda picture: not picture.is_gray,
        "with transparent parts": lambda picture: picture.is_transparent,
    }
    counts = {name: sum(map(holds, look.pictures)) for name, holds in kinds.items()}
    yield ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    if look.rejected:
        yield f"cannot be read: {listed(look.rejected)}; data/prepared/quarantine.csv will name them"
    if look.copies:
        weight = (
            "; the network sees a copied picture more often, so remove copies" if look.copies > look.count / 20 else ""
        )
        yield f"exact copies of others: {look.copies:,}{weight}"
    labels = f"{len(look.classes):,} classes" if look.classes else "no labels"
    yield f"{labels}{', splits ' + ', '.join(look.splits) if look.splits else ''}"
