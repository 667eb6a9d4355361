"""Every engine gives the same bytes: Ray on one or two nodes, other Pythons, a processor without vector extensions."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.photos import photo
from tests.conftest import ROOT, Project
from tests.prepare.test_prepare import contents, picture, write_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SETTINGS = "size: 32, channels: 3, crop: square, dtype: uint8, records_per_shard: 8, max_rejected: 0.1"
FILES = {f"{i % 3}/{i:03d}.jpg": photo(i) for i in range(200)} | {f"{i}/{i}.png": picture(i, 200, 99) for i in range(3)}
FILES |= {"0/torn.jpg": photo(0)[:2000], "1/again.jpg": photo(4)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose data one process of this Python has prepared."""
    result = write_project(tmp_path_factory.mktemp("prepared"), FILES, SETTINGS)
    run(result, {"PREPARE_WORKERS": "1"})
    return result


def run(prepared: Project, variables: dict[str, str], out: Path | None = None, python: str = sys.executable) -> None:
    """Prepare the project's data, with the outputs in `out` if given."""
    command = [python, "-m", "stages.prepare", *(["--out", str(out)] if out else [])]
    environment = {**prepared.environment(), **variables}
    result = subprocess.run(command, cwd=prepared.folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def need_ray() -> None:
    pytest.importorskip("ray", reason="Ray comes with requirements-slow.lock")


QUIET_RAY = {"PREPARE_ENGINE": "ray", "RAY_USAGE_STATS_ENABLED": "0"}


def test_ray_on_one_node_gives_the_same_bytes(prepared: Project, tmp_path: Path) -> None:
    need_ray()
    run(prepared, {**QUIET_RAY, "PREPARE_WORKERS": "2"}, tmp_path)
    assert contents(tmp_path) == contents(prepared.folder)


def test_ray_gives_the_same_bytes_when_one_of_two_nodes_is_killed(prepared: Project, tmp_path: Path) -> None:
    need_ray()
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Loopback, but not 127.0.0.1: Ray replaces that by the machine's address, on which its head does not listen.
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2")
        store = tmp_path / "store"
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.prepare", "--out", str(tmp_path)],
            cwd=prepared.folder,
            env={
                **prepared.environment(),
                **QUIET_RAY,
                "RAY_ADDRESS": cluster.address,
                "PREPARE_STORE": str(store),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        while len(done := list(store.glob("*/*.npz"))) < 3 and process.poll() is None:
            time.sleep(0.002)
        cluster.remove_node(second, allow_graceful=False)
        assert len(done) < 26, "the node died before the work was done"
        _, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint
    finally:
        cluster.shutdown()
    assert contents(tmp_path) == contents(prepared.folder)


def test_a_processor_without_vector_extensions_gives_the_same_bytes(prepared: Project, tmp_path: Path) -> None:
    without = "AVX512F,AVX512_SKX,AVX2,AVX,FMA3,FP16,SSE4_2,SSE4_1,SSSE3"
    run(prepared, {"OPENCV_IPP": "disabled", "OPENCV_CPU_DISABLE": without, "JSIMD_FORCENONE": "1"}, tmp_path)
    assert contents(tmp_path) == contents(prepared.folder)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "version",  # test_clone.py installs for this Python
    [version for version in ("3.11", "3.12", "3.13") if version != f"3.{sys.version_info.minor}"],
)
def test_other_pythons_install_from_the_lock_and_give_the_same_bytes(
    prepared: Project, tmp_path: Path, version: str
) -> None:
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python"))
    interpreter = next((str(path) for path in reversed(pyenv)), None) or shutil.which(f"python{version}")
    if interpreter is None:
        pytest.skip(f"Python {version} is not installed")
    subprocess.run([interpreter, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv/bin/python")
    install = [python, "-m", "pip", "install", "-q", "--no-compile", "--require-hashes", "-r"]
    subprocess.run([*install, str(ROOT / "requirements.lock")], check=True)
    checked = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    subprocess.run([python, "-c", "import tensorflow, dvc.repo, cv2, sklearn, matplotlib"], check=True)
    run(prepared, {}, tmp_path / "out", python)
    assert contents(tmp_path / "out") == contents(prepared.folder)
    shutil.rmtree(tmp_path / "venv")  # two gigabytes


def test_a_machine_without_tensorflow_can_prepare() -> None:
    script = "import sys; import stages.prepare.engine, stages.prepare.tables; print('tensorflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
