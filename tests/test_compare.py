"""Two revisions side by side: what is subtracted and what is not, what is missing, and what a page may hold."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.repo import Repo

from stages import png
from stages.errors import StageError
from tests.conftest import ROOT, dvc, git
from tools import compare
from tools.compare import Comparison, Row, unlike

HARM = "<b onclick=x()>&amp;\"'"
PROTOCOL = {"network": "judge", "crop": [0, 1, 2, 3], "samples": 10000}
PIPELINE = """
stages:
  evaluate:
    cmd: "true"
    params: [train]
    metrics:
      - reports/metrics.json:
          cache: false
"""


class History:
    """A repository of Git and DVC with a metrics file, params and pictures, and what its user does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main")
        with Repo.init(str(folder)):
            pass
        self.write("dvc.yaml", PIPELINE)
        self.write("reports/.gitignore", "comparison.html\n")
        self.write(".gitignore", ".state/\n")

    def git(self, *arguments: str) -> None:
        """Run git."""
        git(self.folder, *arguments)

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def metrics(self, protocol: Any = PROTOCOL, **values: float) -> None:
        """Write the metrics file; no protocol where it is None."""
        self.write("reports/metrics.json", json.dumps(values | ({} if protocol is None else {"protocol": protocol})))

    def picture(self, name: str, shade: int, **facts: str) -> None:
        """Write a picture of one shade."""
        path = self.folder / "reports/samples" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        png.save_png(np.full((4, 4, 1), shade, np.uint8), path, 1, facts)

    def commit(self, message: str, tag: str) -> None:
        """Commit all there is, under an annotated tag."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)
        self.git("tag", "-a", tag, "-m", tag)

    def compare(self, a: str, b: str) -> Comparison:
        """The comparison of two revisions."""
        with Repo(str(self.folder)) as repo:
            return compare.compare(repo, a, b)

    def command(self, *revisions: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The command, in the repository or another folder."""
        return subprocess.run(
            [sys.executable, "-m", "tools.compare", *revisions],
            cwd=folder or self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Revisions by tag: two of one protocol, one of another, one without metrics; names that would do harm."""
    made = History(tmp_path_factory.mktemp("history"))
    made.write("params.yaml", "train: {rate: 0.1, seed: 0}\n")
    made.commit("Nothing yet", "empty")
    made.metrics(swd=12.5, fid=37.6, modes=10)
    made.picture("grid.png", 0, Description="Samples of A", Source=f"generator {HARM}")
    made.picture("real.png", 9, Description="Real ones")
    made.picture("old.png", 1)
    made.commit("One", "one")
    made.metrics(swd=12.5, fid=35.2, modes=9, kid=0.5)
    made.picture("grid.png", 255, Description="Samples of B")
    (made.folder / "reports/samples/old.png").write_bytes(b"half of a PNG")
    made.picture(f"{HARM}.png", 2)
    made.write("params.yaml", f"train: {{rate: 0.2, seed: 0, note: {json.dumps(HARM)}}}\n")
    made.commit(f"Two {HARM}", "two")
    made.metrics({**PROTOCOL, "crop": [0, 1, 2, 4], "scale": {HARM: None}}, fid=1.0, swd=2.0)
    made.git("rm", "--quiet", "reports/samples/real.png")
    made.commit("Another crop", "other")
    return made


@pytest.fixture
def present(past: History) -> Iterator[History]:
    """The same, with a working tree to be spoilt."""
    yield past
    past.git("reset", "--quiet", "--hard", "other")
    past.git("clean", "--quiet", "--force", "-d")


class _Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_numbers_of_one_protocol_are_subtracted_in_the_files_order(past: History) -> None:
    found = past.compare("one", "two")
    assert found.unlike == ()
    assert found.metrics == (
        Row("swd", "12.5", "12.5", "0", "lower"),
        Row("fid", "37.6", "35.2", "-2.4", "lower"),
        Row("modes", "10", "9", "-1"),
        Row("kid", "–", "0.5", "", "lower"),
    )
    assert re.search(
        r"^metric +A +B +B − A  better\nswd +12.5 +12.5 +0  lower\nfid +37.6 +35.2 +-2.4  lower\nmodes +10 +9 +-1\n",
        compare.shown(found),
        re.M,
    )
    assert "B − A" in compare.render(found)


def test_numbers_of_unlike_protocols_stand_side_by_side_and_are_not_subtracted(past: History) -> None:
    found = past.compare("two", "other")
    assert found.metrics == (
        Row("swd", "12.5", "2.0"),
        Row("fid", "35.2", "1.0"),
        Row("modes", "9", "–"),
        Row("kid", "0.5", "–"),
    )
    for text in (compare.shown(found), _Page(compare.render(found)).text):
        assert "B − A" not in text
    assert "protocol.crop: [0, 1, 2, 3] against [0, 1, 2, 4]\n" in compare.shown(found)
    assert f"protocol.scale.{HARM}: missing against null\n" in compare.shown(found)
    assert re.search(r"unlike protocols.*protocol\.crop\s*\[0, 1, 2, 3\]", _Page(compare.render(found)).text, re.S)


@pytest.mark.parametrize(
    ("a", "b", "differs"),
    [
        ({"a": 1, "b": {"c": "x"}}, {"b": {"c": "x"}, "a": 1}, []),
        ({"a": 1}, {"a": 2}, [Row("protocol.a", "1", "2")]),
        ({"a": 10}, {"a": "10"}, [Row("protocol.a", "10", '"10"')]),
        ({"a": [1, 2]}, {"a": [2, 1]}, [Row("protocol.a", "[1, 2]", "[2, 1]")]),
        ({"a": {"b": 1}}, {"a": {}}, [Row("protocol.a.b", "1", "missing"), Row("protocol.a", "missing", "{}")]),
        ({"a": "x\x1b[2J"}, {"a": "x"}, [Row("protocol.a", r'"x\u001b[2J"', '"x"')]),
        ({"x\x1b[2J": 1}, {}, [Row(r'"protocol.x\u001b[2J"', "1", "missing")]),
        ({"a": 1}, None, [Row("protocol.a", "1", "missing")]),
        (None, {}, [Row("protocol", "missing", "missing")]),
    ],
)
def test_what_protocols_differ_in(a: Any, b: Any, differs: list[Row]) -> None:
    metrics = [{"fid": 1.0} if protocol is None else {"fid": 1.0, "protocol": protocol} for protocol in (a, b)]
    assert list(unlike(*metrics)) == differs


def test_params_that_differ_are_named(past: History) -> None:
    assert past.compare("one", "two").params == (Row("train.note", "–", HARM), Row("train.rate", "0.1", "0.2"))
    assert past.compare("two", "other").params == ()
    assert "The params are the same." in compare.shown(past.compare("two", "other"))


def test_pictures_are_matched_by_name_and_bring_their_captions(past: History) -> None:
    found = past.compare("one", "two")
    grids = [side.pictures["grid.png"] for side in (found.a, found.b)]
    assert [grid and grid.description for grid in grids] == ["Samples of A", "Samples of B"]
    page = _Page(compare.render(found))
    shown = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in shown] == [
        f"{HARM}.png of two",
        "grid.png of one",
        "grid.png of two",
        "old.png of one",
        "real.png of one",
        "real.png of two",
    ]
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in shown)
    assert re.search(r"real\.png\s+the same in both", page.text)


def test_pictures_that_are_not_there_or_damaged_are_named(past: History) -> None:
    page = _Page(compare.render(past.compare("one", "other"))).text
    assert "cannot be read as a PNG in other" in page  # old.png
    assert page.count("missing in other") == 1  # real.png
    assert page.count("missing in one") == 1


def test_names_are_escaped_and_the_page_needs_nothing_from_elsewhere(present: History) -> None:
    present.git("branch", "--force", "<i>branch</i>", "two")
    for a in ("one", "other"):
        page = compare.render(present.compare(a, "<i>branch</i>"))
        tags = _Page(page).tags
        assert not {tag for tag, _ in tags} & {"b onclick=x()", "i", "script", "link", "iframe"}
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "href"]
        assert not re.search(r"https?://", page)
        assert f"Two {HARM}" in _Page(page).text


def test_the_working_tree_against_the_commit(present: History) -> None:
    present.metrics({**PROTOCOL, "crop": [0, 1, 2, 4], "scale": {HARM: None}}, fid=1.5, swd=2.0)
    present.write("params.yaml", "train: {rate: 0.3}\n")
    found = present.compare("HEAD", "workspace")
    assert found.b.title == "the working tree"
    assert Row("fid", "1.0", "1.5", "+0.5", "lower") in found.metrics
    assert Row("train.rate", "0.2", "0.3") in found.params


def test_results_of_other_params_than_the_working_trees_are_named(present: History) -> None:
    present.write("studies/dvc.yaml", "stages: {cell: {cmd: exit 1, metrics: [cell.json]}}")
    dvc(present.folder, "commit", "--force", "evaluate")
    assert present.compare("other", "workspace").stale == ""
    present.write("params.yaml", "train: {rate: 0.2, seed: 0, note: x}")
    told = "the working tree's results are not of its params (train.note): make repro"
    done = present.command("other")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n\nBeware: {told}\n\nmetric " in done.stdout
    assert f"Beware: {told}" in _Page((present.folder / "reports/comparison.html").read_text()).text
    assert present.compare("workspace", "other").stale == told
    assert present.compare("one", "other").stale == "", "the working tree is neither"


def test_results_of_a_run_that_was_interrupted_are_named(present: History) -> None:
    train = "\n  train:\n    cmd: exit 1\n    outs: [model]\n"
    read = "stages:\n  evaluate:\n    deps: [model]\n    plots: [reports/curve.csv]"
    present.write("dvc.yaml", PIPELINE.replace("stages:\n  evaluate:", read) + train)
    told = "the working tree's results are of no run that dvc.lock knows (evaluate, train)"
    for name in ("model", "reports/curve.csv"):
        present.write(name, "one")
    assert present.compare("other", "workspace").stale.startswith(told)
    dvc(present.folder, "commit", "--force")
    assert present.compare("other", "workspace").stale == ""
    (present.folder / "model").unlink()  # it is a link, maybe
    present.write("model", "two")
    dvc(present.folder, "commit", "--force", "train")
    told = "the working tree's results are not all of one run (evaluate)"
    assert present.compare("other", "workspace").stale == f"{told}: make repro"
    (present.folder / "reports/curve.csv").unlink()
    assert present.compare("other", "workspace").stale == f"{told} and lack files (reports/curve.csv): make repro"


def test_a_kids_difference_within_the_noise_is_marked(present: History) -> None:
    for errors, said in ((106.0, 84.0), "lower; within the noise (±270)"), ((10.0, 8.0), "lower"):
        present.metrics(kid=222.0, kid_se=errors[0])
        present.commit("A", f"noise-{errors[0]}")
        present.metrics(kid=306.0, kid_se=errors[1])
        assert present.compare("HEAD", "workspace").metrics[0] == Row("kid", "222.0", "306.0", "+84.0", said)


def test_what_real_images_have_is_left_out_where_it_is_the_same(present: History) -> None:
    same = {"fid_floor": 1.0, "ms_ssim_real": 0.2, "memorization_real": 0.01, "modes_total": 10}
    present.metrics(**same, checkerboard_real=0.9, ms_ssim=0.3, checkerboard=0.8)
    present.commit("A", "left-out")
    present.metrics(**same, checkerboard_real=0.95, ms_ssim=0.3, checkerboard=0.9)
    assert present.compare("HEAD", "workspace").metrics == (
        Row("checkerboard_real", "0.9", "0.95", "+0.05"),
        Row("ms_ssim", "0.3", "0.3", "0", "near ms_ssim_real 0.2"),
        Row("checkerboard", "0.8", "0.9", "+0.1", "near checkerboard_real"),
    )


def test_a_branch_a_tag_a_hash_and_an_experiment_are_revisions(
    present: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    present.metrics({**PROTOCOL, "crop": [0, 1, 2, 4], "scale": {HARM: None}}, fid=0.25, swd=2.0)
    monkeypatch.chdir(present.folder)  # to save an experiment, DVC wants to be there
    with Repo() as repo:
        repo.experiments.save(name="trial")
        head = repo.scm.get_rev()
    for name in ("main", "other", "HEAD", head[:9]):
        found = present.compare(name, "trial")
        assert Row("fid", "1.0", "0.25", "-0.75", "lower") in found.metrics
        assert found.a.title == f"{head[:7]} Another crop"


def test_two_names_of_one_commit_are_no_difference(past: History) -> None:
    assert [row.difference for row in past.compare("main", "other").metrics] == ["0", "0"]


def test_names_that_would_steer_a_terminal_are_printed_as_escapes(present: History) -> None:
    steering = "\x1b[2J\x9b1m\u202e"
    present.metrics({"samples": 1, steering: 1}, **{f"fid{steering}": 1.0})
    present.write("params.yaml", json.dumps({f"rate{steering}": 1}))
    done = present.command("other")
    assert done.returncode == 1
    escapes = r"\u001b[2J\u009b1m\u202e"
    for name in (f"fid{escapes}", f"rate{escapes}"):
        assert f'"{name}"' in done.stdout
    assert f'"protocol.{escapes}": missing against 1' in done.stdout
    assert f'"protocol.{escapes}"' in done.stderr
    assert (done.stdout + done.stderr).replace("\n", "").isprintable()
    assert steering not in (present.folder / "reports/comparison.html").read_text()


@pytest.mark.parametrize("a", ["nope\x1b[2J", "HEAD"])
def test_errors_print_no_escapes_raw(present: History, a: str) -> None:
    present.write("dvc.yaml", 'stages: {"\\e[2J": {cmd: "${nope}"}}')
    done = present.command(a)
    assert done.returncode == 1
    assert r"\u001b[2J" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("name", ["nope", "", "HEAD:params.yaml", "--all"])
def test_a_revision_that_is_none_is_named(past: History, name: str) -> None:
    with pytest.raises(StageError, match=rf"^{name or 'an empty name'}: no such revision; name a commit, a tag"):
        past.compare("HEAD", name)


def test_a_revision_against_itself_is_no_comparison(past: History) -> None:
    with pytest.raises(StageError, match="workspace against itself: name two revisions"):
        past.compare("workspace", "workspace")


def test_a_revision_without_metrics_is_named(past: History) -> None:
    with pytest.raises(StageError, match=r"^empty: there is no reports/metrics.json; name another revision"):
        past.compare("one", "empty")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("reports/metrics.json", None, "there is no reports/metrics.json"),
        ("reports/metrics.json", "[1", "reports/metrics.json is damaged"),
        ("reports/metrics.json", "[1]", "reports/metrics.json is damaged"),
        ("params.yaml", "train: [", "params.yaml"),
        ("dvc.yaml", "stages: [", "dvc.yaml"),
    ],
)
def test_a_working_tree_that_cannot_be_read_is_named(
    present: History, name: str, text: str | None, message: str
) -> None:
    if text is None:
        (present.folder / name).unlink()
    else:
        present.write(name, text)
    with pytest.raises(StageError, match=rf"^workspace: .*{message}.*; `git restore reports`"):
        present.compare("HEAD", "workspace")


def test_the_command_writes_a_page_that_git_does_not_see(past: History) -> None:
    page = past.folder / "reports/comparison.html"
    done = past.command("one", "two", folder=past.folder / "reports")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"\nThe page: {page}\n")
    assert "Samples of B" in page.read_text()
    past.git("diff", "--exit-code", "HEAD")
    listed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=past.folder, capture_output=True, text=True, check=True
    )
    assert listed.stdout == ""
    ignored = subprocess.run(["git", "check-ignore", "-q", compare.PAGE], cwd=ROOT, check=False)
    assert ignored.returncode == 0, "it is not for Git in this project, either"


@pytest.mark.parametrize(
    "terminal", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=["Latin-1", "ASCII"]
)
def test_a_terminal_without_a_minus_sign_shows_a_question_mark(
    past: History, monkeypatch: pytest.MonkeyPatch, terminal: dict[str, str]
) -> None:
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)
    done = past.command("one", "two")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^metric +A +B +B \? A  better\nswd +12.5 +12.5 +0  lower\n", done.stdout, re.M)
    assert "B − A" in (past.folder / "reports/comparison.html").read_text()


def test_the_command_fails_after_the_page_where_protocols_differ(past: History) -> None:
    page = past.folder / "reports/comparison.html"
    page.unlink(missing_ok=True)
    done = past.command("two", "other")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: two and other were measured under unlike protocols \(protocol\.crop, .*\n", done.stderr
    )
    assert "35.2" in done.stdout
    assert "Measured under unlike protocols" in page.read_text()


def test_outside_of_a_repository_the_command_says_so(past: History, tmp_path: Path) -> None:
    done = past.command(folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}: not in a DVC repository; run this in a clone of the project\n"


def test_a_project_without_git_has_no_revisions(past: History, tmp_path: Path) -> None:
    with Repo.init(str(tmp_path), no_scm=True):
        pass
    done = past.command(folder=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*Git.*; run this in a clone.*\n", done.stderr)
