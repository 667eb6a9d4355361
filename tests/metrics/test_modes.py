"""Class coverage and the divergence of class shares."""

import numpy as np
import pytest

from stages.metrics.modes import class_histogram, modes


def test_even_shares_have_no_divergence() -> None:
    uniform = np.full(10, 0.1)
    result = modes(uniform, uniform, 0.1)
    assert result == {
        "modes_covered": 10,
        "modes_total": 10,
        "mode_kl": pytest.approx(0, abs=1e-12),
        "rarest_mode": 0.1,
    }


def test_a_collapsed_generator_has_divergence_log_k() -> None:
    result = modes(np.eye(10)[3], np.full(10, 0.1), 0.1)
    assert result["modes_covered"] == 1
    assert result["mode_kl"] == pytest.approx(np.log(10))
    assert result["rarest_mode"] == 0


def test_a_class_is_covered_relative_to_its_share_in_the_data() -> None:
    real = np.array([0.9, 0.1, 0.0])
    assert modes(np.array([0.985, 0.015, 0.0]), real, 0.1)["modes_covered"] == 2
    assert modes(np.array([0.995, 0.005, 0.0]), real, 0.1)["modes_covered"] == 1


def test_a_class_that_the_data_lacks_does_not_count() -> None:
    assert modes(np.array([0.995, 0.005, 0.0]), np.array([0.9, 0.1, 0.0]), 0.1)["modes_total"] == 2


def test_the_class_histogram_holds_shares() -> None:
    assert class_histogram(np.array([0, 2, 2, 2]), 4).tolist() == [0.25, 0, 0.75, 0]
