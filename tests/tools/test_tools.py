"""The findings of `make doctor`, and the table of the dependencies' licences."""

import base64
import contextlib
import fcntl
import http.server
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tests.conftest import ROOT, dvc, git
from tests.git_project import run_tool
from tools import audit, dvc_files
from tools.doctor import __main__ as doctor
from tools.doctor import finding, machine, remotes, space
from tools.doctor import project as checks
from tools.doctor.finding import Check, Finding


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with this one's default params and lock, a cache, and a remote next to it. Tests copy it."""
    folder = tmp_path_factory.mktemp("original") / "project"
    folder.mkdir()
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "presets/default.yaml", folder / "params.yaml")
    (folder / "models").mkdir()
    (folder / "models/generator.keras").write_bytes(b"a model")
    (folder / ".gitignore").write_text("/models\n")
    git(folder, "init", "-q", "-b", "main")
    dvc(folder, "init")
    (folder / "dvc.yaml").write_text("stages: {all: {cmd: exit 1, outs: [models/generator.keras]}}")
    dvc(folder, "remote", "add", "-d", "shared", "../remote")
    dvc(folder, "commit", "-f")
    return folder


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    """A copy of the project that a test can change."""
    return Path(shutil.copytree(original, tmp_path / "project"))


def only(check: Check, folder: Path) -> Finding:
    """The single finding of a check."""
    (one,) = check(finding.Project(folder))
    return one


def test_the_tests_run_with_the_locked_packages() -> None:
    assert only(machine.python, ROOT).state == "ok"
    assert only(machine.packages, ROOT).state == "ok"


def test_another_python_and_other_packages_are_named_with_a_remedy(project: Path) -> None:
    lock = project / "requirements.lock"
    numpy = next(line for line in lock.read_text().splitlines() if line.startswith("numpy=="))
    lock.write_text(
        lock.read_text().replace(numpy, "numpy==1.0.0 \\") + "nonesuch==1.2 \\\nold==1 ; python_version < '3'\n"
    )
    packages = only(machine.packages, project)
    assert packages.state == "wrong"
    assert "(locked: 1.0.0), nonesuch missing (locked: 1.2)" in packages.text
    assert "old" not in packages.text, "its marker excludes this Python"
    assert "make setup" in packages.remedy
    (project / "pyproject.toml").write_text("[project]\nrequires-python = '>=3.99'\n")
    assert only(machine.python, project).state == "wrong"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "70,000 images at 32×32×1 float32: prepared 0.3 GB, downloaded 0.1 GB"),
        (
            {"dataset": {"source": "lsun_bedroom"}, "prepare": {"size": 64, "channels": 3, "dtype": "uint8"}},
            "3,033,342 images at 64×64×3 uint8: prepared 37.6 GB, downloaded unknown",
        ),
        (
            {"dataset": {"source": "https://example.org/faces.zip"}},
            "the space needed is known once data/prepared exists",
        ),
    ],
    ids=["default", "LSUN", "an address"],
)
def test_the_space_that_a_preset_needs_is_calculated(project: Path, changes: dict[str, dict], text: str) -> None:
    content = yaml.safe_load((project / "params.yaml").read_text())
    for section, values in changes.items():
        content[section] |= values
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    assert text in next(space.space(finding.Project(project))).text


def test_too_little_disk_space_is_reported_as_wrong(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_500_000_000))
    disk = next(space.space(finding.Project(project)))
    assert disk.state == "wrong"
    assert "1.5 GB free" in disk.text
    assert "dvc cache dir" in disk.remedy


def on_two_disks(
    project: Path, monkeypatch: pytest.MonkeyPatch, own: float, other: float, link: str = "copy"
) -> list[Finding]:
    """The findings about two disks, the second for DVC's cache, with this many free bytes each."""
    cache = project.parent / "larger"
    (project / ".dvc/config.local").write_text(f"[cache]\ndir = {cache}\ntype = {link}\n")
    disks = {project: space.Disk(1, int(own)), cache: space.Disk(2, int(other))}
    monkeypatch.setattr(space, "disk_of", disks.__getitem__)
    return [one for one in space.space(finding.Project(project)) if one.text.startswith("disk")]


