"""`make own`: what it sees in a folder of pictures, what it decides, and the params.yaml that it writes."""

import dataclasses
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from stages import params
from stages.errors import StageError
from tests.conftest import ROOT, Clone
from tests.image_files import file, image
from tests.own_pictures import archive_of, write
from tools.doctor.finding import Finding
from tools.own import __main__ as command
from tools.own import writing
from tools.own.decide import FEWEST, Decision, Plan, Speed, Wish, decide, summary
from tools.own.look import Look, find, look, picture_of

TEXT, PRESETS = writing.presets(ROOT)
PRESET, QUICK = PRESETS.own, PRESETS.quick
RANDOM = np.random.default_rng(0)


def noise(height: int = 60, width: int = 60, channels: int = 3) -> bytes:
    """A picture of random pixels."""
    return file(image(RANDOM.integers(0, 256, (height, width, channels), np.uint8)), "PNG")


def drawing(mode: str, ground: tuple[int, ...], ink: tuple[int, ...] = (200, 30, 30)) -> bytes:
    """A disc at a random place on a plain ground, in a picture that is not square."""
    picture = Image.new(mode, (90, 60), ground)
    left, top = int(RANDOM.integers(5, 40)), int(RANDOM.integers(5, 20))
    ImageDraw.Draw(picture).ellipse((left, top, left + 40, top + 30), fill=(*ink, 255)[: len(mode)])
    return file(picture, "PNG")


def many(draw: Callable[[], bytes], count: int = 24) -> dict[str, bytes]:
    """So many pictures, by file name."""
    return {f"{i}.png": draw() for i in range(count)}


def seen(folder: Path, files: dict[str, bytes]) -> Look:
    """The look at a folder of these files."""
    place = write(folder / "pictures", files)
    return look(place, find(place, folder))


SLOW, FAST = Speed(100.0, 140.0), Speed(900.0, 1100.0)


def plan(at: Look, wish: Wish | None = None, speeds: dict[int, Speed] | None = None) -> Plan:
    """The plan on a machine with this speed for each size."""
    speeds = {32: FAST, 64: SLOW} if speeds is None else speeds
    return decide(at, "pictures", PRESETS, wish or Wish(), lambda section, size, channels: speeds.get(size, SLOW))


def values(of: Plan) -> dict[str, Any]:
    """The value of each key that was decided."""
    return {decision.key: decision.value for decision in of.decisions}


def copies_of(at: Look, count: int) -> Look:
    """The same look at more pictures."""
    return dataclasses.replace(at, count=count)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """24 pictures in colour, of 60 × 80 pixels."""
    return seen(tmp_path_factory.mktemp("photos"), many(lambda: noise(60, 80)))


# What it sees


def test_the_pictures_are_counted_by_kind_size_and_shape(tmp_path: Path) -> None:
    files = many(noise, 3) | {"a.jpg": file(Image.new("L", (200, 100), 99), "JPEG"), "b.JPG": b"", "notes.txt": b"x"}
    at = seen(tmp_path, files)
    assert (at.count, at.looked_at, len(at.pictures)) == (5, 5, 4)
    assert at.extensions == {"png": 3, "jpg": 2}
    assert at.rejected == {"empty": 1}
    assert sorted(at.shorter_sides) == [60, 60, 60, 100]
    assert sorted(at.ratios) == [1, 1, 1, 2]
    assert list(summary(at)) == [
        "5 pictures: 3 png, 2 jpg",
        "shorter side: 60 pixels at the median, 60 at least; width:height 1 to 2",
        "1 gray, 3 in colour",
        "cannot be read: 1 empty; data/prepared/quarantine.csv will name them",
        "no labels",
    ]


def test_exact_copies_are_counted_beyond_the_first_of_each_kind(tmp_path: Path) -> None:
    one, two = noise(), noise()
    at = seen(tmp_path, {"a.png": one, "b.png": two, "c.png": one, "more/d.png": one, "more/e.png": two})
    assert at.copies == 3
    assert "exact copies of others: 3; the network sees a copied picture more often, so remove copies" in (
        list(summary(at))
    )


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_is_seen_like_its_folder(tmp_path: Path, kind: str) -> None:
    files = many(noise, 4) | {"cats/1.png": noise(), "dogs/1.png": noise()}
    (tmp_path / "pictures.archive").write_bytes(archive_of(files, kind))
    at = look(tmp_path / "pictures.archive", find(tmp_path / "pictures.archive", tmp_path))
    assert dataclasses.replace(at, place=Path()) == dataclasses.replace(seen(tmp_path, files), place=Path())


