"""Publish the data and models of a revision: make publish REMOTE=s3://bucket/dcgan [READ=https://…] [REV=v1.0.0]

    python -m tools.publish_remote REMOTE [--read ADDRESS] [--rev REVISION]

Pushes every file that the revision's dvc.lock lists to a DVC remote, with those entries of DVC's run cache that belong
to the revision. Then reads everything back through the readers' address, in two empty clones: one with `dvc pull`, the
other with `dvc repro --pull`. Every file must have the hash in dvc.lock, and no stage may run. Only then writes the
address into .dvc/config, as the default remote `published`. Commit that file: other clones pull from this remote.

REMOTE is the name of a DVC remote, or an address. READ is the address for people who may only read; without it they use
REMOTE's. If the two differ, your own clone keeps pushing to REMOTE (.dvc/config.local).
"""

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem

from stages.errors import StageError
from stages.shell import run_interruptible, say
from tools import commits, dvc_files, model_card
from tools.doctor.finding import without_passwords
from tools.git import git, in_clone

READERS = "published"
_WRITER = "publish"  # in .dvc/config.local, the name of a remote that was given as an address
_CARD = "reports/model_card.md"
_WITHOUT_RUN_CACHE = re.compile(r"(https?|webdavs?)://")


@dataclass(frozen=True)
class Publication:
    """What to publish and where: a commit and its name, the remote to push to, and the settings of both remotes."""

    name: str
    commit: str
    remote: str
    writer: dict[str, Any]
    reader: dict[str, Any]


def plan(project: Path, remote: str, read: str, revision: str) -> Publication:
    """Check the arguments. Raises StageError for an unknown remote or revision, and for an address with a password."""
    in_clone(project, "--git-dir")
    try:
        commit = git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except StageError:
        raise StageError(f"REV: no such revision: {revision}; name a tag or a commit (git log --oneline)") from None
    config = Config(dvc_dir=str(project / ".dvc"))
    committed: dict[str, Any] = {}  # the settings that .dvc/config shows to everybody, such as endpointurl
    if remote in config["remote"]:
        writer = dict(config["remote"][remote])
        committed = dict(config.load_one("repo")["remote"].get(remote, {}))
    elif re.match(r"[a-z0-9+]+://|[/~]", remote):
        writer, remote = {"url": remote}, _WRITER
    else:
        raise StageError(
            f"REMOTE: {remote}: no such remote (dvc remote list), and no address; give an address such as "
            "s3://bucket/dcgan, or a path that begins with / (docs/sharing.md)"
        )
    reader = {**({} if read else committed), "url": read or committed.get("url") or writer["url"], "verify": True}
    if without_passwords(reader["url"]) != reader["url"]:
        raise StageError(
            f"READ: {without_passwords(reader['url'])} has a user name or a password, which everybody could read in "
            ".dvc/config; give an address without them"
        )
    tags = git(project, "tag", "--points-at", commit).split()
    return Publication(tags[0] if tags else revision, commit, remote, writer, reader)


