"""The doctor's findings, and the table of the dependencies' licences."""

import base64
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
from tools import audit, doctor


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a cache and a remote beside it, and the default params and the lock of this one. To be copied."""
    folder = tmp_path_factory.mktemp("made") / "project"
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
def project(made: Path, tmp_path: Path) -> Path:
    """The project, to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "project"))


def only(check: doctor.Check, folder: Path) -> doctor.Finding:
    """The one finding of a check."""
    (finding,) = check(doctor.Project(folder))
    return finding


def test_the_environment_of_the_tests_is_that_of_the_lock() -> None:
    assert only(doctor.python, ROOT).state == "ok"
    assert only(doctor.packages, ROOT).state == "ok"


def test_another_python_and_other_packages_are_named_with_what_to_do(project: Path) -> None:
    lock = project / "requirements.lock"
    numpy = next(line for line in lock.read_text().splitlines() if line.startswith("numpy=="))
    lock.write_text(
        lock.read_text().replace(numpy, "numpy==1.0.0 \\") + "nonesuch==1.2 \\\nold==1 ; python_version < '3'\n"
    )
    found = only(doctor.packages, project)
    assert found.state == "wrong"
    assert "(locked: 1.0.0), nonesuch missing (locked: 1.2)" in found.said
    assert "old" not in found.said, "it is not for this Python"
    assert "make setup" in found.remedy
    (project / "pyproject.toml").write_text("[project]\nrequires-python = '>=3.99'\n")
    assert only(doctor.python, project).state == "wrong"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "70,000 images at 32×32×1 float32: prepared 0.3 GB, as downloaded 0.1 GB"),
        (
            {"dataset": {"source": "lsun_bedroom"}, "prepare": {"size": 64, "channels": 3, "dtype": "uint8"}},
            "3,033,342 images at 64×64×3 uint8: prepared 37.6 GB, as downloaded not known",
        ),
        ({"dataset": {"source": "https://example.org/faces.zip"}}, "how much is needed is known once data/prepared"),
    ],
    ids=["default", "LSUN", "an address"],
)
def test_the_space_that_a_preset_needs_is_calculated(project: Path, changes: dict[str, dict], said: str) -> None:
    content = yaml.safe_load((project / "params.yaml").read_text())
    for section, values in changes.items():
        content[section] |= values
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    assert said in next(doctor.space(doctor.Project(project))).said


def test_too_little_space_is_wrong(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_500_000_000))
    found = next(doctor.space(doctor.Project(project)))
    assert found.state == "wrong"
    assert "1.5 GB are free" in found.said
    assert "dvc cache dir" in found.remedy


def on_two_disks(
    project: Path, monkeypatch: pytest.MonkeyPatch, here: float, beside: float, link: str = "copy"
) -> list[doctor.Finding]:
    """What is found of space with DVC's cache on a disk of its own, and this much free on either."""
    cache = project.parent / "larger"
    (project / ".dvc/config.local").write_text(f"[cache]\ndir = {cache}\ntype = {link}\n")
    disks = {project: doctor._Disk(1, int(here)), cache: doctor._Disk(2, int(beside))}
    monkeypatch.setattr(doctor, "_disk", disks.__getitem__)
    return [finding for finding in doctor.space(doctor.Project(project)) if finding.said.startswith("disk")]


