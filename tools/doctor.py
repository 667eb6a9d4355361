"""Is this machine fit for this project, and are the project's own files whole? `make doctor`

Looks at Python and the packages, at the space that params.yaml needs, at how DVC links files, at every object of DVC's
cache, at locks and unfinished work, at the remotes, and at what TensorFlow can calculate on. Changes nothing. Each
finding says what to do; the exit status is 1 where something is wrong, 0 where there are only notes.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from dvc.repo import Repo
from fsspec.asyn import sync
from packaging.specifiers import SpecifierSet

from stages import manifest, params, resume
from stages.download import catalog
from stages.download import settings as download
from stages.errors import StageError
from stages.image_names import is_image_name
from stages.locks import is_locked
from stages.machine import cores
from stages.prepare import settings as prepare
from stages.progress import Progress
from stages.shell import run_command
from tools import audit

_GB = 1e9
# Beside its pixels a record has its key, its label and the frame of TensorFlow's format: 95 to 110 bytes by measure.
_RECORD_OVERHEAD = 110
# Two networks, their optimizers and two checkpoints of the largest preset, the judge, and the reports.
_MODELS_BYTES = 1.0e9
_REMOTE_SECONDS = 20.0


@dataclass(frozen=True)
class Project:
    """The project that is looked at."""

    folder: Path

    @functools.cached_property
    def repo(self) -> Any:
        """DVC's view of it, opened once. Raises what DVC raises, to each check that asks."""
        return Repo(str(self.folder))


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it ("" where there is nothing to do)."""

    state: Literal["ok", "note", "wrong"]
    said: str
    remedy: str = ""


Check = Callable[[Project], Iterator[Finding]]


def python(project: Project) -> Iterator[Finding]:
    """The interpreter against pyproject.toml."""
    wanted = tomllib.loads((project.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "requires-python"
    ]
    here = ".".join(map(str, sys.version_info[:3]))
    if here in SpecifierSet(wanted):
        yield Finding("ok", f"Python {here}")
    else:
        yield Finding("wrong", f"Python {here}, and {wanted} is needed", "rm -rf .venv && make PYTHON=python3.12 setup")


def packages(project: Project) -> Iterator[Finding]:
    """Every package of requirements.lock against what is installed."""
    wanted = [
        package
        for package in audit.locked(project.folder / "requirements.lock")
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
    """The bytes of a file or of a folder's files, of links what they lead to."""
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


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
        images = sum(path.is_file() and is_image_name(str(path.relative_to(place))) for path in place.rglob("*"))
    return images, _size(place)


def _links(repo: Any) -> tuple[str, list[str]]:
    """How DVC puts files of its cache into the workspace, and the ways that would work here."""
    from dvc_objects.fs import generic

    cache = repo.cache.local
    if not Path(cache.path).is_dir():
        return "", []
    able = generic.test_links(["reflink", "hardlink", "symlink"], cache.fs, cache.path, repo.fs, repo.root_dir)
    return next((kind for kind in cache.cache_types if kind in (*able, "copy")), "copy"), able


@dataclass(frozen=True)
class _Disk:
    """What a folder is on, or will be once it is made."""

    device: int
    free: int


def _disk(folder: Path) -> _Disk:
    """The disk of a folder, which need not be there yet."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return _Disk(there.stat().st_dev, shutil.disk_usage(there).free)


def _room(told: str, still: float, disk: _Disk, remedy: str) -> Finding:
    """Whether a disk has room for what is still to come."""
    told += f"; {still / _GB:.1f} GB still to come, {disk.free / _GB:.1f} GB are free"
    return Finding("wrong", told, remedy) if still > disk.free else Finding("ok", told)


def _rooms(project: Path, store: Path, link: str, sizes: tuple[int, float], told: str) -> Iterator[Finding]:
    """Whether raw and prepared data (`sizes`) and models have room: on one disk with DVC's cache, or on two."""
    data, there = sum(sizes), sum(_size(project / name) for name in ("data/raw", "data/prepared"))
    here, beside = _disk(project), _disk(store)
    elsewhere = "let the cache live elsewhere: dvc cache dir --local /larger/disk"
    if here.device == beside.device:
        copies = 2 if link in ("", "copy") else 1
        told += f", {'twice with' if copies == 2 else 'shared with'} DVC's cache, models 1 GB"
        still = max(0.0, copies * (data - there) + _MODELS_BYTES)
        yield _room(told, still, here, f"make room, or {elsewhere}")
        return
    passing, remedy = data - there, "make room, or let DVC link: dvc config --local cache.type symlink"
    if link == "symlink":  # a file is here until its stage has ended, and then in the cache
        passing, remedy = min(max(sizes), passing), "make room"
    yield _room(f"{told}, models 1 GB", max(0.0, passing + _MODELS_BYTES), here, remedy)
    still = max(0.0, data - min(there, _size(store)) + _MODELS_BYTES)
    yield _room(f"disk of DVC's cache, {store}: the same", still, beside, f"make room there, or {elsewhere}")


