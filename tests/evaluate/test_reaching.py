"""The metrics of inversion: how near samples come to held-out and to training images."""

import numpy as np
import pytest

from stages import manifest, records
from stages.evaluate import reaching, values
from stages.evaluate.networks import Networks, load_networks
from stages.evaluate.reaching import Reached, reach
from stages.inversion import Inverted, Search
from stages.latent import Sampler
from stages.workspace import Workspace
from tests.conftest import Project, metrics_of


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that is too short to find much."""
    monkeypatch.setattr(reaching, "SEARCH", Search(restarts=2, steps=3))


def test_real_images_are_compared_with_their_nearest_training_image(tiny: Project) -> None:
    folder = tiny.folder / "data/prepared"
    data = manifest.read(folder)
    networks = load_networks(Workspace(tiny.folder), data)
    reached = reach(Sampler.load(tiny.folder / "models/generator.keras"), networks, folder, data, 6)
    test = records.images_at(folder, data, "test", range(6))
    (train,) = [batch.numpy() for batch, _ in records.batches(folder, data, "train", 320)]
    differences = np.sqrt(np.square(test[:, None] - train[None]).mean((2, 3, 4))) * 127.5
    np.testing.assert_allclose(reached.real_pixels, differences.min(1), rtol=1e-3, atol=0.02)  # of 1 to 40 levels
    assert networks.judge
    features = [networks.judge(images).features for images in (test, train)]
    expected = np.linalg.norm(features[0][:, None] - features[1][None], axis=2).min(1)
    assert reached.real_features is not None
    np.testing.assert_allclose(reached.real_features, expected, rtol=1e-2, atol=0.05)  # of about 10


def test_the_metrics_are_medians(tiny: Project) -> None:
    def inverted(*pixels: float) -> Inverted:
        distances = np.array(pixels)
        return Inverted(np.zeros((3, 2)), np.zeros((3, 1, 1, 1)), distances, distances / 10, np.zeros(3, int))

    reached = Reached(inverted(1, 2, 9), inverted(3, 4, 8), np.array([5, 6, 7]), np.array([0.5, 0.6, 0.9]))
    assert values.inversion(reached) == {
        "inversion_images": 3,
        "inversion": 2,
        "inversion_train": 4,
        "inversion_real": 6,
        "inversion_features": 0.2,
        "inversion_features_train": 0.4,
        "inversion_features_real": 0.6,
    }


def test_without_a_judge_there_are_no_distances_of_features(tiny: Project) -> None:
    folder = tiny.folder / "data/prepared"
    sampler = Sampler.load(tiny.folder / "models/generator.keras")
    reached = reach(sampler, Networks(None, None), folder, manifest.read(folder), 2)
    assert list(values.inversion(reached)) == [
        "inversion_images",
        "inversion",
        "inversion_train",
        "inversion_real",
    ]


def test_the_metrics_are_in_the_file_and_the_report_if_the_params_ask_for_them(tiny_copy: Project) -> None:
    before = metrics_of(tiny_copy.folder)
    params = tiny_copy.folder / "params.yaml"
    params.write_text(params.read_text().replace("{samples: 128}", "{samples: 128, inversion: 999}"))
    for stage in ("evaluate", "report"):
        result = tiny_copy.run(stage)
        assert result.returncode == 0, result.stderr
    after = metrics_of(tiny_copy.folder)
    assert after["inversion_images"] == 80, "all of the held-out images"
    assert {name: value for name, value in after.items() if not name.startswith("inversion")} == before
    page = (tiny_copy.folder / "reports/report.html").read_text()
    assert "The nearest samples of 80 held-out images" in page
