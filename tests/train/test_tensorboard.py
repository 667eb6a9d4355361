"""TensorBoard's event files: the records as TensorBoard expects them, and no effect on the training."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from stages.train import stage
from stages.train.tensorboard import TensorBoard
from tests.train.test_loop import SETTINGS, outcome, run, scores


def records(folder: Path) -> list[tuple[int, str, str, np.ndarray]]:
    """(step, tag, plugin, value) of each record."""
    (file,) = folder.iterdir()
    events = [tf.compat.v1.Event.FromString(one.numpy()) for one in tf.data.TFRecordDataset(str(file))]
    return [
        (event.step, value.tag, value.metadata.plugin_data.plugin_name, tf.make_ndarray(value.tensor))
        for event in events
        for value in event.summary.value
    ]


def test_values_and_pictures_are_records_of_their_plugins(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    grid = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    board.write(128, {"loss/generator": 0.5}, None)
    board.write(256, {"score": 3.0}, grid)
    board.close()
    (loss, score, picture) = records(tmp_path)
    assert loss == (128, "loss/generator", "scalars", np.float32(0.5))
    assert score == (256, "score", "scalars", np.float32(3.0))
    assert picture[:3] == (256, "fixed_z", "images")
    width, height, content = picture[3]
    assert (width, height) == (b"6", b"4")
    assert np.array_equal(tf.io.decode_png(content).numpy(), grid)


@pytest.mark.slow
def test_event_files_change_no_result(tmp_path: Path) -> None:
    with_files = dataclasses.replace(SETTINGS, tensorboard=True)
    plain = outcome(tmp_path / "a", run(tmp_path / "a", SETTINGS, scores(9, 3, 5)))
    assert outcome(tmp_path / "b", run(tmp_path / "b", with_files, scores(9, 3, 5))) == plain
    assert {tag for _, tag, _, _ in records(tmp_path / "b/live/tensorboard")} >= {"loss/generator", "score", "fixed_z"}
    assert not (tmp_path / "a/live/tensorboard").exists()


def test_event_files_are_no_reason_to_train_again(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    file = tmp_path / "manifest.json"
    inputs = SimpleNamespace(folder=tmp_path, reference=file, features=file, start=None)
    keys = [stage._inputs_of(dataclasses.replace(SETTINGS, tensorboard=on), inputs) for on in (False, True)]  # type: ignore[arg-type]
    assert keys[0] == keys[1]
