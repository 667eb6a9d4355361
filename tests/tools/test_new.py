"""make new: a project of one's own has the code and none of our results, and later versions of the pipeline merge."""

from pathlib import Path

import pytest
import yaml

from stages.errors import StageError
from tests.conftest import git
from tests.git_project import commit
from tools import new

OURS = (
    "reports/metrics.json",
    "dvc.lock",
    "studies/dvc.lock",
    "studies/results/a.json",
    "studies/README.md",
    ".ci/run",
)


@pytest.fixture
def template(git_project: Path) -> Path:
    """A committed project with the files that `make new` changes or leaves out."""
    texts = {
        **dict.fromkeys(OURS, "ours\n"),
        "params.yaml": "train:\n  title: kept\nreport:\n  title: DCGAN  # the title of the page\n",
        "pyproject.toml": 'license = "MIT"\nlicense-files = ["LICENSE"]\n',
        "LICENSE": "MIT\n",
        "README.md": "ours\n",
        ".dvc/config": "[core]\nremote = home\n",
        "stages/code.py": "code\n",
    }
    for name, text in texts.items():
        path = git_project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(git_project, "config", "user.name", "Ada")
    git(git_project, "config", "user.email", "ada@localhost")
    commit(git_project)
    return git_project


def created(template: Path, monkeypatch: pytest.MonkeyPatch, name: str = "Birds") -> Path:
    """A new project next to the template, made by a user with a name."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@localhost")
    new.create(template, name, template.parent / "birds")
    return template.parent / "birds"


def test_a_new_project_has_one_commit_and_none_of_our_results_or_remotes(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = created(template, monkeypatch)
    assert git(folder, "rev-list", "--count", "HEAD") == "1"
    assert git(folder, "status", "--porcelain") == ""
    assert not [name for name in OURS if (folder / name).exists()]
    assert "remote" not in (folder / ".dvc/config").read_text()
    assert (folder / "stages/code.py").read_text() == "code\n"


def test_the_licence_of_the_code_stays_and_that_of_the_project_is_open(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = created(template, monkeypatch)
    assert (folder / "LICENSE-dcgan-pipeline").read_text() == "MIT\n"
    assert not (folder / "LICENSE").exists()
    assert (folder / "pyproject.toml").read_text() == 'license-files = ["LICENSE*"]\n'


def test_a_title_with_yamls_special_characters_is_kept(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    title = 'Ada\'s "birds": #1'
    folder = created(template, monkeypatch, title)
    assert yaml.safe_load((folder / "params.yaml").read_text()) == {
        "train": {"title": "kept"},
        "report": {"title": title},
    }
    assert (folder / "README.md").read_text().startswith(f"# {title}\n")


def test_later_versions_of_the_pipeline_merge_with_the_readmes_commands(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = created(template, monkeypatch)
    (template / "stages/code.py").write_text("better code\n")
    commit(template)
    commands = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("git ")]
    for command in commands:
        for part in command.replace("https://…/dcgan-pipeline.git", str(template)).split(" && "):
            git(folder, *[word.strip('"') for word in part.replace('"The pipeline as it was"', "Merged").split()[1:]])
    assert (folder / "stages/code.py").read_text() == "better code\n"
    assert (folder / "README.md").read_text().startswith("# Birds\n")
    assert not [name for name in OURS if (folder / name).exists()]


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("", "../birds", "NAME: expected the title"),
        ("a\nb", "../birds", "NAME: expected the title"),
        ("Birds", "reports", r"DIR: reports already exists"),
        ("Birds", "new/birds", r"DIR: new/birds is inside this project; name a folder next to it, such as \.\./birds"),
    ],
)
def test_a_bad_argument_is_named(template: Path, name: str, folder: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        new.create(Path(), name, Path(folder))
    assert not Path("new").exists()
