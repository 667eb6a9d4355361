"""Is this machine fit for this project, and are the project's own files whole? `make doctor`

Looks at Python and the packages, at the space that params.yaml needs, at how DVC links files, at every object of DVC's
cache, at locks and unfinished work, at the remotes, and at what TensorFlow can calculate on. Changes nothing. Each
finding says what to do; the exit status is 1 where something is wrong, 0 where there are only notes.
"""

import concurrent.futures
import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import requests
from dvc.repo import Repo
from packaging.specifiers import SpecifierSet

from stages import artifacts, manifest, params
from stages.download import catalog
from stages.download import settings as download
from stages.errors import StageError
from stages.pictures import is_candidate
from stages.prepare import settings as prepare
from stages.progress import Progress
from tools import audit

_GB = 1e9
# Beside its pixels a record has its key, its label and the frame of TensorFlow's format: 95 to 110 bytes by measure.
_RECORD_OVERHEAD = 110
# Two networks, their optimizers and two checkpoints of the largest preset, the judge, and the reports.
_MODELS_BYTES = 1.0e9
_REMOTE_SECONDS = 20.0


Check = Callable[[Path], Iterator["Finding"]]


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it ("" where there is nothing to do)."""

    state: Literal["ok", "note", "wrong"]
    said: str
    remedy: str = ""


def python(project: Path) -> Iterator[Finding]:
    """The interpreter against pyproject.toml."""
    wanted = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    here = ".".join(map(str, sys.version_info[:3]))
    if here in SpecifierSet(wanted):
        yield Finding("ok", f"Python {here}")
    else:
        yield Finding("wrong", f"Python {here}, and {wanted} is needed", "rm -rf .venv && make PYTHON=python3.12 setup")


def packages(project: Path) -> Iterator[Finding]:
    """Every package of requirements.lock against what is installed."""
    wanted = [
        package
        for package in audit.locked(project / "requirements.lock")
        if package.marker is None or package.marker.evaluate()
    ]
    off = []
    for package in wanted:
        try:
            version = importlib.metadata.version(package.name)
        except importlib.metadata.PackageNotFoundError:
            version = "missing"
        if not package.specifier.contains(version if version != "missing" else "0", prereleases=True):
            off.append(f"{package.name} {version} (locked: {str(package.specifier).removeprefix('==')})")
    if off:
        shown = ", ".join(off[:5]) + (f" and {len(off) - 5} more" if len(off) > 5 else "")
        yield Finding("wrong", f"packages are not those of requirements.lock: {shown}", "rm -rf .venv && make setup")
    else:
        yield Finding("ok", f"packages: all {len(wanted)} as requirements.lock has them")


def _size(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def _raw(project: Path, dataset: download.Settings) -> tuple[int | None, int | None]:
    """How many images and how many bytes as downloaded, as far as it can be known before."""
    known = catalog.load().get(dataset.source)
    if known is not None:
        sizes = [file.bytes for file in known.files]
        return known.images, None if None in sizes else sum(size for size in sizes if size is not None)
    images = None
    with contextlib.suppress(StageError):  # prepared before: it says how many were found
        images = int(manifest.read(project / "data/prepared").counts["found"])
    if dataset.source != "own" or not (project / dataset.own).exists():
        return images, _size(project / "data/raw") or None
    place = project / dataset.own
    if place.is_dir():
        images = sum(path.is_file() and is_candidate(str(path.relative_to(place))) for path in place.rglob("*"))
    return images, _size(place)


def _links(repo: Any) -> tuple[str, list[str]]:
    """How DVC puts files of its cache into the workspace, and the ways that would work here."""
    from dvc_objects.fs import generic

    cache = repo.cache.local
    if not Path(cache.path).is_dir():
        return "", []
    able = generic.test_links(["reflink", "hardlink", "symlink"], cache.fs, cache.path, repo.fs, repo.root_dir)
    return next((kind for kind in cache.cache_types if kind in (*able, "copy")), "copy"), able


def space(project: Path) -> Iterator[Finding]:
    """The disk against what params.yaml needs, and how files are linked."""
    dataset = params.load(project / "params.yaml", "dataset", download.Settings)
    settings = params.load(project / "params.yaml", "prepare", prepare.Settings)
    link, able = _links(Repo(str(project)))
    copies = 2 if link in ("", "copy") else 1
    images, raw = _raw(project, dataset)
    free = shutil.disk_usage(project).free
    have = f"{free / _GB:.1f} GB are free"
    if images is None:
        yield Finding("note", f"disk: {have}; how much is needed is known once data/prepared has been made")
    else:
        each = settings.size**2 * settings.channels * (4 if settings.dtype == "float32" else 1) + _RECORD_OVERHEAD
        prepared = images * each
        there = sum(_size(project / name) for name in ("data/raw", "data/prepared"))
        needed = copies * ((raw or 0) + prepared) + _MODELS_BYTES
        still = max(0.0, needed - copies * there)
        parts = f"{images:,} images at {settings.size}×{settings.size}×{settings.channels} {settings.dtype}"
        sizes = f"prepared {prepared / _GB:.1f} GB, as downloaded {f'{raw / _GB:.1f} GB' if raw else 'not known'}"
        told = f"disk: {parts}: {sizes}, {'twice with' if copies == 2 else 'shared with'} DVC's cache, models 1 GB"
        told += f"; {still / _GB:.1f} GB still to come, {have}"
        if still > free:
            yield Finding(
                "wrong", told, "make room, or let the cache live elsewhere: dvc cache dir --local /larger/disk"
            )
        else:
            yield Finding("ok", told)
    if link == "copy" and able:
        yield Finding(
            "note",
            f"links: DVC copies files out of its cache; {' and '.join(able)} would save the space of the data",
            f"dvc config --local cache.type {','.join(able)} && dvc checkout --relink   (the files become read-only)",
        )
    elif link:
        yield Finding("ok", f"links: DVC takes files from its cache by {link}")


def _right(path: Path) -> bool:
    """Whether an object of the cache has the content that its name says."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return found == path.parent.name + path.name.removesuffix(".dir")


