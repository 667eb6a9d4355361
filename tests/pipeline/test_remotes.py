"""One clone pushes and another pulls, byte for byte, through real servers: S3, SSH, WebDAV and read-only HTTP.

Also failures of a remote, on S3: DVC reports each, nothing is lost, and a second try completes.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import servers
from tests.conftest import Clone, contents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Remote:
    """A remote: its URL, the settings of `dvc remote modify`, and the user's environment variables."""

    url: str
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    run_cache: bool = True
    read_at: str = ""  # the URL that clones pull from, if it is another


@contextlib.contextmanager
def default_remote(folder: Path) -> Iterator[Remote | None]:
    """The remote of the project's own configuration."""
    yield None


@contextlib.contextmanager
def on_s3(folder: Path) -> Iterator[Remote]:
    """An S3 bucket."""
    with servers.s3(folder) as server:
        yield Remote("s3://pictures/dcgan", environment=server.environment())


@contextlib.contextmanager
def over_ssh(folder: Path) -> Iterator[Remote]:
    """A folder on a machine with SSH."""
    with servers.ssh(folder) as (port, key):
        yield Remote(f"ssh://{servers.LOOPBACK}:{port}{folder}/far", {"keyfile": str(key)})


@contextlib.contextmanager
def over_webdav(folder: Path) -> Iterator[Remote]:
    """A WebDAV server."""
    with servers.webdav(folder) as address:
        yield Remote(address, {"user": "ada", "password": "lovelace"}, run_cache=False)


@contextlib.contextmanager
def over_http(folder: Path) -> Iterator[Remote]:
    """A folder that clones read through a web server. Pushing goes to the folder itself."""
    (folder / "public").mkdir()
    with servers.http(folder / "public", folder / "http.log") as address:
        yield Remote(str(folder / "public"), run_cache=False, read_at=address)


Kind = Callable[[Path], contextlib.AbstractContextManager[Remote | None]]


def use(clone: Clone, remote: Remote | None, url: str) -> None:
    """Make it the default remote, as README.md describes."""
    if remote is None:
        return
    for command in (
        ("dvc", "remote", "add", "--force", "--default", "shared", url),
        ("dvc", "remote", "modify", "shared", "verify", "true"),
        *(("dvc", "remote", "modify", "--local", "shared", name, value) for name, value in remote.settings.items()),
    ):
        run(clone, remote, *command)


def run(clone: Clone, remote: Remote | None, *command: str) -> str:
    """Run a command as a user with access to the remote, check that it succeeds, and return its output."""
    return clone.output(*command, **(remote.environment if remote else {}))


@pytest.mark.parametrize("kind", [default_remote, on_s3, over_ssh, over_webdav, over_http])
def test_a_fresh_clone_pulls_the_pushed_files_and_runs_no_stage(quick_run: Clone, tmp_path: Path, kind: Kind) -> None:
    clone = quick_run.copy(tmp_path / "project")
    with kind(tmp_path) as remote:
        run_cache = ["--run-cache"] if remote is None or remote.run_cache else []
        use(clone, remote, remote.url if remote else "")
        run(clone, remote, "dvc", "push", *run_cache)
        clone.commit("A remote")
        other = clone.git_clone(tmp_path / "other")
        use(other, remote, (remote.read_at or remote.url) if remote else "")
        assert contents(other.folder) != contents(clone.folder)
        run(other, remote, "dvc", "pull", *run_cache)
        assert contents(other.folder) == contents(clone.folder)
        output = run(other, remote, "dvc", "repro", "--pull")
        assert "Running stage" not in output
        assert contents(other.folder) == contents(clone.folder)
        if remote is None:
            third = clone.git_clone(tmp_path / "third")
            output = third.output("dvc", "repro", "--pull")
            assert "Running stage" not in output, "repro --pull downloads everything itself"
        if run_cache:  # for a result that no commit has. It skips stages with outputs in Git: all but `download`.
            for each in (clone, other):
                each.edit("params.yaml", '  title: ""', "  title: Clothes")
            assert "Running stage 'download'" in run(clone, remote, "dvc", "repro", "download")
            run(clone, remote, "dvc", "push", *run_cache)
            run(other, remote, "dvc", "pull", *run_cache)
            assert "Running stage" not in run(other, remote, "dvc", "repro", "download")


