"""tools/mend.py: what a killed DVC leaves half-written is mended, and nothing else is touched."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.lock import make_lock

from stages.errors import StageError
from tests.conftest import dvc, git
from tests.git_project import commit
from tools import dvc_files, mend
from tools.doctor import finding
from tools.doctor import project as checks

HERE = Path()
LOCK = Path("dvc.lock")
RWLOCK = Path(".dvc/tmp/rwlock")


def mended() -> list[str]:
    """The lines of a run in the current folder."""
    return list(mend.mend(HERE))


def hashes() -> Path:
    """The folder of DVC's database of known hashes."""
    with contextlib.closing(dvc_files.open_repo(HERE)) as repo:
        return Path(repo.site_cache_dir)


@pytest.fixture
def project(git_project: Path) -> Iterator[Path]:
    """The committed project of one stage, which is intact."""
    assert mended() == []
    yield git_project
    assert mended() == [], "nothing remains to be mended"


@pytest.mark.parametrize("size", [0, 1, 13, 40, 100, -1])
def test_a_dvc_lock_that_was_cut_off_is_restored_from_git(project: Path, size: int) -> None:
    whole = LOCK.read_bytes()
    LOCK.write_bytes(whole[:size])
    (line,) = mended()
    assert line.startswith("dvc.lock: damaged (")
    assert "; restored from Git; " in line
    assert LOCK.read_bytes() == whole
    assert Path(".state/damaged/dvc.lock").read_bytes() == whole[:size], "the damaged file is kept"


@pytest.mark.parametrize(
    ("content", "damage"),
    [
        (b"\n\n", "empty"),
        (b"\0" * 500, "cut off"),
        (b"\xff\xfe\n", "not valid YAML"),
        (b"stages: {\n", "not valid YAML"),
        (b"- 1\n", "incomplete: "),
        (b"stages: {}\n", "incomplete: required key not provided @ data['schema']"),
        (b"schema: '2.0'\nstages:\n  judge:\n", "incomplete: "),
    ],
)
def test_a_dvc_lock_that_dvc_cannot_read_is_restored(project: Path, content: bytes, damage: str) -> None:
    whole = LOCK.read_bytes()
    LOCK.write_bytes(content)
    (line,) = mended()
    assert f"dvc.lock: damaged ({damage}" in line
    assert LOCK.read_bytes() == whole


def test_the_newest_intact_version_is_restored_and_another_pipelines_lock_too(project: Path) -> None:
    Path("studies").mkdir()
    other = Path("studies/dvc.lock")
    other.write_text("schema: '2.0'\n")
    commit(project)
    other.write_text("schema: '2.0'\nstages: {}\n")
    git(project, "add", "studies")
    staged = other.read_bytes()
    other.write_bytes(b"")
    mended()
    assert other.read_bytes() == staged
    (unfinished,) = checks.unfinished(finding.Project(project))
    assert unfinished.text == "unfinished: none", "the kept file is no unfinished run"
    whole = LOCK.read_bytes()
    for content in (b"", b"{"):
        LOCK.write_bytes(content)
        commit(project)
    git(project, "rm", "-q", "dvc.lock")
    git(project, "commit", "-q", "-m", "removed")
    LOCK.write_bytes(b"")
    mended()
    assert LOCK.read_bytes() == whole, "the version before the damaged ones was committed"


@pytest.mark.parametrize("in_git", [True, False])
def test_a_damaged_dvc_lock_without_an_intact_version_is_removed(project: Path, in_git: bool) -> None:
    if in_git:
        git(project, "update-ref", "-d", "HEAD")  # no commit yet
        git(project, "rm", "-q", "--cached", "dvc.lock")
    else:
        Path(".git").rename("no-git")
        Path(".dvc/config").write_text("[core]\nno_scm = true\n")
    LOCK.write_bytes(b"")
    (line,) = mended()
    assert "Git has no intact version, so it was removed" in line
    assert not LOCK.exists()


def test_conflict_markers_that_were_committed_are_damage(project: Path) -> None:
    whole = LOCK.read_bytes()
    LOCK.write_bytes(b"schema: '2.0'\n<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> other\n")
    commit(project)
    (line,) = mended()
    assert line.startswith("dvc.lock: damaged (merge conflict); restored from Git; ")
    assert LOCK.read_bytes() == whole


def merge(mine: dict[str, str], theirs: dict[str, str]) -> None:
    """Merge a branch with other texts in files of these names; the merge must fail."""
    git(HERE, "branch", "other")
    for branch, texts in (("other", theirs), ("main", mine)):
        git(HERE, "checkout", "-q", branch)
        for name, text in texts.items():
            Path(name).write_text(text)
        commit(HERE)
    with pytest.raises(subprocess.CalledProcessError):
        git(HERE, "merge", "other")


