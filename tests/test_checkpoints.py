"""Checkpoints: whole or not there, the newest two, what is torn told by its name."""

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


def test_the_newest_two_stay_and_those_that_are_to_be_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest() is None
    for step in range(6):
        checkpoints.save(step, state(step), keep={1})
    assert steps(tmp_path) == [1, 4, 5]
    step, found = checkpoints.latest() or (0, {})
    assert step == 5
    assert {name: array.tolist() for name, array in found.items()} == {k: v.tolist() for k, v in state(5).items()}
    assert float(checkpoints.must_load(1)["a/000"][0, 0]) == 1


@pytest.mark.parametrize("how", ["cut short", "a bit flipped", "empty", "another file"])
def test_a_torn_checkpoint_is_told_and_the_one_before_it_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    checkpoints.save(2, state(2))
    (newest,) = tmp_path.glob("0000000002-*")
    content = bytearray(newest.read_bytes())
    if how == "a bit flipped":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"cut short": content[:-40], "empty": b"", "another file": b"PK" * 40}.get(how, content))
    step, found = checkpoints.latest() or (0, {})
    assert (step, float(found["a/000"][0, 0])) == (1, 1)
    assert f"{newest}: the checkpoint is damaged" in capsys.readouterr().err
    assert steps(tmp_path) == [1]
    with pytest.raises(StageError, match="no whole checkpoint of step 2"):
        checkpoints.must_load(2)


def test_what_a_kill_left_half_written_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    (tmp_path / "new.part").write_bytes(b"half")
    assert (checkpoints.latest() or (0,))[0] == 1
    checkpoints.save(2, state(2))
    assert steps(tmp_path) == [1, 2]


def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path) -> None:
    """The system refuses to write beyond a size, as it does on a full disk."""
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
