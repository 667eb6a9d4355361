"""An archive of the user's own pictures from a web server on loopback."""

import hashlib
import json
import subprocess
import time
from pathlib import Path

import pytest

from stages.errors import StageError
from tests.conftest import Project
from tests.own_pictures import (
    BY_HAND,
    PICTURES,
    TABLE,
    Get,
    archive_of,
    content_of,
    error_line,
    facts_of,
    names_in,
    write,
    write_params,
)
from tests.servers import CONTENT, PACKED, Server

pytest_plugins = ["tests.own_pictures"]  # its fixtures


def test_an_archive_from_an_address_is_kept_unchanged(project: Project, server: Server) -> None:
    server.body = archive_of(PICTURES, "zip")
    url = f"{server.address}/sets/my%20pets.zip?token=a%2Fb&x=1"
    write_params(project, source=url, title="Pets", licence="CC BY 4.0")
    result = project.run("download")
    assert result.returncode == 0, result.stderr
    assert (project.folder / "data" / "raw" / "my%20pets.zip").read_bytes() == server.body
    assert server.paths == ["/sets/my%20pets.zip?token=a%2Fb&x=1"]
    digest = hashlib.sha256(server.body).hexdigest()
    facts = facts_of(project)
    assert facts["files"] == [{"name": "my%20pets.zip", "bytes": len(server.body), "sha256": digest}]
    assert (facts["title"], facts["licence"], facts["homepage"]) == ("Pets", "CC BY 4.0", url)
    assert not list((project.folder / ".state" / "download").iterdir())


def test_a_password_in_an_address_is_neither_printed_nor_written(project: Project, server: Server) -> None:
    server.body = archive_of(PICTURES, "zip")
    write_params(project, source=server.address.replace("//", "//ada:s3cret@") + "/pets.zip")
    for server.behaviour, status in (("good", 0), ("missing", 1), ("busy once", 0)):
        result = project.run("download")
        assert result.returncode == status, result.stderr
        assert server.address.removeprefix("http://") in result.stderr
        assert "s3cret" not in result.stderr + (project.folder / "data/raw/source.json").read_text()


@pytest.mark.parametrize("behaviour", ["good", "redirect", "busy once", "breaks once", "no ranges", "no length"])
def test_the_archive_is_downloaded_completely(get: Get, server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour = behaviour
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", "pictures"),
        ("/", "pictures"),
        ("?id=17&export=download", "pictures"),
        ("/download?file=pets.zip", "download"),
        ("/a/b/pets.tar.gz#part", "pets.tar.gz"),
        ("/tiere/größe 1.zip", "größe 1.zip"),
        ("/source.json", "pictures"),
        ("/a/..", "pictures"),
        ("/..%2f..%2fescape.zip", "..%2f..%2fescape.zip"),
    ],
)
def test_a_file_is_named_after_the_end_of_its_address(
    get: Get, server: Server, tmp_path: Path, path: str, name: str
) -> None:
    assert [file["name"] for file in get(source=server.address + path)["files"]] == [name]
    assert names_in(tmp_path / "out") == [name]


def test_a_broken_transfer_resumes_where_it_stopped(get: Get, server: Server, tmp_path: Path) -> None:
    server.headers = {"ETag": '"one"'}
    server.behaviour = "breaks once"
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED
    first, second = server.requests
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").removesuffix("-")) > len(PACKED) // 3
    assert server.conditions == [None, '"one"']


def broken_off(get: Get, server: Server) -> int:
    """Run with a server that breaks off; return how many bytes the run left for the next one."""
    server.behaviour = "breaks"
    with pytest.raises(StageError, match="the connection failed or broke off"):
        get(source=f"{server.address}/pets.tgz")
    (part,) = Path(".state/download").glob("*/pets.tgz.part")
    server.behaviour, server.requests, server.conditions = "good", [], []
    return part.stat().st_size


def test_the_next_run_resumes_where_the_last_one_stopped(get: Get, server: Server, tmp_path: Path) -> None:
    server.headers = {"ETag": '"one"'}
    have = broken_off(get, server)
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED
    assert (server.requests, server.conditions) == ([f"bytes={have}-"], ['"one"'])


@pytest.mark.parametrize(
    ("before", "after", "behaviour"),
    [
        ({"ETag": '"one"'}, {"ETag": '"two"'}, "good"),
        ({"ETag": '"one"'}, {"ETag": '"two"'}, "no conditions"),
        ({"ETag": '"one"'}, {"ETag": '"two"'}, "no ranges"),
        ({}, {}, "good"),
    ],
    ids=["another ETag", "no If-Range", "no ranges", "no version"],
)
def test_an_archive_that_changed_between_two_runs_is_downloaded_from_the_beginning(
    get: Get, server: Server, tmp_path: Path, before: dict[str, str], after: dict[str, str], behaviour: str
) -> None:
    server.headers = before
    assert broken_off(get, server)
    server.headers, server.behaviour, server.body = after, behaviour, b"\x1f\x8b" + CONTENT
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == server.body


def test_a_web_page_instead_of_an_archive_is_reported_with_manual_instructions(
    project: Project, server: Server
) -> None:
    server.behaviour = "page"
    url = f"{server.address}/download?id=17"
    write_params(project, source=url)
    result = project.run("download")
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"error: {url}: got a web page instead of an archive (an error, quota or confirmation page?)\n"
    )
    assert BY_HAND in result.stderr
    assert not (project.folder / "data").exists()


