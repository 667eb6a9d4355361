"""Data sets of the catalog, downloaded from a server on loopback that works or fails in many ways."""

import dataclasses
import gzip
import hashlib
import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import transfer
from stages.download import catalog, debian, named
from stages.download.catalog import DataSet, DebianPackage, File
from stages.errors import StageError
from tests.conftest import Project
from tests.servers import CONTENT, PACKED, Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)
    serving = Server()
    yield serving
    serving.close()


def data_set(address: str, *debian: DebianPackage) -> DataSet:
    file = File("pictures", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), unpack=True)
    addresses = (address,) if address else ()
    return DataSet("Test set", "http://home.invalid", "MIT", "", "idx", 1, (), (file,), addresses, debian)


def get(server: Server, tmp_path: Path) -> Path:
    return get_file(tmp_path, data_set(server.address))


def get_file(tmp_path: Path, dataset: DataSet) -> Path:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    named.fetch("test", dataset, out, tmp_path / "manual")
    return out / dataset.files[0].name


def with_file(address: str, file: File) -> DataSet:
    """The test set with another file."""
    return dataclasses.replace(data_set(address), files=(file,))


# The stage with the catalog.yaml of the current folder.
WITH_CATALOG = """
import pathlib, runpy
from stages.download import catalog
catalog._FILE = pathlib.Path("catalog.yaml")
runpy.run_module("stages.download", run_name="__main__")
"""


def write_project(folder: Path, name: str, entry: DataSet) -> None:
    """Write a catalog of one data set, and params that name it."""
    (folder / "catalog.yaml").write_text(json.dumps({name: dataclasses.asdict(entry)}))
    (folder / "params.yaml").write_text(f"dataset: {{source: {name}}}")


def run_with_catalog(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the stage in a folder of `write_project`."""
    return subprocess.run(
        [sys.executable, "-c", WITH_CATALOG],
        cwd=folder,
        env=Project(folder).environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def broken_off(server: Server, tmp_path: Path, dataset: DataSet) -> int:
    """Run with a server that breaks off; return how many bytes the run left for the next one."""
    server.behaviour = "breaks"
    with pytest.raises(StageError):
        get_file(tmp_path, dataset)
    server.behaviour, server.requests, server.conditions = "good", [], []
    return (tmp_path / ".state" / "download" / "test" / f"{dataset.files[0].served_name}.part").stat().st_size


@pytest.mark.parametrize("behaviour", ["good", "redirect", "busy once", "breaks once", "no ranges", "no length"])
def test_a_file_is_downloaded_completely(server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour = behaviour
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert not (tmp_path / ".state" / "download" / "test").exists(), "the unfinished download is deleted"


def test_a_broken_transfer_resumes_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.behaviour = "breaks once"
    get(server, tmp_path)
    first, second = server.requests
    assert first is None
    assert second is not None
    assert 0 <= len(PACKED) // 2 - int(second[6:-1]) < transfer.CHUNK


def test_the_next_run_resumes_where_the_last_one_stopped(server: Server, tmp_path: Path) -> None:
    server.behaviour = "breaks"
    with pytest.raises(StageError, match="the connection failed or broke off"):
        get(server, tmp_path)
    have = (tmp_path / ".state" / "download" / "test" / "pictures.gz.part").stat().st_size
    assert 0 < have < len(PACKED)
    server.behaviour, server.requests = "good", []
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [f"bytes={have}-"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("missing", "the server answered 404"),
        ("busy", "the server answered 503"),
        ("page", "got a web page instead of the file"),
        ("other", "the SHA-256 is"),
        ("torn gzip", "incomplete or not gzip"),
        ("bomb", f"more than {len(CONTENT):,} bytes"),
    ],
)
def test_a_bad_source_is_reported_with_the_reason_and_leaves_no_file(
    server: Server, tmp_path: Path, behaviour: str, reason: str
) -> None:
    server.behaviour = behaviour
    with pytest.raises(StageError) as caught:
        get(server, tmp_path)
    message = str(caught.value)
    assert f"{server.address}: pictures.gz: " in message
    assert reason in message
    assert "To place the files by hand: get pictures[.gz] (see http://home.invalid)" in message
    assert not (tmp_path / "out" / "pictures").exists()


def test_a_web_page_is_not_resumed(server: Server, tmp_path: Path) -> None:
    server.behaviour = "page"
    with pytest.raises(StageError):
        get(server, tmp_path)
    server.behaviour, server.requests = "good", []
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None]


@pytest.mark.parametrize("packed", [True, False])
def test_files_placed_by_hand_come_first(server: Server, tmp_path: Path, packed: bool) -> None:
    place = tmp_path / "manual" / "test"
    place.mkdir(parents=True)
    (place / ("pictures.gz" if packed else "pictures")).write_bytes(PACKED if packed else CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert not server.requests


def test_the_files_of_an_installed_debian_package_are_used(tmp_path: Path) -> None:
    place = tmp_path / "usr"
    place.mkdir()
    (place / "pictures.gz").write_bytes(PACKED)
    (tmp_path / "out").mkdir()
    origin, _ = named.fetch("test", data_set("", DebianPackage("some-set", str(place))), tmp_path / "out")
    assert origin == "Debian package some-set"
    assert (tmp_path / "out" / "pictures").read_bytes() == CONTENT


# An apt-get and a dpkg-deb whose packages have one file each, named after the package.
FAKE_APT = """#!/bin/sh
echo "$0 $*" >> "$(dirname "$0")/calls"
for word; do
  case "$word" in update|-*|*=*) ;; download) down=1 ;; *) [ -z "$down" ] || touch "${word}_1_all.deb" ;; esac
