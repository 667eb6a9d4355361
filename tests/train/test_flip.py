"""The mirroring of real images as they are read."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages import manifest
from stages.train import stage
from stages.train.devices import Devices
from stages.train.flip import Sides, horizontal_flip, sides
from stages.train.settings import Settings
from tests.conftest import Project

IMAGES = np.random.default_rng(0).uniform(-1, 1, (96, 4, 6, 3)).astype(np.float32)


def flipped(seed: int, number: int) -> list[bool]:
    """Which images of a batch are mirrored. Every other image must be unchanged."""
    result = horizontal_flip(tf.constant(IMAGES), seed, tf.constant(number, tf.int64)).numpy()
    mirrored = [np.array_equal(after, before[:, ::-1]) for before, after in zip(IMAGES, result, strict=True)]
    unchanged = [np.array_equal(after, before) for before, after in zip(IMAGES, result, strict=True)]
    assert all(a != b for a, b in zip(mirrored, unchanged, strict=True))
    return mirrored


def test_a_horizontal_flip_mirrors_about_half_of_the_images() -> None:
    total = sum(sum(flipped(0, number)) for number in range(2))
    assert 60 <= total <= 132, "of 192, each with a chance of one half"


def test_the_seed_and_the_batchs_number_decide_which_images_are_flipped() -> None:
    assert flipped(0, 1) == flipped(0, 1)
    assert flipped(0, 1) != flipped(0, 2)
    assert flipped(0, 1) != flipped(1, 1)


def drawn(shape: str, count: int) -> np.ndarray:
    """Noisy images of 32 × 32 pixels with a bright shape at a random place: float32 NHWC [-1,1]."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    images = []
    for _ in range(count):
        top, left = generator.uniform(10, 22, 2)
        down, right = y - top, x - left
        disc = down**2 + right**2 < generator.uniform(4, 8) ** 2
        eyes = (abs(abs(right) - 2.5) < 1) & (abs(down + 1.5) < 1)
        tip = {"arrows": 1, "arrows of both directions": generator.choice([-1, 1])}.get(shape)
        arrow = (abs(down) < 5 + (tip or 0) * right) & (abs(right) < 5)
        inside = disc & ~eyes if shape == "faces" else disc if shape == "discs" else arrow
        images.append(2.0 * inside * generator.uniform(0.5, 1) - 1 + generator.normal(0, 0.1, inside.shape))
    return np.clip(images, -1, 1).astype(np.float32)[..., None]


@pytest.mark.parametrize("count", [200, 1000])
@pytest.mark.parametrize(
    ("shape", "differ"),
    [("discs", False), ("faces", False), ("arrows of both directions", False), ("arrows", True)],
)
def test_data_of_arrows_has_a_left_and_a_right_and_that_of_symmetric_shapes_has_not(
    shape: str, count: int, differ: bool
) -> None:
    assert sides(drawn(shape, count)).differ is differ


def test_exactly_symmetric_images_are_on_neither_side() -> None:
    half = np.random.default_rng(0).uniform(-1, 1, (40, 16, 8, 1)).astype(np.float32)
    assert sides(np.concatenate([half, half[:, :, ::-1]], 2)).own_side == 0.5


def test_a_few_images_need_a_larger_share() -> None:
    assert not Sides(0.7, 16).differ
    assert Sides(0.7, 200).differ
    assert not Sides(0.64, 10_000).differ


@pytest.mark.slow
def test_auto_mirrors_the_shapes_of_the_tiny_data_and_says_so(tiny: Project, capsys: pytest.CaptureFixture) -> None:
    folder = tiny.folder / "data/prepared"
    inputs: Any = SimpleNamespace(folder=folder, data=manifest.read(folder))
    trainer: Any = SimpleNamespace(from_chief=list)
    assert stage._mirrored(Settings(horizontal_flip="auto"), inputs, Devices(None, True, 1), trainer)
    assert "train: horizontal_flip: the data has no left and right, so images are mirrored (" in capsys.readouterr().err