@dataclass(frozen=True)
class EmptyClone:
    """A clone of the project at one commit, in `folder`. Its DVC has none of the user's settings.

    `cache` is DVC's cache: an empty one that only this clone uses, or the project's own.
    """

    folder: Path
    cache: Path

    @classmethod
    def create(cls, project: Path, commit: str, folder: Path, cache: Path) -> "EmptyClone":
        """Clone the project and check the commit out."""
        git(project, "clone", "-q", "--shared", "--no-checkout", str(project.resolve()), str(folder))
        git(folder, "checkout", "-q", "--detach", commit)
        clone = cls(folder, cache)
        with clone._config("local") as config:
            config["cache"] = {"dir": str(cache)}
            config["core"] = {"site_cache_dir": str(folder.with_name("site"))}
        return clone

    def add_remote(self, level: str, name: str, settings: dict[str, Any]) -> None:
        """Make this the default remote, in the configuration of this level (`local` or `repo`)."""
        with self._config(level) as config:
            config["remote"] = {**config["remote"], name: settings}
            config["core"] = {**config["core"], "remote": name}

    def _config(self, level: str) -> Any:
        return Config(dvc_dir=str(self.folder / ".dvc"), validate=False).edit(level, validate=False)

    def run(self, *command: str, stderr: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
        """Run a Python module in the clone; stderr can go to the terminal instead (None)."""
        none = str(self.folder.with_name("none"))
        environment = {**os.environ, "DVC_GLOBAL_CONFIG_DIR": none, "DVC_SYSTEM_CONFIG_DIR": none}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        command = (sys.executable, "-m", *command)
        return subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
        )

    def dvc(self, *arguments: str) -> str:
        """Run a DVC command and return its output. Raises StageError if it fails.

        On a terminal, DVC itself shows its progress and its errors there.
        """
        result = self.run("dvc", *arguments, stderr=None if sys.stderr.isatty() else subprocess.PIPE)
        if result.returncode:
            raise StageError(f"dvc {' '.join(arguments)}: {without_passwords((result.stderr or 'it failed').strip())}")
        return result.stdout

    def differences(self) -> Iterator[str]:
        """The outputs whose bytes do not have the MD5 in dvc.lock. Reads every byte, and trusts no record of DVC's."""
        for out in dvc_files.cached_outputs(dvc_files.open_repo(self.folder)):
            path = Path(out.fs_path)
            files = {path: out.hash_info.value}
            if out.hash_info.isdir:
                tree = out.get_obj()  # None if the cache lacks the list of the folder's files
                files = (
                    {path.joinpath(*key): entry.value for key, (_, entry) in tree.iteritems()} if tree else {path: ""}
                )
            extra = {file for file in path.rglob("*") if file.is_file()} - files.keys() if path.is_dir() else set()
            if extra or any(_md5(file) != md5 for file, md5 in files.items()):
                yield str(out.def_path)


def _md5(path: Path) -> str | None:
    """The MD5 of a file; None if it is missing."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def run_cache_entries(run_cache: Path, lock: Path) -> list[Path]:
    """The entries of DVC's run cache with the command, the inputs and the outputs of a stage in a dvc.lock."""
    stages = list(yaml.load(lock.read_bytes(), yaml.CSafeLoader)["stages"].values())
    entries = (path for path in sorted(run_cache.glob("??/*/*")) if path.suffix != ".tmp")
    return [path for path in entries if yaml.load(path.read_bytes(), yaml.CSafeLoader) in stages]


def publish(project: Path, publication: Publication) -> None:
    """Push, check, and write .dvc/config. Raises StageError, and leaves .dvc/config unchanged, if anything fails."""
    with tempfile.TemporaryDirectory(prefix="publish-") as name:
        temporary = Path(name)
        cache = Path(dvc_files.open_repo(project).cache.local_cache_dir)
        clone = EmptyClone.create(project, publication.commit, temporary / "push/clone", cache)
        complete = _has_all_inputs(clone, publication.name)
        _say_licence(clone.folder)
        _push(clone, publication, temporary / "runs")
        say(f"publish: reading everything back from {publication.reader['url']} ...")
        commands = [["pull"], ["repro", "--pull"]] if complete else [["pull"]]
        for i, command in enumerate(commands):
            folder = temporary / str(i)
            reader = EmptyClone.create(project, publication.commit, folder / "clone", folder / "cache")
            _check(reader, publication, command)
        files = [path for path in (temporary / "0/cache").rglob("*") if path.is_file()]
        total = sum(path.stat().st_size for path in files) / 1e6
    _write_config(project, publication)
    ways = " and with ".join(f"`dvc {' '.join(command)}`" for command in commands)
    say(f"published: {publication.name} ({publication.commit[:7]}), {len(files):,} objects, {total:,.1f} MB")
    say(f"An empty clone got every byte from {publication.reader['url']} with {ways}.")
    if commits.text_at(project, publication.commit, ".dvc/config") != (project / ".dvc/config").read_text("utf-8"):
        say(
            f".dvc/config now names this remote `{READERS}`. Commit the file, so that other clones pull from there. "
            "(Older commits and their tags do not name it.)"
        )


def _has_all_inputs(clone: EmptyClone, name: str) -> bool:
    """Whether `dvc repro` can run in a clone. Raises StageError for a revision with stale or uncommitted results."""
    result = clone.run("tools.fresh")
    if result.returncode and "cannot check the data without its pictures" not in result.stderr:
        raise StageError(
            f"{name}: make fresh fails in a clone of it, so it cannot be published:\n{result.stderr.strip()}"
        )
    if result.returncode:
        say("Git does not have your own pictures, so others cannot run `dvc repro`. `dvc pull` gives them all results.")
    return not result.returncode


