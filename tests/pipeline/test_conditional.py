"""A conditional model through the stages: its pictures, its metrics, its report, and labels that have changed."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from demo.model import Model
from stages import manifest, png
from stages.latent import Sampler
from stages.metrics.catalog import CLASS_PROTOCOL
from stages.networks import judge as judges
from tests.conftest import CLASSES, Project, built_once, metrics_of
from tests.report.test_report import change, remove_metrics, rendered
from tools.compare import protocol_differences

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def conditional(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project with a conditional model, which has been sampled, measured and reported."""

    def build(folder: Path) -> None:
        shutil.copytree(tiny.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".state"))
        params = (tiny.folder / "params.yaml").read_text()
        for old, new in (
            ("train: {images: 640,", "train: {images: 320, conditional: classes, class_shares: equal,"),
            ("generator: {channels: 4}", "generator: {channels: 4, class_norm: true}"),
            ("evaluate: {", "evaluate: {class_accuracy: 64, "),
        ):
            assert old in params
            params = params.replace(old, new)
        (folder / "params.yaml").write_text(params)
        for stage in ("train", "sample", "evaluate", "report"):
            result = Project(folder).run(stage)
            assert result.returncode == 0, result.stderr

    return Project(built_once(tmp_path_factory, "conditional", build))


@pytest.fixture(scope="module")
def sampler(conditional: Project) -> Sampler:
    return Sampler.load(conditional.folder / "models/generator.keras")


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)[::2, ::2]


def test_the_model_names_its_classes(conditional: Project, sampler: Sampler) -> None:
    assert sampler.classes is not None
    assert sampler.classes.names == tuple(CLASSES)
    assert json.loads((conditional.folder / "models/model.json").read_text())["classes"] == CLASSES


def test_the_grid_has_a_row_for_each_class_with_the_same_z_in_a_column(conditional: Project, sampler: Sampler) -> None:
    path = conditional.folder / "reports/samples/grid.png"
    expected = png.grid(np.concatenate([sampler.images(range(3), index) for index in range(4)]), 3)
    assert np.array_equal(pixels_of(path), expected[..., 0])
    provenance = png.read(path).provenance
    assert (provenance.seeds, provenance.grid, provenance.classes) == ("0-2", "4x3", tuple(CLASSES))


def test_blends_lead_from_each_class_to_the_next(conditional: Project, sampler: Sampler) -> None:
    path = conditional.folder / "reports/samples/class_blends.png"
    picture = pixels_of(path)
    for row in range(4):
        for column, index in ((0, row), (3, (row + 1) % 4)):
            sample = png.grid(sampler.images([0], index), 1)[..., 0]
            place = picture[18 * row : 18 * row + 16, 18 * column : 18 * column + 16]
            assert abs(place.astype(int) - sample).max() <= 1
    assert " → ".join([*CLASSES, CLASSES[0]]) in png.read(path).provenance.description


@pytest.mark.parametrize("stage", ["sample", "evaluate"])
def test_labels_that_changed_after_the_training_are_an_error(conditional: Project, tmp_path: Path, stage: str) -> None:
    folder = tmp_path / "data/prepared"
    shutil.copytree(conditional.folder / "data/prepared", folder)
    data = json.loads((folder / manifest.FILE).read_text())
    data["classes"][0] = "circle"
    (folder / manifest.FILE).write_text(json.dumps(data))
    result = conditional.run(stage, "--out", str(tmp_path), "--base", str(conditional.folder))
    assert result.returncode == 1
    assert "models/generator.keras: its classes are disc, square" in result.stderr
    assert "but the data set has circle, square" in result.stderr


def test_the_metrics_of_the_classes(conditional: Project, sampler: Sampler) -> None:
    """The agreement is counted again, sample by sample. The samples have the data's shares, not the training's."""
    data = manifest.read(conditional.folder / "data/prepared")
    judge = judges.load(conditional.folder / "models/features", data)
    assert judge is not None
    assert sampler.classes is not None
    seeds = range(1_000_000, 1_000_128)
    asked = sampler.classes.of_seeds(seeds)
    judged = np.concatenate(
        [judge(sampler.images([seed], int(index))).classes for seed, index in zip(seeds, asked, strict=True)]
    )
    metrics = metrics_of(conditional.folder)
    assert metrics["class_agreement"] == pytest.approx((asked == judged).mean(), abs=1 / 128)
    table = pd.read_csv(conditional.folder / "reports/evaluate/confusion.csv")
    assert table["samples"].sum() == 128
    assert table.groupby("class", sort=False)["samples"].sum().to_dict() == dict(
        zip(CLASSES, np.bincount(asked).tolist(), strict=True)
    )
    by_class = pd.read_csv(conditional.folder / "reports/evaluate/classes.csv")
    assert list(by_class["class"]) == CLASSES
    for name in ("fid", "precision", "recall"):
        assert metrics[f"class_{name}"] == pytest.approx(by_class[name].mean(), rel=1e-4)
    assert (by_class["agreement_real"] * 20).sum() / 80 == pytest.approx(metrics["class_agreement_real"], abs=1e-4)
    assert 0 <= metrics["class_accuracy"] <= 1


