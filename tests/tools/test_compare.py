"""tools/compare.py: subtracted metrics, params and pictures that differ, and the escaping of the page."""

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
from stages.metrics.catalog import CLASS_PROTOCOL
from tests.conftest import ROOT, dvc, git
from tools import compare
from tools.compare import Comparison, Row, protocol_differences

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
    """A repository of Git and DVC with metrics, params and pictures, and the actions of its user."""

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
        """Write the metrics file, without a protocol if it is None."""
        self.write("reports/metrics.json", json.dumps(values | ({} if protocol is None else {"protocol": protocol})))

    def picture(self, name: str, shade: int, **captions: str) -> None:
        """Write a picture of one shade, with these captions."""
        path = self.folder / "reports/samples" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        provenance = png.Provenance(**captions)  # type: ignore[arg-type]
        png.save_png(np.full((4, 4, 1), shade, np.uint8), path, 1, provenance if captions else None)

    def commit(self, message: str, tag: str) -> None:
        """Commit everything, with an annotated tag."""
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
    """Four tagged revisions: two of one protocol, one of another, one without metrics; some names are hostile."""
    history = History(tmp_path_factory.mktemp("history"))
    history.write("params.yaml", "train: {rate: 0.1, seed: 0}\n")
    history.commit("Nothing yet", "empty")
    history.metrics(swd=12.5, fid=37.6, modes=10)
    history.picture("grid.png", 0, description="Samples of A", source=f"generator {HARM}")
    history.picture("real.png", 9, description="Real ones")
    history.picture("old.png", 1)
    history.commit("One", "one")
    history.metrics(swd=12.5, fid=35.2, modes=9, kid=0.5)
    history.picture("grid.png", 255, description="Samples of B")
    (history.folder / "reports/samples/old.png").write_bytes(b"half of a PNG")
    history.picture(f"{HARM}.png", 2)
    history.write("params.yaml", f"train: {{rate: 0.2, seed: 0, note: {json.dumps(HARM)}}}\n")
    history.commit(f"Two {HARM}", "two")
    history.metrics({**PROTOCOL, "crop": [0, 1, 2, 4], "scale": {HARM: None}}, fid=1.0, swd=2.0)
    history.git("rm", "--quiet", "reports/samples/real.png")
    history.commit("Another crop", "other")
    return history


@pytest.fixture
def present(past: History) -> Iterator[History]:
    """The same, for tests that change the working tree."""
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


def test_metrics_of_one_protocol_are_subtracted_in_the_order_of_the_catalog(past: History) -> None:
    comparison = past.compare("one", "two")
    assert comparison.protocol_differences == ()
    assert comparison.metrics == (
        Row("fid", "37.6", "35.2", "-2.4", "lower"),
        Row("kid", "–", "0.5", "", "lower"),
        Row("swd", "12.5", "12.5", "0", "lower"),
        Row("modes", "10", "9", "-1"),
    )
    assert re.search(
        r"^metric +A +B +B − A  better\nfid +37.6 +35.2 +-2.4  lower\nkid +– +0.5 +lower\nswd +12.5 +12.5 +0  lower\n",
        compare.to_text(comparison),
        re.M,
    )
    assert "B − A" in compare.render(comparison)


def test_metrics_of_different_protocols_are_shown_but_not_subtracted(past: History) -> None:
    comparison = past.compare("two", "other")
    assert comparison.metrics == (
        Row("fid", "35.2", "1.0"),
        Row("kid", "0.5", "–"),
        Row("swd", "12.5", "2.0"),
        Row("modes", "9", "–"),
    )
    for text in (compare.to_text(comparison), _Page(compare.render(comparison)).text):
        assert "B − A" not in text
    assert "protocol.crop: [0, 1, 2, 3] and [0, 1, 2, 4]\n" in compare.to_text(comparison)
    assert f"protocol.scale.{HARM}: missing and null\n" in compare.to_text(comparison)
    assert re.search(
        r"different protocols.*protocol\.crop\s*\[0, 1, 2, 3\]", _Page(compare.render(comparison)).text, re.S
    )


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
def test_the_differences_between_two_protocols_are_listed(a: Any, b: Any, differs: list[Row]) -> None:
    metrics = [{"fid": 1.0} if protocol is None else {"fid": 1.0, "protocol": protocol} for protocol in (a, b)]
    assert list(protocol_differences(*metrics)) == differs


def test_the_params_that_differ_are_listed(past: History) -> None:
    assert past.compare("one", "two").params == (Row("train.note", "–", HARM), Row("train.rate", "0.1", "0.2"))
    assert past.compare("two", "other").params == ()
    assert "The params are the same." in compare.to_text(past.compare("two", "other"))


def test_pictures_are_paired_by_name_and_shown_with_their_captions(past: History) -> None:
    comparison = past.compare("one", "two")
    grids = [side.pictures["grid.png"] for side in (comparison.a, comparison.b)]
    assert [grid and grid.provenance.description for grid in grids] == ["Samples of A", "Samples of B"]
    page = _Page(compare.render(comparison))
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