def test_a_cache_on_another_disk_helps_as_the_remedy_says(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_disk", lambda _: doctor._Disk(1, 1_500_000_000))
    alone = next(doctor.space(doctor.Project(project)))
    assert (alone.state, "dvc cache dir --local" in alone.remedy) == ("wrong", True)
    both = on_two_disks(project, monkeypatch, 1.5e9, 1.5e9)
    assert [finding.state for finding in both] == ["ok", "ok"]
    assert f"disk of DVC's cache, {project.parent / 'larger'}: the same; 1.3 GB still to come" in both[1].said


@pytest.mark.parametrize(
    ("here", "beside", "states", "remedy"),
    [
        (1.2e9, 2e9, ["wrong", "ok"], "dvc config --local cache.type symlink"),
        (2e9, 1.2e9, ["ok", "wrong"], "make room there"),
    ],
)
def test_each_of_two_disks_is_held_to_its_own_need(
    project: Path, monkeypatch: pytest.MonkeyPatch, here: float, beside: float, states: list[str], remedy: str
) -> None:
    found = on_two_disks(project, monkeypatch, here, beside)
    assert [finding.state for finding in found] == states
    assert any(remedy in finding.remedy for finding in found)


def test_an_empty_cache_on_another_disk_needs_what_is_here_already(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "data/prepared").mkdir(parents=True)
    with (project / "data/prepared/train.tfrecord").open("wb") as file:
        file.truncate(310_000_000)
    here, beside = on_two_disks(project, monkeypatch, 2e9, 2e9)
    assert "1.0 GB still to come" in here.said
    assert "1.3 GB still to come" in beside.said


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
    here, beside = on_two_disks(project, monkeypatch, 2e9, 2e9, "symlink")
    assert "1.0 GB still to come" in here.said
    assert "1.0 GB still to come" in beside.said


def test_copies_out_of_the_cache_are_noted_where_links_would_work(project: Path) -> None:
    *_, links = doctor.space(doctor.Project(project))
    if links.said == "links: DVC takes files from its cache by reflink":
        return
    assert "dvc config --local cache.type" in links.remedy
    dvc(project, "config", "cache.type", "hardlink")
    *_, links = doctor.space(doctor.Project(project))
    assert links == doctor.Finding("ok", "links: DVC takes files from its cache by hardlink")


def test_a_damaged_object_of_the_cache_is_named_read_only_as_it_is(project: Path) -> None:
    assert only(doctor.cache, project).state == "ok"
    (kept,) = (path for path in (project / ".dvc/cache/files/md5").rglob("*") if path.is_file())
    kept.chmod(0o644)
    kept.write_bytes(b"a moddl")
    kept.chmod(0o444)
    found = only(doctor.cache, project)
    assert found.state == "wrong"
    assert str(kept) in found.said
    assert f"rm -f {kept} && dvc pull" in found.remedy


def test_remedies_can_be_typed_whatever_the_folder_is_called(made: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(made, tmp_path / "$(touch x) & it's a project"))
    (kept,) = (path for path in (project / ".dvc/cache/files/md5").rglob("*") if path.is_file())
    kept.chmod(0o644)
    kept.write_bytes(b"a moddl")
    assert shlex.split(only(doctor.cache, project).remedy)[:4] == ["rm", "-f", str(kept), "&&"]
    lock = project / ".dvc/tmp/rwlock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("{")
    assert shlex.split(only(doctor.locks, project).remedy) == ["rm", str(lock)]
    folder = project / ".state/train/0123456789abcdef"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    assert shlex.split(only(doctor.unfinished, project).remedy) == ["rm", "-r", str(folder)]


def test_dvcs_locks_at_work_killed_and_torn(project: Path) -> None:
    assert only(doctor.locks, project).said == "locks: none"
    lock = project / ".dvc/tmp/rwlock"
    lock.parent.mkdir(exist_ok=True)
    held = {"write": {"models": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}
    lock.write_text(json.dumps(held))
    assert f"dvc repro (process {os.getpid()})" in only(doctor.locks, project).said
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    held["write"]["models"]["pid"] = ended.pid
    lock.write_text(json.dumps(held))
    assert "was killed" in only(doctor.locks, project).said
    lock.write_text('{"write": {')
    assert only(doctor.locks, project).remedy == f"rm {lock}"


def test_unfinished_work_waits_or_is_abandoned(project: Path) -> None:
    assert only(doctor.unfinished, project).said == "unfinished: nothing"
    folder = project / ".state/train/0123456789abcdef"
    folder.mkdir(parents=True)
    assert "waits for the same params" in only(doctor.unfinished, project).said
    os.utime(folder, (0, 0))
    assert only(doctor.unfinished, project).remedy == f"rm -r {folder}"
    staged = project / ".state/staging/1-x"  # of a process's number that there always is
    staged.mkdir(parents=True)
    locks = [folder.with_suffix(".lock"), staged.with_suffix(".lock")]
    for lock in locks:
        lock.write_text("999999999\n")  # of another container's process
    said = [finding.said for finding in doctor.unfinished(doctor.Project(project))]
    assert ["of a stage that was killed" in line for line in said] == [True, False]
    with locks[0].open() as one, locks[1].open() as two:
        for file in (one, two):
            fcntl.flock(file, fcntl.LOCK_EX)
        said = [finding.said for finding in doctor.unfinished(doctor.Project(project))]
    assert [line.rpartition(": ")[2] for line in said] == ["process 1 is at work", "process 999999999 is at work"]


@pytest.mark.parametrize(("place", "by"), [("seeds/a", "make seeds"), ("studies/cell", "dvc repro studies/dvc.yaml")])
def test_what_studies_leave_is_told_as_theirs(project: Path, place: str, by: str) -> None:
    (project / ".state" / place).mkdir(parents=True)
    os.utime(project / ".state" / place, (0, 0))
    finding = only(doctor.unfinished, project)
    assert by in finding.said
    assert finding.remedy == "yours to remove, when none is at work"


def test_remotes_that_answer_and_one_that_does_not(project: Path) -> None:
    assert "empty so far" in only(doctor.remotes, project).said
    dvc(project, "push")
    assert only(doctor.remotes, project).remedy == "dvc remote modify shared verify true"
    dvc(project, "remote", "modify", "shared", "verify", "true")
    assert only(doctor.remotes, project).state == "ok"
    dvc(project, "remote", "add", "dead", "http://127.0.0.1:9/dcgan")
    dead = [finding for finding in doctor.remotes(doctor.Project(project)) if "dead" in finding.said]
    assert [finding.state for finding in dead] == ["wrong"]
    assert "docs/sharing.md" in dead[0].remedy


ADA = "Basic " + base64.b64encode(b"ada:pa55word").decode()


class Server(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path begins with; to Ada, and to who has her key, with 200."""

    def do_GET(self) -> None:
        """The status."""
        known = self.headers["Authorization"] == ADA or self.headers["X-Key"] == "pa55word"
        self.send_response(200 if known else int(self.path.split("/")[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def address() -> Iterator[str]:
    """Where a server answers, without the scheme."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def remote_at(project: Path, url: str, **settings: str) -> doctor.Finding:
    """What is found of a remote there."""
    options = {"url": url, "verify": "true", **settings}
    lines = ["[core]", "remote = shared", "['remote \"shared\"']", *(f"{name} = {options[name]}" for name in options)]
    (project / ".dvc/config").write_text("\n".join(lines))
    return only(doctor.remotes, project)


@pytest.mark.parametrize(
    ("status", "state", "remedy"),
    [
        (200, "ok", ""),
        (404, "note", "dvc status --cloud -r shared"),
        (401, "wrong", "dvc remote modify --local shared auth basic"),
        (403, "wrong", "dvc remote modify --local shared auth basic"),
        (410, "wrong", "look at the server or its address"),
        (503, "wrong", "look at the server or its address"),
    ],
)
def test_a_server_is_held_to_the_status_that_it_answers(
    project: Path, address: str, status: int, state: str, remedy: str
) -> None:
    found = remote_at(project, f"http://{address}/{status}/dcgan")
    assert found.state == state
    assert found.remedy.startswith(remedy)
    assert status == 200 or re.search(rf": answers.*\b{status}\b", found.said)


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "basic", "user": "ada", "password": "pa55word"},
        {"auth": "custom", "custom_auth_header": "X-Key", "password": "pa55word"},
    ],
    ids=["basic", "custom"],
)
def test_a_server_is_asked_with_the_remotes_credentials(project: Path, address: str, settings: dict[str, str]) -> None:
    assert remote_at(project, f"http://{address}/401", **settings).state == "ok"
    assert remote_at(project, f"http://{address}/401", **{**settings, "password": "other"}).state == "wrong"


def test_nobody_is_asked_for_a_password(project: Path, address: str) -> None:
    settings = {"auth": "basic", "user": "ada", "ask_password": "true"}
    found = remote_at(project, f"http://{address}/401", **settings)
    assert (found.state, "not asked" in found.said) == ("note", True)


def test_a_password_in_an_address_is_used_and_not_shown(
    project: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = remote_at(project, f"http://ada:pa55word@{address}/401")
    assert found == doctor.Finding("ok", f"remote shared (the default), http://***@{address}/401: answers")
    for url in ("http://ada:pa55word@127.0.0.1:9/x", "http://ada:a/pa55word@host/x"):
        found = remote_at(project, url)
        assert found.state == "wrong"
        assert "pa55word" not in str(found)
    (project / ".dvc/config").write_text("url http://ada:pa55word@host\n")
    monkeypatch.setattr(doctor, "CHECKS", [doctor.remotes])
    (found,) = doctor.examine(project)
    assert "url http://***@host" in found.said


def test_a_remote_that_never_answers_does_not_keep_the_process(project: Path) -> None:
    code = "from tools import doctor; doctor._REMOTE_SECONDS = 1; doctor.CHECKS = (doctor.remotes,); doctor.main()"
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
def test_tensorflow_says_what_it_calculates_on(project: Path) -> None:
    assert next(doctor.accelerator(doctor.Project(project))).state == "ok"


def test_a_check_that_fails_is_a_finding(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").write_text("dataset: {sorce: own}\nprepare: {}\n")
    found = [finding for finding in doctor.examine(project) if finding.said.startswith("space:")]
    assert [finding.state for finding in found] == ["wrong"]
    assert "dataset.sorce: unknown key" in found[0].said


def test_the_other_checks_go_on_after_one_that_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [check for check in doctor.CHECKS if check is not doctor.accelerator])

    def wrong() -> dict[str, str]:
        found = [finding.said.split(": ", 1) for finding in doctor.examine(project) if finding.state == "wrong"]
        return dict(found)

    assert wrong() == {}
    lock = (project / "requirements.lock").read_text()
    (project / "requirements.lock").write_text(lock + "<<<<<<< numpy==2\n")
    assert list(wrong()) == ["packages"]
    assert "InvalidRequirement" in wrong()["packages"]
    (project / "requirements.lock").write_text(lock)
    config = (project / ".dvc/config").read_text()
    (project / ".dvc/config").write_text("[core\n")
    assert list(wrong()) == ["space", "cache", "remotes"]
    assert "Invalid line ('[core')" in wrong()["cache"]
    (project / ".dvc/config").write_text(config)
    shutil.rmtree(project / ".git")
    assert list(wrong()) == ["space", "cache", "remotes"]
    assert "is not a git repository" in wrong()["cache"]


def test_dvcs_view_of_the_project_is_opened_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Counted(Repo):
        def __init__(self, folder: str) -> None:
            opened.append(folder)
            super().__init__(folder)

    monkeypatch.setattr(doctor, "Repo", Counted)
    monkeypatch.setattr(doctor, "CHECKS", (doctor.space, doctor.cache, doctor.remotes))
    assert all(finding.state != "wrong" for finding in doctor.examine(project))
    assert opened == [str(project)]


@pytest.mark.parametrize(
    "terminal", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=["Latin-1", "ASCII"]
)
def test_a_terminal_without_arrows_shows_all_findings(project: Path, tmp_path: Path, terminal: dict[str, str]) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first/tensorflow.py").write_text("raise ImportError('it takes seconds')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'first'}:{ROOT}", **terminal}
    command = [sys.executable, "-m", "tools.doctor"]
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, check=False)
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert b"\n       ? rm -rf .venv && make setup\n" in result.stdout, "the last check's"


