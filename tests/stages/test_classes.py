"""The classes of a conditional model: a seed's class, the networks' input, attributes, and names that do not exist."""

import numpy as np
import pytest

from stages.classes import Classes, attributes_of
from stages.errors import StageError

CLASSES = Classes(("T-shirt/top", "Sneaker", "Bag"), (0.5, 0.3, 0.2))
COMBINATIONS = "not red, not large", "not red, large", "red, not large"
ATTRIBUTES = Classes(COMBINATIONS, (0.25, 0.25, 0.5), ("red", "large"))


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


@pytest.mark.parametrize(
    ("names", "attributes"),
    [
        (COMBINATIONS, ("red", "large")),
        (("not Male", "Male"), ("Male",)),
        (("red,large", "not red,not large"), ("red", "large")),
        (("cat", "dog"), ()),
        (("red, large", "large, not red"), ()),
        (("red, large", "not red"), ()),
        (("red, red", "not red, red"), ()),
    ],
)
def test_combinations_of_attributes_are_known_by_their_names(
    names: tuple[str, ...], attributes: tuple[str, ...]
) -> None:
    assert attributes_of(names) == attributes


def test_a_combination_is_a_vector_of_its_attributes() -> None:
    vectors = ATTRIBUTES.vectors([2, 0, 1])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 0], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("text", "name", "row"),
    [
        ("red, not large", "red, not large", [1, 0]),
        ("large,red", "red, large", [1, 1]),
        ("large=0.25, not red", "not red, large=0.25", [0, 0.25]),
        ("red=1, large=0", "red, not large", [1, 0]),
        ("not large", "not large", [np.nan, 0]),
    ],
)
def test_a_list_of_attributes_is_a_vector_with_gaps(text: str, name: str, row: list[float]) -> None:
    found, vector = ATTRIBUTES.choice(text, "--class")
    assert found == name
    assert np.array_equal(vector, row, equal_nan=True)


def test_a_seed_decides_the_attributes_that_are_not_listed() -> None:
    seeds = range(200)
    own, large = ATTRIBUTES.inputs(seeds), ATTRIBUTES.inputs(seeds, ATTRIBUTES.choice("large=0.5", "--class")[1])
    assert own.tolist() == ATTRIBUTES.vectors(ATTRIBUTES.of_seeds(seeds)).tolist()
    assert large[:, 0].tolist() == own[:, 0].tolist()
    assert set(large[:, 1]) == {0.5}
    assert large.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Red, large", "the model has no attribute 'Red'; did you mean 'red'? It has red, large"),
        ("not larg", "the model has no attribute 'larg'; did you mean 'large'? It has red, large"),
        ("lrge=0.5", "the model has no attribute 'lrge'; did you mean 'large'? It has red, large"),
        ("red, not red", "'red, not red' lists red twice; list each attribute once"),
        ("red=1.5", "'red=1.5': expected a number from 0 to 1, such as red=0.5"),
        ("red=nan", "'red=nan': expected a number from 0 to 1, such as red=0.5"),
        ("red=", "'red=': expected a number from 0 to 1, such as red=0.5"),
    ],
)
def test_a_list_that_the_model_cannot_follow_is_an_error(text: str, message: str) -> None:
    with pytest.raises(StageError) as caught:
        ATTRIBUTES.choice(text, "--class")
    assert str(caught.value) == f"--class: {message}"


def test_a_model_of_classes_says_which_models_take_single_attributes() -> None:
    classes = Classes(COMBINATIONS, ATTRIBUTES.shares)
    assert classes.choice("red, not large", "--class") == ("red, not large", 2)
    with pytest.raises(StageError, match=r"no class 'red'; .*train\.conditional: attributes takes"):
        classes.choice("red", "--class")