def test_missing_and_damaged_pictures_are_marked(past: History) -> None:
    page = _Page(compare.render(past.compare("one", "other"))).text
    assert "not a readable PNG in other" in page  # old.png
    assert page.count("missing in other") == 1  # real.png
    assert page.count("missing in one") == 1


def test_the_page_escapes_names_and_loads_nothing(present: History) -> None:
    present.git("branch", "--force", "<i>branch</i>", "two")
    for a in ("one", "other"):
        page = compare.render(present.compare(a, "<i>branch</i>"))
        tags = _Page(page).tags
        assert not {tag for tag, _ in tags} & {"b onclick=x()", "i", "script", "link", "iframe"}
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "href"]
        assert not re.search(r"https?://", page)
        assert f"Two {HARM}" in _Page(page).text


def test_the_working_tree_is_compared_with_a_commit(present: History) -> None:
    present.metrics({**PROTOCOL, "crop": [0, 1, 2, 4], "scale": {HARM: None}}, fid=1.5, swd=2.0)
    present.write("params.yaml", "train: {rate: 0.3}\n")
    comparison = present.compare("HEAD", "workspace")
    assert comparison.b.title == "the working tree"
    assert Row("fid", "1.0", "1.5", "+0.5", "lower") in comparison.metrics
    assert Row("train.rate", "0.2", "0.3") in comparison.params


def test_results_that_do_not_match_the_params_cause_a_warning(present: History) -> None:
    present.write("studies/dvc.yaml", "stages: {cell: {cmd: exit 1, metrics: [cell.json]}}")
    dvc(present.folder, "commit", "--force", "evaluate")
    assert present.compare("other", "workspace").stale == ""
    present.write("params.yaml", "train: {rate: 0.2, seed: 0, note: x}")
    warning = "the working tree's results do not match its params (train.note): make repro"
    done = present.command("other")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n\nWarning: {warning}\n\nmetric " in done.stdout
    assert f"Warning: {warning}" in _Page((present.folder / "reports/comparison.html").read_text()).text
    assert present.compare("workspace", "other").stale == warning
    assert present.compare("one", "other").stale == "", "the working tree is not compared"


def test_results_of_an_interrupted_run_cause_a_warning(present: History) -> None:
    train = "\n  train:\n    cmd: exit 1\n    outs: [model]\n"
    read = "stages:\n  evaluate:\n    deps: [model]\n    plots: [reports/curve.csv]"
    present.write("dvc.yaml", PIPELINE.replace("stages:\n  evaluate:", read) + train)
    stale = "the working tree's results come from no run in dvc.lock (evaluate, train)"
    for name in ("model", "reports/curve.csv"):
        present.write(name, "one")
    assert present.compare("other", "workspace").stale.startswith(stale)
    dvc(present.folder, "commit", "--force")
    assert present.compare("other", "workspace").stale == ""
    (present.folder / "model").unlink()  # it may be a link
    present.write("model", "two")
    dvc(present.folder, "commit", "--force", "train")
    stale = "the working tree's results come from different runs (evaluate)"
    assert present.compare("other", "workspace").stale == f"{stale}: make repro"
    (present.folder / "reports/curve.csv").unlink()
    assert present.compare("other", "workspace").stale == f"{stale} and lack files (reports/curve.csv): make repro"


def test_a_difference_in_kid_within_the_noise_is_marked(present: History) -> None:
    for errors, better in ((106.0, 84.0), "lower; within the noise (±270)"), ((10.0, 8.0), "lower"):
        present.metrics(kid=222.0, kid_se=errors[0])
        present.commit("A", f"noise-{errors[0]}")
        present.metrics(kid=306.0, kid_se=errors[1])
        assert present.compare("HEAD", "workspace").metrics[0] == Row("kid", "222.0", "306.0", "+84.0", better)


def test_values_of_real_images_are_hidden_where_they_are_the_same(present: History) -> None:
    same = {"fid_floor": 1.0, "ms_ssim_real": 0.2, "memorization_real": 0.01, "modes_total": 10}
    present.metrics(**same, checkerboard_real=0.9, ms_ssim=0.3, checkerboard=0.8)
    present.commit("A", "left-out")
    present.metrics(**same, checkerboard_real=0.95, ms_ssim=0.3, checkerboard=0.9)
    assert present.compare("HEAD", "workspace").metrics == (
        Row("checkerboard", "0.8", "0.9", "+0.1", "near checkerboard_real"),
        Row("checkerboard_real", "0.9", "0.95", "+0.05"),
        Row("ms_ssim", "0.3", "0.3", "0", "near ms_ssim_real 0.2"),
    )