def test_a_cache_on_another_disk_solves_the_lack_of_space_as_the_remedy_says(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "disk_of", lambda _: space.Disk(1, 1_500_000_000))
    alone = next(space.space(finding.Project(project)))
    assert (alone.state, "dvc cache dir --local" in alone.remedy) == ("wrong", True)
    both = on_two_disks(project, monkeypatch, 1.5e9, 1.5e9)
    assert [one.state for one in both] == ["ok", "ok"]
    assert f"disk of DVC's cache, {project.parent / 'larger'}: the same data; 1.3 GB more needed" in both[1].text


@pytest.mark.parametrize(
    ("own", "other", "states", "remedy"),
    [
        (1.2e9, 2e9, ["wrong", "ok"], "dvc config --local cache.type symlink"),
        (2e9, 1.2e9, ["ok", "wrong"], "free some space there"),
    ],
)
def test_each_of_two_disks_must_have_the_space_that_it_needs(
    project: Path, monkeypatch: pytest.MonkeyPatch, own: float, other: float, states: list[str], remedy: str
) -> None:
    both = on_two_disks(project, monkeypatch, own, other)
    assert [one.state for one in both] == states
    assert any(remedy in one.remedy for one in both)


def test_an_empty_cache_on_another_disk_needs_space_for_the_existing_data(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "data/prepared").mkdir(parents=True)
    with (project / "data/prepared/train.tfrecord").open("wb") as file:
        file.truncate(310_000_000)
    own, other = on_two_disks(project, monkeypatch, 2e9, 2e9)
    assert "1.0 GB more needed" in own.text
    assert "1.3 GB more needed" in other.text