def cache(project: Path) -> Iterator[Finding]:
    """Every object of DVC's cache against its name, which is its MD5. DVC itself trusts read-only ones."""
    folder = Path(Repo(str(project)).cache.local.path)
    objects = sorted(path for path in folder.glob("??/*") if path.is_file() and not path.name.endswith(".tmp"))
    bad = []
    with (
        Progress("doctor: DVC's cache", sum(path.stat().st_size for path in objects), "bytes") as progress,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        for path, right in zip(objects, pool.map(_right, objects), strict=True):
            progress.advance(path.stat().st_size)
            if not right:
                bad.append(path)
    for path in bad:
        yield Finding(
            "wrong",
            f"cache: {path} is damaged: it is not what its name says, and neither is the file that came from it",
            f"rm -f {path} && dvc pull   (or dvc repro, which makes it anew)",
        )
    if not bad:
        yield Finding("ok", f"cache: {len(objects):,} objects, each as its name says")


def locks(project: Path) -> Iterator[Finding]:
    """DVC's own locks."""
    path = project / ".dvc/tmp/rwlock"
    held = []
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for infos in [*content.get("write", {}).values(), *content.get("read", {}).values()]:
            held += infos if isinstance(infos, list) else [infos]
    except (ValueError, AttributeError):
        yield Finding("wrong", f"locks: {path} is torn, and DVC will refuse to run", f"rm {path}")
        return
    alive = {f"{info['cmd']} (process {info['pid']})" for info in held if psutil.pid_exists(int(info["pid"]))}
    if alive:
        yield Finding("note", f"locks: at work: {', '.join(sorted(alive))}", "wait for it, or end it")
    elif held:
        yield Finding("note", "locks: of a DVC that was killed; the next one removes them")
    else:
        yield Finding("ok", "locks: none")


def unfinished(project: Path) -> Iterator[Finding]:
    """Work that waits in .state/ for the run that takes it up."""
    state, found = project / ".state", False
    for folder in sorted(path for path in state.glob("*/*") if path.is_dir()):
        found = True
        stage, days = folder.parent.name, (time.time() - folder.stat().st_mtime) / 86400
        what = f"unfinished: {folder}, {_size(folder) / 1e6:,.0f} MB"
        if stage == "staging":
            pid = folder.name.split("-")[0]
            if pid.isdigit() and psutil.pid_exists(int(pid)):
                yield Finding("note", f"{what}: process {pid} is at work")
            else:
                yield Finding("note", f"{what}: of a stage that was killed; the next one removes it")
            continue
        lock = folder.with_suffix(".lock")
        pid = lock.read_text(encoding="utf-8").strip() if lock.exists() else ""
        if pid.isdigit() and psutil.pid_exists(int(pid)):
            yield Finding("note", f"{what}: process {pid} is at work")
        elif days * 86400 > artifacts._ABANDONED_AFTER:
            yield Finding("note", f"{what}: abandoned for {days:.0f} days", f"rm -r {folder}")
        else:
            yield Finding("note", f"{what}: waits for the same params, data and code of {stage}", "dvc repro goes on")
    if not found:
        yield Finding("ok", "unfinished: nothing")


def remotes(project: Path) -> Iterator[Finding]:
    """Whether each remote answers."""
    repo = Repo(str(project))
    names = list(repo.config["remote"])
    default = repo.config["core"].get("remote")
    if not names:
        yield Finding("note", "remotes: none", "dvc remote add -d shared s3://bucket/folder   (docs/sharing.md)")
    pool = concurrent.futures.ThreadPoolExecutor(max(1, len(names)))
    asked = {name: pool.submit(_answers, repo, name) for name in names}
    for name, answer in asked.items():
        which = f"remote {name}{' (the default)' if name == default else ''}, {repo.config['remote'][name]['url']}"
        try:
            there = answer.result(timeout=_REMOTE_SECONDS)
        except Exception as error:  # each kind of remote has errors of its own
            why = f"no answer within {_REMOTE_SECONDS:.0f} s" if isinstance(error, TimeoutError) else error
            again = f"dvc remote modify {name} ...   (docs/sharing.md: addresses and credentials)"
            yield Finding("wrong", f"{which}: {' '.join(str(why).split())}", again)
            continue
        trusting = not repo.config["remote"][name].get("verify")
        if not there:
            yield Finding("note", f"{which}: empty so far", "dvc push")
        elif trusting:
            yield Finding(
                "note",
                f"{which}: answers; what it gives is taken without a look",
                f"dvc remote modify {name} verify true",
            )
        else:
            yield Finding("ok", f"{which}: answers")
    pool.shutdown(wait=False, cancel_futures=True)


def _answers(repo: Any, name: str) -> bool:
    """Whether a remote has anything. Raises what the remote's library raises where it does not answer."""
    remote = repo.cloud.get_remote(name)
    if remote.fs.protocol in ("http", "https"):  # it has no folders, and DVC's library takes silence for an empty one
        requests.get(repo.config["remote"][name]["url"], stream=True, timeout=_REMOTE_SECONDS).close()
        return True
    return bool(remote.fs.exists(remote.odb.path) or remote.fs.exists(remote.path))


_ACCELERATOR = """
import os
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
import tensorflow as tf
names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
         for gpu in tf.config.list_physical_devices("GPU")]
print(tf.__version__, *names, sep="\\n")
"""


def accelerator(project: Path) -> Iterator[Finding]:
    """What TensorFlow can calculate on."""
    result = subprocess.run([sys.executable, "-c", _ACCELERATOR], capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["?"])[-1]
        yield Finding("wrong", f"TensorFlow does not load: {last}", "rm -rf .venv && make setup")
        return
    version, *cards = result.stdout.split("\n")[:-1]
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    units = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {name}" in flags]
    processor = f"{len(os.sched_getaffinity(0))} processor cores ({', '.join(units) or 'no AVX2'})"
    if cards:
        yield Finding("ok", f"TensorFlow {version} sees {', '.join(cards)}, and {processor}")
    elif Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        yield Finding(
            "wrong",
            f"TensorFlow {version} does not see this machine's NVIDIA card",
            ".venv/bin/pip install -e '.[cuda]', and a driver that `nvidia-smi` answers with",
        )
    else:
        yield Finding("ok", f"TensorFlow {version} on {processor}; no graphics card")
    precision = params.read_file(project / "params.yaml").get("train", {}).get("precision")
    if precision == "mixed_bfloat16" and not cards and not {"avx512_bf16", "amx_bf16"} & set(units):
        yield Finding(
            "wrong",
            "train.precision is mixed_bfloat16, and this processor has no bfloat16 units: twelve times slower here",
            "train.precision: float32 in params.yaml",
        )


CHECKS = (python, packages, space, cache, locks, unfinished, remotes, accelerator)


def examine(project: Path) -> Iterator[Finding]:
    """All findings. A check that fails is a finding itself."""
    for check in CHECKS:
        try:
            yield from check(project)
        except (StageError, OSError) as error:
            yield Finding("wrong", f"{check.__name__}: {error}")


def main() -> None:
    """Print the findings as they come."""
    worst = False
    for finding in examine(Path()):
        worst |= finding.state == "wrong"
        print(f"{finding.state:5}  {finding.said}", flush=True)
        if finding.remedy:
            print(f"       → {finding.remedy}", flush=True)
    sys.exit(worst)


if __name__ == "__main__":
    main()
