"""Checks of the machine: Python, the packages, and the hardware that TensorFlow can use."""

import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from stages import params
from stages.machine import cores
from tools import audit
from tools.doctor.finding import Finding, Project

_BFLOAT16_UNITS = {"avx512_bf16", "amx_bf16"}
_ACCELERATOR = """
import os
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
import tensorflow as tf
names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
         for gpu in tf.config.list_physical_devices("GPU")]
print(tf.__version__, *names, sep="\\n")
"""


def python(project: Project) -> Iterator[Finding]:
    """Whether pyproject.toml allows this version of Python."""
    content = tomllib.loads((project.folder / "pyproject.toml").read_text(encoding="utf-8"))
    needed = content["project"]["requires-python"]
    version = ".".join(map(str, sys.version_info[:3]))
    if version in SpecifierSet(needed):
        yield Finding("ok", f"Python {version}")
    else:
        remedy = "rm -rf .venv && make PYTHON=python3.12 setup"
        yield Finding("wrong", f"Python {version}, but {needed} is needed", remedy)


def packages(project: Project) -> Iterator[Finding]:
    """Whether the installed packages match requirements.lock."""
    needed = [
        package
        for package in audit.locked(project.folder / "requirements.lock")
        if package.marker is None or package.marker.evaluate()
    ]
    differences = list(filter(None, map(_difference, needed)))
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        text = f"packages differ from requirements.lock: {', '.join(differences[:5])}{more}"
        yield Finding("wrong", text, "rm -rf .venv && make setup")
    else:
        yield Finding("ok", f"packages: all {len(needed)} match requirements.lock")


def _difference(package: Requirement) -> str:
    """How an installed package differs from the lock; "" if it does not."""
    locked = f"(locked: {str(package.specifier).removeprefix('==')})"
    try:
        version = importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{package.name} missing {locked}"
    return "" if package.specifier.contains(version, prereleases=True) else f"{package.name} {version} {locked}"


def accelerator(project: Project) -> Iterator[Finding]:
    """The hardware that TensorFlow can use."""
    result = subprocess.run([sys.executable, "-c", _ACCELERATOR], capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["?"])[-1]
        yield Finding("wrong", f"TensorFlow does not load: {last}", "rm -rf .venv && make setup")
        return
    version, *cards = result.stdout.split("\n")[:-1]
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    units = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {name}" in flags]
    processor = f"{cores()} processor cores ({', '.join(units) or 'no AVX2'})"
    if cards:
        yield Finding("ok", f"TensorFlow {version} sees {', '.join(cards)}, and {processor}")
    elif Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        yield Finding(
            "wrong",
            f"TensorFlow {version} does not see this machine's NVIDIA card",
            ".venv/bin/pip install -e '.[cuda]', and install a driver with which `nvidia-smi` lists the card",
        )
    else:
        yield Finding("ok", f"TensorFlow {version} on {processor}; no graphics card")
    precision = params.read_file(project.folder / "params.yaml").get("train", {}).get("precision")
    if precision == "mixed_bfloat16" and not cards and not _BFLOAT16_UNITS & set(units):
        yield Finding(
            "wrong",
            "train.precision is mixed_bfloat16, but this processor has no bfloat16 units: training is 12 times slower",
            "train.precision: float32 in params.yaml",
        )