done
"""
FAKE_DPKG_DEB = """#!/bin/sh
name=$(basename "$2" _1_all.deb)
mkdir -p "$3/usr/share/$name"
printf "the file of %s" "$name" > "$3/usr/share/$name/$name.txt"
"""


def write_programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """Put programs of these names (_ for -) into a folder at the front of the path."""
    folder.mkdir(exist_ok=True)
    for name, script in programs.items():
        (folder / name.replace("_", "-")).write_text(script)
        (folder / name.replace("_", "-")).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def of_packages(*names: str) -> DataSet:
    """A data set with one file in each of these packages."""
    files = tuple(
        File(f"{name}.txt", sha256=hashlib.sha256(f"the file of {name}".encode()).hexdigest()) for name in names
    )
    packages = tuple(DebianPackage(name, f"/usr/share/{name}") for name in names)
    return dataclasses.replace(data_set("", *packages), files=files)


def test_the_files_of_several_debian_packages_are_downloaded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_programs(tmp_path / "bin", monkeypatch, apt_get=FAKE_APT, dpkg_deb=FAKE_DPKG_DEB)
    (tmp_path / "out").mkdir()
    origin, pinned = named.fetch("test", of_packages("test-a", "test-b"), tmp_path / "out", tmp_path / "manual")
    assert (origin, pinned) == ("Debian packages test-a and test-b", True)
    assert (tmp_path / "out" / "test-a.txt").read_text() == "the file of test-a"
    assert (tmp_path / "out" / "test-b.txt").read_text() == "the file of test-b"
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert [call.rpartition("-q")[2].strip() for call in calls] == ["q update", "download test-a test-b"]
    assert not (tmp_path / ".state" / "apt").exists()


@pytest.mark.parametrize("others", [(), ("a file of another package",)])
def test_only_the_packages_whose_files_are_not_installed_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_programs(tmp_path / "bin", monkeypatch, apt_get=FAKE_APT, dpkg_deb=FAKE_DPKG_DEB)
    places = [tmp_path / "usr/share" / name for name in ("test-a", "test-b")]
    for place, names in zip(places, (("test-a.txt",), others), strict=True):
        place.mkdir(parents=True)
        for name in names:
            (place / name).touch()
    packages = [DebianPackage(place.name, str(place)) for place in places]
    with debian.package_folders(packages, ["test-a.txt", "test-b.txt"]) as (first, second):
        assert first == places[0]
        assert second != places[1]
    assert (tmp_path / "bin" / "calls").read_text().endswith("download test-b\n")


def test_a_debian_package_of_another_version_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_programs(tmp_path / "bin", monkeypatch, apt_get=FAKE_APT, dpkg_deb=FAKE_DPKG_DEB)
    dataset = of_packages("test-a")
    dataset = dataclasses.replace(dataset, files=(File("test-a.txt", sha256="0" * 64),))
    (tmp_path / "out").mkdir()
    with pytest.raises(StageError, match=r"test-a\.txt: the SHA-256 is .*, expected 0+: another version, or damaged"):
        named.fetch("test", dataset, tmp_path / "out", tmp_path / "manual")


# `printf 'a build' | git hash-object --stdin`
GIT_BLOB = "c1c35f33bf36094f26c642958006ce89803e185d"


@pytest.mark.parametrize(("content", "accepted"), [(b"a build", True), (b"Debian's", True), (b"another", False)])
def test_either_build_of_a_file_is_accepted_and_no_other(
    server: Server, tmp_path: Path, content: bytes, accepted: bool
) -> None:
    server.body = content
    file = File("font.ttf", sha256=hashlib.sha256(b"Debian's").hexdigest(), git_blob=GIT_BLOB)
    if accepted:
        assert get_file(tmp_path, with_file(server.address, file)).read_bytes() == content
    else:
        with pytest.raises(StageError, match=r"font\.ttf: the SHA-256 is"):
            get_file(tmp_path, with_file(server.address, file))


def test_an_error_lists_every_place_that_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    (tmp_path / "out").mkdir()
    dataset = data_set("http://does-not-resolve.invalid", DebianPackage("some-set", str(tmp_path / "none")))
    with pytest.raises(StageError) as caught:
        named.fetch("test", dataset, tmp_path / "out", tmp_path / "manual")
    lines = str(caught.value).splitlines()
    assert lines[0] == "Test set could not be downloaded. Tried:"
    assert "pictures[.gz] is missing" in lines[1]
    assert "pictures.gz: the address does not resolve (no network?) (tries: 1)" in lines[2]
    assert "Debian package some-set: some-set is not installed, and apt-get is not available" in lines[3]
    assert str(tmp_path / "manual" / "test") in lines[5]


def test_apts_error_message_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name, body in (
        ("apt-get", "echo 'W: hm' >&2; echo 'E: Unable to locate package' >&2; exit 100"),
        ("dpkg-deb", ""),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with (
        pytest.raises(transfer.SourceError, match="apt-get failed: E: Unable to locate package"),
        debian.package_folders([DebianPackage("some-set", str(tmp_path / "none"))], ["pictures"]),
    ):
        pass
    assert not (tmp_path / ".state" / "apt").exists()


def test_a_complete_part_of_an_earlier_run_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    parts = tmp_path / ".state" / "download" / "test"
    parts.mkdir(parents=True)
    (parts / "pictures.gz.part").write_bytes(PACKED)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(PACKED)}-"], "the server answers 416, and nothing is downloaded again"


def test_an_unfinished_download_is_deleted_when_another_source_has_the_files(server: Server, tmp_path: Path) -> None:
    server.behaviour = "breaks"
    with pytest.raises(StageError):
        get(server, tmp_path)
    place = tmp_path / "manual" / "test"
    place.mkdir(parents=True)
    (place / "pictures").write_bytes(CONTENT)
    get(server, tmp_path)
    assert not (tmp_path / ".state" / "download" / "test").exists()


def test_each_retry_is_printed(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server.behaviour = "busy once"
    get(server, tmp_path)
    assert "pictures.gz: the server answered 503 Service Unavailable; trying again in 1 s" in capfd.readouterr().err


def test_ctrl_c_keeps_the_received_bytes_for_the_next_run_and_leaves_no_half_written_file(
    server: Server, tmp_path: Path
) -> None:
    server.behaviour = "stalls"
    write_project(tmp_path, "test", data_set(server.address))
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_CATALOG],
        cwd=tmp_path,
        env=Project(tmp_path).environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    part = tmp_path / ".state/download/test/pictures.gz.part"
    while not (part.exists() and part.stat().st_size) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    server.stalled.set()
    assert process.returncode == 130, stderr
    assert "download: interrupted; no half-written file is left" in stderr
    assert not (tmp_path / "data").exists()
    assert part.stat().st_size > 0


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"one"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, '"one"'),
        ({"ETag": 'W/"one"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, "Sat, 01 Jan 2022 00:00:00 GMT"),
        ({"ETag": 'W/"one"'}, None),
    ],
    ids=["strong ETag", "date", "weak ETag only"],
)
def test_a_download_is_resumed_on_the_condition_that_the_file_has_not_changed(
    server: Server, tmp_path: Path, headers: dict[str, str], condition: str | None
) -> None:
    server.headers = headers
    have = broken_off(server, tmp_path, data_set(server.address))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert (server.requests, server.conditions) == ([f"bytes={have}-"], [condition])


@pytest.mark.parametrize("behaviour", ["good", "no conditions"])
def test_a_file_that_changed_on_the_server_is_downloaded_from_the_beginning(
    server: Server, tmp_path: Path, behaviour: str
) -> None:
    dataset = with_file(server.address, File("pictures"))  # without a hash, which would reveal the change
    server.headers = {"ETag": '"one"'}
    assert broken_off(server, tmp_path, dataset)
    server.headers, server.body = {"ETag": '"two"'}, PACKED[::-1]
    server.behaviour = behaviour
    assert get_file(tmp_path, dataset).read_bytes() == server.body


def test_a_part_of_unknown_version_is_not_resumed_without_a_known_hash(server: Server, tmp_path: Path) -> None:
    dataset = with_file(server.address, File("pictures"))
    assert broken_off(server, tmp_path, dataset)
    server.body = PACKED[::-1]
    assert get_file(tmp_path, dataset).read_bytes() == server.body
    assert server.requests == [None]


def test_a_part_of_another_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    assert broken_off(server, tmp_path, data_set(server.address))
    server.body = gzip.compress(CONTENT, compresslevel=1)  # the same content, packed differently, and no ETag
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] is None


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_an_archive_sent_with_a_content_encoding_stays_packed(server: Server, tmp_path: Path, encoding: str) -> None:
    server.headers = {"Content-Encoding": encoding}
    dataset = with_file(server.address, File("pictures.tgz", len(PACKED), hashlib.sha256(PACKED).hexdigest()))
    assert get_file(tmp_path, dataset).read_bytes() == PACKED


def test_a_gzip_file_without_unpack_stays_packed(server: Server, tmp_path: Path) -> None:
    dataset = with_file(server.address, File("pictures.gz", len(PACKED), hashlib.sha256(PACKED).hexdigest()))
    assert get_file(tmp_path, dataset).read_bytes() == PACKED
    assert server.paths == ["/pictures.gz"]


@pytest.mark.parametrize("size", [None, len(PACKED)])
@pytest.mark.parametrize("digest", ["", hashlib.md5(PACKED, usedforsecurity=False).hexdigest()])
def test_a_file_of_the_known_size_and_hash_is_accepted(
    server: Server, tmp_path: Path, size: int | None, digest: str
) -> None:
    dataset = with_file(server.address, File("pictures.gz", size, md5=digest))
    assert get_file(tmp_path, dataset).read_bytes() == PACKED


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (File("pictures.gz", md5="0" * 32), f"the MD5 is {hashlib.md5(PACKED, usedforsecurity=False).hexdigest()}"),
        (File("pictures.gz", sha256="0" * 64), f"the SHA-256 is {hashlib.sha256(PACKED).hexdigest()}"),
        (File("pictures.gz", len(PACKED) + 1), f"{len(PACKED):,} bytes, expected {len(PACKED) + 1:,}"),
        (File("pictures.gz", len(PACKED) - 1), f"more than {len(PACKED) - 1:,} bytes"),
    ],
    ids=["MD5", "SHA-256", "too short", "too long"],
)
def test_a_file_of_another_size_or_hash_is_rejected_with_the_reason(
    server: Server, tmp_path: Path, file: File, reason: str
) -> None:
    with pytest.raises(StageError, match=re.escape(f"pictures.gz: {reason}")):
        get_file(tmp_path, with_file(server.address, file))
    assert not list((tmp_path / "out").iterdir())


def test_a_web_page_is_rejected_without_a_known_size_or_hash(server: Server, tmp_path: Path) -> None:
    server.behaviour = "page"
    with pytest.raises(StageError, match="got a web page instead of the file"):
        get_file(tmp_path, with_file(server.address, File("pictures.zip")))


def own_addresses(*addresses: str) -> DataSet:
    """A data set with one file that has its own addresses."""
    return with_file("", File("pictures.gz", sha256=hashlib.sha256(PACKED).hexdigest(), addresses=addresses))


def test_a_files_own_addresses_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    dataset = own_addresses("http://does-not-resolve.invalid/a?b=c", f"{server.address}/download?id=1&confirm=t")
    assert get_file(tmp_path, dataset).read_bytes() == PACKED
    assert server.paths == ["/download?id=1&confirm=t"]


def test_of_a_files_own_addresses_the_first_good_one_is_used(server: Server, tmp_path: Path) -> None:
    get_file(tmp_path, own_addresses(f"{server.address}/one", f"{server.address}/two"))
    assert server.paths == ["/one"]


def test_a_files_own_addresses_are_reported_as_one_source(server: Server, tmp_path: Path) -> None:
    server.behaviour = "missing"
    with pytest.raises(StageError, match=r"the files' own addresses: pictures\.gz: the server answered 404"):
        get_file(tmp_path, own_addresses(f"{server.address}/one", f"{server.address}/two"))
    assert server.paths == ["/one", "/two"]


@pytest.mark.parametrize("address", ["http://", "http://a..b/", "http://[::1/"])
def test_an_invalid_address_is_tried_once(server: Server, tmp_path: Path, address: str) -> None:
    with pytest.raises(StageError, match=r"invalid address: .*\(tries: 1\)"):
        get_file(tmp_path, own_addresses(address))


CELEBA = {"img_align_celeba.zip": PACKED, "list_attr_celeba.txt": b"1\nSmiling\n", "list_eval_partition.txt": b"a 0\n"}


def write_celeba(folder: Path) -> None:
    """Write a project with a CelebA of a few bytes, and an address that does not resolve."""
    files = tuple(
        File(name, md5=hashlib.md5(content, usedforsecurity=False).hexdigest(), addresses=("http://home.invalid/x",))
        for name, content in CELEBA.items()
    )
    write_project(folder, "celeba", dataclasses.replace(catalog.load()["celeba"], files=files))


def test_celeba_placed_by_hand_is_used(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    (tmp_path / "data" / "manual" / "celeba").mkdir(parents=True)
    for name, content in CELEBA.items():
        (tmp_path / "data" / "manual" / "celeba" / name).write_bytes(content)
    result = run_with_catalog(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "from data/manual/celeba" in result.stderr
    facts = json.loads((tmp_path / "data" / "raw" / "source.json").read_text())
    assert facts["format"] == "celeba"
    assert {file["name"]: file["sha256"] for file in facts["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in CELEBA.items()
    }


LISTS = {f"list_{name}.csv": f"image_id,{name}\n000001.jpg,1\n" for name in ("attr_celeba", "eval_partition")}


def write_kaggle(folder: Path, images: int, files: dict[str, str], archive: str = "archive.zip") -> None:
    """Write a project with Kaggle's CelebA of some images placed by hand: `files` are in the zip."""
    write_project(folder, "celeba", dataclasses.replace(catalog.load()["celeba"], images=3))
    manual = folder / "data" / "manual" / "celeba"
    manual.mkdir(parents=True)
    with zipfile.ZipFile(manual / archive, "w") as out:
        for i in range(images):
            out.writestr(f"img_align_celeba/img_align_celeba/{i:06d}.jpg", b"x")
        for name, text in files.items():
            out.writestr(name, text)


