"""Published networks load in an environment that has Keras alone, on TensorFlow and on another backend."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages.latent import latent
from stages.networks import saving
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.plain import plain
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCRIPT = """
import keras, numpy, pathlib, sys
for path in sorted(pathlib.Path().glob("*.keras")):
    network = keras.saving.load_model(path, compile=False)
    inputs = numpy.load("images.npy" if path.stem.startswith("d") else "z.npy")
    numpy.save(path.stem + "_outputs.npy", network.predict(inputs, verbose=0))
print(keras.backend.backend(), "tensorflow" in sys.modules)
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


def closure(package: str) -> dict[str, metadata.Distribution]:
    """A package of this environment and all that it requires, by their names."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [package]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found[name] = metadata.distribution(name)
            requirements = map(Requirement, found[name].requires or ())
            waiting += [r.name for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def environment_with(folder: Path, package: str) -> Path:
    """The Python of a new environment that has this package and what it requires, linked from this environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for distribution in closure(package).values():
        for file in distribution.files or ():
            if not {"..", "__pycache__", "include"} & set(file.parts):  # not the many headers of TensorFlow
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                (site / file).symlink_to(str(file.locate()))
    return folder / "bin/python"


def install(python: Path, package: str) -> None:
    """Install a package into an environment. Skips the test if there is no network."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-compile", package]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "NewConnectionError" in result.stderr or "name resolution" in result.stderr:
        pytest.skip("there is no network to install packages from")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_networks_load_without_this_project(tmp_path: Path, backend: str) -> None:
    python = environment_with(tmp_path / "venv", "tensorflow" if backend == "tensorflow" else "keras")
    if backend == "jax":
        install(python, "jax")
    z = latent(range(8), 100)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    np.save(tmp_path / "images.npy", images)
    for name, network in NETWORKS.items():
        saving.save(plain(network), tmp_path / f"{name}.keras")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    result = subprocess.run(
        [python, "-c", SCRIPT],
        cwd=tmp_path,
        env={**kept, "KERAS_BACKEND": backend, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [backend, str(backend == "tensorflow")]
    for name, network in NETWORKS.items():
        expected = network(images if name.startswith("d") else z).numpy()
        assert np.allclose(np.load(tmp_path / f"{name}_outputs.npy"), expected, rtol=1e-4, atol=1e-5), name
