"""The classes of a conditional model: a seed's class, the networks' input, and a name that does not exist."""

import numpy as np
import pytest

from stages.classes import Classes
from stages.errors import StageError

CLASSES = Classes(("T-shirt/top", "Sneaker", "Bag"), (0.5, 0.3, 0.2))


def test_seeds_have_classes_in_the_datas_shares() -> None:
    counts = np.bincount(CLASSES.of_seeds(range(20_000)), minlength=3)
    deviations = np.sqrt(20_000 * np.array([0.25, 0.21, 0.16]))
    assert (abs(counts - 20_000 * np.array(CLASSES.shares)) < 4 * deviations).all()


def test_the_class_of_a_seed_does_not_depend_on_the_others() -> None:
    seeds = [7, 10**17, 0, 2**32 + 7]
    assert CLASSES.of_seeds(seeds).tolist() == [int(CLASSES.of_seeds([seed])[0]) for seed in seeds]


def test_the_class_of_a_seed_does_not_depend_on_its_z() -> None:
    """The draw is not the first number of the seed's z."""
    first = [np.random.Generator(np.random.PCG64(seed)).random() for seed in range(2000)]
    assert abs(np.corrcoef(first, CLASSES.of_seeds(range(2000)))[0, 1]) < 4 / np.sqrt(2000)


def test_a_class_without_images_is_never_drawn() -> None:
    assert set(Classes(("a", "b", "c"), (0.0, 1.0, 0.0)).of_seeds(range(200))) == {1}


def test_a_class_is_a_vector_with_a_one() -> None:
    vectors = CLASSES.vectors([2, 0])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(("name", "near"), [("sneaker", "Sneaker"), ("Sneakers", "Sneaker"), ("tshirt", "T-shirt/top")])
def test_an_unknown_class_is_an_error_that_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(StageError) as caught:
        CLASSES.index(name, "--class")
    assert str(caught.value) == (
        f"--class: the model has no class {name!r}; did you mean {near!r}? It has T-shirt/top, Sneaker, Bag"
    )