@pytest.mark.parametrize("flush", [True, False])
def test_a_tool_whose_reader_has_gone_ends_without_a_word(flush: bool) -> None:
    read, write = os.pipe()
    os.close(read)  # as `| head` does
    code = f"from stages.shell import run_command; run_command(lambda: print('a finding', flush={flush}))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")


def test_an_install_speaks_of_tensorflow_where_it_is_among_what_is_installed() -> None:
    for names, told in (("gradio, pydub", False), ("numpy, tensorflow, gradio", True)):
        target = f"progress: ; @echo 'Installing collected packages: {names}' | $(PIP_PROGRESS)"
        command = ["make", "--silent", f"--eval={target}", "progress"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("TensorFlow is large" in result.stdout) == told


def test_cores_are_counted_where_a_process_cannot_be_held_to_some(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    answer = subprocess.CompletedProcess([], 0, "2.21.0\nA card\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert only(doctor.accelerator, project).said.startswith("TensorFlow 2.21.0 sees A card, and 12 processor cores (")


def test_the_table_of_licences_has_every_locked_package_and_a_licence_for_what_is_installed() -> None:
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


@pytest.mark.parametrize("count", ["x", "0", "-1", "2.5", ""])
def test_a_number_of_seeds_that_is_none_is_said_before_anything_runs(count: str) -> None:
    command = ["make", "--no-print-directory", "--old-file=setup", "seeds", f"N={count}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: N: expected how many seeds, such as N=3, got '{count}'\n")
