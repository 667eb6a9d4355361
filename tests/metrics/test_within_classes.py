"""The comparison within each class, against a count by hand and one class alone."""

import numpy as np
import pytest

from stages.metrics import prdc, within_classes
from stages.metrics.frechet import frechet_distance, gaussian
from stages.metrics.within_classes import OfClass, agreement, confusion


def test_a_confusion_counts_each_pair_of_classes() -> None:
    asked, judged = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 2, 1, 2, 2, 0])
    assert confusion(asked, judged, 4).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    assert agreement(confusion(asked, judged, 4)) == pytest.approx(4 / 6)


def test_a_class_is_compared_with_its_own_images_equally_many_of_each_side() -> None:
    normal = np.random.default_rng(0).normal
    generated, real = normal(size=(40, 3)), normal(size=(30, 3))
    asked, labels = np.arange(40) % 2, np.arange(30) % 3
    classes = within_classes.compare(generated, asked, real, labels, 3)
    for index, count in ((0, 10), (1, 10)):
        a = np.stack([x for x, c in zip(generated, asked, strict=True) if c == index][:count])
        b = np.stack([x for x, c in zip(real, labels, strict=True) if c == index][:count])
        values = prdc.compute(a, b)
        expected = OfClass(count, frechet_distance(gaussian(a), gaussian(b)), values["precision"], values["recall"])
        assert classes[index] == expected
    assert classes[2] == OfClass(0, None, None, None), "no sample of it"


def test_the_means_are_over_the_compared_classes() -> None:
    classes = [OfClass(9, 2.0, 0.5, 0.25), OfClass(3, None, None, None), OfClass(900, 4.0, 1.0, 0.75)]
    assert within_classes.means(classes) == {"class_fid": 3.0, "class_precision": 0.75, "class_recall": 0.5}
    assert within_classes.means(classes[1:2]) == {}