def test_a_conditional_generator_can_be_compared_with_an_unconditional_one(conditional: Project, tiny: Project) -> None:
    ours, theirs = (metrics_of(project.folder) for project in (conditional, tiny))
    assert set(CLASS_PROTOCOL) == set(ours["protocol"]) - set(theirs["protocol"])
    assert protocol_differences(ours, theirs) == ()
    other = {**ours, "protocol": {**ours["protocol"], "class_shares": "equal"}}
    assert [row.name for row in protocol_differences(ours, other)] == ["protocol.class_shares"]


def test_the_report_shows_the_confusion_of_the_classes(conditional: Project) -> None:
    page = (conditional.folder / "reports/report.html").read_text()
    card = (conditional.folder / "reports/model_card.md").read_text()
    assert "with one of disc, square, " in card
    assert "Are the samples of the class asked for?" in page
    assert '<a href="#classes">' in page
    (verdict,) = re.findall(r'<p class="verdict">(.*)</p>', page)
    share = metrics_of(conditional.folder)["class_agreement"]
    assert verdict.startswith("A class-conditional DCGAN of Tiny shapes")
    assert f"{100 * share:.0f} % of the samples are of the class asked for" in verdict
    assert "&lt;b&gt;cross&lt;/b&gt; &amp; $x$ → stripes" in page, "the blends, with a name that needs escaping"
    assert "conditional on the class (an embedding beside z, a conditional norm and a projection" in page


def test_a_judge_that_does_not_measure_precision_does_not_measure_that_of_a_class(
    conditional: Project, tmp_path: Path
) -> None:
    shutil.copytree(conditional.folder, tmp_path / "copy")
    project = Project(tmp_path / "copy")
    remove_metrics(project, "precision", "density", "class_precision")
    change(project, "models/features/features.json", flattered=["blur"])
    page, _ = rendered(project)
    assert '<th scope="col" class="n">recall</th>' in page
    assert '<th scope="col" class="n">precision</th>' not in page


def test_a_model_of_attributes_goes_through_the_stages(tiny: Project, tmp_path: Path) -> None:
    """The four classes of the tiny data count as combinations of two attributes."""
    shutil.copytree(tiny.folder, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".state"))
    combinations = ["not round, not dark", "not round, dark", "round, not dark", "round, dark"]
    path, params = tmp_path / "data/prepared" / manifest.FILE, tmp_path / "params.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": combinations}))
    changed = params.read_text().replace("train: {images: 640,", "train: {images: 320, conditional: attributes,")
    params.write_text(changed.replace("generator: {channels: 4}", "generator: {channels: 4, class_norm: true}"))
    for stage in ("train", "sample", "evaluate", "play", "report"):
        result = Project(tmp_path).run(stage)
        assert result.returncode == 0, result.stderr
    model = json.loads((tmp_path / "models/model.json").read_text())
    assert (model["classes"], model["attributes"]) == (combinations, {"round": [0, 0, 1, 1], "dark": [0, 1, 0, 1]})
    provenance = png.read(tmp_path / "reports/samples/grid.png").provenance
    assert (provenance.grid, provenance.classes) == ("4x3", tuple(combinations))
    assert list(pd.read_csv(tmp_path / "reports/evaluate/classes.csv")["class"]) == combinations
    assert '"attributes":[[0,0],[0,1],[1,0],[1,1]]' in (tmp_path / "reports/play.html").read_text()
    assert "with some of the attributes round, dark:" in (tmp_path / "reports/model_card.md").read_text()
    assert "conditional on the attributes (an embedding" in (tmp_path / "reports/report.html").read_text()
    weights = Model(tmp_path).weights(2)
    assert weights is not None
    assert weights.tolist() == [[1, 0]]
