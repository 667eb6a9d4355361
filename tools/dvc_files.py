"""DVC's own files: which of them a kill, a hang-up, a full disk or a power cut has left damaged.

DVC writes dvc.lock and .dvc/tmp/rwlock in place. A process that ends in that moment leaves them empty or cut off, and
DVC then refuses to run. It writes an entry of the run cache next to its place first, and may leave that file behind.
"""

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.rwlock import SCHEMA as RWLOCK_SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import dict_sha256
from dvc.utils.serialize import load_yaml, parse_yaml
from voluptuous import Invalid

from stages.errors import StageError


def open_repo(folder: Path) -> Any:
    """DVC's view of the project. Raises StageError if DVC's database of known hashes is damaged."""
    try:
        return Repo(str(folder))
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # busy, or no permission
            raise
        raise StageError(
            f"DVC's database of known hashes is damaged ({error}); rm {folder / '.dvc/tmp/btime'}   (DVC then begins a "
            "new one)"
        ) from None


def cached_outputs(repo: Any) -> list[Any]:
    """The outputs with a hash in dvc.lock that DVC's cache holds, and not Git."""
    return [out for out in repo.index.outs if out.use_cache and out.hash_info]


def missing_outputs(repo: Any) -> list[Any]:
    """The outputs in dvc.lock that DVC's cache lacks, at least in part."""
    return [out for out in cached_outputs(repo) if out.changed_cache()]


def lock_files(folder: Path) -> list[Path]:
    """The dvc.lock of each pipeline in the project."""
    return sorted([*folder.glob("dvc.lock"), *folder.glob("*/dvc.lock")])


def lock_damage(content: bytes) -> str:
    """What is wrong with this content of a dvc.lock; "" if it is intact. DVC ends each one with a new line."""
    if not content.strip():
        return "empty"
    if b"\n<<<<<<< " in b"\n" + content:
        return "merge conflict"
    if not content.endswith(b"\n"):  # it may still be valid YAML, but then the later stages are missing
        return "cut off"
    try:
        # This parser is six times as fast as DVC's, which decides if this one fails.
        with contextlib.suppress(yaml.YAMLError, ValueError, Invalid):
            COMPILED_LOCKFILE_SCHEMA(yaml.load(content, yaml.CSafeLoader))
            return ""
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(content.decode(), "dvc.lock"))
    except (UnicodeDecodeError, DvcException, Invalid) as error:
        return "not valid YAML" if not isinstance(error, Invalid) else f"incomplete: {error}"
    return ""


def rwlock_damage(path: Path) -> str:
    """Why DVC cannot read its list of running processes, .dvc/tmp/rwlock; "" if it can."""
    try:
        RWLOCK_SCHEMA(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return ""
    except ValueError:  # UnicodeDecodeError too
        return "not JSON"
    except Invalid as error:
        return str(error)
    return ""


def lock_holders(path: Path) -> dict[int, str]:
    """The processes in an intact .dvc/tmp/rwlock, with their commands. They may have ended."""
    if not path.exists():
        return {}
    content = RWLOCK_SCHEMA(json.loads(path.read_bytes()))
    infos = [*content["write"].values(), *itertools.chain(*content["read"].values())]
    return {info["pid"]: info["cmd"] for info in infos}


def is_dvc(process: int) -> bool:
    """Whether this process exists and runs DVC, or hides what it runs."""
    try:
        return any("dvc" in Path(word).name for word in psutil.Process(process).cmdline()[:4])
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False


def half_written_runs(run_cache: Path) -> Iterator[Path]:
    """What a killed process left in DVC's run cache: temporary files, empty files, then empty folders.

    DVC fails at an empty folder ("join() argument must be str"). Remove the files first: they may leave some empty.
    """
    yield from sorted(path for path in run_cache.glob("??/*/*") if path.suffix == ".tmp" or not path.stat().st_size)
    yield from (folder for folder in run_cache.glob("??/*") if not any(folder.iterdir()))


def damaged_runs(run_cache: Path) -> Iterator[Path]:
    """The empty folders of DVC's run cache, and the entries whose content does not have the hash in their name."""
    yield from (folder for folder in sorted(run_cache.glob("??/*")) if not any(folder.iterdir()))
    for path in sorted(run_cache.glob("??/*/*")):
        try:
            intact = dict_sha256(load_yaml(path), exclude=["size", "nfiles"]) == path.name
        except (OSError, DvcException):
            intact = False
        if not intact:
            yield path
