"""Shared by all tests: a tiny data set, projects and clones to run stages in. A skipped test must give a reason."""

import os

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1"}  # as in the stages (stages/shell.py)
os.environ["DVC_NO_ANALYTICS"] = "1"

import contextlib
import dataclasses
import fcntl
import io
import json
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.browser import chromium
from benchmarks.photos import photo
from stages.artifacts import sha256
from stages.locks import INTERRUPTS
from stages.metrics import files

ROOT = Path(__file__).resolve().parents[1]
# One name breaks any page that does not escape it.
CLASSES = ["disc", "square", "<b>cross</b> & $x$", "stripes"]

TINY_PARAMS = """
dataset: {source: own}
prepare: {size: 16, records_per_shard: 100}
validate: {shape: [16, 16, 1], images: {train: [320, 320]}}
features: {base_channels: 4, images: 3200, batch_size: 32}
train: {images: 640, batch_size: 16, generator: {channels: 4}, discriminator: {channels: 4},
  scoring: {every: 320, samples: 64}}
sample: {count: 6, columns: 3, interpolate: [0, 1], interpolation_steps: 4,
  arithmetic: [[stripes, stripes, stripes], [disc, square, "<b>cross</b> & $x$"]]}
evaluate: {samples: 128}
play: {max_megabytes: 20.0}
report: {title: Tiny}
"""