def test_classes_are_those_that_prepare_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = seen(tmp_path, {f"{name}/{i}.png": noise() for name in ("cats", "dogs") for i in range(2)})
    assert at.classes == ("cats", "dogs")
    assert capsys.readouterr().err == "labels: 2 folders\n"


@pytest.mark.parametrize(
    ("pixels", "is_gray"),
    [
        (np.full((9, 9, 1), 7, np.uint8), True),
        (np.repeat(np.arange(81, dtype=np.uint8).reshape(9, 9, 1), 3, 2) + np.array([0, 3, 6], np.uint8), True),
        (np.full((9, 9, 3), (90, 90, 120), np.uint8), False),
        (np.concatenate([np.full((9, 9, 3), 50), np.zeros((9, 9, 1))], 2).astype(np.uint8), True),
    ],
    ids=["one channel", "a gray JPEG", "bluish", "transparent"],
)
def test_gray_is_told_from_the_colours(pixels: np.ndarray, is_gray: bool) -> None:
    assert picture_of(pixels).is_gray == is_gray


def test_at_most_a_thousand_pictures_are_decoded_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.own.look.MOST", 5)
    at = seen(tmp_path, many(noise, 8))
    assert (at.count, at.looked_at, len(at.pictures)) == (8, 5, 5)


# What it decides


def test_photos_are_cropped_to_the_centre_square_in_colour(photos: Look) -> None:
    decided = values(plan(photos))
    assert [decided[f"prepare.{key}"] for key in ("crop", "fit", "channels", "size")] == ["square", "resize", 3, 64]
    assert "prepare.background" not in decided


@pytest.mark.parametrize(
    ("draw", "background"),
    [
        (lambda: drawing("RGB", (240, 250, 230)), [240, 250, 230]),
        (lambda: drawing("RGBA", (0, 0, 0, 0)), [255, 255, 255]),
        (lambda: drawing("RGBA", (0, 0, 0, 0), (250, 250, 240)), [0, 0, 0]),
    ],
    ids=["plain", "transparent", "light on transparent"],
)
def test_a_drawing_on_a_plain_ground_is_padded_with_its_colour(
    tmp_path: Path, draw: Callable[[], bytes], background: list[int]
) -> None:
    decided = values(plan(seen(tmp_path, many(draw))))
    assert [decided[f"prepare.{key}"] for key in ("crop", "fit", "background", "channels")] == [
        "none",
        "pad",
        background,
        3,
    ]


def test_borders_of_different_colours_are_no_plain_ground(tmp_path: Path) -> None:
    decided = values(plan(seen(tmp_path, many(lambda: drawing("RGB", tuple(map(int, RANDOM.integers(0, 256, 3))))))))
    assert decided["prepare.crop"] == "square"


def test_pictures_are_gray_only_if_all_of_them_are(tmp_path: Path) -> None:
    gray = many(lambda: noise(60, 60, 1))
    assert values(plan(seen(tmp_path / "1", gray)))["prepare.channels"] == 1
    assert values(plan(seen(tmp_path / "2", gray | {"colour.png": noise()})))["prepare.channels"] == 3


def test_small_pictures_are_trained_at_32_pixels(tmp_path: Path) -> None:
    assert values(plan(seen(tmp_path, many(lambda: noise(40, 50)))))["prepare.size"] == 32


@pytest.mark.parametrize(
    ("size", "gray", "gamma"),
    [(64, False, None), (32, False, 6.0), (16, False, 1.5), (32, True, 2.5), (128, False, 120.0)],
)
def test_gamma_is_in_proportion_to_the_values_of_an_image(
    tmp_path: Path, size: int, gray: bool, gamma: float | None
) -> None:
    pictures = seen(tmp_path, many(lambda: noise(200, 200, 1 if gray else 3)))
    decided = values(plan(pictures, Wish(size=size)))
    assert [decided.get(f"train.loss.{key}") for key in ("r1", "r2")] == [gamma, gamma]


