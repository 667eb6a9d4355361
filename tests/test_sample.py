"""Samples from the command line, and what the sample stage draws."""

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
from stages.sample.command_line import layout_of, seeds_of
from tests.conftest import Project


@pytest.fixture(scope="module")
def sampler(tiny: Project) -> Sampler:
    return Sampler.load(tiny.folder / "models/generator.keras")


def drawn(path: Path, scale: int) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)[::scale, ::scale]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("7", [7]), ("1,2,3", [1, 2, 3]), ("0-3, 10", [0, 1, 2, 3, 10]), ("5,5", [5, 5]), ("8-8", [8])],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,,2", "-1", "5-3", "1.5", "1-2-3", "9" * 30])
def test_what_is_no_seed_is_named(text: str) -> None:
    with pytest.raises(StageError, match="--seeds: expected numbers of at most 18 digits and ranges, such as"):
        seeds_of(text)


def test_more_seeds_than_fit_a_picture_are_refused_before_they_are_listed() -> None:
    assert len(seeds_of("0-9999")) == 10_000
    for text in ("0-10000", "1-999999999999999999", "0-9999,1"):
        with pytest.raises(StageError, match="at most 10,000 seeds"):
            seeds_of(text)


def test_a_grid_is_as_asked_for_or_about_a_square() -> None:
    assert layout_of("4x8", 3) == (4, 8)
    assert layout_of(" 4×8 ", 32) == (4, 8)
    assert [layout_of(None, count) for count in (1, 2, 3, 5, 9, 10)] == [
        *((1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4))
    ]
    with pytest.raises(StageError, match="room for 6 pictures, but there are 7 seeds"):
        layout_of("2x3", 7)
    for text in ("4", "0x3", "4x", "axb", "-1x2"):
        with pytest.raises(StageError, match="--grid: expected rows and columns such as 4x8"):
            layout_of(text, 1)


def test_a_grid_from_the_command_line_shows_these_seeds(tiny: Project, sampler: Sampler, tmp_path: Path) -> None:
    out = tmp_path / "new" / "x.png"
    result = tiny.run("sample", "--seeds", "1,2,40", "--grid", "2x4", "--scale", "3", "--out", str(out))
    assert result.returncode == 0, result.stderr
    expected = png.grid(sampler(latent([1, 2, 40], sampler.dimensions)), 4, rows=2)
    assert np.array_equal(drawn(out, 3), expected[..., 0])
    told = png.read_facts(out)
    assert told["Description"] == "Samples of the seeds 1,2,40, in this order"
    assert sha256(tiny.folder / "models/generator.keras") in told["Source"]
    assert [path.name for path in out.parent.iterdir()] == ["x.png"], "nothing is left beside it"


def test_single_files_are_the_pictures_of_the_grid(tiny: Project, sampler: Sampler, tmp_path: Path) -> None:
    result = tiny.run("sample", "--seeds", "0-2,500", "--scale", "1", "--out", f"{tmp_path}/pictures/")
    assert result.returncode == 0, result.stderr
    names = [f"seed-{seed:06d}.png" for seed in (0, 1, 2, 500)]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == names
    for name, picture in zip(names, pixels.to_uint8(sampler(latent([0, 1, 2, 500], sampler.dimensions))), strict=True):
        assert np.array_equal(drawn(tmp_path / "pictures" / name, 1), picture[..., 0])
    assert png.read_facts(tmp_path / "pictures" / names[3])["Description"] == "Sample of the seed 500"