@pytest.mark.parametrize(
    ("behaviour", "body", "reason"),
    [
        ("page", b"", "got a web page instead of an archive"),
        ("good", b"\n <?xml version='1.0'?><Error/>", "got a web page instead of an archive"),
        ("good", b"GIF89a and so on", "the downloaded file is neither a zip nor a tar"),
        ("good", b"", "the downloaded file is neither a zip nor a tar"),
        ("missing", b"", "the server answered 404 Not Found (tries: 1)"),
        ("busy", b"", "the server answered 503 Service Unavailable (tries: 4)"),
    ],
)
def test_a_file_that_is_not_an_archive_is_reported_and_not_kept_for_the_next_run(
    get: Get, server: Server, tmp_path: Path, behaviour: str, body: bytes, reason: str
) -> None:
    server.behaviour, server.body = behaviour, body
    with pytest.raises(StageError) as caught:
        get(source=f"{server.address}/pets.zip")
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{server.address}/pets.zip: {reason}")
    assert BY_HAND in second
    assert not list((tmp_path / "out").iterdir())
    server.behaviour, server.body = "good", PACKED
    get(source=f"{server.address}/pets.zip")
    assert (tmp_path / "out" / "pets.zip").read_bytes() == PACKED


def test_the_manual_instructions_work(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "data" / "own", {"pets.zip": archive_of(PICTURES, "zip")})
    get(source="own")
    assert content_of(tmp_path / "out" / "pets.zip") == PICTURES


@pytest.mark.parametrize("address", ["http://does-not-resolve.invalid/a.zip", "http://", "http://a..b/c.zip"])
def test_an_address_that_cannot_work_is_tried_once(get: Get, address: str) -> None:
    with pytest.raises(StageError, match=r"(does not resolve|invalid address: ).*\(tries: 1\)"):
        get(source=address)


def test_an_archive_with_the_expected_hash_is_accepted(get: Get, server: Server, tmp_path: Path) -> None:
    get(source=f"{server.address}/pets.tgz", sha256=hashlib.sha256(PACKED).hexdigest())
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED


def test_an_archive_with_another_hash_is_rejected(project: Project, server: Server) -> None:
    write_params(project, source=f"{server.address}/pets.tgz", sha256="0" * 64)
    digest = hashlib.sha256(PACKED).hexdigest()
    line = error_line(project, f"dataset.sha256: expected {'0' * 64}, got ")
    assert line.endswith(f"got pets.tgz {digest}\n")


def test_after_the_expected_hash_is_corrected_the_archive_is_not_downloaded_again(
    get: Get, server: Server, tmp_path: Path
) -> None:
    server.headers = {"ETag": '"one"'}
    with pytest.raises(StageError, match=r"dataset\.sha256: expected 0+, got pets\.tgz"):
        get(source=f"{server.address}/pets.tgz", sha256="0" * 64)
    get(source=f"{server.address}/pets.tgz", sha256=hashlib.sha256(PACKED).hexdigest())
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED
    assert server.requests == [None, f"bytes={len(PACKED)}-"], "the server has no more bytes to send"


def test_a_damaged_download_is_deleted_after_the_second_run(get: Get, server: Server, tmp_path: Path) -> None:
    server.headers, server.body = {"ETag": '"one"'}, PACKED[:-1] + b"?"
    digest = hashlib.sha256(PACKED).hexdigest()
    with pytest.raises(StageError, match=f"expected {digest}, got pets"):
        get(source=f"{server.address}/pets.tgz", sha256=digest)
    server.body = PACKED
    with pytest.raises(
        StageError,
        match=r"expected .*, got pets.*\nThis run resumed .*\. The next run downloads everything again",
    ):
        get(source=f"{server.address}/pets.tgz", sha256=digest)
    get(source=f"{server.address}/pets.tgz", sha256=digest)
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED
    assert server.requests == [None, f"bytes={len(PACKED)}-", None]


def test_a_part_longer_than_the_servers_file_is_downloaded_again(get: Get, server: Server, tmp_path: Path) -> None:
    server.headers = {"ETag": '"one"'}
    assert broken_off(get, server)
    (part,) = tmp_path.glob(".state/download/*/*.part")
    part.write_bytes(PACKED + b"and more")
    get(source=f"{server.address}/pets.tgz")
    assert (tmp_path / "out" / "pets.tgz").read_bytes() == PACKED


def test_of_two_runs_with_the_same_address_the_second_waits_for_the_first(project: Project, server: Server) -> None:
    write_params(project, source=f"{server.address}/pets.tgz")
    server.behaviour, server.headers = "stalls", {"ETag": '"one"'}
    runs = []
    for _ in range(2):
        process = subprocess.Popen(
            project.command("download"),
            cwd=project.folder,
            env=project.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        runs.append(process)
        deadline = time.monotonic() + 30
        while len(runs) == 1 and not server.requests and time.monotonic() < deadline:
            time.sleep(0.01)
    assert runs[1].stderr is not None
    message = f"process {runs[0].pid} is doing the same work; waiting until it ends"
    assert message in runs[1].stderr.readline()
    assert len(server.requests) == 1
    server.behaviour = "good"
    server.stalled.set()
    for process in runs:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
    assert (project.folder / "data/raw/pets.tgz").read_bytes() == PACKED


def test_the_facts_contain_no_user_name_and_no_password(get: Get, server: Server) -> None:
    facts = get(source=server.address.replace("//", "//me:secret@"))
    assert "secret" not in json.dumps(facts)
    assert facts["homepage"] == server.address


def test_a_parquet_table_from_an_address_is_detected_by_its_content(get: Get, server: Server) -> None:
    server.body = TABLE
    assert get(source=f"{server.address}/download?file=a.parquet")["format"] == "parquet"