def test_small_images_in_colour_have_the_networks_and_optimizers_of_the_quick_preset(
    photos: Look, tmp_path: Path
) -> None:
    small, large = (values(plan(photos, Wish(size=size))) for size in (32, 64))
    gray = values(plan(seen(tmp_path, many(lambda: noise(200, 200, 1))), Wish(size=32)))
    quick = QUICK["train"]
    for group in ("generator", "discriminator", "optimizer"):
        decided = {key.split(".")[2]: value for key, value in small.items() if key.startswith(f"train.{group}.")}
        written = PRESET["train"][group] | decided
        if group == "optimizer":
            share = written["burn_in"] / small["train.images"]
            assert share == quick["optimizer"]["burn_in"] / quick["images"]
            written["burn_in"] = quick["optimizer"]["burn_in"]
        assert written == quick[group]
        assert decided
    groups = ("train.generator", "train.discriminator", "train.optimizer")
    assert not any(key.startswith(groups) for key in (*large, *gray))


def test_the_speed_is_measured_with_the_networks_and_the_batch_that_are_written(photos: Look) -> None:
    measured = {}

    def measure(section: Mapping[str, Any], size: int, channels: int) -> Speed:
        measured[size, channels] = section
        return SLOW

    made = values(decide(copies_of(photos, 80), "pictures", PRESETS, Wish(10), measure))
    assert set(measured) == {(64, 3), (32, 3)}, "64 is too slow for the minutes, then 32 counts them"
    assert measured[64, 3]["generator"] == PRESET["train"]["generator"]
    for group in ("generator", "discriminator", "loss"):
        assert measured[32, 3][group] == QUICK["train"][group]
    assert {section["batch_size"] for section in measured.values()} == {made["train.batch_size"]} == {16}


def test_the_asked_size_is_taken(photos: Look) -> None:
    assert values(plan(photos, Wish(size=128)))["prepare.size"] == 128


@pytest.mark.parametrize(("minutes", "size"), [(5, 32), (10, 32), (30, 64)])
def test_the_size_is_smaller_if_the_minutes_are_too_few_for_the_larger_one(
    photos: Look, minutes: float, size: int
) -> None:
    assert values(plan(photos, Wish(minutes)))["prepare.size"] == size


def test_the_training_has_as_many_images_as_the_minutes_allow(photos: Look) -> None:
    made = plan(photos, Wish(minutes=5, size=64))
    assert values(made)["train.images"] == 30_000  # 5 × 60 s × 85 % × 120 images/s = 30,600
    assert made.seconds[0] < 300 < made.seconds[1], "the range contains the wish"
    assert values(made)["train.scoring.every"] == 30_000 // 8


def test_without_minutes_the_length_is_the_presets(photos: Look) -> None:
    made = plan(photos)
    assert values(made)["train.images"] == PRESET["train"]["images"]
    assert not {"train.scoring.every", "evaluate.samples", "features.images"} & set(values(made))
    assert made.seconds == (480_000 / 140, 480_000 / 100 / 0.85)


@pytest.mark.parametrize("classes", [(), ("cats", "dogs")], ids=["no labels", "labels"])
def test_only_a_short_training_has_a_short_judge_and_few_samples(photos: Look, classes: tuple[str, ...]) -> None:
    at = dataclasses.replace(photos, classes=classes)
    short, long = values(plan(at, Wish(minutes=5))), values(plan(at, Wish(minutes=60)))
    assert (short["features.images"], short["evaluate.samples"]) == (25_600, 1000)
    assert not {"features.images", "evaluate.samples"} & set(long)


def test_too_short_a_training_is_warned_of_with_minutes_that_suffice(photos: Look) -> None:
    assert plan(photos, Wish(minutes=1, size=64)).warning == (
        "6,100 images show little more than colours; MINUTES=4 or more would show shapes"
    )
    assert plan(photos, Wish(minutes=4, size=64)).warning == ""


@pytest.mark.parametrize(("count", "batch"), [(24, 4), (80, 16), (150, 32), (5000, 32)])
def test_an_epoch_has_at_least_four_batches(photos: Look, count: int, batch: int) -> None:
    assert values(plan(copies_of(photos, count)))["train.batch_size"] == batch


@pytest.mark.parametrize(("count", "batch"), [(24, 8), (180, 64), (190, None), (5000, None)])
def test_the_judge_has_no_larger_batch_than_there_are_training_images(
    photos: Look, count: int, batch: int | None
) -> None:
    assert values(plan(copies_of(photos, count))).get("features.batch_size") == batch


def test_one_width_to_height_is_named_once(photos: Look) -> None:
    assert "shorter side: 60 pixels at the median, 60 at least; width:height 1.3" in list(summary(photos))
    assert "width:height is 1.3; the centre square keeps 75% of the usual picture" in [
        decision.reason for decision in plan(photos).decisions
    ]