def test_a_sample_alone_is_its_row_in_a_batch(sampler: Sampler) -> None:
    z = latent(range(64), sampler.dimensions)
    together = sampler(z)
    for index in (0, 17, 63):
        assert np.allclose(sampler(z[index : index + 1])[0], together[index], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "1", "--out", "a.jpg"), "--out: a.jpg: expected a name that ends with .png, or a folder"),
        (("--seeds", "1", "--grid", "1x1", "--out", "b/"), "a grid goes into one picture"),
        (("--seeds", "x", "--out", "a.png"), "--seeds: expected numbers"),
        (("--seeds", "1", "--scale", "0", "--out", "a.png"), "--scale: expected 1 to 64, got 0"),
        (("--seeds", "1", "--out", "a.png", "--model", "no.keras"), "no.keras: missing"),
        (
            ("--seeds", "1", "--out", "a.png", "--model", "models/discriminator.keras"),
            "models/discriminator.keras: no generator: expected one that makes z (d,) into images (H, W, C), "
            "got (16, 16, 1), (1,)",
        ),
        (
            ("--seeds", "1", "--out", "a.png", "--model", "models"),
            "models: cannot be read as a Keras model (it is",
        ),
    ],
)
def test_a_mistake_on_the_command_line_is_named(
    tiny: Project, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(tiny.folder.iterdir())
    result = tiny.run("sample", *arguments)
    assert result.returncode == 1
    assert f"error: {message}" in result.stderr or message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(tiny.folder.iterdir()) == before


def test_an_option_of_the_command_line_without_its_seeds_says_so(tiny: Project) -> None:
    result = tiny.run("sample", "--grid", "2x2", "--out", "a.png")
    assert result.returncode == 2
    assert "the following arguments are required: --seeds" in result.stderr


def test_an_interpolation_goes_through_its_seeds(sampler: Sampler) -> None:
    rows = drawing.interpolations(sampler, [3, 4, 5], 4)
    ends = sampler(latent([3, 4, 5], sampler.dimensions))
    assert rows.shape == (8, 16, 16, 1)
    for index, end in ((0, 0), (3, 1), (4, 1), (7, 2)):
        assert np.allclose(rows[index], ends[end], atol=1e-4)


def test_a_timeline_of_more_scores_than_fit_keeps_the_first_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    history = np.linspace(-1, 1, 11, dtype=np.float32)[:, None, None, None, None].repeat(3, 1).repeat(4, 2).repeat(4, 3)
    picture, shown = drawing.timeline(history)
    assert shown == list(range(11))
    assert picture.shape == (11 * 6 - 2, 3 * 6 - 2, 1)
    monkeypatch.setattr(png, "_MOST_PIXELS", 16 * (5 * 6 - 2))
    picture, shown = drawing.timeline(history)
    assert shown == [0, 2, 5, 8, 10]
    assert picture[::6, 0, 0].tolist() == [0, 51, 128, 204, 255]
    monkeypatch.setattr(png, "_MOST_PIXELS", 16 * 4)
    assert drawing.timeline(history)[1] == [10], "what there is in the end"


def test_a_picture_too_large_names_its_setting(tiny: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("from stages import png\npng._MOST_PIXELS = 1500\n")
    result = tiny.run("sample", "--out", str(tmp_path / "out"), first_on_path=tmp_path)
    assert result.returncode == 1
    assert "error: sample.count: grid.png: a picture of 52 × 34 pixels is more than programs open" in result.stderr
    assert not (tmp_path / "out/reports").exists()


def test_the_nearest_training_images_are_found_and_nearest_first(tiny: Project) -> None:
    folder = tiny.folder / "data/prepared"
    data = manifest.read(folder)
    train = np.concatenate([batch.numpy() for batch, _ in records.batches(folder, data, "train", 100)])
    found = drawing.nearest(folder, data, train[[5, 319]] * 0.999, 3)
    assert found.shape == (2, 3, 16, 16, 1)
    assert np.array_equal(found[:, 0], train[[5, 319]])
    for query, near in zip(train[[5, 319]] * 0.999, found, strict=True):
        expected = np.sort(((train - query) ** 2).sum((1, 2, 3)))[:3]
        assert np.allclose(((near - query) ** 2).sum((1, 2, 3)), expected, rtol=1e-4)


def test_bands_hold_a_column_for_each_sample() -> None:
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


class Says:
    """A judge that holds a picture for bright or dark, and never for gray."""

    def __call__(self, pictures: np.ndarray) -> object:
        """Their classes: 0 is dark, 1 is bright."""
        classes = (pictures.mean((1, 2, 3)) > 0).astype(int)
        return type("Judgement", (), {"classes": classes})


class Bright:
    """A generator of flat pictures as bright as z's first number."""

    dimensions, shape = 4, (16, 16, 1)

    class_means = Sampler.class_means

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """One flat picture for each z."""
        return np.tanh(z[:, :1, None, None]) * np.ones((1, 16, 16, 1), np.float32)

    def of(self, seeds: range) -> object:
        """The pictures of these seeds, in batches."""
        for first in range(0, len(seeds), 500):
            yield self(latent(seeds[first : first + 500], 4))


def test_arithmetic_is_with_the_mean_z_of_classes() -> None:
    rows = [("dark", "bright", "bright"), ("bright", "dark", "bright"), ("gray", "dark", "bright")]
    pictures, done = drawing.arithmetic(Bright(), Says(), ("dark", "bright", "gray"), rows)  # type: ignore[arg-type]
    assert done == rows[:2], "no sample is gray, so that row is left out"
    values = pictures.mean((1, 2, 3)).reshape(2, 8)
    length = np.tanh(np.sqrt(4 / 3))
    assert values[0, :3] == pytest.approx([-length, length, length], abs=0.02)
    assert values[0, 3] == pytest.approx(-length, abs=0.02)
    assert values[1, 3] == pytest.approx(length, abs=0.02)
    assert (np.abs(np.arctanh(values[:, 4:]) - np.arctanh(values[:, 3:4])) <= 0.26).all()
    assert len(set(values[0, 4:].tolist())) == 4


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(StageError, match="no class 'grey'; the nearest is 'dark', and the data has dark, bright"):
        drawing.arithmetic(Bright(), Says(), ("dark", "bright"), [("dark", "grey", "dark")])  # type: ignore[arg-type]


def test_arithmetic_without_classes_is_a_clear_error(tiny: Project, tmp_path: Path) -> None:
    bare = json.loads((tiny.folder / "data/prepared/manifest.json").read_text()) | {"classes": []}
    for split in bare["splits"].values():
        split["labels"] = []
    for name in ("data/prepared",):
        (tmp_path / name).mkdir(parents=True)
        for path in (tiny.folder / name).glob("*.tfrecord"):
            (tmp_path / name / path.name).symlink_to(path)
    (tmp_path / "data/prepared/manifest.json").write_text(json.dumps(bare))
    result = tiny.run("sample", "--out", str(tmp_path), "--base", str(tiny.folder))
    assert result.returncode == 1
    assert "error: sample.arithmetic: the data has no classes to calculate with" in result.stderr


def test_what_no_sample_is_held_for_is_said(tiny: Project) -> None:
    told = png.read_facts(tiny.folder / "reports/samples/arithmetic.png")["Description"]
    assert "stripes, stripes, stripes, then stripes − stripes + stripes" in told
    assert "disc" not in told