def space(project: Project) -> Iterator[Finding]:
    """The disks against what params.yaml needs, and how files are linked."""
    dataset = params.load(project.folder / "params.yaml", "dataset", download.Settings)
    settings = params.load(project.folder / "params.yaml", "prepare", prepare.Settings)
    link, able = _links(project.repo)
    images, raw = _raw(project.folder, dataset)
    if images is None:
        have = f"{_disk(project.folder).free / _GB:.1f} GB are free"
        yield Finding("note", f"disk: {have}; how much is needed is known once data/prepared has been made")
    else:
        each = settings.size**2 * settings.channels * (4 if settings.dtype == "float32" else 1) + _RECORD_OVERHEAD
        prepared = images * each
        told = f"disk: {images:,} images at {settings.size}×{settings.size}×{settings.channels} {settings.dtype}"
        told += f": prepared {prepared / _GB:.1f} GB, as downloaded {f'{raw / _GB:.1f} GB' if raw else 'not known'}"
        yield from _rooms(project.folder, Path(project.repo.cache.local_cache_dir), link, (raw or 0, prepared), told)
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


def cache(project: Project) -> Iterator[Finding]:
    """Every object of DVC's cache against its name, which is its MD5. DVC itself trusts read-only ones."""
    folder = Path(project.repo.cache.local.path)
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
            f"rm -f {shlex.quote(str(path))} && dvc pull   (or dvc repro, which makes it anew)",
        )
    if not bad:
        yield Finding("ok", f"cache: {len(objects):,} objects, each as its name says")


def locks(project: Project) -> Iterator[Finding]:
    """DVC's own locks."""
    path = project.folder / ".dvc/tmp/rwlock"
    held = []
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for infos in [*content.get("write", {}).values(), *content.get("read", {}).values()]:
            held += infos if isinstance(infos, list) else [infos]
    except (ValueError, AttributeError):
        yield Finding("wrong", f"locks: {path} is torn, and DVC will refuse to run", f"rm {shlex.quote(str(path))}")
        return
    alive = {f"{info['cmd']} (process {info['pid']})" for info in held if psutil.pid_exists(int(info["pid"]))}
    if alive:
        yield Finding("note", f"locks: at work: {', '.join(sorted(alive))}", "wait for it, or end it")
    elif held:
        yield Finding("note", "locks: of a DVC that was killed; the next one removes them")
    else:
        yield Finding("ok", "locks: none")


_STUDIES = {"seeds": "make seeds", "studies": "dvc repro studies/dvc.yaml"}


def unfinished(project: Project) -> Iterator[Finding]:
    """Work that waits in .state/ for the run that takes it up."""
    state, found = project.folder / ".state", False
    for folder in sorted(path for path in state.glob("*/*") if path.is_dir()):
        found = True
        stage, days = folder.parent.name, (time.time() - folder.stat().st_mtime) / 86400
        what = f"unfinished: {folder}, {_size(folder) / 1e6:,.0f} MB"
        lock = folder.with_suffix(".lock")
        try:
            at_work = is_locked(lock)
            pid = lock.read_text(encoding="utf-8").strip() if at_work else ""
            if stage == "staging":  # whose locks are empty
                pid = folder.name.split("-")[0]
        except (OSError, StageError) as error:
            yield Finding("note", f"{what}: whether a process is at work cannot be told: {error}")
            continue
        if stage in _STUDIES:
            yield Finding(
                "note",
                f"{what}: what {_STUDIES[stage]} leaves, and goes on from",
                "yours to remove, when none is at work",
            )
        elif at_work:
            yield Finding("note", f"{what}: process {pid or '?'} is at work")
        elif stage == "staging":
            yield Finding("note", f"{what}: of a stage that was killed; the next one removes it")
        elif days * 86400 > resume.ABANDONED_AFTER:
            yield Finding("note", f"{what}: abandoned for {days:.0f} days", f"rm -r {shlex.quote(str(folder))}")
        else:
            remedy = f"dvc repro with those goes on; else remove it: rm -r {shlex.quote(str(folder))}"
            yield Finding("note", f"{what}: waits for the same params, data and code of {stage}", remedy)
    if not found:
        yield Finding("ok", "unfinished: nothing")


def _masked(text: str) -> str:
    """A text without the names and passwords of the addresses in it, in addresses that are torn, too."""
    return re.sub(r"://(?:[^/@\s]*:(?!\d+/)\S*|[^/]*)@", "://***@", text)