@pytest.mark.parametrize("archive", ["img_align_celeba.zip", "archive.zip"])
@pytest.mark.parametrize("beside", [True, False])
def test_celeba_as_kaggle_has_it_can_be_placed_by_hand(tmp_path: Path, archive: str, beside: bool) -> None:
    write_kaggle(tmp_path, 3, {} if beside else LISTS, archive)
    for name, text in (LISTS if beside else {}).items():
        (tmp_path / "data" / "manual" / "celeba" / name).write_text(text)
    result = run_with_catalog(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "from data/manual/celeba, as Kaggle has it" in result.stderr
    assert "dvc.lock records the hashes" in result.stderr
    raw = tmp_path / "data" / "raw"
    assert {path.name for path in raw.iterdir()} == {*CELEBA, "source.json"}
    assert (raw / "list_attr_celeba.txt").read_text() == LISTS["list_attr_celeba.csv"]


@pytest.mark.parametrize(
    ("images", "files", "complaint"),
    [
        (2, LISTS, "as Kaggle has it: no zip of 3 pictures there"),
        (3, {"list_attr_celeba.csv": ""}, "list_eval_partition.csv is neither there nor in archive.zip"),
    ],
)
def test_what_lacks_in_kaggles_celeba_is_named(
    tmp_path: Path, images: int, files: dict[str, str], complaint: str
) -> None:
    write_kaggle(tmp_path, images, files)
    entry = json.loads((tmp_path / "catalog.yaml").read_text())
    for file in entry["celeba"]["files"]:
        file["addresses"] = ["http://home.invalid/x"]
    (tmp_path / "catalog.yaml").write_text(json.dumps(entry))
    result = run_with_catalog(tmp_path)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert not (tmp_path / "data" / "raw").exists()


def test_celeba_without_an_address_that_works_gives_manual_instructions(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    result = run_with_catalog(tmp_path)
    assert result.returncode == 1
    assert (
        f"get {', '.join(CELEBA)}, or the zip and the CSV files of Kaggle (see https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)"
        in result.stderr
    )
    assert "put them into data/manual/celeba/ and run the same command again" in result.stderr
    assert not (tmp_path / "data").exists()
