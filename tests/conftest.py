"""A tiny data set, a tiny project on it, and the rule that every skipped test says why."""

import os

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1"}  # as the stages have it
os.environ["DVC_NO_ANALYTICS"] = "1"

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.photos import photo
from stages.artifacts import sha256

ROOT = Path(__file__).resolve().parents[1]
# One name that would do harm if a page did not escape it.
CLASSES = ["disc", "square", "<b>cross</b> & $x$", "stripes"]

TINY_PARAMS = """
dataset: {source: own}
prepare: {size: 16, records_per_shard: 100}
validate: {shape: [16, 16, 1], images: {train: [320, 320]}}
features: {base_channels: 4, images: 3200, batch_size: 32}
train: {generator_channels: 4, discriminator_channels: 4, images: 640, batch_size: 16, score_every: 320,
  score_samples: 64}
sample: {count: 6, columns: 3, interpolate: [0, 1], interpolation_steps: 4,
  arithmetic: [[stripes, stripes, stripes], [disc, square, "<b>cross</b> & $x$"]]}
evaluate: {samples: 128}
report: {title: Tiny}
"""


def draw(label: int, generator: np.random.Generator) -> np.ndarray:
    """A 28 × 28 picture of a class: a shape of random place and brightness."""
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
    """Write uint8 in the idx format."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())


def write_raw(folder: Path, train: int = 320, test: int = 80) -> None:
    """A tiny data set as the download stage leaves one."""
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
    """A folder that stages run in, outside any repository of DVC or Git."""

    folder: Path

    def command(self, stage: str, *arguments: str) -> list[str]:
        """The command line of a stage."""
        return [sys.executable, "-m", f"stages.{stage}", *arguments]

    def environment(self, first_on_path: Path | None = None) -> dict[str, str]:
        """The environment of a stage: the project's code, modules of a test's own before it, and no DVC around it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC")}
        return {**kept, "PYTHONPATH": os.pathsep.join(str(path) for path in (first_on_path, ROOT) if path)}

    def run(self, stage: str, *arguments: str, first_on_path: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a stage to its end."""
        return subprocess.run(
            self.command(stage, *arguments),
            cwd=self.folder,
            env=self.environment(first_on_path),
            capture_output=True,
            text=True,
            check=False,
        )


STAGES = ("prepare", "validate", "features", "train", "sample", "evaluate", "report")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project in which every stage has run once. Tests read it and leave it as it is."""
    project = Project(tmp_path_factory.mktemp("tiny"))
    write_raw(project.folder / "data" / "raw")
    (project.folder / "params.yaml").write_text(TINY_PARAMS)
    shutil.copytree(ROOT / "presets", project.folder / "presets")
    for stage in STAGES:
        result = project.run(stage)
        assert result.returncode == 0, result.stderr
    return project


@pytest.fixture
def tiny_copy(tiny: Project, tmp_path: Path) -> Project:
    """The tiny project, to be spoilt."""
    shutil.copytree(tiny.folder, tmp_path / "copy")
    return Project(tmp_path / "copy")


def contents(folder: Path) -> dict[str, bytes]:
    """Every output below a folder, by path; not the timings, and not what no stage declares."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("data", "models", "reports")
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and path.name != "timings.json"
    }


@pytest.fixture
def with_pictures(tiny_copy: Project) -> Project:
    """The tiny project with a folder of pictures too, so that `download` has something to take."""
    own = tiny_copy.folder / "data/own"
    own.mkdir()
    for i in range(200):
        (own / f"{i}.jpg").write_bytes(photo(i))
    return tiny_copy


def git(folder: Path, *arguments: str) -> str:
    """What a command of Git's prints, in this repository whatever the environment says (in a hook it names another)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@localhost", *arguments]
    result = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def dvc(folder: Path, *arguments: str) -> None:
    """Do a command of DVC's."""
    subprocess.run([sys.executable, "-m", "dvc", *arguments, "-q"], cwd=folder, capture_output=True, check=True)


@dataclasses.dataclass(frozen=True)
class Clone:
    """A copy of the working tree in a repository of its own, and what its user types."""

    folder: Path

    @classmethod
    def of_the_working_tree(cls, folder: Path) -> "Clone":
        """Make one of what Git has or would have."""
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        made = cls(folder)
        made.git("init", "--quiet", "--initial-branch=main")
        made.git("config", "user.name", "Test")
        made.git("config", "user.email", "test@localhost")
        made.commit("As cloned")
        return made

    def copied(self, folder: Path) -> "Clone":
        """A copy, to be spoilt."""
        shutil.copytree(self.folder, folder, symlinks=True)
        made = Clone(folder)
        made.git("status")  # or Git, which knows files by their inodes too, would write all of them at `git restore .`
        return made

    def cloned(self, folder: Path) -> "Clone":
        """A clone as Git makes it, without data, models and cache, in the environment of the tests."""
        subprocess.run(["git", "clone", "-q", str(self.folder), str(folder)], check=True)
        (folder / ".venv").symlink_to(sys.prefix)
        return Clone(folder)

    def start(self, preset: str) -> None:
        """Begin with a preset and no results."""
        shutil.copy(self.folder / f"presets/{preset}.yaml", self.folder / "params.yaml")
        (self.folder / "dvc.lock").unlink(missing_ok=True)

    def type(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone, with these variables in its environment besides."""
        environment = {**self.environment(), **variables}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def typed(self, *command: str, **variables: str) -> str:
        """What a command prints, that must end well."""
        result = self.type(*command, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def environment(self) -> dict[str, str]:
        """A user's environment: a home beside the clone, bytecode is written, the clone's tools are on the path."""
        ours = ("DVC", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV", "MAKE", "MFLAGS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        path = os.environ["PATH"].replace(f"{ROOT}/.venv/bin:", "")
        own = {"HOME": str(self.folder.parent), "PATH": f"{self.folder}/.venv/bin:{path}", "DVC_NO_ANALYTICS": "1"}
        return kept | own

    def git(self, *arguments: str) -> str:
        """Run git; what it printed."""
        result = self.type("git", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def commit(self, message: str) -> None:
        """Commit all there is."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text in a file that has it."""
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def repro(self) -> list[str]:
        """`make repro`; the stages that it ran."""
        result = self.type("make", "repro")
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.rstrip().endswith(f"The report: {self.folder}/reports/report.html")
        return re.findall(r"Running stage '(\w+)'", result.stdout + result.stderr)

    def changed(self) -> list[str]:
        """The paths that git status names."""
        return [line[3:] for line in self.git("status", "--porcelain").splitlines()]


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone, in the environment of the tests, in which the quick preset has run and been committed. To be copied."""
    made = Clone.of_the_working_tree(tmp_path_factory.mktemp("quick") / "project")
    (made.folder / ".venv").symlink_to(sys.prefix)
    made.start("quick")
    made.typed("dvc", "repro")
    made.commit("Quick run")
    return made


@pytest.fixture(scope="session")
def versioned(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project under Git and DVC: a tag, a branch of the same data with another generator, an experiment."""
    from stages.networks import saving  # it imports TensorFlow
    from stages.networks.generator import generator

    folder = tmp_path_factory.mktemp("versioned") / "project"
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
            saving.save(generator(16, 1, base_channels=4, seed=seed), folder / "models/generator.keras")
        dvc(folder, "commit", "-f")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", name)
        commit = git(folder, "rev-parse", "HEAD")
        experiment = f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"
        git(folder, "update-ref", {"v1": "refs/tags/v1", "other": "refs/heads/other"}.get(name, experiment), commit)
    git(folder, "update-ref", "refs/exps/exec/EXEC_HEAD", commit)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skip that gives no reason into a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):  # type: ignore[attr-defined]
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""  # type: ignore[attr-defined]
        if reason.removeprefix("Skipped").strip(" :") in ("", "unconditional skip"):
            report.outcome, report.longrepr = "failed", f"{item.nodeid}: skipped without a stated reason"  # type: ignore[attr-defined]
    return report
