"""tools/publish_remote.py: bad arguments are rejected before anything is pushed."""

from pathlib import Path

import pytest
import yaml

from stages.errors import StageError
from tests.conftest import git
from tools import publish_remote

HERE = Path()


@pytest.mark.parametrize(
    ("remote", "read", "revision", "message"),
    [
        ("nowhere", "", "HEAD", "REMOTE: nowhere: no such remote"),
        ("relative/folder", "", "HEAD", "REMOTE: relative/folder: no such remote"),
        ("/srv/dcgan", "", "v9", "REV: no such revision: v9; name a tag or a commit"),
        (
            "/srv/dcgan",
            "https://ada:pa55word@example.org/",
            "HEAD",
            r"READ: https://\*\*\*@example.org/ has a user name",
        ),
        ("https://ada:pa55word@example.org/", "", "HEAD", r"READ: https://\*\*\*@example.org/ has a user name"),
    ],
)
def test_a_bad_argument_is_named(git_project: Path, remote: str, read: str, revision: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        publish_remote.plan(HERE, remote, read, revision)


def test_the_commits_tag_names_it(git_project: Path) -> None:
    git(HERE, "tag", "v1")
    assert publish_remote.plan(HERE, "/srv/dcgan", "", "HEAD").name == "v1"


def test_readers_get_the_public_settings_of_a_remote_and_not_the_private_ones(git_project: Path) -> None:
    remote = "['remote \"team\"']\n"
    Path(".dvc/config").write_text(f"{remote}url = s3://bucket/dcgan\nendpointurl = https://s3.example.org\n")
    Path(".dvc/config.local").write_text(f"{remote}secret_access_key = pa55word\n")
    publication = publish_remote.plan(HERE, "team", "", "HEAD")
    assert publication.writer["secret_access_key"] == "pa55word"  # noqa: S105 - none
    public = {"url": "s3://bucket/dcgan", "endpointurl": "https://s3.example.org", "verify": True}
    assert publication.reader == public
    assert publish_remote.plan(HERE, "team", "https://example.org", "HEAD").reader == {
        "url": "https://example.org",
        "verify": True,
    }


def test_the_run_cache_entries_of_a_lock_are_found_by_content(git_project: Path) -> None:
    (entry,) = Path(".dvc/cache/runs").glob("??/*/*")
    other = entry.with_name("f" * 64)
    other.write_text(entry.read_text().replace("title: 1", "title: 2"))
    assert other.read_text() != entry.read_text()
    assert yaml.safe_load(entry.read_text()) in yaml.safe_load(Path("dvc.lock").read_text())["stages"].values()
    assert publish_remote.run_cache_entries(Path(".dvc/cache/runs"), Path("dvc.lock")) == [entry]
