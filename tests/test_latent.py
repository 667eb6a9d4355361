"""z by seed, and the way between two."""

import numpy as np
import pytest

from stages.latent import latent, slerp


def test_a_seeds_z_does_not_depend_on_its_neighbours() -> None:
    assert np.array_equal(latent([7], 100)[0], latent(range(20), 100)[7])
    assert latent(range(3), 100).dtype == np.float32


def test_a_seeds_z_is_for_ever() -> None:
    # Pictures are known by their seeds: this number may never change.
    assert latent([0], 2)[0].tolist() == [1.1176220178604126, -1.3871248960494995]


def test_z_is_standard_normal() -> None:
    z = latent(range(500), 100)
    assert z.mean() == pytest.approx(0, abs=0.02)
    assert z.std() == pytest.approx(1, abs=0.02)


def test_slerp_goes_from_end_to_end_at_even_angles() -> None:
    a, b = np.array([1.0, 0]), np.array([0, 1.0])
    path = slerp(a, b, 4)
    assert np.allclose(path, [[np.cos(t), np.sin(t)] for t in np.linspace(0, np.pi / 2, 4)], atol=1e-6)


def test_slerp_keeps_the_length_that_a_straight_line_loses() -> None:
    a, b = latent([1, 2], 100)
    lengths = np.linalg.norm(slerp(a, b, 9), axis=1)
    assert lengths.min() > 0.95 * min(np.linalg.norm(a), np.linalg.norm(b))
    assert np.linalg.norm((a + b) / 2) < 0.85 * lengths.min()


def test_slerp_of_one_direction_is_the_straight_line() -> None:
    a = np.array([1.0, 2.0])
    assert np.allclose(slerp(a, 3 * a, 3), [a, 2 * a, 3 * a])
