"""The copies of DVCLive's files during a training: where DVC looks, complete, and gone at the end."""

import json
from pathlib import Path

import pytest
from dvclive import Live

from stages.train.mirror import Mirror


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of the outputs, from which DVC has removed the earlier ones."""
    (tmp_path / "reports/train").mkdir(parents=True)
    return tmp_path / "reports/train"


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """DVCLive's folder after one row."""
    folder = tmp_path / "staged"
    log(folder, 100, 0.5)
    return folder


def log(folder: Path, step: int, loss: float) -> None:
    """Add a row to DVCLive's folder."""
    with Live(str(folder), dvcyaml=False, save_dvc_exp=False, resume=True) as log:
        log.step = step
        log.log_metric("loss/generator", loss)


def begun(place: Path) -> Mirror:
    mirror = Mirror(place)
    mirror.begin()
    return mirror


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_copies_follow_the_log(place: Path, live: Path) -> None:
    mirror = begun(place)
    for row in range(3):
        log(live, 200 + row, 0.1 * row)
        mirror.update(live, None)
        assert files(place / "plots") == files(live / "plots")
        assert json.loads((place / "metrics.json").read_text()) == json.loads((live / "metrics.json").read_text())


def test_only_the_copy_has_the_minutes_that_are_left(place: Path, live: Path) -> None:
    begun(place).update(live, 12.345)
    assert json.loads((place / "metrics.json").read_text())["minutes_left"] == 12.3
    assert "minutes_left" not in (live / "metrics.json").read_text()


def test_at_the_end_nothing_is_left(place: Path, live: Path) -> None:
    mirror = begun(place)
    mirror.update(live, 1.0)
    mirror.remove()
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["metrics.json", "plots/a.tsv"])
def test_an_earlier_output_stays_as_it_is(place: Path, live: Path, name: str) -> None:
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_text("earlier")
    mirror = begun(place)
    mirror.update(live, 1.0)
    mirror.remove()
    assert files(place) == {name: b"earlier"}