def test_a_revision_is_a_branch_a_tag_a_hash_or_an_experiment(
    present: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    present.metrics({**PROTOCOL, "crop": [0, 1, 2, 4], "scale": {HARM: None}}, fid=0.25, swd=2.0)
    monkeypatch.chdir(present.folder)  # DVC saves an experiment only from inside the repository
    with Repo() as repo:
        repo.experiments.save(name="trial")
        head = repo.scm.get_rev()
    for name in ("main", "other", "HEAD", head[:9]):
        comparison = present.compare(name, "trial")
        assert Row("fid", "1.0", "0.25", "-0.75", "lower") in comparison.metrics
        assert comparison.a.title == f"{head[:7]} Another crop"


def test_two_names_of_one_commit_have_no_differences(past: History) -> None:
    assert [row.difference for row in past.compare("main", "other").metrics] == ["0", "0"]


def test_control_characters_in_names_are_printed_as_escapes(present: History) -> None:
    steering = "\x1b[2J\x9b1m\u202e"
    present.metrics({"samples": 1, steering: 1}, **{f"fid{steering}": 1.0})
    present.write("params.yaml", json.dumps({f"rate{steering}": 1}))
    done = present.command("other")
    assert done.returncode == 1
    escapes = r"\u001b[2J\u009b1m\u202e"
    for name in (f"fid{escapes}", f"rate{escapes}"):
        assert f'"{name}"' in done.stdout
    assert f'"protocol.{escapes}": missing and 1' in done.stdout
    assert f'"protocol.{escapes}"' in done.stderr
    assert (done.stdout + done.stderr).replace("\n", "").isprintable()
    assert steering not in (present.folder / "reports/comparison.html").read_text()


@pytest.mark.parametrize("a", ["nope\x1b[2J", "HEAD"])
def test_control_characters_in_errors_are_printed_as_escapes(present: History, a: str) -> None:
    present.write("dvc.yaml", 'stages: {"\\e[2J": {cmd: "${nope}"}}')
    done = present.command(a)
    assert done.returncode == 1
    assert r"\u001b[2J" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("name", ["nope", "", "HEAD:params.yaml", "--all"])
def test_an_unknown_revision_is_named_in_the_error(past: History, name: str) -> None:
    with pytest.raises(StageError, match=rf"^{name or 'an empty name'}: no such revision; name a commit, a tag"):
        past.compare("HEAD", name)


def test_a_revision_cannot_be_compared_with_itself(past: History) -> None:
    with pytest.raises(StageError, match="cannot compare workspace with itself; name two revisions"):
        past.compare("workspace", "workspace")


def test_a_revision_without_metrics_is_named_in_the_error(past: History) -> None:
    with pytest.raises(StageError, match=r"^empty: reports/metrics\.json is missing; name another revision"):
        past.compare("one", "empty")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("reports/metrics.json", None, "reports/metrics.json is missing"),
        ("reports/metrics.json", "[1", "reports/metrics.json is damaged"),
        ("reports/metrics.json", "[1]", "reports/metrics.json is damaged"),
        ("params.yaml", "train: [", "params.yaml"),
        ("dvc.yaml", "stages: [", "dvc.yaml"),
    ],
)
def test_an_unreadable_working_tree_is_an_error_with_a_remedy(
    present: History, name: str, text: str | None, message: str
) -> None:
    if text is None:
        (present.folder / name).unlink()
    else:
        present.write(name, text)
    with pytest.raises(StageError, match=rf"^workspace: .*{message}.*; `git restore reports`"):
        present.compare("HEAD", "workspace")


def test_the_command_writes_a_page_that_git_ignores(past: History) -> None:
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
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert f"/{compare.PAGE}" in ignored, "this project ignores the page, too"


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
    assert re.search(r"^metric +A +B +B \? A  better\nfid +37.6 +35.2 +-2.4  lower\n", done.stdout, re.M)
    assert "B − A" in (past.folder / "reports/comparison.html").read_text()


def test_different_protocols_make_the_command_fail_after_it_wrote_the_page(past: History) -> None:
    page = past.folder / "reports/comparison.html"
    page.unlink(missing_ok=True)
    done = past.command("two", "other")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: two and other were measured under different protocols \(protocol\.crop, .*\n", done.stderr
    )
    assert "35.2" in done.stdout
    assert "Measured under different protocols" in page.read_text()


def test_the_command_fails_outside_a_repository(past: History, tmp_path: Path) -> None:
    done = past.command(folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}: not in a DVC repository; run this in a clone of the project\n"


def test_the_command_fails_without_git(past: History, tmp_path: Path) -> None:
    with Repo.init(str(tmp_path), no_scm=True):
        pass
    done = past.command(folder=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*Git.*; run this in a clone.*\n", done.stderr)


def test_a_conditional_generator_is_compared_with_an_unconditional_one_but_not_with_other_class_shares() -> None:
    plain = {"protocol": {"samples": 9, "crop": "none"}}
    of_classes = {"class_shares": "as in the training data", "class_compared_samples": 5, "class_accuracy_images": 64}
    ours = {"protocol": {**plain["protocol"], **of_classes}}
    assert protocol_differences(plain, ours) == protocol_differences(ours, plain) == ()
    for key in CLASS_PROTOCOL:
        other = {"protocol": {**ours["protocol"], key: "another"}}
        assert [row.name for row in protocol_differences(ours, other)] == [f"protocol.{key}"]
    other = {"protocol": {**ours["protocol"], "samples": 8}}
    assert [row.name for row in protocol_differences(plain, other)] == ["protocol.samples"]
