"""make publish: a team or a course reads data and models from a static web server, byte for byte."""

import shutil
from pathlib import Path

import pytest

from tests import servers
from tests.conftest import Clone, contents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_clones_get_every_published_byte_from_a_static_web_server(quick_run: Clone, tmp_path: Path) -> None:
    clone = quick_run.copy(tmp_path / "project")
    public = tmp_path / "public"
    public.mkdir()
    with servers.http(public, tmp_path / "http.log") as address:
        output = clone.output("make", "publish", f"REMOTE={public}", f"READ={address}")
        assert "Licence: MIT." in output, "publishing names the terms of the data"
        assert f"An empty clone got every byte from {address} with `dvc pull` and with `dvc repro --pull`" in output
        assert clone.changed() == [".dvc/config"]
        assert str(public) not in (clone.folder / ".dvc/config").read_text(), "others cannot write, and need no path"
        clone.commit("Published")
        reader = clone.git_clone(tmp_path / "reader")
        reader.output("dvc", "pull")
        assert contents(reader.folder) == contents(clone.folder)
        other = clone.git_clone(tmp_path / "other")
        assert "Running stage" not in other.output("dvc", "repro", "--pull")
        assert contents(other.folder) == contents(clone.folder)
        assert clone.output("dvc", "push") == "Everything is up to date.\n", "the publisher still pushes to the folder"


def test_only_the_run_cache_of_the_published_revision_is_pushed_with_its_results(
    quick_run: Clone, tmp_path: Path
) -> None:
    clone, public = quick_run.copy(tmp_path / "project"), tmp_path / "public"
    clone.edit("params.yaml", '  title: ""', "  title: Private")
    assert "Running stage 'download'" in clone.output("dvc", "repro", "download")
    clone.git("restore", ".")
    cached = "".join(path.read_text() for path in (clone.folder / ".dvc/cache/runs").glob("??/*/*"))
    assert "title: Private\n" in cached
    clone.output("make", "publish", f"REMOTE={public}")
    clone.commit("Published")
    runs = "".join(path.read_text() for path in (public / "runs").glob("??/*/*"))
    assert "stages.train" in runs
    assert "title: Private\n" not in runs
    reader = clone.git_clone(tmp_path / "reader")
    reader.git("rm", "-rq", "reports", "dvc.lock")
    output = reader.output("dvc", "repro", "--pull", "evaluate")
    assert "Running stage" not in output, "the run cache has everything that dvc.lock and reports/ had"
    assert (reader.folder / "reports/metrics.json").read_bytes() == (clone.folder / "reports/metrics.json").read_bytes()


def test_a_damaged_upload_is_not_published(quick_run: Clone, tmp_path: Path) -> None:
    clone, public = quick_run.copy(tmp_path / "project"), tmp_path / "public"
    clone.output("dvc", "remote", "add", "--local", "team", str(public))
    clone.output("dvc", "push", "-r", "team")
    victim = max((path for path in public.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    result = clone.run("make", "publish", "REMOTE=team")
    assert result.returncode != 0
    assert "an empty clone cannot read everything" in result.stderr
    assert clone.changed() == []


def test_stale_results_are_not_published(quick_run: Clone, tmp_path: Path) -> None:
    clone = quick_run.copy(tmp_path / "project")
    clone.edit("params.yaml", "  title: DCGAN", "  title: Mine")
    clone.commit("Only the params")
    result = clone.run("make", "publish", f"REMOTE={tmp_path}/public")
    assert result.returncode != 0
    assert "error: HEAD: make fresh fails in a clone of it" in result.stderr
    assert not (tmp_path / "public").exists()


def test_a_publisher_without_the_files_of_an_old_tag_is_told_how_to_make_them(quick_run: Clone, tmp_path: Path) -> None:
    clone = quick_run.copy(tmp_path / "project")
    clone.git("tag", "v1")
    shutil.rmtree(clone.folder / ".dvc/cache/files")
    result = clone.run("make", "publish", f"REMOTE={tmp_path}/public", "REV=v1")
    assert result.returncode != 0
    assert "error: v1: DVC's cache lacks data/raw, data/prepared" in result.stderr