def test_links_into_another_disk_need_room_for_one_stage_at_a_time(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = project.parent / "larger/files/md5"
    cache.mkdir(parents=True)
    assert on_two_disks(project, monkeypatch, 1.3e9, 2e9)[0].state == "wrong", "as copies"
    assert on_two_disks(project, monkeypatch, 1.3e9, 2e9, "symlink")[0].state == "ok"
    with (cache / "object").open("wb") as file:
        file.truncate(310_000_000)
    (project / "data/prepared").mkdir(parents=True)
    (project / "data/prepared/train.tfrecord").symlink_to(cache / "object")
    own, other = on_two_disks(project, monkeypatch, 2e9, 2e9, "symlink")
    assert "1.0 GB more needed" in own.text
    assert "1.0 GB more needed" in other.text


def test_copies_from_the_cache_are_noted_if_links_would_work(project: Path) -> None:
    *_, links = space.space(finding.Project(project))
    if links.text == "links: DVC uses reflink for files from its cache":
        return
    assert "dvc config --local cache.type" in links.remedy
    dvc(project, "config", "cache.type", "hardlink")
    *_, links = space.space(finding.Project(project))
    assert links == Finding("ok", "links: DVC uses hardlink for files from its cache")


def test_a_damaged_read_only_object_of_the_cache_is_named(project: Path) -> None:
    assert only(checks.cache, project).state == "ok"
    (kept,) = (path for path in (project / ".dvc/cache/files/md5").rglob("*") if path.is_file())
    kept.chmod(0o644)
    kept.write_bytes(b"a moddl")
    kept.chmod(0o444)
    damaged = only(checks.cache, project)
    assert damaged.state == "wrong"
    assert str(kept) in damaged.text
    assert f"rm -f {kept} && dvc pull" in damaged.remedy


def test_remedies_are_quoted_for_the_shell(original: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(original, tmp_path / "$(touch x) & it's a project"))
    (kept,) = (path for path in (project / ".dvc/cache/files/md5").rglob("*") if path.is_file())
    kept.chmod(0o644)
    kept.write_bytes(b"a moddl")
    assert shlex.split(only(checks.cache, project).remedy)[:4] == ["rm", "-f", str(kept), "&&"]
    lock = project / ".dvc/tmp/rwlock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("{")
    assert shlex.split(only(checks.locks, project).remedy) == ["rm", str(lock)]
    folder = project / ".state/train/0123456789abcdef"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    assert shlex.split(only(checks.unfinished, project).remedy) == ["rm", "-r", str(folder)]


def test_dvcs_locks_are_reported_as_held_left_over_or_damaged(project: Path) -> None:
    assert only(checks.locks, project).text == "locks: none"
    lock = project / ".dvc/tmp/rwlock"
    lock.parent.mkdir(exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", "input()", "dvc"], stdin=subprocess.PIPE)
    held = {"write": {"models": {"pid": process.pid, "cmd": "dvc repro"}}, "read": {}}
    lock.write_text(json.dumps(held))
    assert f"dvc repro (process {process.pid})" in only(checks.locks, project).text
    process.communicate()
    assert only(checks.locks, project).state == "note", "the next DVC process removes it"
    held["write"]["models"]["pid"] = os.getppid()
    lock.write_text(json.dumps(held))
    assert f"another program now has its number {os.getppid()}" in only(checks.locks, project).text
    for damaged in ('{"write": {', "", "[]"):
        lock.write_text(damaged)
        assert only(checks.locks, project) == Finding("wrong", only(checks.locks, project).text, f"rm {lock}")


def test_a_damaged_dvc_lock_and_a_damaged_run_are_named(project: Path) -> None:
    assert only(checks.pipeline, project).state == "ok"
    entry = project / f".dvc/cache/runs/ab/{'ab' * 32}/{'cd' * 32}"
    entry.parent.mkdir(parents=True)
    entry.write_text("cmd: exit 1\n")
    run = only(checks.pipeline, project)
    assert (run.state, run.remedy) == ("wrong", f"rm -rf {entry}")
    entry.unlink()
    empty = only(checks.pipeline, project)
    assert (empty.state, empty.remedy) == ("wrong", f"rm -rf {entry.parent}")
    entry.parent.rmdir()
    (project / "studies").mkdir()
    (project / "studies/dvc.lock").touch()
    assert only(checks.pipeline, project).text.startswith(
        f"pipeline: {project / 'studies/dvc.lock'} is damaged (empty)"
    )
    assert only(checks.pipeline, project).remedy.startswith("make repro   (restores it from Git")
    (project / "studies/dvc.lock").write_text("<<<<<<< HEAD\n")
    assert only(checks.pipeline, project).remedy.startswith("make repro   (names the files with conflicts")


def test_results_in_git_that_are_missing_or_damaged_are_named(git_project: Path) -> None:
    assert only(checks.pipeline, git_project).state == "ok"
    metrics = git_project / "reports/metrics.json"
    metrics.write_bytes(metrics.read_bytes()[:5])
    damaged = only(checks.pipeline, git_project)
    assert (damaged.state, damaged.text) == ("wrong", "pipeline: results were damaged or edited: reports/metrics.json")
    metrics.unlink()
    missing = only(checks.pipeline, git_project)
    assert missing.state == "note"
    assert missing.remedy.startswith("make repro")
    dvc(git_project, "repro")
    assert only(checks.pipeline, git_project).state == "ok"


def test_a_project_without_git_is_checked_too(git_project: Path) -> None:
    shutil.rmtree(git_project / ".git")
    (git_project / ".dvc/config.local").write_text("[core]\nno_scm = true\n")
    assert only(checks.pipeline, git_project).state == "ok"
    (git_project / "reports/metrics.json").unlink()
    assert only(checks.pipeline, git_project).state == "note"


def test_results_that_neither_git_nor_the_cache_has_may_be_missing(git_project: Path) -> None:
    metrics = git_project / "reports/metrics.json"
    metrics.unlink()
    assert only(checks.pipeline, git_project).state == "note"
    git(git_project, "rm", "-q", "--cached", "reports/metrics.json")
    (git_project / ".gitignore").write_text("/reports/metrics.json\n")
    assert only(checks.pipeline, git_project).state == "ok"


def test_a_damaged_database_of_hashes_is_one_finding_with_a_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(finding.Project(project).repo) as repo:
        database = Path(repo.site_cache_dir) / "hashes/local/cache.db"
    database.write_bytes(b"noise" * 1000)
    monkeypatch.setattr(doctor, "CHECKS", (space.space, checks.cache, checks.pipeline, checks.locks))
    damaged, locks = doctor.examine(project)
    assert damaged.state == "wrong"
    assert f"rm {project}/.dvc/tmp/btime" in damaged.text
    assert locks.text == "locks: none"
    (project / ".dvc/tmp/btime").unlink()
    assert {one.state for one in doctor.examine(project)} <= {"ok", "note"}


def test_unfinished_runs_are_waiting_abandoned_or_running(project: Path) -> None:
    assert only(checks.unfinished, project).text == "unfinished: none"
    folder = project / ".state/train/0123456789abcdef"
    folder.mkdir(parents=True)
    assert "waits for the same params" in only(checks.unfinished, project).text
    os.utime(folder, (0, 0))
    assert only(checks.unfinished, project).remedy == f"rm -r {folder}"
    staged = project / ".state/staging/1-x"  # process 1 always exists
    staged.mkdir(parents=True)
    locks = [folder.with_suffix(".lock"), staged.with_suffix(".lock")]
    for lock in locks:
        lock.write_text("999999999\n")  # a process of another container
    texts = [one.text for one in checks.unfinished(finding.Project(project))]
    assert ["from a stage that was killed" in text for text in texts] == [True, False]
    with locks[0].open() as one, locks[1].open() as two:
        for file in (one, two):
            fcntl.flock(file, fcntl.LOCK_EX)
        texts = [one.text for one in checks.unfinished(finding.Project(project))]
    assert [text.rpartition(": ")[2] for text in texts] == ["process 1 is running", "process 999999999 is running"]


@pytest.mark.parametrize(
    ("place", "command"), [("seeds/a", "make seeds"), ("studies/cell", "python -m studies repro studies/dvc.yaml")]
)
def test_an_unfinished_study_is_reported_with_its_command(project: Path, place: str, command: str) -> None:
    (project / ".state" / place).mkdir(parents=True)
    os.utime(project / ".state" / place, (0, 0))
    study = only(checks.unfinished, project)
    assert command in study.text
    assert study.remedy == "you can remove it while no study is running"


def test_reachable_remotes_and_an_unreachable_one_are_reported(project: Path) -> None:
    assert "empty so far" in only(remotes.remotes, project).text
    dvc(project, "push")
    assert only(remotes.remotes, project).remedy == "dvc remote modify shared verify true"
    dvc(project, "remote", "modify", "shared", "verify", "true")
    assert only(remotes.remotes, project).state == "ok"
    dvc(project, "remote", "add", "dead", "http://127.0.0.1:9/dcgan")
    dead = [one for one in remotes.remotes(finding.Project(project)) if "dead" in one.text]
    assert [one.state for one in dead] == ["wrong"]
    assert "docs/sharing.md" in dead[0].remedy


def test_results_that_neither_the_cache_nor_the_default_remote_has_are_noted_as_not_published(project: Path) -> None:
    shutil.rmtree(project / ".dvc/cache")
    one = only(remotes.remotes, project)
    assert one.text.endswith("lacks 1 of the 1 results that DVC's cache lacks: nobody has published them")
    assert one.remedy.startswith("make repro ")


def test_results_that_only_the_default_remote_has_are_noted_with_the_command_that_gets_them(project: Path) -> None:
    dvc(project, "push")
    shutil.rmtree(project / ".dvc/cache")
    assert only(remotes.remotes, project).remedy == "dvc pull"


def test_results_that_the_cache_lacks_are_noted_if_there_is_no_remote(project: Path) -> None:
    dvc(project, "remote", "remove", "shared")
    shutil.rmtree(project / ".dvc/cache")
    assert only(remotes.remotes, project).text == "remotes: none, and DVC's cache lacks results of this commit"


ADA = "Basic " + base64.b64encode(b"ada:pa55word").decode()


class Server(http.server.BaseHTTPRequestHandler):
    """A server that answers with the status at the start of the path, but with 200 to Ada or with her key."""

    def do_GET(self) -> None:
        """Send the status."""
        is_ada = self.headers["Authorization"] == ADA or self.headers["X-Key"] == "pa55word"
        self.send_response(200 if is_ada else int(self.path.split("/")[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """The address of such a server, without the scheme."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def remote_at(project: Path, url: str, **settings: str) -> Finding:
    """The finding of a remote at this address."""
    options = {"url": url, "verify": "true", **settings}
    lines = ["[core]", "remote = shared", "['remote \"shared\"']", *(f"{name} = {options[name]}" for name in options)]
    (project / ".dvc/config").write_text("\n".join(lines))
    return only(remotes.remotes, project)


@pytest.mark.parametrize(
    ("status", "state", "remedy"),
    [
        (200, "ok", ""),
        (404, "note", "dvc status --cloud -r shared"),
        (401, "wrong", "dvc remote modify --local shared auth basic"),
        (403, "wrong", "dvc remote modify --local shared auth basic"),
        (410, "wrong", "check the server and its address"),
        (503, "wrong", "check the server and its address"),
    ],
)
def test_the_finding_of_a_remote_follows_from_its_http_status(
    project: Path, address: str, status: int, state: str, remedy: str
) -> None:
    answer = remote_at(project, f"http://{address}/{status}/dcgan")
    assert answer.state == state
    assert answer.remedy.startswith(remedy)
    assert status == 200 or re.search(rf": (answers|reachable).*\b{status}\b", answer.text)


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "basic", "user": "ada", "password": "pa55word"},
        {"auth": "custom", "custom_auth_header": "X-Key", "password": "pa55word"},
    ],
    ids=["basic", "custom"],
)
def test_a_remote_is_checked_with_its_credentials(project: Path, address: str, settings: dict[str, str]) -> None:
    assert remote_at(project, f"http://{address}/401", **settings).state == "ok"
    assert remote_at(project, f"http://{address}/401", **{**settings, "password": "other"}).state == "wrong"


def test_a_remote_that_needs_a_password_prompt_is_not_checked(project: Path, address: str) -> None:
    settings = {"auth": "basic", "user": "ada", "ask_password": "true"}
    answer = remote_at(project, f"http://{address}/401", **settings)
    assert (answer.state, "not checked" in answer.text) == ("note", True)


def test_a_password_in_an_address_is_used_but_never_shown(
    project: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = remote_at(project, f"http://ada:pa55word@{address}/401")
    assert answer == Finding("ok", f"remote shared (the default), http://***@{address}/401: reachable")
    for url in ("http://ada:pa55word@127.0.0.1:9/x", "http://ada:a/pa55word@host/x"):
        answer = remote_at(project, url)
        assert answer.state == "wrong"
        assert "pa55word" not in str(answer)
    (project / ".dvc/config").write_text("url http://ada:pa55word@host\n")
    monkeypatch.setattr(doctor, "CHECKS", [remotes.remotes])
    (broken,) = doctor.examine(project)
    assert "url http://***@host" in broken.text


def test_a_remote_that_never_answers_does_not_keep_the_process_alive(project: Path) -> None:
    code = "from tools.doctor import __main__ as doctor, remotes; remotes.TIMEOUT = 1; "
    code += "doctor.CHECKS = (remotes.remotes,); doctor.main()"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name in ("one", "two"):
            dvc(project, "remote", "add", name, f"http://127.0.0.1:{silent.getsockname()[1]}/{name}")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        result = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=50
        )
    assert result.stdout.count("no answer within 1 s") == 2
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.slow
def test_the_hardware_that_tensorflow_uses_is_reported(project: Path) -> None:
    assert next(machine.accelerator(finding.Project(project))).state == "ok"


def test_a_check_that_fails_becomes_a_finding(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").write_text("dataset: {sorce: own}\nprepare: {}\n")
    failed = [one for one in doctor.examine(project) if one.text.startswith("space:")]
    assert [one.state for one in failed] == ["wrong"]
    assert "dataset.sorce: unknown key" in failed[0].text


def test_the_other_checks_run_after_one_that_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [check for check in doctor.CHECKS if check is not machine.accelerator])

    def wrong() -> dict[str, str]:
        return dict(one.text.split(": ", 1) for one in doctor.examine(project) if one.state == "wrong")

    assert wrong() == {}
    lock = (project / "requirements.lock").read_text()
    (project / "requirements.lock").write_text(lock + "<<<<<<< numpy==2\n")
    assert list(wrong()) == ["packages"]
    assert "InvalidRequirement" in wrong()["packages"]
    (project / "requirements.lock").write_text(lock)
    config = (project / ".dvc/config").read_text()
    (project / ".dvc/config").write_text("[core\n")
    assert list(wrong()) == ["space"], "the checks that fail for the same reason do not repeat it"
    assert "Invalid line ('[core')" in wrong()["space"]
    (project / ".dvc/config").write_text(config)
    shutil.rmtree(project / ".git")
    assert list(wrong()) == ["space"]
    assert "is not a git repository" in wrong()["space"]


def test_the_doctor_opens_the_dvc_repository_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Counted(Repo):
        def __init__(self, folder: str) -> None:
            opened.append(folder)
            super().__init__(folder)

    monkeypatch.setattr(dvc_files, "Repo", Counted)
    monkeypatch.setattr(doctor, "CHECKS", (space.space, checks.cache, remotes.remotes))
    assert all(one.state != "wrong" for one in doctor.examine(project))
    assert opened == [str(project)]


@pytest.mark.parametrize(
    "terminal", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=["Latin-1", "ASCII"]
)
def test_a_terminal_without_arrows_shows_all_findings(project: Path, tmp_path: Path, terminal: dict[str, str]) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first/tensorflow.py").write_text("raise ImportError('too slow for this test')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'first'}:{ROOT}", **terminal}
    command = [sys.executable, "-m", "tools.doctor"]
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, check=False)
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert b"\n       ? rm -rf .venv && make setup\n" in result.stdout, "the remedy of the last check"


@pytest.mark.parametrize("flush", [True, False])
def test_a_tool_ends_silently_when_its_pipe_is_closed(flush: bool) -> None:
    read, write = os.pipe()
    os.close(read)  # as `| head` does
    code = f"from stages.shell import run_command; run_command(lambda: print('a finding', flush={flush}))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")


def test_pip_progress_mentions_tensorflow_only_if_it_is_installed() -> None:
    for names, mentioned in (("flask, moto", False), ("numpy, tensorflow, flask", True)):
        target = f"progress: ; @echo 'Installing collected packages: {names}' | $(PIP_PROGRESS)"
        command = ["make", "--silent", f"--eval={target}", "progress"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("TensorFlow is large" in result.stdout) == mentioned


def test_cores_are_counted_on_systems_without_processor_affinity(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    answer = subprocess.CompletedProcess([], 0, "2.21.0\nA card\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert only(machine.accelerator, project).text.startswith("TensorFlow 2.21.0 sees A card, and 12 processor cores (")


def test_the_table_of_licences_has_every_locked_package_and_every_installed_packages_licence() -> None:
    rows = re.findall(r"^\| (\S+) \| (\d\S*) \| (.*) \|$", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE)
    packages = list(audit.locked(ROOT / "requirements.lock"))
    assert [(name, f"=={version}") for name, version, _ in rows] == [(p.name, str(p.specifier)) for p in packages]
    needed = {package.name for package in packages if package.marker is None}
    assert [name for name, _, licence in rows if name in needed and licence == "–"] == ["namex"]


def test_the_table_of_licences_is_utf_8_on_any_terminal() -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "tools.audit"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert result.stdout.decode() == audit.table(ROOT / "requirements.lock")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("compare", []),
        ("fresh", []),
        ("trends", []),
        ("whence", [str(ROOT / "docs/judges.png")]),
        ("publish_remote", ["/srv/dcgan"]),
    ],
)
def test_a_tool_that_needs_a_git_history_says_so(git_project: Path, tool: str, arguments: list[str]) -> None:
    shutil.rmtree(git_project / ".git")
    (git_project / ".dvc/config.local").write_text("[core]\nno_scm = true\n")
    result = run_tool(tool, git_project, *arguments)
    assert result.returncode == 1
    assert "run this in a clone" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("count", ["x", "0", "-1", "2.5", ""])
def test_an_invalid_number_of_seeds_is_rejected_before_anything_runs(count: str) -> None:
    command = ["make", "--no-print-directory", "--old-file=setup", "seeds", f"N={count}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: N: expected a number of seeds, such as N=3, got '{count}'\n")