def test_another_clone_pulls_and_applies_a_pushed_experiment(quick_run: Clone, tmp_path: Path) -> None:
    clone, server = quick_run.copy(tmp_path / "project"), str(tmp_path / "server.git")
    other = clone.git_clone(tmp_path / "other")
    clone.git("init", "-q", "--bare", server)
    clone.output("dvc", "exp", "run", "--name", "for-you", "-S", "report.title=Ours")
    clone.output("dvc", "exp", "push", server, "for-you")
    shared = [path for path in (tmp_path / "dcgan-remote").rglob("*") if path.is_file()]
    assert shared, "DVC resolves a relative remote address in an experiment's revision against /"
    other.output("dvc", "exp", "pull", server, "for-you")
    other.output("dvc", "exp", "apply", "for-you")
    assert contents(other.folder) == contents(clone.folder)
    assert "Ours" in (other.folder / "reports/model_card.md").read_text()


@dataclass(frozen=True)
class Shared:
    """A clone that has pushed its data and models to S3, and a fresh clone that has not pulled them yet."""

    server: servers.S3
    remote: Remote
    clone: Clone
    fresh: Clone

    def pull(self, **variables: str) -> tuple[int, str]:
        """Run `dvc pull` in the fresh clone. Returns its exit status and its output."""
        result = self.fresh.run("dvc", "pull", **{**self.remote.environment, **variables})
        return result.returncode, result.stdout + result.stderr

    def is_complete(self) -> bool:
        """Whether the fresh clone has the same files as the other one."""
        return contents(self.fresh.folder) == contents(self.clone.folder)

    def key(self, path: str) -> str:
        """The key of a file's content in the bucket."""
        md5 = hashlib.md5((self.clone.folder / path).read_bytes(), usedforsecurity=False).hexdigest()
        return f"dcgan/files/md5/{md5[:2]}/{md5[2:]}"


@pytest.fixture
def shared(quick_run: Clone, tmp_path: Path) -> Iterator[Shared]:
    """A pushed clone and a fresh one."""
    clone = quick_run.copy(tmp_path / "project")
    with servers.s3(tmp_path) as server:
        remote = Remote("s3://pictures/dcgan", environment=server.environment())
        use(clone, remote, remote.url)
        run(clone, remote, "dvc", "push")
        clone.commit("A remote")
        yield Shared(server, remote, clone, clone.git_clone(tmp_path / "fresh"))


MODEL = "models/generator.keras"


def test_an_object_missing_in_the_remote_is_named_and_the_others_are_pulled(shared: Shared) -> None:
    key = shared.key(MODEL)
    kept = shared.server.client.get_object(Bucket="pictures", Key=key)["Body"].read()
    shared.server.client.delete_object(Bucket="pictures", Key=key)
    code, output = shared.pull()
    assert code != 0
    assert "Some of the cache files do not exist neither locally nor on remote" in output
    assert MODEL in output
    assert not (shared.fresh.folder / MODEL).exists()
    assert (shared.fresh.folder / "models/discriminator.keras").exists()
    shared.server.client.put_object(Bucket="pictures", Key=key, Body=kept)
    assert shared.pull()[0] == 0
    assert shared.is_complete()


def test_a_corrupted_object_is_rejected_if_the_remote_is_verified(shared: Shared, tmp_path: Path) -> None:
    key = shared.key(MODEL)
    kept = shared.server.client.get_object(Bucket="pictures", Key=key)["Body"].read()
    shared.server.client.put_object(Bucket="pictures", Key=key, Body=kept[:-1] + b"x")
    code, output = shared.pull()
    assert code != 0
    assert MODEL in output
    assert not (shared.fresh.folder / MODEL).exists()
    trusting = shared.clone.git_clone(tmp_path / "trusting")
    run(trusting, shared.remote, "dvc", "remote", "modify", "shared", "verify", "false")
    run(trusting, shared.remote, "dvc", "pull")
    assert (trusting.folder / MODEL).read_bytes() == kept[:-1] + b"x", "without verify, DVC accepts corrupted files"
    shared.server.client.put_object(Bucket="pictures", Key=key, Body=kept)
    assert shared.pull()[0] == 0
    assert shared.is_complete()


def test_a_pull_that_broke_off_is_completed_by_the_next_one(shared: Shared) -> None:
    shared.server.proxy.break_after(30_000_000)
    code, output = shared.pull()
    assert code != 0
    assert "ERROR: failed to transfer" in output or "Could not connect to the endpoint URL" in output
    shared.server.proxy.repair()
    assert shared.pull()[0] == 0
    assert shared.is_complete()


def test_wrong_credentials_are_reported(shared: Shared) -> None:
    code, output = shared.pull(AWS_SECRET_ACCESS_KEY="wrong")  # noqa: S106 - none
    assert code != 0
    assert "failed to connect to s3" in output
    assert "Forbidden" in output
    assert not (shared.fresh.folder / MODEL).exists()
    assert shared.pull()[0] == 0
    assert shared.is_complete()
