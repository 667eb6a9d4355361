"""Checkpoints: written atomically, the newest two kept, damaged ones reported."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.errors import StageError
from stages.train.checkpoints import Checkpoints
from tests.conftest import ROOT


def state(value: float) -> dict[str, np.ndarray]:
    return {"a/000": np.full((100, 3), value, np.float32), "b": np.array(int(value))}


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[0]) for path in folder.iterdir())


def test_the_newest_two_checkpoints_and_those_to_keep_are_not_deleted(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest() is None
    for step in range(6):
        checkpoints.save(step, state(step), keep={1})
    assert steps(tmp_path) == [1, 4, 5]
    step, loaded = checkpoints.latest() or (0, {})
    assert step == 5
    assert {name: array.tolist() for name, array in loaded.items()} == {k: v.tolist() for k, v in state(5).items()}
    assert float(checkpoints.must_load(1)["a/000"][0, 0]) == 1


@pytest.mark.parametrize("damage", ["cut short", "a bit flipped", "empty", "another file"])
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    checkpoints.save(2, state(2))
    (newest,) = tmp_path.glob("0000000002-*")
    content = bytearray(newest.read_bytes())
    if damage == "a bit flipped":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"cut short": content[:-40], "empty": b"", "another file": b"PK" * 40}.get(damage, content))
    step, loaded = checkpoints.latest() or (0, {})
    assert (step, float(loaded["a/000"][0, 0])) == (1, 1)
    assert f"{newest}: the checkpoint is damaged; trying the previous one" in capsys.readouterr().err
    assert steps(tmp_path) == [1]
    with pytest.raises(StageError, match="no intact checkpoint of step 2"):
        checkpoints.must_load(2)


def test_a_half_written_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    (tmp_path / "new.part").write_bytes(b"half")
    assert (checkpoints.latest() or (0,))[0] == 1
    checkpoints.save(2, state(2))
    assert steps(tmp_path) == [1, 2]


def test_a_full_disk_leaves_the_previous_checkpoint_intact(tmp_path: Path) -> None:
    """A limit on the file size simulates a full disk."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    script = (
        "import sys, numpy as np; from pathlib import Path; from stages.train.checkpoints import Checkpoints\n"
        f"Checkpoints(Path({str(tmp_path)!r})).save(2, {{'a': np.zeros(1_000_000)}})"
    )

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, preexec_fn=limited, check=False
    )
    assert result.returncode != 0
    assert "the checkpoint could not be written" in result.stderr
    assert steps(tmp_path) == [1]
    assert (checkpoints.latest() or (0,))[0] == 1