def draw(label: int, generator: np.random.Generator) -> np.ndarray:
    """A 28 × 28 image of a class: a shape at a random place with a random brightness."""
    y, x = np.mgrid[:28, :28]
    cy, cx = generator.uniform(9, 19, 2)
    radius = generator.uniform(5, 8)
    inside = {
        0: (y - cy) ** 2 + (x - cx) ** 2 < radius**2,
        1: np.maximum(abs(y - cy), abs(x - cx)) < radius,
        2: np.minimum(abs(y - cy), abs(x - cx)) < 2,
        3: (y + int(cy)) % 6 < 3,
    }[label]
    return (inside * generator.integers(120, 256)).astype(np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array in the idx format."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())


def write_raw(folder: Path, train: int = 320, test: int = 80) -> None:
    """Write a tiny data set like the output of the download stage."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    files = []
    for prefix, count in (("train", train), ("t10k", test)):
        labels = np.arange(count, dtype=np.uint8) % len(CLASSES)
        pictures = np.stack([draw(int(label), generator) for label in labels])
        for name, array in (("images-idx3", pictures), ("labels-idx1", labels)):
            path = folder / f"{prefix}-{name}-ubyte"
            write_idx(path, array)
            files.append({"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)})
    facts = {"name": "tiny", "title": "Tiny shapes", "homepage": "http://localhost/", "licence": "MIT"}
    facts |= {"citation": "drawn by the tests", "format": "idx"}
    (folder / "source.json").write_text(json.dumps({**facts, "classes": CLASSES, "files": files}))


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder to run stages in, outside any Git or DVC repository."""

    folder: Path

    def command(self, stage: str, *arguments: str) -> list[str]:
        """The command line of a stage."""
        return [sys.executable, "-m", f"stages.{stage}", *arguments]

    def environment(self, first_on_path: Path | None = None) -> dict[str, str]:
        """The environment of a stage: this repository's code, after `first_on_path` if given, and no DVC."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC")}
        return {**kept, "PYTHONPATH": os.pathsep.join(str(path) for path in (first_on_path, ROOT) if path)}

    def run(self, stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a stage until it ends. A stage that needs TensorFlow runs in this process, which loads it only once.

        Unfinished work of another process is not continued: its key covers the modules that the process has loaded.
        """
        if stage in ("download", "prepare"):
            return self.run_process(stage, *arguments)
        import keras  # it loads TensorFlow, and many tests need none

        errors = io.StringIO()
        handlers = {number: signal.getsignal(number) for number in INTERRUPTS}
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(errors):
            patch.chdir(self.folder)
            patch.delenv("DVC_ROOT", raising=False)
            patch.setattr(sys, "argv", [f"stages.{stage}", *arguments])
            patch.setattr("stages.shell._end", sys.exit)
            keras.backend.clear_session()  # automatic names start from the first again, as in a new process
            try:
                runpy.run_module(f"stages.{stage}", run_name="__main__")
                code: object = 0
            except SystemExit as end:
                code = end.code
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return subprocess.CompletedProcess([stage, *arguments], int(str(code or 0)), "", errors.getvalue())

    def run_process(
        self, stage: str, *arguments: str, first_on_path: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a stage until it ends, in a process of its own, as a user does."""
        return subprocess.run(
            self.command(stage, *arguments),
            cwd=self.folder,
            env=self.environment(first_on_path),
            capture_output=True,
            text=True,
            check=False,
        )


STAGES = ("prepare", "validate", "features", "train", "sample", "evaluate", "play", "report")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium. A test that uses it is skipped without it or without the extra .[slow]."""
    pytest.importorskip("playwright.sync_api", reason="the extra .[slow] is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    with chromium() as started:
        yield started


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """A folder that one of the test workers builds, while the others that need it wait."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # the workers' common folder
    folder, finished = root / name, root / f"{name}.finished"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # from a build that failed
            folder.mkdir()
            build(folder)
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project in which every stage has run once. Tests must not change it."""

    def build(folder: Path) -> None:
        write_raw(folder / "data" / "raw")
        (folder / "params.yaml").write_text(TINY_PARAMS)
        shutil.copytree(ROOT / "presets", folder / "presets")
        for stage in STAGES:
            result = Project(folder).run(stage)
            assert result.returncode == 0, result.stderr

    return Project(built_once(tmp_path_factory, "tiny", build))


@pytest.fixture
def tiny_copy(tiny: Project, tmp_path: Path) -> Project:
    """A copy of the tiny project that a test may change."""
    shutil.copytree(tiny.folder, tmp_path / "copy")
    return Project(tmp_path / "copy")


def metrics_of(folder: Path) -> dict[str, Any]:
    """All metrics of a project's folder, with their protocol."""
    metrics = files.read(lambda name: (folder / name).read_text())
    assert metrics is not None
    return metrics


def contents(folder: Path) -> dict[str, bytes]:
    """The content of every output below a folder, by path, except the timings and the page of a running training."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("data", "models", "reports")
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and path.name != "timings.json" and path.parent.name != "live"
    }


@pytest.fixture
def with_pictures(tiny_copy: Project) -> Project:
    """A copy of the tiny project with a folder of pictures as input for the download stage."""
    own = tiny_copy.folder / "data/own"
    own.mkdir()
    for i in range(200):
        (own / f"{i}.jpg").write_bytes(photo(i))
    return tiny_copy


def git(folder: Path, *arguments: str) -> str:
    """Run Git in a folder and return its output. Ignores GIT_* variables, which in a hook name another repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@localhost", *arguments]
    result = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def dvc(folder: Path, *arguments: str) -> None:
    """Run DVC in a folder."""
    subprocess.run([sys.executable, "-m", "dvc", *arguments, "-q"], cwd=folder, capture_output=True, check=True)


@dataclasses.dataclass(frozen=True)
class Clone:
    """A copy of the working tree as a new repository, and the commands that a user runs in it."""

    folder: Path

    @classmethod
    def of_the_working_tree(cls, folder: Path) -> "Clone":
        """Copy the files that Git tracks or would add, and commit them."""
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        clone = cls(folder)
        clone.git("init", "--quiet", "--initial-branch=main")
        clone.git("config", "user.name", "Test")
        clone.git("config", "user.email", "test@localhost")
        clone.commit("As cloned")
        return clone

    def copy(self, folder: Path) -> "Clone":
        """A copy that a test may change."""
        shutil.copytree(self.folder, folder, symlinks=True)
        clone = Clone(folder)
        clone.git("status")  # updates the inodes in the index; without it `git restore .` would rewrite every file
        return clone

    def git_clone(self, folder: Path) -> "Clone":
        """Run `git clone`: a clone without data, models and cache, with the virtual environment of the tests."""
        subprocess.run(["git", "clone", "-q", str(self.folder), str(folder)], check=True)
        (folder / ".venv").symlink_to(sys.prefix)
        return Clone(folder)

    def use_preset(self, preset: str) -> None:
        """Choose a preset and forget the results of any other."""
        shutil.copy(self.folder / f"presets/{preset}.yaml", self.folder / "params.yaml")
        (self.folder / "dvc.lock").unlink(missing_ok=True)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone, with these additional environment variables."""
        environment = {**self.environment(), **variables}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def output(self, *command: str, **variables: str) -> str:
        """Run a command that must succeed, and return its output."""
        result = self.run(*command, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def environment(self) -> dict[str, str]:
        """A user's environment: a home next to the clone, bytecode is written, the clone's tools are on the path."""
        tests_only = ("DVC", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV", "MAKE", "MFLAGS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(tests_only)}
        path = os.environ["PATH"].replace(f"{ROOT}/.venv/bin:", "")
        user = {"HOME": str(self.folder.parent), "PATH": f"{self.folder}/.venv/bin:{path}", "DVC_NO_ANALYTICS": "1"}
        return kept | user

    def git(self, *arguments: str) -> str:
        """Run Git and return its output."""
        result = self.run("git", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def commit(self, message: str) -> None:
        """Commit every change."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text in a file. The text must be there."""
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def repro(self) -> list[str]:
        """Run `make repro` and return the names of the stages that it ran."""
        result = self.run("make", "repro")
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.rstrip().endswith(f"The report: {self.folder}/reports/report.html")
        return re.findall(r"Running stage '(\w+)'", result.stdout + result.stderr)

    def changed(self) -> list[str]:
        """The paths that `git status` lists as changed."""
        return [line[3:] for line in self.git("status", "--porcelain").splitlines()]


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the quick preset has run and its results are committed. Tests copy it before they change it."""

    def build(folder: Path) -> None:
        clone = Clone.of_the_working_tree(folder / "project")
        (clone.folder / ".venv").symlink_to(sys.prefix)
        clone.use_preset("quick")
        clone.edit("presets/own-quick.yaml", "  images: 96000 ", "  images: 12000 ")  # else minutes of training
        clone.output("dvc", "repro")
        clone.commit("Quick run")

    return Clone(built_once(tmp_path_factory, "quick", build) / "project")


@pytest.fixture(scope="session")
def versioned(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project under Git and DVC, with a tag, a branch and an experiment: three generators of the same data."""

    def build(parent: Path) -> None:
        from stages.networks import saving  # it imports TensorFlow
        from stages.networks.generator import generator
        from stages.networks.settings import GeneratorSettings

        folder = parent / "project"
        shutil.copytree(tiny.folder, folder, ignore=shutil.ignore_patterns(".state"))
        outputs = ["data/prepared", "models/discriminator.keras", "models/features", "models/generator.keras"]
        outputs += ["models/model.json", "models/timeline.npz"]
        lines = "".join(f"\n      - {name}" for name in outputs)
        (folder / "dvc.yaml").write_text(f"stages:\n  all:\n    cmd: exit 1\n    outs:{lines}\n")
        (folder / ".gitignore").write_text("/data\n/models\n/dvc-remote\n/.state\n")
        git(folder, "init", "-q", "-b", "main")
        git(folder, "commit", "-q", "--allow-empty", "-m", "before DVC")
        git(folder, "branch", "early")
        dvc(folder, "init")
        dvc(folder, "remote", "add", "-d", "shared", str(folder / "dvc-remote"))
        for name, seed in (("v1", None), ("other", 5), ("lively-fox", 6)):
            if seed is not None:
                network = generator(16, 1, GeneratorSettings(channels=4), seed=seed)
                saving.save(network, folder / "models/generator.keras")
            dvc(folder, "commit", "-f")
            git(folder, "add", "-A")
            git(folder, "commit", "-q", "-m", name)
            commit = git(folder, "rev-parse", "HEAD")
            experiment = f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"
            git(folder, "update-ref", {"v1": "refs/tags/v1", "other": "refs/heads/other"}.get(name, experiment), commit)
        git(folder, "update-ref", "refs/exps/exec/EXEC_HEAD", commit)

    return built_once(tmp_path_factory, "versioned", build) / "project"


@pytest.fixture(scope="session")
def committed_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one stage that has run, with everything committed. Tests copy it."""

    def build(parent: Path) -> None:
        from tests.git_project import PIPELINE, commit  # it imports this module

        folder = parent / "project"
        (folder / "reports").mkdir(parents=True)
        (folder / "dvc.yaml").write_text(PIPELINE)
        (folder / "params.yaml").write_text("report: {title: 1}\n")
        (folder / "reports/timings.json").write_text("{}")
        git(folder, "init", "-q", "-b", "main")
        dvc(folder, "init")
        dvc(folder, "repro")
        commit(folder)

    return built_once(tmp_path_factory, "committed", build) / "project"


@pytest.fixture
def git_project(committed_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the committed project for one test, which runs in it."""
    folder = Path(shutil.copytree(committed_project, tmp_path / "project"))
    monkeypatch.chdir(folder)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skip without a reason into a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):  # type: ignore[attr-defined]
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""  # type: ignore[attr-defined]
        if reason.removeprefix("Skipped").strip(" :") in ("", "unconditional skip"):
            report.outcome, report.longrepr = "failed", f"{item.nodeid}: skipped without a stated reason"  # type: ignore[attr-defined]
    return report