@pytest.mark.parametrize(("count", "share"), [(24, 0.34), (60, 0.14), (80, None), (500, None)])
def test_few_pictures_have_a_larger_share_of_test_images(photos: Look, count: int, share: float | None) -> None:
    assert values(plan(copies_of(photos, count))).get("prepare.test_share") == share


def test_some_unreadable_pictures_are_accepted(tmp_path: Path) -> None:
    at = seen(tmp_path, many(noise) | {"half.png": noise()[:500]})
    (decision,) = [one for one in plan(at).decisions if one.key == "prepare.max_rejected"]
    assert decision == Decision("prepare.max_rejected", 0.06, "4.0% cannot be read (1 truncated)")


# What it refuses


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", "PICTURES: name a folder of pictures: make own PICTURES=~/pictures"),
        ("missing", "PICTURES: {here}/missing: no such folder or archive"),
        ("empty", r"PICTURES: {here}/empty: no pictures .* and no archives; copy pictures there"),
        ("texts", r"PICTURES: {here}/texts: no pictures .*only other files \(first: notes.txt\)"),
        ("texts/notes.txt", "PICTURES: {here}/texts/notes.txt: not a folder, and neither a zip nor a tar"),
        ("three", f"PICTURES: {{here}}/three: 3 pictures; a GAN needs at least {FEWEST}, and hundreds show more"),
        ("broken", r"PICTURES: {here}/broken: none of the pictures can be read \(30 truncated\)"),
        ("half", r"PICTURES: {here}/half: 60% of the pictures cannot be read \(36 truncated\); convert them to PNG"),
        (".", "PICTURES: {here}: this project is in it"),
        ("caf\udce9", "PICTURES: .*caf.xe9: the path is not UTF-8; rename the folder"),
    ],
)
def test_pictures_that_cannot_be_used_leave_params_yaml_as_it_was(
    place: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {f"broken{i}.png": noise()[:500] for i in range(36)}
    write(tmp_path / "three", many(noise, 3))
    write(tmp_path / "broken", dict(list(broken.items())[:30]))
    write(tmp_path / "half", broken | many(noise))
    write(tmp_path / "texts", {"notes.txt": b"not a picture"})
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(in_project(tmp_path))
    before = Path("params.yaml").read_bytes()
    with pytest.raises(StageError, match=f"^{message.format(here=tmp_path)}"):
        command.own(str(tmp_path / place) if place else "", "", "")
    assert Path("params.yaml").read_bytes() == before
    assert not list(Path().glob("params.yaml*.*"))


@pytest.mark.parametrize(
    ("minutes", "size", "message"),
    [
        ("soon", "", "MINUTES: expected a number of minutes, such as MINUTES=30, got 'soon'"),
        ("0", "", "MINUTES: expected"),
        ("nan", "", "MINUTES: expected"),
        ("", "large", "SIZE: expected a side in pixels, such as SIZE=64, got 'large'"),
        ("", "50", "SIZE: expected sides of 16 to 1024 pixels .* use 48 or 56"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(minutes: str, size: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        command.own("anything", minutes, size)


# What it writes


def in_project(folder: Path) -> Path:
    """A project that has only params.yaml and the presets."""
    project = folder / "project"
    project.mkdir()
    shutil.copytree(ROOT / "presets", project / "presets")
    shutil.copy(ROOT / "presets/default.yaml", project / "params.yaml")
    return project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such a project, in which the command runs on a fast machine with a large disk."""
    folder = in_project(tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(command, "_measure", lambda *arguments: FAST)
    monkeypatch.setattr(command, "space_for", lambda project, file: iter(()))
    return folder


def test_the_file_is_the_preset_with_the_decisions_and_their_reasons(project: Path, tmp_path: Path) -> None:
    command.own(str(write(tmp_path / "My pictures", many(noise))), "30", "")
    params.check(project / "params.yaml")
    written = yaml.safe_load((project / "params.yaml").read_text())
    assert written["dataset"]["own"] == str(tmp_path / "My pictures")
    assert written["prepare"] | {"test_share": 0.1} == PRESET["prepare"]
    assert (
        written["train"] | {key: PRESET["train"][key] for key in ("images", "batch_size", "scoring")} == PRESET["train"]
    )
    text = (project / "params.yaml").read_text()
    assert "  # 30 minutes at about 1,000 images/s on this machine\n  images: 1500000  " in text
    kept = [line for line in text.splitlines() if line in TEXT.splitlines()]
    assert len(kept) > 0.9 * len(TEXT.splitlines()), "a diff is short"


def test_pictures_in_the_project_have_a_path_in_it(project: Path) -> None:
    write(project / "data/own", many(noise))
    command.own("data/own", "", "32")
    assert yaml.safe_load((project / "params.yaml").read_text())["dataset"]["own"] == "data/own"


def test_the_same_command_again_decides_the_same_on_a_machine_that_is_busy_now(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = str(write(tmp_path / "pictures", many(noise)))
    command.own(pictures, "5", "")
    first = (project / "params.yaml").read_text()
    monkeypatch.setattr(command, "_measure", lambda *arguments: SLOW)
    command.own(pictures, "5", "")
    assert (project / "params.yaml").read_text() == first
    (project / ".state/own-speeds.json").write_text("{")
    command.own(pictures, "5", "")
    assert (project / "params.yaml").read_text() != first, "a damaged file is measured again"


def test_a_changed_params_yaml_is_kept_and_a_preset_is_not(project: Path, tmp_path: Path) -> None:
    pictures = str(write(tmp_path / "pictures", many(noise)))
    command.own(pictures, "", "")
    command.own(pictures, "5", "")  # replaces what the first call wrote
    assert not list(project.glob("params.yaml.bak*"))
    for number, name in enumerate(("params.yaml.bak", "params.yaml.bak1")):
        mine = f"# mine {number}\n"
        (project / "params.yaml").write_text(mine)
        command.own(pictures, "", "")
        assert (project / name).read_text() == mine


def test_too_small_a_disk_leaves_params_yaml_as_it_was(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Finding("wrong", "disk: 24 images; 9.0 GB more needed, 1.0 GB free", "free some space")
    monkeypatch.setattr(command, "space_for", lambda project, file: iter((full,)))
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(StageError, match="disk: too little space; free some space"):
        command.own(str(write(tmp_path / "pictures", many(noise))), "", "")
    assert (project / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("a.b", 5, "  b: 5    # a comment\n"),
        ("a.b", "x y", '  b: "x y"  # a comment\n'),
        ("a.b", "data/own", "  b: data/own  # a comment\n"),
        ("a.b", "2024", '  b: "2024"  # a comment\n'),
        ("a.c.b", [0, 9, 255], "    b: [0, 9, 255]\n"),
        ("a.c.b", "a: #1", '    b: "a: #1"\n'),
    ],
)
def test_a_value_is_replaced_at_its_place_below_its_reason(key: str, value: Any, line: str) -> None:
    text = "# header\n\na:\n  b: 100  # a comment\n  c:\n    b: 1\n"
    written = writing.with_decisions(text, [Decision(key, value, "why")], "new header")
    indent = line[: len(line) - len(line.lstrip())]
    assert written.startswith("# new header\n\na:\n")
    assert f"{indent}# why\n{line}" in written
    content = yaml.safe_load(written)["a"]
    assert (content["b"] if key == "a.b" else content["c"]["b"]) == value


@pytest.mark.slow
def test_the_speed_is_that_of_the_training_step() -> None:
    from tools.own.speed import measure

    small = {name: PRESET["train"][name] | {"channels": 4} for name in ("generator", "discriminator")}
    speed = measure(PRESET["train"] | small | {"batch_size": 8}, 16, 1)
    assert 0 < speed.slowest <= speed.fastest


@pytest.mark.slow
def test_one_command_leads_from_a_folder_of_pictures_to_a_grid_of_samples(tmp_path: Path) -> None:
    clone = Clone.of_the_working_tree(tmp_path / "project")
    (clone.folder / ".venv").symlink_to(sys.prefix)
    write(tmp_path / "My pictures", many(noise, 60))
    output = clone.output("make", "own", f"PICTURES={tmp_path}/My pictures", "MINUTES=0.1", "SIZE=16")
    reports = clone.folder / "reports"
    assert f"watch {(reports / 'train/live/index.html').as_uri()}" in output
    assert "The training has finished" in (reports / "train/live/index.html").read_text()
    assert f"The samples: {(reports / 'samples/grid.png').as_uri()}\n" in output
    assert output.count(f"{reports}/report.html") == 1, "the path of the report is printed once"
    with Image.open(reports / "samples/grid.png") as grid:
        assert grid.size[0] > 8 * 16
    changed = clone.changed()
    assert "params.yaml" in changed
    assert all(name in ("dvc.lock", "params.yaml") or name.startswith("reports/") for name in changed)
    assert not [name for name in changed if "live" in name or ".bak" in name]
