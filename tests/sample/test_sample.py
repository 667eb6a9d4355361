"""stages/sample: samples from the command line, and the pictures of the stage."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import manifest, pixels, png, records
from stages.artifacts import sha256
from stages.errors import StageError
from stages.latent import Sampler, latent
from stages.sample import drawing
from stages.sample.command_line import parse_grid, parse_seeds
from tests.conftest import Project


@pytest.fixture(scope="module")
def sampler(tiny: Project) -> Sampler:
    return Sampler.load(tiny.folder / "models/generator.keras")


def pixels_of(path: Path, scale: int) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)[::scale, ::scale]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("7", [7]), ("1,2,3", [1, 2, 3]), ("0-3, 10", [0, 1, 2, 3, 10]), ("5,5", [5, 5]), ("8-8", [8])],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,,2", "-1", "5-3", "1.5", "1-2-3", "9" * 30])
def test_text_that_is_not_seeds_is_named_in_the_error(text: str) -> None:
    with pytest.raises(StageError, match="--seeds: expected numbers of at most 18 digits and ranges, such as"):
        parse_seeds(text)


def test_too_many_seeds_are_rejected_before_they_are_listed() -> None:
    assert len(parse_seeds("0-9999")) == 10_000
    for text in ("0-10000", "1-999999999999999999", "0-9999,1"):
        with pytest.raises(StageError, match="at most 10,000 seeds"):
            parse_seeds(text)


def test_a_grid_has_the_given_rows_and_columns_or_is_about_a_square() -> None:
    assert parse_grid("4x8", 3) == (4, 8)
    assert parse_grid(" 4×8 ", 32) == (4, 8)
    assert [parse_grid(None, count) for count in (1, 2, 3, 5, 9, 10)] == [
        *((1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4))
    ]
    with pytest.raises(StageError, match="room for 6 pictures, but there are 7 seeds"):
        parse_grid("2x3", 7)
    for text in ("4", "0x3", "4x", "axb", "-1x2"):
        with pytest.raises(StageError, match="--grid: expected rows and columns such as 4x8"):
            parse_grid(text, 1)


def test_a_grid_from_the_command_line_shows_the_samples_of_its_seeds(
    tiny: Project, sampler: Sampler, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "x.png"
    result = tiny.run("sample", "--seeds", "1,2,40", "--grid", "2x4", "--scale", "3", "--out", str(out))
    assert result.returncode == 0, result.stderr
    expected = png.grid(sampler(latent([1, 2, 40], sampler.dimensions)), 4, rows=2)
    assert np.array_equal(pixels_of(out, 3), expected[..., 0])
    assert [path.name for path in out.parent.iterdir()] == ["x.png"], "the temporary files are gone"
    provenance = png.read(out).provenance
    assert provenance.description == "Samples of the seeds 1,2,40, in this order"
    assert (provenance.stage, provenance.seeds, provenance.grid, provenance.scale) == ("sample", "1,2,40", "2x4", 3)
    assert provenance.generator_sha256 == sha256(tiny.folder / "models/generator.keras")


def test_separate_files_show_the_same_samples_as_a_grid(tiny: Project, sampler: Sampler, tmp_path: Path) -> None:
    result = tiny.run("sample", "--seeds", "0-2,500", "--scale", "1", "--out", f"{tmp_path}/pictures/")
    assert result.returncode == 0, result.stderr
    names = [f"seed-{seed:06d}.png" for seed in (0, 1, 2, 500)]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == names
    for name, picture in zip(names, pixels.to_uint8(sampler(latent([0, 1, 2, 500], sampler.dimensions))), strict=True):
        assert np.array_equal(pixels_of(tmp_path / "pictures" / name, 1), picture[..., 0])
    provenance = png.read(tmp_path / "pictures" / names[3]).provenance
    assert provenance.description == "Sample of the seed 500"
    assert (provenance.seeds, provenance.grid) == ("500", "1x1")


def test_a_sample_is_the_same_alone_and_in_a_batch(sampler: Sampler) -> None:
    z = latent(range(64), sampler.dimensions)
    together = sampler(z)
    for index in (0, 17, 63):
        assert np.allclose(sampler(z[index : index + 1])[0], together[index], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "1", "--out", "a.jpg"), "--out: a.jpg: expected a name that ends with .png, or a folder"),
        (("--seeds", "1", "--grid", "1x1", "--out", "b/"), "a grid is one picture"),
        (("--seeds", "x", "--out", "a.png"), "--seeds: expected numbers"),
        (("--seeds", "1", "--scale", "0", "--out", "a.png"), "--scale: expected 1 to 64, got 0"),
        (("--seeds", "1", "--out", "a.png", "--model", "no.keras"), "no.keras: missing"),
        (
            ("--seeds", "1", "--out", "a.png", "--model", "models/discriminator.keras"),
            "models/discriminator.keras: not a generator: expected z (d,) => image (H, W, C), got (16, 16, 1), (1,)",
        ),
        (
            ("--seeds", "1", "--out", "a.png", "--model", "models"),
            "models: cannot be read as a Keras model (it is",
        ),
    ],
)
def test_a_mistake_on_the_command_line_is_named_in_the_error(
    tiny: Project, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(tiny.folder.iterdir())
    result = tiny.run("sample", *arguments)
    assert result.returncode == 1
    assert f"error: {message}" in result.stderr or message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(tiny.folder.iterdir()) == before


def test_the_options_for_samples_need_seeds_or_z(tiny: Project) -> None:
    result = tiny.run("sample", "--grid", "2x2", "--out", "a.png")
    assert result.returncode == 2
    assert "one of the arguments --seeds --z is required" in result.stderr


def test_an_interpolation_passes_through_its_seeds(sampler: Sampler) -> None:
    rows = drawing.interpolations(sampler, [3, 4, 5], 4)
    ends = sampler(latent([3, 4, 5], sampler.dimensions))
    assert rows.shape == (8, 16, 16, 1)
    for index, end in ((0, 0), (3, 1), (4, 1), (7, 2)):
        assert np.allclose(rows[index], ends[end], atol=1e-4)


def test_a_timeline_with_too_many_scores_keeps_the_first_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    history = np.linspace(-1, 1, 11, dtype=np.float32)[:, None, None, None, None].repeat(3, 1).repeat(4, 2).repeat(4, 3)
    picture, shown = drawing.timeline(history)
    assert shown == list(range(11))
    assert picture.shape == (11 * 6 - 2, 3 * 6 - 2, 1)
    monkeypatch.setattr(png, "_MAX_OPENED_PIXELS", 16 * (5 * 6 - 2))
    picture, shown = drawing.timeline(history)
    assert shown == [0, 2, 5, 8, 10]
    assert picture[::6, 0, 0].tolist() == [0, 51, 128, 204, 255]
    monkeypatch.setattr(png, "_MAX_OPENED_PIXELS", 16 * 4)
    assert drawing.timeline(history)[1] == [10], "the last score"


def test_the_error_for_a_picture_that_is_too_large_names_the_setting(tiny: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("from stages import png\npng._MAX_OPENED_PIXELS = 1500\n")
    result = tiny.run_process("sample", "--out", str(tmp_path / "out"), first_on_path=tmp_path)
    assert result.returncode == 1
    assert (
        "error: sample.count: grid.png: a picture of 52 × 34 pixels is larger than most programs can open"
        in result.stderr
    )
    assert not (tmp_path / "out/reports").exists()


def test_the_nearest_training_images_come_nearest_first(tiny: Project) -> None:
    folder = tiny.folder / "data/prepared"
    data = manifest.read(folder)
    train = np.concatenate([batch.numpy() for batch, _ in records.batches(folder, data, "train", 100)])
    images = drawing.nearest(folder, data, train[[5, 319]] * 0.999, 3)
    assert images.shape == (2, 3, 16, 16, 1)
    assert np.array_equal(images[:, 0], train[[5, 319]])


def test_the_nearest_training_image_is_mirrored_like_its_copy(tiny: Project) -> None:
    folder = tiny.folder / "data/prepared"
    data = manifest.read(folder)
    train = np.concatenate([batch.numpy() for batch, _ in records.batches(folder, data, "train", 100)])
    mirror_images = train[[5, 319], :, ::-1]
    assert np.array_equal(drawing.nearest(folder, data, mirror_images, 1)[:, 0], mirror_images)


def test_bands_show_each_sample_as_a_column() -> None:
    pictures = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3, 1, 1, 1) * np.ones((1, 1, 4, 4, 1), np.float32)
    whole = drawing.bands(pictures, 3)
    assert whole.shape == (2 * 16 + 12, 16, 1)
    for sample in range(5):
        top, left = sample // 3 * 28, sample % 3 * 6
        for row in range(3):
            block = whole[top + 6 * row : top + 6 * row + 4, left : left + 4]
            assert (block == pixels.to_uint8(pictures[sample, row])).all()
    assert (whole[16:28] == 255).all()
    assert (whole[28:, 12:] == 255).all(), "an empty place is white"


class BrightOrDark:
    """A judge that calls a picture bright or dark, and never gray."""

    def __call__(self, pictures: np.ndarray) -> object:
        """Their classes: 0 is dark, 1 is bright."""
        classes = (pictures.mean((1, 2, 3)) > 0).astype(int)
        return type("Prediction", (), {"classes": classes})


class Bright:
    """A generator of flat pictures whose brightness is the first number of z."""

    dimensions, shape = 4, (16, 16, 1)

    class_means = Sampler.class_means

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """One flat picture for each z."""
        return np.tanh(z[:, :1, None, None]) * np.ones((1, 16, 16, 1), np.float32)

    def batches(self, seeds: range) -> object:
        """The images of these seeds, in batches."""
        for first in range(0, len(seeds), 500):
            yield self(latent(seeds[first : first + 500], 4))


def test_arithmetic_uses_the_mean_z_of_classes() -> None:
    rows = [("dark", "bright", "bright"), ("bright", "dark", "bright"), ("gray", "dark", "bright")]
    pictures, rows_drawn = drawing.arithmetic(Bright(), BrightOrDark(), ("dark", "bright", "gray"), rows)  # type: ignore[arg-type]
    assert rows_drawn == rows[:2], "no sample is gray, so its row is skipped"
    values = pictures.mean((1, 2, 3)).reshape(2, 8)
    length = np.tanh(np.sqrt(4 / 3))
    assert values[0, :3] == pytest.approx([-length, length, length], abs=0.02)
    assert values[0, 3] == pytest.approx(-length, abs=0.02)
    assert values[1, 3] == pytest.approx(length, abs=0.02)
    assert (np.abs(np.arctanh(values[:, 4:]) - np.arctanh(values[:, 3:4])) <= 0.26).all()
    assert len(set(values[0, 4:].tolist())) == 4


def test_an_unknown_class_is_named_in_the_error() -> None:
    with pytest.raises(StageError, match=r"no class 'grey'; did you mean 'dark'\? The data has dark, bright"):
        drawing.arithmetic(Bright(), BrightOrDark(), ("dark", "bright"), [("dark", "grey", "dark")])  # type: ignore[arg-type]


def test_arithmetic_without_classes_is_an_error(tiny: Project, tmp_path: Path) -> None:
    bare = json.loads((tiny.folder / "data/prepared/manifest.json").read_text()) | {"classes": []}
    for split in bare["splits"].values():
        split["labels"] = []
    for name in ("data/prepared",):
        (tmp_path / name).mkdir(parents=True)
        for path in (tiny.folder / name).glob("*.tfrecord"):
            (tmp_path / name / path.name).symlink_to(path)
    (tmp_path / "data/prepared/manifest.json").write_text(json.dumps(bare))
    (tmp_path / "models/features").mkdir(parents=True)
    (tmp_path / "models/features/features.json").write_text('{"network": "none"}')
    result = tiny.run("sample", "--out", str(tmp_path), "--base", str(tiny.folder))
    assert result.returncode == 1
    assert "error: sample.arithmetic: the data has no classes" in result.stderr


def test_a_row_with_a_class_that_no_sample_belongs_to_is_skipped(tiny: Project) -> None:
    description = png.read(tiny.folder / "reports/samples/arithmetic.png").provenance.description
    assert "stripes, stripes, stripes, then stripes − stripes + stripes" in description
    assert "disc" not in description


@pytest.mark.parametrize(
    ("name", "seeds", "grid"),
    [
        ("samples/grid", "0-5", "2x3"),
        ("samples/real", "", ""),
        ("samples/timeline", "", ""),
        ("samples/timeline_animated", "", ""),
        ("samples/interpolation", "", ""),
        ("samples/nearest", "", ""),
        ("samples/arithmetic", "", ""),
    ],
)
def test_a_picture_of_the_sample_stage_has_its_keys(tiny: Project, name: str, seeds: str, grid: str) -> None:
    provenance = png.read(tiny.folder / f"reports/{name}.png").provenance
    generator = "" if name == "samples/real" else sha256(tiny.folder / "models/generator.keras")
    assert (provenance.stage, provenance.seeds, provenance.grid, provenance.scale) == ("sample", seeds, grid, 2)
    assert provenance.generator_sha256 == generator
    assert provenance.manifest_sha256 == sha256(tiny.folder / "data/prepared/manifest.json")


def test_the_picture_of_lowest_realism_has_its_keys(tiny: Project) -> None:
    provenance = png.read(tiny.folder / "reports/evaluate/lowest.png").provenance
    assert (provenance.stage, provenance.grid, provenance.scale) == ("evaluate", "2x8", 2)
    assert len(parse_seeds(provenance.seeds)) == 16
    assert provenance.generator_sha256 == sha256(tiny.folder / "models/generator.keras")


def test_the_contact_sheet_has_its_keys(tiny: Project) -> None:
    provenance = png.read(tiny.folder / "reports/data/contact_sheet.png").provenance
    assert (provenance.stage, provenance.seeds, provenance.generator_sha256) == ("prepare", "", "")
    assert provenance.manifest_sha256 == sha256(tiny.folder / "data/prepared/manifest.json")
