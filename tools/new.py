"""Start a project of your own from this one: make new NAME="Birds" [DIR=../birds]

Copies the last commit without our results, title, licence and remotes: no reports/, no dvc.lock, no results of the
studies, and a README.md, a CHANGELOG.md and a .dvc/config of its own. The new folder is a Git repository with one
commit, which names the commit of this project, so that you can merge later versions of the pipeline (its README.md has
the commands). `make repro` there trains params.yaml. Takes a second.
"""

import argparse
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

from stages import templates
from stages.errors import StageError
from stages.shell import run_command, say
from tools.git import git, in_clone

# What is ours: results, texts about them, and the checks of this repository.
_OURS = re.compile(
    r"(reports|\.ci|studies/(results|figures|emoji/reports))/.*|(.*/)?dvc\.lock|studies/README\.md|README\.md|CHANGELOG\.md"
    r"|tests/pipeline/test_readme\.py"
)
_LICENCE = "LICENSE-dcgan-pipeline"  # the MIT licence requires that it stays with the code
_DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n"


def create(project: Path, name: str, folder: Path) -> None:
    """Create the project `name` in a new folder. Raises StageError for a bad name or a folder that is not empty."""
    if not name.strip() or not name.isprintable():
        raise StageError('NAME: expected the title of the new project, such as make new NAME="Birds"')
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StageError(f"DIR: {folder} already exists; name a new folder")
    if folder.resolve().is_relative_to(project.resolve()):
        raise StageError(f"DIR: {folder} is inside this project; name a folder next to it, such as ../{folder.name}")
    commit = in_clone(project, "--verify", "HEAD")
    folder.mkdir(parents=True, exist_ok=True)
    _copy(project, commit, folder)
    _write_own(name.strip(), commit, folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    try:
        git(folder, "commit", "--quiet", "-m", f"{name.strip()}\n\nStarted from the DCGAN pipeline, commit {commit}.")
    except StageError as error:
        reason = str(error).partition("\n")[0]
        say(f"{folder}: not committed ({reason}); set git config user.name and user.email, then run git commit there")


def _copy(project: Path, commit: str, folder: Path) -> None:
    """Copy the files of a commit that are not ours."""
    archive = subprocess.run(["git", "archive", commit], cwd=project, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [member for member in tar.getmembers() if not member.isdir() and not _OURS.fullmatch(member.name)]
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has no filters
        tar.extractall(folder, members)  # noqa: S202 - of our own commit


def _write_own(name: str, commit: str, folder: Path) -> None:
    """Write what is the new project's own: its texts, its title, no remote, and no licence yet."""
    readme = templates.environment(Path(__file__).parent, html=False).get_template("new_readme.md.j2")
    (folder / "README.md").write_text(
        readme.render(name=name, commit=commit, licence=_LICENCE) + "\n", encoding="utf-8"
    )
    (folder / "CHANGELOG.md").write_text("# Changelog\n", encoding="utf-8")
    (folder / ".dvc/config").write_text(_DVC_CONFIG, encoding="utf-8")
    (folder / "LICENSE").rename(folder / _LICENCE)
    _edit(folder / "pyproject.toml", r'license = "MIT"\nlicense-files = \["LICENSE"\]', 'license-files = ["LICENSE*"]')
    title = json.dumps(name, ensure_ascii=False)  # a JSON text is a YAML text
    _edit(folder / "params.yaml", r"(?<=^report:\n  title: ).*?(?= *(#|$))", title)


def _edit(path: Path, pattern: str, new: str) -> None:
    """Replace the only match of a pattern in a file."""
    text, count = re.subn(pattern, lambda _: new, path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    if not count:
        raise StageError(f"{path}: cannot be adapted, because it lacks {pattern}; commit the file as it was delivered")
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Create the project that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="the title of the new project")
    parser.add_argument("folder", nargs="?", default="", help="its folder (next to this one, named after the title)")
    arguments = parser.parse_args()
    slug = re.sub(r"[\W_]+", "-", arguments.name.lower()).strip("-")
    folder = Path(arguments.folder or f"../{slug}")
    create(Path(), arguments.name, folder)
    say(f"{arguments.name}: created in {folder.resolve()}. There: make repro, or make own PICTURES=~/pictures")


if __name__ == "__main__":
    run_command(main)