def test_the_conflicts_of_a_merge_are_named_with_commands_that_resolve_them(git_project: Path) -> None:
    lock = LOCK.read_text()
    merge(
        {"params.yaml": "report: {title: 2}\n", "dvc.lock": lock.replace("title: 1", "title: 2")},
        {"params.yaml": "report: {title: 3}\n", "dvc.lock": lock.replace("title: 1", "title: 3"), "reports/new": ""},
    )
    with pytest.raises(StageError, match=r"Git could not merge params\.yaml, dvc\.lock; edit params\.yaml") as error:
        mended()
    resolve = str(error.value).partition("results: `")[2].partition("`")[0]
    subprocess.run(["bash", "-ec", f"git checkout -q --theirs params.yaml; git add params.yaml; {resolve}"], check=True)
    assert git(HERE, "status", "--porcelain") == "M  params.yaml", "this branch's results, and nothing of the other's"
    assert mended() == []
    dvc(HERE, "repro")
    assert Path("reports/metrics.json").read_text() == "report: {title: 3}\n"
    commit(HERE)
    assert git(HERE, "log", "-1", "--format=%P").count(" ") == 1, "the commit ends the merge"


def test_a_picture_that_one_side_deleted_is_resolved_like_the_others(git_project: Path) -> None:
    for name in ("a", "b"):
        Path(f"reports/{name}.png").write_text("before")
    commit(HERE)
    merge({"reports/a.png": "mine", "reports/b.png": "mine"}, {"reports/a.png": "theirs", "reports/b.png": "theirs"})
    git(HERE, "merge", "--abort")
    git(HERE, "rm", "-q", "reports/b.png")
    git(HERE, "commit", "-q", "-m", "without b")
    with pytest.raises(subprocess.CalledProcessError):
        git(HERE, "merge", "other")
    with pytest.raises(StageError, match=r"Git could not merge reports/a\.png, reports/b\.png; take") as error:
        mended()
    resolve = str(error.value).partition("results: `")[2].partition("`")[0]
    subprocess.run(["bash", "-ec", resolve], check=True)
    assert git(HERE, "status", "--porcelain") == ""


@pytest.mark.parametrize("content", [b"", b'{"write": {"', b"\xff", b"[]", b'{"write": {"a": 1}}'])
def test_a_damaged_list_of_running_processes_is_removed(project: Path, content: bytes) -> None:
    RWLOCK.write_bytes(content)
    (line,) = mended()
    assert line.startswith(".dvc/tmp/rwlock: damaged (")
    assert not RWLOCK.exists()


def test_a_lock_is_removed_if_another_program_has_the_number_of_the_killed_process(project: Path) -> None:
    program = subprocess.Popen([sys.executable, "-c", "input()", "dvc"], stdin=subprocess.PIPE)
    for process, kept in ((program.pid, True), (os.getppid(), False)):
        RWLOCK.write_text(json.dumps({"write": {}, "read": {"models": [{"pid": process, "cmd": "dvc repro"}]}}))
        assert mended() == []
        assert RWLOCK.exists() == kept
    program.communicate()


def test_nothing_is_touched_while_dvc_writes(project: Path) -> None:
    RWLOCK.write_bytes(b"")
    holder = (
        "import sys; from dvc.lock import make_lock; lock = make_lock('.dvc/tmp/lock'); lock.lock(); print(); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert mended() == []
    assert RWLOCK.read_bytes() == b""
    process.communicate(b"\n")
    assert len(mended()) == 1
    with make_lock(".dvc/tmp/lock"):
        pass  # the lock is free again


@pytest.mark.parametrize("name", ["links", "hashes/local"])
@pytest.mark.parametrize("share", [0.0, 0.5], ids=["noise", "half"])
def test_a_damaged_database_of_hashes_is_replaced(project: Path, name: str, share: float) -> None:
    database = hashes() / name / "cache.db"
    content = database.read_bytes()
    database.write_bytes(content[: int(share * len(content))] or b"noise" * 1000)
    (line,) = mended()
    assert line.startswith("DVC's database of known hashes is damaged (")
    assert hashes() != database.parents[len(Path(name).parts)]
    dvc(project, "repro")


def test_half_written_entries_of_the_run_cache_are_removed(project: Path) -> None:
    (entry,) = Path(".dvc/cache/runs").glob("??/*/*")
    content = entry.read_bytes()
    entry.with_name(".abc.tmp").write_bytes(content[:20])
    entry.with_name("0123").touch()
    alone = Path(f".dvc/cache/runs/ab/{'ab' * 32}")
    alone.mkdir(parents=True)
    (alone / ".def.tmp").touch()
    assert [line.rpartition(": ")[2] for line in mended()] == ["half-written; removed"] * 4
    assert not alone.exists(), "DVC fails at an empty folder"
    assert list(entry.parent.iterdir()) == [entry]
    assert entry.read_bytes() == content
