"""What one clone pushes another pulls, byte for byte, through real servers: S3, SSH, WebDAV, and a web server to read.

And the troubles of a remote, on S3: each is said, loses nothing, and a second try completes.
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
    """A remote as a project has it: where it is, what `dvc remote modify` sets, what is in the user's environment."""

    url: str
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    run_cache: bool = True
    read_at: str = ""  # where clones pull from, if elsewhere


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[Remote | None]:
    """The remote that the project comes with."""
    yield None


@contextlib.contextmanager
def on_s3(folder: Path) -> Iterator[Remote]:
    """A bucket."""
    with servers.s3(folder) as server:
        yield Remote("s3://pictures/dcgan", environment=server.environment())


@contextlib.contextmanager
def over_ssh(folder: Path) -> Iterator[Remote]:
    """A folder of a machine that one can log in to."""
    with servers.ssh(folder) as (port, key):
        yield Remote(f"ssh://{servers.LOOPBACK}:{port}{folder}/far", {"keyfile": str(key)})


@contextlib.contextmanager
def over_webdav(folder: Path) -> Iterator[Remote]:
    """A WebDAV server."""
    with servers.webdav(folder) as address:
        yield Remote(address, {"user": "ada", "password": "lovelace"}, run_cache=False)


@contextlib.contextmanager
def over_http(folder: Path) -> Iterator[Remote]:
    """A folder that a web server gives to everybody, and takes nothing from anybody."""
    (folder / "public").mkdir()
    with servers.http(folder / "public", folder / "http.log") as address:
        yield Remote(str(folder / "public"), run_cache=False, read_at=address)


Kind = Callable[[Path], contextlib.AbstractContextManager[Remote | None]]


def use(clone: Clone, remote: Remote | None, url: str) -> None:
    """Make it the default remote, as the README says."""
    if remote is None:
        return
    for command in (
        ("dvc", "remote", "add", "--force", "--default", "shared", url),
        ("dvc", "remote", "modify", "shared", "verify", "true"),
        *(("dvc", "remote", "modify", "--local", "shared", name, value) for name, value in remote.settings.items()),
    ):
        typed(clone, remote, *command)


def typed(clone: Clone, remote: Remote | None, *command: str) -> str:
    """What a command prints, that must end well, of a user who may use the remote."""
    return clone.typed(*command, **(remote.environment if remote else {}))


@pytest.mark.parametrize("kind", [at_home, on_s3, over_ssh, over_webdav, over_http])
def test_what_is_pushed_a_fresh_clone_pulls_and_runs_no_stage(quick_run: Clone, tmp_path: Path, kind: Kind) -> None:
    clone = quick_run.copied(tmp_path / "project")
    with kind(tmp_path) as remote:
        run_cache = ["--run-cache"] if remote is None or remote.run_cache else []
        use(clone, remote, remote.url if remote else "")
        typed(clone, remote, "dvc", "push", *run_cache)
        clone.commit("A remote")
        other = clone.cloned(tmp_path / "other")
        use(other, remote, (remote.read_at or remote.url) if remote else "")
        assert contents(other.folder) != contents(clone.folder)
        typed(other, remote, "dvc", "pull", *run_cache)
        assert contents(other.folder) == contents(clone.folder)
        said = typed(other, remote, "dvc", "repro", "--pull")
        assert "Running stage" not in said
        assert contents(other.folder) == contents(clone.folder)
        third = clone.cloned(tmp_path / "third")
        use(third, remote, (remote.read_at or remote.url) if remote else "")
        assert "Running stage" not in typed(third, remote, "dvc", "repro", "--pull"), "with nothing pulled before"
        if run_cache:  # a result that is in no commit; DVC leaves out stages with results in Git, which the others have
            for one in (clone, other):
                one.edit("params.yaml", '  title: ""', "  title: Clothes")
            assert "Running stage 'download'" in typed(clone, remote, "dvc", "repro", "download")
            typed(clone, remote, "dvc", "push", *run_cache)
            typed(other, remote, "dvc", "pull", *run_cache)
            assert "Running stage" not in typed(other, remote, "dvc", "repro", "download")


