"""Published networks load in an environment that has Keras alone, on TensorFlow and on another backend."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.latent import latent
from stages.networks import saving
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.plain import plain
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCRIPT = """
import keras, numpy, pathlib
for path in sorted(pathlib.Path().glob("*.keras")):
    network = keras.saving.load_model(path, compile=False)
    inputs = numpy.load("images.npy" if path.stem.startswith("d") else "z.npy")
    numpy.save(path.stem + "_outputs.npy", network.predict(inputs, verbose=0))
print(keras.backend.backend())
"""
NETWORKS = {
    "g_batch": generator(16, 3, GeneratorSettings(channels=4, initializer="he")),
    "g_layer": generator(
        16, 3, GeneratorSettings(channels=4, norm="layer", upsampling="fractional", activation="maxout")
    ),
    "g_resize": generator(16, 3, GeneratorSettings(channels=4, norm="none", upsampling="resize", initializer="he")),
    "d_spectral": discriminator(16, 3, DiscriminatorSettings(channels=4, norm="spectral", head="dense")),
    "d_gap": discriminator(16, 3, DiscriminatorSettings(channels=4, norm="layer", head="gap", activation="elu")),
}


def constraints(path: Path) -> Path:
    """The versions of requirements-slow.lock without their hashes."""
    lines = re.findall(
        r"^[\w.-]+==[^ \\\n]+(?: ; [^\\\n]+)?", (ROOT / "requirements-slow.lock").read_text(), re.MULTILINE
    )
    path.write_text("\n".join(lines))
    return path


def install(folder: Path, packages: list[str]) -> Path:
    """The Python of a new environment with these packages. Skips the test if there is no network."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv/bin/python"
    command = [str(python), "-m", "pip", "install", "-q", "--no-compile", "-c", str(constraints(folder / "versions"))]
    result = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if "NewConnectionError" in result.stderr or "name resolution" in result.stderr:
        pytest.skip("there is no network to install packages from")
    assert result.returncode == 0, result.stderr
    return python


@pytest.mark.parametrize(("backend", "packages"), [("tensorflow", ["tensorflow"]), ("jax", ["keras", "jax"])])
def test_networks_load_without_this_project(tmp_path: Path, backend: str, packages: list[str]) -> None:
    z = latent(range(8), 100)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    np.save(tmp_path / "images.npy", images)
    for name, network in NETWORKS.items():
        saving.save(plain(network), tmp_path / f"{name}.keras")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    result = subprocess.run(
        [install(tmp_path, packages), "-c", SCRIPT],
        cwd=tmp_path,
        env={**kept, "KERAS_BACKEND": backend, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [backend]
    for name, network in NETWORKS.items():
        expected = network(images if name.startswith("d") else z).numpy()
        assert np.allclose(np.load(tmp_path / f"{name}_outputs.npy"), expected, rtol=1e-4, atol=1e-5), name
