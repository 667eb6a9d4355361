"""What the tools say of a repository: whether it is fresh, its trends and summaries, and what a fork's CI does."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages import png
from stages.artifacts import sha256
from stages.errors import StageError
from tests.conftest import ROOT, Clone, dvc, git
from tools import fresh, summary, trends, whence

PIPELINE = """
stages:
  judge:
    cmd: cp params.yaml reports/metrics.json
    params: [report]
    metrics:
      - reports/metrics.json:
          cache: false
"""
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/pipeline.yml").read_text())


def commit(folder: Path, *paths: str, subject: str = "a subject") -> None:
    """Commit these paths, or all there is."""
    git(folder, "add", "--all", *paths)
    git(folder, "commit", "-q", "-m", subject)


def metrics(folder: Path, **values: object) -> None:
    """Write a metrics file."""
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports/metrics.json").write_text(json.dumps(values))


def measured(folder: Path, subject: str, **values: object) -> None:
    """A commit with these metrics."""
    metrics(folder, **values)
    commit(folder, subject=subject)


def tool(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool as a user does, in a folder."""
    command = [sys.executable, "-m", f"tools.{name}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one stage that has run, and all of it committed. To be copied."""
    folder = tmp_path_factory.mktemp("made") / "project"
    (folder / "reports").mkdir(parents=True)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text("report: {title: 1}\n")
    (folder / "reports/timings.json").write_text("{}")
    git(folder, "init", "-q", "-b", "main")
    dvc(folder, "init")
    dvc(folder, "repro")
    commit(folder)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, to be spoilt; the test is in it."""
    folder = Path(shutil.copytree(made, tmp_path / "project"))
    monkeypatch.chdir(folder)
    return folder


def test_what_is_committed_as_it_ran_is_fresh(project: Path) -> None:
    (project / "reports/timings.json").write_text('{"of": "another run"}')
    done = tool("fresh", project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fresh: ")


def test_results_of_a_run_that_are_not_committed_are_not_fresh(project: Path) -> None:
    (project / "params.yaml").write_text("report: {title: 2}\n")
    dvc(project, "repro")
    assert "not committed: params.yaml" in fresh.complaints()
    commit(project, "params.yaml")
    assert fresh.complaints() == ["not committed: dvc.lock", "not committed: reports/metrics.json of the stage judge"]
    commit(project, "dvc.lock")
    git(project, "add", "reports")
    done = tool("fresh", project)
    assert done.returncode == 1
    assert done.stderr == (
        "not committed: reports/metrics.json of the stage judge\n"
        "error: a clone would lack this; commit dvc.lock and reports/ with the change that they come of\n"
    )
    commit(project)
    assert fresh.complaints() == []


def test_params_that_were_not_run_are_stale(project: Path) -> None:
    (project / "params.yaml").write_text("report: {title: 2}\n")
    assert fresh.complaints() == ["stale: Running stage 'judge':", "not committed: params.yaml"]


def test_where_the_pictures_are_not_here_nobody_is_sent_to_make_all_anew(project: Path) -> None:
    own = project / "data/own"
    own.mkdir(parents=True)
    (own / "1.png").touch()
    (project / "dvc.yaml").write_text(PIPELINE + "  download:\n    cmd: echo\n    deps: [data/own]\n")
    (project / "params.yaml").write_text("dataset: {source: own, own: data/own}\nreport: {title: 1}\n")
    dvc(project, "repro")
    assert "stale: " not in tool("fresh", project).stderr
    (own / "1.png").rename(own / "2.png")
    assert "error: dvc.lock does not match code and params" in tool("fresh", project).stderr
    (own / "2.png").rename(own / ".gitignore")
    assert "error: data/own: the pictures are not here" in tool("fresh", project).stderr
    (own / ".gitignore").rename(own / "1.png")
    (project / "params.yaml").write_text("dataset: {source: own, own: data/own}\nreport: {title: 2}\n")
    assert "error: dvc.lock does not match code and params" in tool("fresh", project).stderr


def test_a_result_that_another_stage_reads_is_named_once(project: Path) -> None:
    reader = "  reader:\n    cmd: echo\n    deps: [reports/metrics.json]\n"
    (project / "dvc.yaml").write_text(PIPELINE + reader)
    (project / "params.yaml").write_text("report: {title: 2}\n")
    dvc(project, "repro")
    commit(project, "params.yaml", "dvc.yaml", "dvc.lock")
    assert fresh.complaints() == ["not committed: reports/metrics.json of the stage judge"]


def test_code_that_ran_and_is_not_committed_is_named(project: Path) -> None:
    (project / "code").mkdir()
    (project / "code/first.py").touch()
    (project / "dvc.yaml").write_text(PIPELINE.replace("    params:", "    deps: [code]\n    params:"))
    dvc(project, "repro")
    commit(project)
    assert fresh.complaints() == []
    (project / "code/second.py").touch()
    dvc(project, "repro")
    commit(project, "dvc.lock")
    assert fresh.complaints() == ["not committed: code"]


def test_a_lock_and_a_result_that_git_has_not_are_named(project: Path) -> None:
    git(project, "rm", "-q", "--cached", "dvc.lock", "reports/metrics.json")
    (project / ".gitignore").write_text("reports/\n")
    assert fresh.complaints() == [
        "stale: dvc.lock is not in Git",
        "stale: reports/metrics.json of the stage judge is not in Git",
    ]
    (project / "dvc.lock").unlink()
    assert fresh.complaints() == ["stale: dvc.lock is missing"]


def test_without_git_freshness_cannot_be_told(project: Path) -> None:
    shutil.rmtree(project / ".git")
    done = tool("fresh", project)
    assert done.returncode == 1
    assert re.fullmatch(r"error: git rev-parse: .*not a git repository.*; run this in a clone.*\n", done.stderr)


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock"])
def test_a_conflict_left_in_a_file_is_named_with_its_place(project: Path, name: str) -> None:
    lines = (project / name).read_text().splitlines()
    lines[2:2] = ["<<<<<<< HEAD", "=======", ">>>>>>> theirs"]
    (project / name).write_text("\n".join(lines))
    done = tool("fresh", project)
    assert done.returncode == 1
    assert re.fullmatch(rf"error: {name}: no YAML near line [345]; is a conflict .*\n", done.stderr)


@pytest.mark.parametrize(
    ("text", "said"), [(None, "missing"), ("", "expected an object"), ("\xff", "no YAML"), ("2024-02-30", "no YAML")]
)
def test_a_pipeline_that_is_none_is_named(project: Path, text: str | None, said: str) -> None:
    (project / "dvc.yaml").unlink()
    if text is not None:
        (project / "dvc.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(StageError, match=rf"^dvc\.yaml: {said}"):
        fresh.complaints()


@pytest.fixture
def history(project: Path) -> Path:
    """Five revisions with metrics, one of them damaged and one of another protocol, and a tag."""
    measured(project, "first", fid=40.0, kid=1.5, protocol={"samples": 100})
    measured(project, "second\twith a tab", fid=30.0, kid=1.25, protocol={"samples": 100})
    git(project, "tag", "v1")
    (project / "reports/metrics.json").write_text('{"fid": ')
    commit(project, subject="torn")
    measured(project, "other", fid=3.0, protocol={"samples": 5})
    git(project, "commit", "-q", "--allow-empty", "-m", "no metrics in this one")
    return project


def test_the_history_has_a_row_for_each_revision_with_metrics(history: Path) -> None:
    table = trends.history(history)
    assert table["subject"].tolist() == ["first", "second\twith a tab", "other"]
    assert table["fid"].tolist() == [40.0, 30.0, 3.0]
    assert table["protocol"].tolist() == [0, 0, 1]
    assert table["revision"][1] == "v1"
    metrics(history, fid=2.0, protocol={"samples": 5})
    assert trends.history(history)["revision"].tolist()[-1] == "workspace"
    assert len(trends.history(history, "v1")) == 3, "the history to the tag, and the working tree"


def test_lines_join_what_one_protocol_measured(history: Path) -> None:
    fid, kid = trends.draw(trends.history(history)).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in fid.lines] == [[40.0, 30.0], [3.0]]
    assert kid.get_title(loc="left") == "kid (lower is better)"


def test_a_line_breaks_where_another_protocol_came_between_and_its_colour_comes_back() -> None:
    table = pd.DataFrame({"revision": list("abcd"), "date": "2024-02-03", "protocol": [0, 1, 0, 0], "fid": 1.0})
    (fid,) = trends.draw(table).axes
    assert [np.asarray(line.get_xdata()).tolist() for line in fid.lines] == [[0], [1], [2, 3]]
    first, between, again = (line.get_color() for line in fid.lines)
    assert (first == again, first == between) == (True, False)


def test_trends_on_the_command_line(history: Path, tmp_path: Path) -> None:
    result = tool("trends", history, "--out", str(tmp_path / "x.svg"))
    assert result.returncode == 0, result.stderr
    assert "<svg" in (tmp_path / "x.svg").read_text()
    assert pd.read_csv(tmp_path / "x.csv")["fid"].tolist() == [40.0, 30.0, 3.0]
    for wrong, said in ((["nonesuch"], "bad revision"), (["--out", "x.txt"], "ends in .svg, .png or .pdf")):
        result = tool("trends", history, *wrong)
        assert result.returncode == 1
        assert result.stderr.startswith("error: ")
        assert said in result.stderr


def test_a_subject_is_read_as_utf_8_on_any_terminal(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(project, "B − A", fid=40.0)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    result = tool("trends", project, "--out", str(tmp_path / "x.svg"))
    assert result.returncode == 0, result.stderr
    assert pd.read_csv(tmp_path / "x.csv")["subject"].tolist() == ["B − A"]


def test_a_history_without_metrics_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "nothing")
    with pytest.raises(StageError, match=r"no commit there has reports/metrics\.json"):
        trends.history(tmp_path)


def test_the_summary_subtracts_what_can_be_subtracted(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(history)
    measured(history, "a <b>bold</b> one", fid=2.5, protocol={"samples": 5})
    (history / "reports/samples").mkdir()
    (history / "reports/samples/grid.png").write_bytes(b"")
    text = summary.summary("HEAD~2")
    assert "| fid | 3.0 | 2.5 | -0.5 | lower |" in text
    assert "Beware" not in text
    monkeypatch.setattr(fresh, "results", lambda _: "these are of <other> params")
    assert "Beware: these are of &#60;other&#62; params" in summary.summary("HEAD~2")
    assert "![grid.png](reports/samples/grid.png)" in text
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/dcgan")
    monkeypatch.setenv("GITHUB_SHA", "0123abc")
    assert "(https://github.com/ada/dcgan/raw/0123abc/reports/samples/grid.png)" in summary.summary("HEAD~2")
    assert "<b>" not in summary.summary("HEAD")


def test_the_summary_of_unlike_protocols_and_of_no_base(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(history)
    unlike = summary.summary("v1")
    assert "unlike protocols, so nothing is subtracted" in unlike
    assert "| fid | 30.0 | 3.0 |" in unlike
    alone = summary.summary("0000000")
    assert "No comparison: 0000000: no such revision" in alone
    assert "| fid | 3.0 |" in alone


def test_trends_of_a_project_in_a_folder_of_the_repository(tmp_path: Path) -> None:
    project = tmp_path / "projects/faces"
    project.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    for fid in (3.0, 2.0):
        measured(project, "a subject", fid=fid)
    assert trends.history(project)["fid"].tolist() == [3.0, 2.0]


def test_trends_of_signed_commits_for_who_has_git_show_signatures(project: Path, tmp_path: Path) -> None:
    signer = tmp_path / "signer"
    signer.write_text(
        "#!/bin/sh\ncat > /dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\necho '-----BEGIN PGP SIGNATURE-----'\n"
    )
    signer.chmod(0o755)
    git(project, "config", "gpg.program", str(signer))
    git(project, "config", "log.showSignature", "true")
    metrics(project, fid=3.0)
    git(project, "commit", "-q", "-a", "-S", "-m", "signed")
    assert "SIG_CREATED" in git(project, "log", "--format=%s"), "it is a case in point"
    assert trends.history(project)["subject"].tolist() == ["signed"]


def test_a_history_of_empty_metrics_has_no_picture(project: Path) -> None:
    for text in ("{}", "{ }"):
        (project / "reports/metrics.json").write_text(text)
        commit(project)
    done = tool("trends", project)
    assert done.returncode == 1
    assert re.fullmatch(
        r".*damaged there; left out\nerror: reports/metrics\.json: no revision has any of fid, .*\n", done.stderr
    )
    assert not (project / "reports/trends.svg").exists()


def test_trends_leave_nothing_but_the_picture_and_the_table(project: Path, tmp_path: Path) -> None:
    measured(project, "a subject", fid=3.0)
    away, used = tmp_path / "away", tmp_path / "used"
    (used / ".state/train").mkdir(parents=True)
    for folder, expected in ((away, ["x.csv", "x.svg"]), (used, [".state", "x.csv", "x.svg"])):
        done = tool("trends", project, "--out", str(folder / "x.svg"))
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in folder.iterdir()) == expected
    assert [path.name for path in (used / ".state").iterdir()] == ["train"], "another's work stays"
    assert pd.read_csv(away / "x.csv")["fid"].tolist() == [3.0]


def test_a_summary_without_a_single_commit_has_what_is_here(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    dvc(tmp_path, "init")
    done = tool("summary", tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"error: reports/metrics\.json: missing; .*\n", done.stderr)
    metrics(tmp_path, fid=3.0)
    done = tool("summary", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No comparison: origin/main: no such revision (Empty git repo); is anything committed yet?" in done.stdout
    assert "| fid | 3.0 |" in done.stdout


def test_a_summary_of_names_that_would_steer_a_terminal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics(project, **{"fid\x1b[2J\n": 3.0, "note": "\x9b"})
    text = summary.summary("nonesuch")
    assert '| "fid&#92;u001b&#91;2J&#92;n" | 3.0 |' in text
    assert '| note | "&#92;u009b" |' in text


Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """tools/ci where `make` and the summary end as a test wants: `script(fresh=3, GITHUB_STEP_SUMMARY="page")`."""
    for name, text in {
        "bin/make": 'echo "make $1"\nexit "$(eval echo "\\${END_$1:-0}")"\n',
        ".venv/bin/python": 'echo "# of $3"\nexit "${END_summary:-0}"\n',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/ci", tmp_path / "tools")

    def run(*arguments: str, page: str = "", **ends: int) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": page}
        environment |= {f"END_{name}": str(code) for name, code in ends.items()}
        command = [str(tmp_path / "tools/ci"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ({}, 0),
        ({"fresh": 3, "test": 4, "summary": 5}, 3),
        ({"test": 4, "summary": 5}, 4),
        ({"summary": 5}, 5),
    ],
)
def test_a_forks_ci_does_all_and_ends_as_the_first_failure(
    script: Script, tmp_path: Path, ends: dict[str, int], code: int
) -> None:
    done = script("v1", **ends)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.split("\n") == ["make setup", "make fresh", "make test", ""]
    assert (tmp_path / "summary.md").read_text() == "# of v1\n"


def test_a_forks_ci_begins_its_page_anew_and_adds_to_githubs(script: Script, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# of another step\n")
    for base in ("v1", "v2"):
        script(base)
        script(base, page=str(page))
    assert (tmp_path / "summary.md").read_text() == "# of v2\n"
    assert page.read_text() == "# of another step\n# of v1\n# of v2\n"
    assert script(setup=2).returncode == 2
    assert (tmp_path / "summary.md").read_text() == "", "nothing old is left where the setup fails"


def test_the_workflow_is_the_script() -> None:
    steps = WORKFLOW["jobs"]["check"]["steps"]
    assert any(step.get("run", "").startswith("tools/ci") for step in steps)
    assert os.access(ROOT / "tools/ci", os.X_OK)


def test_the_workflow_puts_no_name_of_a_branch_into_a_shells_line() -> None:
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    (check,) = (step for step in steps if step.get("run", "").startswith("tools/ci"))
    assert check["run"] == 'tools/ci "$BASE"'
    assert "format('origin/{0}', github.base_ref)" in check["env"]["BASE"]
    assert "github.event.before" in check["env"]["BASE"]


def test_the_workflow_is_for_any_name_of_the_default_branch() -> None:
    assert WORKFLOW[True] == {"push": None, "pull_request": None}, "YAML takes its key `on` for a truth"
    for job in WORKFLOW["jobs"].values():
        assert "format('refs/heads/{0}', github.event.repository.default_branch)" in job["if"]
    assert not re.search(r"\b(main|master)\b", str(WORKFLOW))


def test_a_first_push_has_a_summary_without_a_base(project: Path) -> None:
    metrics(project, fid=3.0)
    text = summary.summary("0" * 40)
    assert f"No comparison: {'0' * 40}: no such revision" in text
    assert "| fid | 3.0 |" in text


MANIFEST = "d" * 64
SEEDS_0_TO_2 = "Samples of the seeds 0 to 2 in order, uncurated"
SAMPLED = json.dumps({"interpolate": [0, 1], "scale": 3})


def trained(folder: Path, name: str) -> str:
    """Leave what a run leaves with a generator of this name: the model, model.json, the card. The generator's hash."""
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models/generator.keras").write_text(name)
    generator = sha256(folder / "models/generator.keras")
    (folder / "models/model.json").write_text(
        json.dumps(
            {"generator": {"sha256": generator}, "best_images_seen": 8, "images_seen": 16, "params": {"seed": 7}}
        )
    )
    (folder / "reports/model_card.md").write_text(
        "turns 100 numbers from N(0, 1) into a picture of 16×24×1. The weights are an average, from the\n"
        "checkpoint after 8,000 of 16,000 images seen, chosen by its score (a score).\n\n## Data and licence\n\n"
        f"- Tiny \\_ &lt;shapes&gt;. Licence: MIT.\n\n- Data: manifest `{MANIFEST}`\n- Generator: `{generator}`\n"
        f"- Params: presets/quick.yaml\n\n- TensorFlow 2.21.0, {name}, 2 cores; seed 7\n"
    )
    return generator


def drawn(path: Path, generator: str, description: str = SEEDS_0_TO_2, params: str = "", grid: str = "2x2") -> Path:
    """A picture of so many rows and columns that says that this generator made it, at a scale of 3."""
    rows, columns = map(int, grid.split("x"))
    picture = png.grid(np.zeros((1, 16, 24, 1)), columns, rows=rows)
    facts = {"Description": description, "Source": f"generator.keras, SHA-256 {generator}", "Params": params}
    path.parent.mkdir(parents=True, exist_ok=True)
    png.save_png(picture, path, 3, facts)
    return path


@pytest.fixture(scope="module")
def runs(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A project with runs of generators by name, each a commit of that subject: and the generators' hashes.

    `first` is tagged and replaced, `left` is of a branch that was merged for nothing and deleted, `merged` came with
    a merge, `lively-fox` is an experiment, `last` is what main and the working tree have.
    """
    project = Path(shutil.copytree(made, tmp_path_factory.mktemp("runs") / "project"))
    (project / ".gitignore").write_text("/models/model.json\n")
    hashes = {}

    def commit_of(name: str) -> str:
        hashes[name] = trained(project, name)
        dvc(project, "add", "models/generator.keras")
        commit(project, subject=name)
        return git(project, "rev-parse", "HEAD")

    commit_of("first")
    git(project, "tag", "v1")
    base = git(project, "rev-parse", "HEAD")
    git(project, "checkout", "-q", "-b", "side")
    commit_of("left")
    git(project, "checkout", "-q", "main")
    git(project, "commit", "-q", "--allow-empty", "-m", "meanwhile")
    git(project, "merge", "-q", "-s", "ours", "-m", "for nothing", "side")
    git(project, "branch", "-q", "-D", "side")
    git(project, "checkout", "-q", "-b", "half", "main")
    git(project, "commit", "-q", "--allow-empty", "-m", "of half")
    git(project, "checkout", "-q", "main")
    git(project, "merge", "-q", "--no-ff", "--no-commit", "half")
    commit_of("merged")
    git(project, "checkout", "-q", "--detach", base)
    git(project, "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/lively-fox", commit_of("lively-fox"))
    git(project, "checkout", "-q", "main")
    commit_of("last")
    return project, hashes


def asked(folder: Path, picture: Path) -> str:
    """What is said of a picture."""
    return "\n".join(whence.whence(folder, whence.read(picture)))


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("first", "tag v1, branch half"),
        ("left", "replaced since, in the history of branch half, branch main"),
        ("merged", "replaced since, in the history of branch main"),
        ("lively-fox", "experiment lively-fox"),
        ("last", "branch main"),
    ],
)
def test_the_commit_of_a_pictures_generator_is_found(
    runs: tuple[Path, dict[str, str]], tmp_path: Path, name: str, names: str
) -> None:
    project, hashes = runs
    text = asked(project, drawn(tmp_path / "x.png", hashes[name]))
    short = git(project, "log", "--all", "--format=%h", f"--grep=^{name}$")
    date = git(project, "show", "-s", "--format=%cs", short)
    assert f"oldest first:\n  {short}  {date}  {name}\n    {names}\n\n" in text
    assert text.count(f"  {date}  ") == 1, "one commit brought it, and those that kept it are left out"
    assert f"trained with: TensorFlow 2.21.0, {name}, 2 cores; seed 7\n" in text
    assert "data: Tiny _ <shapes>. Licence: MIT.\n" in text
    assert f"manifest: {MANIFEST}\n  checkpoint: 8,000 of 16,000 images seen\n  params: presets/quick.yaml\n" in text
    assert ("The working tree has that generator" in text) == (name == "last")
    assert git(project, "show", f"{short}:./params.yaml") == "report: {title: 1}"
    assert f"all params: git show {short}:./params.yaml\n" in text


def test_the_commands_name_a_commit_that_a_branch_has_before_an_experiment(
    runs: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    project = Path(shutil.copytree(runs[0], tmp_path / "project"))
    assert trained(project, "lively-fox") == runs[1]["lively-fox"]
    commit(project, subject="taken over")
    short = git(project, "log", "--format=%h", "--grep=^taken over$")
    text = asked(project, drawn(tmp_path / "x.png", runs[1]["lively-fox"]))
    assert "experiment lively-fox" in text
    assert f"dvc get . models/generator.keras --rev {short} " in text


@pytest.mark.parametrize("name", ["first", "lively-fox"])
def test_the_generator_is_got_by_the_command(runs: tuple[Path, dict[str, str]], tmp_path: Path, name: str) -> None:
    project = Path(shutil.copytree(runs[0], tmp_path / "project"))
    (get,) = re.findall(r"^  dvc (get .*)$", asked(project, drawn(tmp_path / "x.png", runs[1][name])), re.MULTILINE)
    dvc(project, *get.split())
    assert sha256(project / "generator.keras") == runs[1][name]


@pytest.mark.parametrize(
    ("description", "params", "grid", "options"),
    [
        (SEEDS_0_TO_2, SAMPLED, "2x2", "--seeds 0-2 --scale 3"),
        (SEEDS_0_TO_2, SAMPLED, "1x3", "--seeds 0-2 --grid 1x3 --scale 3"),
        (SEEDS_0_TO_2, "", "2x2", "--seeds 0-2 --scale 3"),
        ("Samples of the seeds 0-3, 9, in this order", '{"scale": 3}', "4x3", "--seeds 0-3,9 --grid 4x3 --scale 3"),
        ("Samples of the seeds 0-3, in this order", '{"scale": 64}', "2x2", "--seeds 0-3 --scale 3"),
        ("Sample of the seed 7", '{"seeds": "7,9", "scale": 3}', "1x1", "--seeds 7 --scale 3"),
        ("Sample of the place 7 (seed * scale; direction)", "", "1x1", "--seeds 7 --scale 3"),
        ("The 3 samples of lowest realism (a paper): seeds 5, 1, 3", "{}", "2x2", "--seeds 5,1,3 --scale 3"),
    ],
)
def test_the_command_is_told_that_draws_these_samples(
    tmp_path: Path, description: str, params: str, grid: str, options: str
) -> None:
    generator = lone(tmp_path)
    text = asked(tmp_path, drawn(tmp_path / "x.png", generator, description, params, grid))
    assert f"  python -m stages.sample --model generator.keras {options} --out again.png\n" in text


def lone(folder: Path) -> str:
    """A repository of one commit, of a run; its generator's hash."""
    (folder / "reports").mkdir()
    generator = trained(folder, "lone")
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "reports", subject="lone")
    return generator


@pytest.mark.parametrize(
    ("description", "params", "command"),
    [
        ("Spherical interpolations", SAMPLED, "python -m stages.sample --out ../again "),
        ("Lowest", '{"mode_threshold": 1}', "python -m stages.evaluate --out ../again "),
        ("Sample of the place 7*0.8;1:2 (seed * scale)", "", "make demo "),
        ("Samples of the seeds 0 to 3 in order, z times 0.8, uncurated", "no JSON", "make demo "),
        ("Samples of the seeds 0-99999999, in this order", "[]", "make demo "),
        ("Samples of the seeds 0 to 3 in order, uncurated; rm x", "", "make demo "),
    ],
)
def test_what_more_than_seeds_decided_on_is_not_said_to_be_drawn_by_seeds(
    tmp_path: Path, description: str, params: str, command: str
) -> None:
    text = asked(tmp_path, drawn(tmp_path / "x.png", lone(tmp_path), description, params))
    assert f"\n  {command}" in text
    assert "--seeds" not in text


def test_a_picture_of_the_first_commit_for_who_has_git_show_no_roots(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "x.png", lone(tmp_path))
    git(tmp_path, "config", "log.showRoot", "false")
    assert "  lone\n    branch main\n" in asked(tmp_path, picture)


def test_a_picture_that_git_has_is_its_very_file(tmp_path: Path) -> None:
    generator = lone(tmp_path)
    picture = drawn(tmp_path / "reports/samples/grid.png", generator)
    commit(tmp_path, "reports", subject="drawn again")
    moved = picture.rename(tmp_path / "holiday.png")
    subprocess.run(["git", "branch", b"odd-\xff"], cwd=tmp_path, check=True)  # a name that is no UTF-8 does no harm
    (short,) = git(tmp_path, "log", "--format=%h", "-1").split()
    text = asked(tmp_path, moved)
    assert f"brought this very file, the oldest first:\n  {short}  " in text
    assert f"  git show {short}:./reports/samples/grid.png > again.png " in text


def test_a_picture_without_text_is_known_where_git_has_it(tmp_path: Path) -> None:
    lone(tmp_path)
    picture = tmp_path / "reports/train/plots/images/fixed_z/8.png"
    picture.parent.mkdir(parents=True)
    png.save_png(np.zeros((4, 4, 1), np.uint8), picture, 1, {})
    commit(tmp_path, "reports", subject="with plots")
    text = asked(tmp_path, picture)
    assert "with plots\n" in text
    assert "trained with: TensorFlow 2.21.0, lone" in text
    assert "python -m stages.train --out ../again " in text
    png.save_png(np.ones((4, 4, 1), np.uint8), picture, 1, {})
    with pytest.raises(StageError, match=r"8\.png: it names no generator, and no commit has this file; .*`git fetch"):
        asked(tmp_path, picture)


def test_a_picture_of_the_data_is_told_by_its_manifest_and_has_no_generator(tmp_path: Path) -> None:
    lone(tmp_path)
    picture = tmp_path / "x.png"
    facts = {"Description": "real", "Source": f"Tiny (MIT), manifest SHA-256 {MANIFEST}", "Params": SAMPLED}
    png.save_png(np.zeros((4, 4, 1), np.uint8), picture, 1, facts)
    text = asked(tmp_path, picture)
    assert f"brought the data of manifest {MANIFEST[:12]}, the oldest first:" in text
    assert f"manifest: {MANIFEST}\n" in text
    assert "generator" not in text
    assert "checkpoint" not in text
    facts |= {"Source": "Tiny (MIT)", "Params": '{"records_per_shard": 8}'}
    png.save_png(np.zeros((4, 4, 1), np.uint8), picture, 1, facts)
    with pytest.raises(StageError, match="names no generator"):
        asked(tmp_path, picture)
    (tmp_path / "reports/data").mkdir()
    shutil.copy(picture, tmp_path / "reports/data/contact_sheet.png")
    commit(tmp_path, "reports", subject="prepared")
    assert "python -m stages.prepare --out ../again " in asked(tmp_path, picture)


def test_a_generator_that_is_not_committed_is_the_working_trees(tmp_path: Path) -> None:
    lone(tmp_path)
    picture = drawn(tmp_path / "x.png", trained(tmp_path, "new"), params=SAMPLED, grid="1x3")
    text = asked(tmp_path, picture)
    assert "The working tree has that generator: models/generator.keras\n" in text
    assert "What reports/model_card.md says of it:\n  data: Tiny" in text
    assert "  python -m stages.sample --seeds 0-2 --grid 1x3 --scale 3 --out again.png\n" in text
    assert text.endswith(" yet: git add -A && git commit")
    git(tmp_path, "restore", "reports/model_card.md")  # as a training leaves it, and no report yet
    text = asked(tmp_path, picture)
    assert "What models/model.json says of it:\n" in text
    assert "checkpoint: 8 of 16 images seen\n" in text
    assert "--seeds 0-2 --scale 3 --out again.png\n" in text


@pytest.mark.parametrize("text", ["[]", "{", '{"generator": 1}'])
def test_a_damaged_model_json_is_no_ones(tmp_path: Path, text: str) -> None:
    generator = lone(tmp_path)
    (tmp_path / "models/model.json").write_text(text)
    assert "The working tree" not in asked(tmp_path, drawn(tmp_path / "x.png", generator))


def test_a_generator_that_no_commit_has_is_said_with_what_to_fetch(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    lone(tmp_path / "project")
    picture = drawn(tmp_path / "x.png", "a" * 64)
    done = tool("whence", tmp_path / "project", str(picture))
    assert done.returncode == 1
    assert done.stdout.startswith(f"{picture}\n  Description: Samples of the seeds 0 to 2")
    assert done.stderr == (
        f"error: {picture}: no commit has the generator aaaaaaaaaaaa in reports/model_card.md; its run was never "
        "committed, or is on a branch or in an experiment that this clone lacks: `git fetch --all --tags`, "
        "`dvc exp pull -A origin`, and ask again\n"
    )


def test_a_shallow_clone_says_what_it_cannot_know(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    old = lone(tmp_path / "project")
    for name in ("other", "new"):
        generator = trained(tmp_path / "project", name)
        commit(tmp_path / "project", "reports", subject=name)
    git(tmp_path, "clone", "-q", "--depth", "1", "-o", "upstream", f"file://{tmp_path}/project", "clone")
    known = asked(tmp_path / "clone", drawn(tmp_path / "x.png", generator))
    assert "branch main, branch upstream/main\n  This clone is shallow, and they may be older: `git fetch" in known
    with pytest.raises(StageError, match=r"`git fetch --unshallow`, `dvc exp pull -A upstream`"):
        asked(tmp_path / "clone", drawn(tmp_path / "x.png", old))
    git(tmp_path / "clone", "fetch", "-q", "--unshallow")
    assert "  lone\n" in asked(tmp_path / "clone", tmp_path / "x.png")


def test_what_is_no_picture_of_the_project_is_said_in_a_line(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "x.png", "a" * 64)
    (tmp_path / "half.png").write_bytes(picture.read_bytes()[:60])
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    for path, said in (
        ("nonesuch.png", "nonesuch.png: there is no such file"),
        ("half.png", "half.png: no PNG, or half of one; "),
        ("a.jpg", "a.jpg: no PNG, or half of one; "),
        (".", ".: a folder; "),
        ("", "no picture is named; type `make whence PNG="),
        ("x.png", "git rev-parse: fatal: not a git repository"),
    ):
        done = tool("whence", tmp_path, path)
        assert done.returncode == 1, path
        assert done.stderr.startswith(f"error: {said}"), path
        assert done.stderr.count("\n") == 1, path


def test_text_that_would_steer_a_terminal_is_shown_as_escapes(tmp_path: Path) -> None:
    generator = lone(tmp_path)
    git(tmp_path, "commit", "-q", "--amend", "-m", "a\x1b[2J subject")
    text = asked(tmp_path, drawn(tmp_path / "x.png", generator, "\x1b[2J"))
    assert "\x1b" not in text
    assert '"a\\u001b[2J subject"' in text


def test_the_committed_card_tells_all_that_is_asked_of_it() -> None:
    told = whence._told((ROOT / whence.CARD).read_text())
    assert list(told) == list(whence._TOLD)
    assert re.fullmatch("[0-9a-f]{64}", told["manifest"])
    assert re.fullmatch(r"[\d,]+ of [\d,]+ images seen", told["checkpoint"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_picture_is_made_again_by_the_commands_after_its_model_was_replaced(quick_run: Clone, tmp_path: Path) -> None:
    clone = quick_run.copied(tmp_path / "dcgan")
    for name in ("grid", "interpolation"):
        shutil.copy(clone.folder / f"reports/samples/{name}.png", tmp_path / f"{name}.png")
    before = sha256(clone.folder / "models/generator.keras")
    clone.edit("params.yaml", "images: 19200 ", "images: 3200  ")
    clone.typed("dvc", "repro")
    clone.commit("A shorter training")
    assert sha256(clone.folder / "models/generator.keras") != before
    for name, again in (("grid", clone.folder / "again.png"), ("interpolation", tmp_path / "again/reports/samples")):
        text = clone.typed("make", "whence", f"PNG=../{name}.png")
        assert "  Quick run\n" in text
        assert "A shorter training" not in text
        (block,) = re.findall(r"The picture again .*:\n((?:  .*\n)+)", text)
        show, *commands = [line.strip() for line in block.splitlines()]
        clone.typed("bash", "-ec", show)
        made = tmp_path / f"{name}.png"
        assert (clone.folder / "again.png").read_bytes() == made.read_bytes(), "the very file"
        (clone.folder / "again.png").unlink()
        clone.typed("bash", "-ec", "\n".join(commands))
        with Image.open(made) as picture, Image.open(again / f"{name}.png" if again.is_dir() else again) as other:
            assert np.array_equal(np.asarray(picture), np.asarray(other))


def test_params_that_the_lock_knows_nothing_of_have_all_changed() -> None:
    without = SimpleNamespace(
        hash_info=SimpleNamespace(value=None), read_params=lambda: {"train": {"seed": 1}}, def_path="more.yaml"
    )
    assert list(fresh._changed(without)) == ["more.yaml:train.seed"]