def test_a_pushed_experiment_is_taken_over_by_another_clone(quick_run: Clone, tmp_path: Path) -> None:
    clone, server = quick_run.copied(tmp_path / "project"), str(tmp_path / "server.git")
    other = clone.cloned(tmp_path / "other")
    clone.git("init", "-q", "--bare", server)
    clone.typed("dvc", "exp", "run", "--name", "for-you", "-S", "report.title=Ours")
    clone.typed("dvc", "exp", "push", server, "for-you")
    shared = [path for path in (tmp_path / "dcgan-remote").rglob("*") if path.is_file()]
    assert shared, "DVC reads the remote's address in the experiment's revision, where a relative one is one below /"
    other.typed("dvc", "exp", "pull", server, "for-you")
    other.typed("dvc", "exp", "apply", "for-you")
    assert contents(other.folder) == contents(clone.folder)
    assert "Ours" in (other.folder / "reports/model_card.md").read_text()


@dataclass(frozen=True)
class Shared:
    """A clone whose data and models were pushed to S3, and a fresh clone that is to pull them."""

    server: servers.S3
    remote: Remote
    clone: Clone
    fresh: Clone

    def pull(self, **variables: str) -> tuple[int, str]:
        """`dvc pull` in the fresh clone: its exit status, and what it says."""
        result = self.fresh.type("dvc", "pull", **{**self.remote.environment, **variables})
        return result.returncode, result.stdout + result.stderr

    def whole(self) -> bool:
        """Whether the fresh clone has all that the other has, and nothing else."""
        return contents(self.fresh.folder) == contents(self.clone.folder)

    def key(self, path: str) -> str:
        """Where in the bucket a file's content is."""
        md5 = hashlib.md5((self.clone.folder / path).read_bytes(), usedforsecurity=False).hexdigest()
        return f"dcgan/files/md5/{md5[:2]}/{md5[2:]}"


@pytest.fixture
def shared(quick_run: Clone, tmp_path: Path) -> Iterator[Shared]:
    """Pushed, and not pulled yet."""
    clone = quick_run.copied(tmp_path / "project")
    with servers.s3(tmp_path) as server:
        remote = Remote("s3://pictures/dcgan", environment=server.environment())
        use(clone, remote, remote.url)
        typed(clone, remote, "dvc", "push")
        clone.commit("A remote")
        yield Shared(server, remote, clone, clone.cloned(tmp_path / "fresh"))


MODEL = "models/generator.keras"


def test_an_object_that_the_remote_lacks_is_named_and_the_rest_comes(shared: Shared) -> None:
    key = shared.key(MODEL)
    kept = shared.server.client.get_object(Bucket="pictures", Key=key)["Body"].read()
    shared.server.client.delete_object(Bucket="pictures", Key=key)
    code, said = shared.pull()
    assert code != 0
    assert "Some of the cache files do not exist neither locally nor on remote" in said
    assert MODEL in said
    assert not (shared.fresh.folder / MODEL).exists()
    assert (shared.fresh.folder / "models/discriminator.keras").exists()
    shared.server.client.put_object(Bucket="pictures", Key=key, Body=kept)
    assert shared.pull()[0] == 0
    assert shared.whole()


def test_a_corrupted_object_is_not_taken_where_the_remote_is_verified(shared: Shared, tmp_path: Path) -> None:
    key = shared.key(MODEL)
    kept = shared.server.client.get_object(Bucket="pictures", Key=key)["Body"].read()
    shared.server.client.put_object(Bucket="pictures", Key=key, Body=kept[:-1] + b"x")
    code, said = shared.pull()
    assert code != 0
    assert MODEL in said
    assert not (shared.fresh.folder / MODEL).exists()
    trusting = shared.clone.cloned(tmp_path / "trusting")
    typed(trusting, shared.remote, "dvc", "remote", "modify", "shared", "verify", "false")
    typed(trusting, shared.remote, "dvc", "pull")
    assert (trusting.folder / MODEL).read_bytes() == kept[:-1] + b"x", "which is why verify is there"
    shared.server.client.put_object(Bucket="pictures", Key=key, Body=kept)
    assert shared.pull()[0] == 0
    assert shared.whole()


def test_a_server_that_goes_away_half_way_and_comes_back(shared: Shared) -> None:
    shared.server.line.break_after(30_000_000)
    code, said = shared.pull()
    assert code != 0
    assert "ERROR: failed to transfer" in said or "Could not connect to the endpoint URL" in said
    shared.server.line.mend()
    assert shared.pull()[0] == 0
    assert shared.whole()


def test_wrong_credentials_are_said(shared: Shared) -> None:
    code, said = shared.pull(AWS_SECRET_ACCESS_KEY="wrong")  # noqa: S106 - none
    assert code != 0
    assert "failed to connect to s3" in said
    assert "Forbidden" in said
    assert not (shared.fresh.folder / MODEL).exists()
    assert shared.pull()[0] == 0
    assert shared.whole()