def _say_licence(clone: Path) -> None:
    """Remind the user that the data is published too."""
    card = clone / _CARD
    facts = model_card.facts(card.read_text(encoding="utf-8")) if card.is_file() else {}
    say(f"This publishes the data, not only the models. The data: {facts.get('data', 'its licence is not recorded')}")


def _push(clone: EmptyClone, publication: Publication, runs: Path) -> None:
    """Push the clone's outputs from the project's cache, and the entries of the run cache, by way of `runs`."""
    clone.add_remote("local", publication.remote, publication.writer)
    repo = dvc_files.open_repo(clone.folder)
    if missing := [str(out.def_path) for out in dvc_files.missing_outputs(repo)]:
        raise StageError(
            f"{publication.name}: DVC's cache lacks {', '.join(missing)}; check it out, and `dvc repro` makes them"
        )
    say(f"publish: pushing to {without_passwords(publication.writer['url'])} ...")
    clone.dvc("push", "--remote", publication.remote)
    if _WITHOUT_RUN_CACHE.match(publication.writer["url"]):
        return
    for entry in run_cache_entries(clone.cache / "runs", clone.folder / "dvc.lock"):
        target = runs / "runs" / entry.relative_to(clone.cache / "runs")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry, target)
    remote = repo.cloud.get_remote_odb(publication.remote, hash_name="md5-dos2unix")
    entries = repo.stage_cache.transfer(SimpleNamespace(fs=LocalFileSystem(), path=str(runs)), remote)
    # The small results, which Git has, too: DVC takes them from the remote when it finds a stage in the run cache.
    with contextlib.chdir(clone.folder):  # DVC takes the paths in an entry as relative to the current folder
        objects = set().union(*repo.stage_cache.get_used_objs(entries).values())
    repo.cloud.push(objects, remote=publication.remote)


def _check(clone: EmptyClone, publication: Publication, command: list[str]) -> None:
    """Read everything back in an empty clone. Raises StageError unless each byte arrives and no stage runs."""
    clone.add_remote("repo", READERS, publication.reader)
    place = f"{publication.reader['url']}: an empty clone"
    try:
        output = clone.dvc(*command)
    except StageError as error:
        raise StageError(
            f"{place} cannot read everything; is READ right, and does it need a password?\n{error}"
        ) from None
    if different := list(clone.differences()):
        raise StageError(f"{place} got other bytes for {', '.join(different)}; remove them there and publish again")
    changed = [line[3:] for line in git(clone.folder, "status", "--porcelain").splitlines()]
    if "Running stage" in output or changed != [".dvc/config"]:
        raise StageError(f"{place} runs stages or changes {', '.join(changed)} with `dvc {' '.join(command)}`")


def _write_config(project: Path, publication: Publication) -> None:
    """Name the readers' remote in .dvc/config, and the writer's in .dvc/config.local if it is another."""
    config = Config(dvc_dir=str(project / ".dvc"))
    with config.edit("repo") as shared:
        shared["remote"][READERS] = publication.reader
        shared["core"]["remote"] = READERS
    with config.edit("local") as local:
        local["core"].pop("remote", None)
        if publication.reader["url"] != publication.writer["url"] and publication.remote != READERS:
            local["core"]["remote"] = publication.remote
            if publication.remote == _WRITER:
                local["remote"][_WRITER] = publication.writer


def main() -> None:
    """Publish what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("remote", help="the remote to push to: a name or an address")
    parser.add_argument("--read", default="", help="the address for people who may only read (that of the remote)")
    parser.add_argument("--rev", default="HEAD", help="the revision to publish (HEAD)")
    arguments = parser.parse_args()

    def work() -> None:
        try:
            publish(Path(), plan(Path(), arguments.remote, arguments.read, arguments.rev))
        except DvcException as error:
            raise StageError(without_passwords(str(error))) from None

    run_interruptible("publish", work, tensorflow=False)


if __name__ == "__main__":
    main()