def _reason(error: Exception) -> str:
    """What went wrong, in one line that can be shown."""
    kind = "" if isinstance(error, StageError | OSError) and str(error) else f"{type(error).__name__}: "
    return _masked(" ".join(f"{kind}{error}".split()))


def remotes(project: Project) -> Iterator[Finding]:
    """Whether each remote answers."""
    repo = project.repo
    names = list(repo.config["remote"])
    default = repo.config["core"].get("remote")
    if not names:
        yield Finding("note", "remotes: none", "dvc remote add -d shared s3://bucket/folder   (docs/sharing.md)")
    asked = {name: _asked(repo, name) for name in names}
    concurrent.futures.wait(asked.values(), _REMOTE_SECONDS)
    for name, answer in asked.items():
        url = _masked(repo.config["remote"][name]["url"])
        which = f"remote {name}{' (the default)' if name == default else ''}, {url}"
        try:
            found = answer.result(timeout=0)
        except Exception as error:  # each kind of remote has errors of its own
            why = f"no answer within {_REMOTE_SECONDS:.0f} s" if isinstance(error, TimeoutError) else _reason(error)
            again = f"dvc remote modify {shlex.quote(name)} ...   (docs/sharing.md: addresses and credentials)"
            found = Finding("wrong", why, again)
        yield Finding(found.state, f"{which}: {found.said}", found.remedy)


def _asked(repo: Any, name: str) -> concurrent.futures.Future[Finding]:
    """What will be found of a remote. One that never answers does not keep the process from ending."""
    answer: concurrent.futures.Future[Finding] = concurrent.futures.Future()

    def ask() -> None:
        try:
            answer.set_result(_answer(repo, name))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer


def _answer(repo: Any, name: str) -> Finding:
    """What a remote answers. Raises what the remote's library raises where it does not."""
    config, quoted = repo.config["remote"][name], shlex.quote(name)
    look = f"dvc status --cloud -r {quoted}"
    if config.get("ask_password") and config.get("password") is None:
        return Finding("note", "not asked, since DVC would ask you for a password", look)
    remote = repo.cloud.get_remote(name)
    if remote.fs.protocol in ("http", "https"):  # it has no folders, and DVC's library takes silence for an empty one
        status = sync(remote.fs.fs.loop, _status, remote.fs.fs, remote.path)
        if status == 404:  # as from a server that lists no folders
            return Finding("note", "answers, but lists nothing (404)", f"{look}   (which objects are there)")
        if status in (401, 403):
            allow = f"dvc remote modify --local {quoted} auth basic, and user, and password   (docs/sharing.md)"
            return Finding("wrong", f"answers {status}: these credentials may not read it", allow)
        if status >= 400:
            return Finding("wrong", f"answers {status}", f"look at the server or its address, then {look}")
    elif not (remote.fs.exists(remote.odb.path) or remote.fs.exists(remote.path)):
        return Finding("note", "empty so far", "dvc push")
    if not config.get("verify"):
        trusting = "answers; what it gives is taken without a look"
        return Finding("note", trusting, f"dvc remote modify {quoted} verify true")
    return Finding("ok", "answers")


async def _status(fs: Any, url: str) -> int:
    """The status that a server answers with to what DVC itself would send, credentials and all."""
    session = await fs.set_session()
    async with session.get(fs.encode_url(url), **fs.kwargs) as response:
        return int(response.status)


_ACCELERATOR = """
import os
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
import tensorflow as tf
names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
         for gpu in tf.config.list_physical_devices("GPU")]
print(tf.__version__, *names, sep="\\n")
"""


def accelerator(project: Project) -> Iterator[Finding]:
    """What TensorFlow can calculate on."""
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
            ".venv/bin/pip install -e '.[cuda]', and a driver that `nvidia-smi` answers with",
        )
    else:
        yield Finding("ok", f"TensorFlow {version} on {processor}; no graphics card")
    precision = params.read_file(project.folder / "params.yaml").get("train", {}).get("precision")
    if precision == "mixed_bfloat16" and not cards and not {"avx512_bf16", "amx_bf16"} & set(units):
        yield Finding(
            "wrong",
            "train.precision is mixed_bfloat16, and this processor has no bfloat16 units: twelve times slower here",
            "train.precision: float32 in params.yaml",
        )


CHECKS = (python, packages, space, cache, locks, unfinished, remotes, accelerator)


def examine(folder: Path) -> Iterator[Finding]:
    """All findings of the project in a folder. A check that fails is a finding itself."""
    project = Project(folder)
    for check in CHECKS:
        try:
            yield from check(project)
        except Exception as error:  # DVC, Git and the packages' metadata have errors of their own
            yield Finding("wrong", f"{check.__name__}: {_reason(error)}")


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
    run_command(main)
